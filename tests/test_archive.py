"""Archives disguised as videos: the way there and back, damage, and archives that mean harm."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.main import main
from featurestore.errors import DrinFsError, SourceError, WriteError
from featurestore.sources import archive, members
from featurestore.sources.disguise import MP4_HEADER, Piece, open_pieces, recognise
from tests.split_zips import write_split_zip


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


FILES = {
    "wikimel/mention_text.npy": noise(3000),
    "wikimel/zeros.npy": bytes(200_000),
    "wikimel/pictures/Zoë_№ 1.jpg": noise(70_000, 1),
    "empty": b"",
}


def write_tar(path: Path, files: Mapping[str, bytes], *infos: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in infos:
            tar.addfile(info)
    return path


def disguised(paths: Sequence[Path]) -> list[Path]:
    """The files as a download would bring them, in a folder of their own."""
    folder = paths[0].parent / "downloads"
    archive.pack(paths, folder)
    return [folder / f"{path.name}.mp4" for path in paths]


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def sums(paths: Sequence[Path]) -> dict[str, str]:
    return {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in paths}


# the disguise -----------------------------------------------------------------------------------


def test_a_disguised_file_is_header_rest_and_beginning(tmp_path: Path) -> None:
    data = noise(1000)
    (tmp_path / "a.bin").write_bytes(data)
    (made,) = disguised([tmp_path / "a.bin"])
    assert made.read_bytes() == MP4_HEADER + data[32:] + data[:32]
    assert (len(MP4_HEADER), MP4_HEADER[4:12], MP4_HEADER[-4:]) == (32, b"ftypisom", b"mp41")


@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    reads=st.lists(st.tuples(st.integers(0, 220), st.integers(0, 90)), max_size=8),
)
def test_pieces_read_like_their_concatenation(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    reads: list[tuple[int, int]],
) -> None:
    path = tmp_path_factory.mktemp("pieces") / "f"
    path.write_bytes(noise(50))
    pieces = [Piece(path, 7, size) for size in sizes]
    whole = b"".join(path.read_bytes()[7 : 7 + size] for size in sizes)
    with open_pieces(pieces) as file:
        for place, size in reads:
            file.seek(place)
            assert file.read(size) == whole[place : place + size]


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        ("preprocessed.mp4", b"\x1f\x8b\x08\x00", ("preprocessed.tar.gz", "tar.gz")),
        ("raw-data.mp4", b"PK\x03\x04", ("raw-data.zip", "zip")),
        ("raw-data.z03.mp4", b"\0\0\0\0", ("raw-data.z03", "zip")),
        ("preprocessed.tar.gz.MP4", b"\0\0\0\0", ("preprocessed.tar.gz", "tar.gz")),
        ("clip.mp4", b"\0\0\0\0", ("clip", "other")),
        ("a.mp4", bytes(257) + b"ustar\0" + b"00", ("a.tar", "tar")),
        ("b.tar.mp4", b"\0\0\0\0", ("b.tar", "tar")),
    ],
)
def test_an_original_is_recognised_by_name_or_content(
    tmp_path: Path, name: str, head: bytes, expected: tuple[str, str]
) -> None:
    original = head + bytes(300)
    (tmp_path / name).write_bytes(MP4_HEADER + original[32:] + original[:32])
    found = recognise(tmp_path / name)
    assert (found.name, found.kind) == expected
    assert (found.disguised, found.size) == (True, len(original))


def test_an_mp4_without_the_header_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.mp4").write_bytes(b"<html>" * 100)
    with pytest.raises(SourceError, match="does not begin with the release's MP4 header"):
        recognise(tmp_path / "page.mp4")


# there and back ---------------------------------------------------------------------------------


def test_a_tar_comes_back_and_the_download_is_as_before(tmp_path: Path) -> None:
    folder = tarfile.TarInfo("wikimel/empty folder")
    folder.type = tarfile.DIRTYPE
    (download,) = disguised([write_tar(tmp_path / "p.tar.gz", FILES, folder)])
    before = download.read_bytes()
    done = archive.unpack([download], tmp_path / "out")
    assert tree(tmp_path / "out") == FILES
    assert (tmp_path / "out/wikimel/empty folder").is_dir()
    assert (done.written, done.skipped, done.size) == (4, 0, sum(map(len, FILES.values())))
    assert download.read_bytes() == before


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("stored", [False, True])
def test_a_zip_in_six_parts_comes_back(tmp_path: Path, stored: bool, zip64: bool) -> None:
    part_size = 46_000 if stored else 12_500
    paths = write_split_zip(
        tmp_path / "raw-data", FILES, part_size=part_size, stored=stored, zip64=zip64
    )
    assert [path.suffix for path in paths] == [".z01", ".z02", ".z03", ".z04", ".z05", ".zip"]
    archive.unpack(disguised(paths)[::-1], tmp_path / "out", known={})
    assert tree(tmp_path / "out") == FILES


@given(st.dictionaries(st.text("abc", min_size=1), st.binary(max_size=400), max_size=5), st.data())
def test_any_split_reads_the_same(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("split")
    options = {name: data.draw(st.booleans(), name) for name in ("stored", "zip64")}
    paths = write_split_zip(
        folder / "x", files, part_size=data.draw(st.integers(150, 600)), **options
    )
    archive.unpack(paths, folder / "out")
    assert tree(folder / "out") == files


@pytest.mark.skipif(shutil.which("zip") is None, reason="needs Info-ZIP's zip")
@pytest.mark.parametrize("options", [("-s", "64k"), ("-s", "64k", "-fz"), ()])
def test_what_zip_splits_comes_back(tmp_path: Path, options: tuple[str, ...]) -> None:
    files = {**FILES, "big.bin": noise(200_000, 2)}
    for name, data in files.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    command = ["zip", "-q", "-r", *options, "../x.zip", "."]
    subprocess.run(command, cwd=tmp_path / "in", check=True, capture_output=True)
    paths = sorted(tmp_path.glob("x.z*"))
    assert len(paths) == (5 if options else 1)
    archive.unpack(disguised(paths), tmp_path / "out")
    assert tree(tmp_path / "out") == files


def test_restore_writes_the_originals(tmp_path: Path) -> None:
    paths = write_split_zip(tmp_path / "raw", FILES, part_size=30_000)
    archive.unpack(disguised(paths), tmp_path / "out", restore=True)
    assert tree(tmp_path / "out") == {path.name: path.read_bytes() for path in paths}


# sums -------------------------------------------------------------------------------------------


def test_a_flipped_byte_is_found_before_anything_is_written(tmp_path: Path) -> None:
    paths = write_split_zip(tmp_path / "raw", FILES, part_size=30_000)
    downloads = disguised(paths)
    broken = bytearray(downloads[1].read_bytes())
    broken[777] ^= 4
    downloads[1].write_bytes(broken)
    with pytest.raises(
        SourceError, match=r"md5 of the original raw\.z02 is .* should be"
    ) as caught:
        archive.unpack(downloads, tmp_path / "out", known=sums(paths))
    assert caught.value.where == str(downloads[1])
    assert not (tmp_path / "out").exists()


def test_a_known_sum_gives_a_misnamed_download_its_name(tmp_path: Path) -> None:
    paths = write_split_zip(tmp_path / "raw", FILES, part_size=30_000)
    downloads = [
        path.rename(path.with_name(f"download ({n}).mp4"))
        for n, path in enumerate(disguised(paths))
    ]
    found = archive.verify(downloads, known=sums(paths))
    assert [(each.original.name, each.verified) for each in found] == [
        (p.name, True) for p in paths
    ]
    archive.unpack(downloads, tmp_path / "out", known=sums(paths))
    assert tree(tmp_path / "out") == FILES


def test_an_unknown_original_is_shown_and_said_to_be_unverified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_tar(tmp_path / "mine.tar.gz", FILES)
    assert main(["unpack", "--verify-only", str(disguised([path])[0])]) == 0
    captured = capsys.readouterr()
    assert sums([path])["mine.tar.gz"] in captured.out
    assert "no, its sum is not known" in captured.out
    assert "no sum to compare it with" in captured.err


def test_the_released_names_have_well_formed_sums() -> None:
    assert len(archive.RELEASED) == 7
    assert all(len(bytes.fromhex(each)) == 16 for each in archive.RELEASED.values())


@pytest.mark.parametrize("stored", [False, True])
def test_damage_to_a_zip_member_of_unknown_sum_names_archive_and_member(
    tmp_path: Path, stored: bool
) -> None:
    (path,) = write_split_zip(
        tmp_path / "x", {"good": b"good", "bad": noise(500)}, part_size=10**6, stored=stored
    )
    data = bytearray(path.read_bytes())
    data[300] ^= 1
    path.write_bytes(data)
    with pytest.raises(SourceError, match="the member is damaged") as caught:
        archive.unpack([path], tmp_path / "out")
    assert caught.value.where == f"{path}::bad"
    assert tree(tmp_path / "out") == {"good": b"good"}


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.9999])
def test_a_tar_cut_short_is_damaged(tmp_path: Path, keep: float) -> None:
    path = write_tar(tmp_path / "x.tar.gz", {"a": noise(50_000), "b": noise(50_000, 1)})
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(SourceError, match="tar archive is damaged") as caught:
        archive.unpack([path], tmp_path / "out")
    assert caught.value.where.startswith(str(path))
    assert not list((tmp_path / "out").glob(".drin*"))


def test_the_sum_at_the_end_of_gzip_is_checked(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar.gz", {"a": b"hello"})
    data = bytearray(path.read_bytes())
    data[-8] ^= 1
    path.write_bytes(data)
    with pytest.raises(SourceError, match="CRC check failed"):
        archive.unpack([path], tmp_path / "out")


def test_a_damaged_header_in_a_tar_is_no_silent_end(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar.gz", {"a": b"1", "b": b"2"})
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[1024 + 5] ^= 1  # in the header of b
    path.write_bytes(gzip.compress(data))
    with pytest.raises(SourceError, match="data where it should end") as caught:
        archive.unpack([path], tmp_path / "out")
    assert caught.value.where == f"{path}::a"


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" * 9, noise(500)])
def test_what_is_no_zip_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(SourceError, match="no zip directory at the end"):
        archive.unpack([tmp_path / "x.zip"], tmp_path / "out")


# parts ------------------------------------------------------------------------------------------


def test_a_damaged_member_names_the_parts_it_lies_in(tmp_path: Path) -> None:
    files = {"first": noise(900), "long": noise(3000), "last": noise(900)}
    paths = write_split_zip(tmp_path / "x", files, part_size=1000, stored=True)
    data = bytearray(paths[2].read_bytes())
    data[500] ^= 1
    paths[2].write_bytes(data)
    with pytest.raises(SourceError, match="the member is damaged") as caught:
        archive.unpack(paths, tmp_path / "out")
    named = [path for path in paths if str(path) in caught.value.hint]
    assert caught.value.where.endswith("::long")
    assert [path.suffix for path in named] == [".z01", ".z02", ".z03", ".z04"]


def test_missing_parts_are_named(tmp_path: Path) -> None:
    paths = write_split_zip(tmp_path / "raw-data", FILES, part_size=12_500)
    with pytest.raises(SourceError, match=r"missing: raw-data\.z02, raw-data\.zip"):
        archive.unpack([p for p in paths if p.suffix not in (".z02", ".zip")],
                       tmp_path / "out", known={})  # fmt: skip
    with pytest.raises(SourceError, match="has 6 parts, 3 are given"):
        archive.unpack([*paths[:2], paths[-1]], tmp_path / "out", known={})


def test_a_part_given_twice_is_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar.gz", FILES)
    with pytest.raises(SourceError, match=r"x\.tar\.gz is given twice"):
        archive.unpack([path, *disguised([path])], tmp_path / "out")


def test_what_is_no_archive_is_only_restored(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(noise(100))
    (download,) = disguised([tmp_path / "notes.txt"])
    with pytest.raises(SourceError, match=r"notes\.txt is neither") as caught:
        archive.unpack([download], tmp_path / "out")
    assert "--restore" in caught.value.hint
    archive.unpack([download], tmp_path / "out", restore=True)
    assert tree(tmp_path / "out") == {"notes.txt": noise(100)}


# harm -------------------------------------------------------------------------------------------

BAD_NAMES = ["../up", "a/../../up", "/etc/passwd", "C:evil", "..\\up", "line\nbreak"]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_names_that_leave_the_target_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    if kind == "tar":
        path = write_tar(inner / "x.tar.gz", {name: b"evil"})
    else:
        (path,) = write_split_zip(inner / "x", {name: b"evil"}, part_size=10**6)
    with pytest.raises(SourceError, match="refused: ") as caught:
        archive.unpack([path], inner / "out")
    assert caught.value.where == f"{path}::{name}"
    assert set(tree(tmp_path)) == {f"inner/{path.name}"}


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_links_and_special_files_of_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("odd")
    info.type, info.linkname = kind, "a"
    path = write_tar(tmp_path / "x.tar.gz", {"a": b"1"}, info)
    with pytest.raises(SourceError, match=r"refused: a (link|special file)") as caught:
        archive.unpack([path], tmp_path / "out")
    assert caught.value.where == f"{path}::odd"


def test_links_of_a_zip_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    (path,) = write_split_zip(tmp_path / "x", {"l": b"/etc/passwd"}, part_size=10**6, mode=0o120777)
    with pytest.raises(SourceError, match="refused: a link"):
        archive.unpack([path], tmp_path / "out")
    assert tree(tmp_path / "out") == {}


def test_a_link_in_the_target_is_not_followed_out_of_it(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "wikimel").symlink_to(tmp_path / "elsewhere")
    path = write_tar(tmp_path / "x.tar.gz", FILES)
    with pytest.raises(WriteError, match="a link leads out of the target"):
        archive.unpack([path], tmp_path / "out")
    assert tree(tmp_path / "elsewhere") == {}


def test_absurd_expansion_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "_FREE_EXPANSION", 10_000)
    path = write_tar(tmp_path / "x.tar.gz", {"bomb": bytes(3_000_000)})
    with pytest.raises(SourceError, match="refused: absurd expansion"):
        archive.unpack([path], tmp_path / "out")
    assert tree(tmp_path / "out") == {}


def test_a_zip_member_larger_than_it_says_is_cut_off(tmp_path: Path) -> None:
    (path,) = write_split_zip(
        tmp_path / "x", {"bomb": bytes(9_000_000)}, part_size=10**6, sizes={"bomb": 10}
    )
    with pytest.raises(SourceError, match="bytes where the directory says 10"):
        archive.unpack([path], tmp_path / "out")
    assert tree(tmp_path / "out") == {}


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "MAX_MEMBERS", 3)
    with pytest.raises(SourceError, match="refused: over 3 members"):
        archive.unpack([write_tar(tmp_path / "x.tar.gz", FILES)], tmp_path / "out")


def test_an_absurdly_long_header_is_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar.gz", {"n" * 5_000_000: b""})
    with pytest.raises(SourceError, match="header is absurdly long"):
        archive.unpack([path], tmp_path / "out")


# again ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_second_run_keeps_what_is_complete_and_adds_the_rest(tmp_path: Path, kind: str) -> None:
    if kind == "tar":
        paths = [write_tar(tmp_path / "x.tar.gz", FILES)]
    else:
        paths = write_split_zip(tmp_path / "x", FILES, part_size=20_000)
    archive.unpack(paths, tmp_path / "out")
    kept = tmp_path / "out/wikimel/mention_text.npy"
    stamp = kept.stat().st_mtime_ns, kept.stat().st_ino
    (tmp_path / "out/wikimel/zeros.npy").unlink()
    (tmp_path / "out/.drin-fs-unpack.999999999.part").write_bytes(b"left by a run that was killed")
    done = archive.unpack(paths, tmp_path / "out")
    assert (done.written, done.skipped) == (1, 3)
    assert (kept.stat().st_mtime_ns, kept.stat().st_ino) == stamp
    assert tree(tmp_path / "out") == FILES


@pytest.mark.parametrize("other", [b"my own notes", FILES["wikimel/mention_text.npy"][:-1] + b"!"])
def test_another_file_at_the_place_is_replaced_only_when_asked(
    tmp_path: Path, other: bytes
) -> None:
    path = write_tar(tmp_path / "x.tar.gz", FILES)
    mine = tmp_path / "out/wikimel/mention_text.npy"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(other)
    with pytest.raises(WriteError, match="another file stands") as caught:
        archive.unpack([path], tmp_path / "out")
    assert caught.value.where == str(mine)
    assert mine.read_bytes() == other
    archive.unpack([path], tmp_path / "out", overwrite=True)
    assert tree(tmp_path / "out") == FILES


def test_no_member_replaces_the_archive_it_comes_from(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar.gz", {"x.tar.gz": b"gone"})
    before = path.read_bytes()
    with pytest.raises(WriteError, match="another file stands"):
        archive.unpack([path], tmp_path, overwrite=True)
    assert path.read_bytes() == before


def test_a_file_where_a_folder_belongs_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/wikimel").write_bytes(b"")
    with pytest.raises(WriteError, match="cannot write") as caught:
        archive.unpack([write_tar(tmp_path / "x.tar.gz", FILES)], tmp_path / "out")
    assert "wikimel" in caught.value.where


# commands ---------------------------------------------------------------------------------------


def test_the_commands_go_there_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, share, out = write_tar(tmp_path / "x.tar.gz", FILES), tmp_path / "share", tmp_path / "out"
    assert main(["pack", str(path), "-o", str(share)]) == 0
    assert capsys.readouterr().out == f"{sums([path])[path.name]}  x.tar.gz\n"
    download = str(share / "x.tar.gz.mp4")
    assert main(["unpack", download, "-o", str(out), "--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1)[1] for line in listed] == list(FILES)
    assert listed[1].split()[0] == "200,000"
    assert not out.exists()
    assert main(["unpack", download, "-o", str(out)]) == 0
    assert "4 files written, 0 were complete" in capsys.readouterr().out
    assert tree(out) == FILES
    assert main(["unpack", download, "-o", str(out), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["written"], done["skipped"]) == (0, 4)
    assert done["originals"][0]["verified"] is False


def test_the_list_of_a_zip_reads_only_its_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = write_split_zip(tmp_path / "x", FILES, part_size=30_000)
    data = bytearray(paths[0].read_bytes())
    data[200:300] = bytes(100)
    paths[0].write_bytes(data)
    assert main(["unpack", "--list", "--json", *map(str, paths)]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {each["path"]: each["bytes"] for each in listed} == {n: len(d) for n, d in FILES.items()}


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["unpack", "{}/none.mp4"], 3, "no such file"),
        (["unpack", "{}"], 3, "a folder, not a file"),
        (["unpack", "{}/none.mp4", "--list", "--restore"], 2, "exclude each other"),
        (["pack", "{}/none", "-o", "{}"], 3, "no such file"),
        (["pack", "{}/short", "-o", "{}"], 3, "too few to disguise"),
        (["pack", "{}/long", "{}/a/long", "-o", "{}"], 3, "two files of one name"),
    ],
)
def test_what_cannot_be_done_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
    arguments: list[str], status: int, message: str,
) -> None:  # fmt: skip
    (tmp_path / "a").mkdir()
    (tmp_path / "short").write_bytes(b"short")
    for name in ("long", "a/long"):
        (tmp_path / name).write_bytes(bytes(99))
    assert main([word.replace("{}", str(tmp_path)) for word in arguments]) == status
    assert message in capsys.readouterr().err


def test_every_flipped_bit_of_a_zip_is_found_or_harmless(tmp_path: Path) -> None:
    """No damage may end in anything but our own error, or the right files."""
    files = {"a": noise(40), "b/c": b"text" * 30}
    (path,) = write_split_zip(tmp_path / "x", files, part_size=10**6, zip64=True)
    data = path.read_bytes()
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])
        out = tmp_path / f"out{place}"
        try:
            archive.unpack([path], out)
        except DrinFsError:
            continue
        assert sorted(tree(out).values()) == sorted(files.values()), place


@pytest.mark.parametrize("read", [archive.verify, lambda files: list(archive.listing(files))])
def test_reading_writes_nothing(tmp_path: Path, read: Callable[[list[Path]], object]) -> None:
    path = write_tar(tmp_path / "x.tar.gz", FILES)
    before = tree(tmp_path)
    read([path])
    assert tree(tmp_path) == before
