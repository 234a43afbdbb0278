"""Archives disguised as videos: the way there and back, in one piece or in parts."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.main import main
from featurestore.errors import SourceError, WriteError
from featurestore.sources import archive
from featurestore.sources.disguise import MP4_HEADER, Piece, open_pieces, recognise
from tests.downloads_for_tests import FILES, disguised, noise, sums, tree, write_tar
from tests.split_zips import write_split_zip

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


def test_a_download_that_changes_after_its_md5_was_read_is_not_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.bin").write_bytes(noise(3000))
    (download,) = disguised([tmp_path / "a.bin"])
    verify = archive.verify

    def then_changed(files: list[Path], **how: object) -> list[archive.Checked]:
        checked = verify(files, **how)
        data = bytearray(download.read_bytes())
        data[1500] ^= 1
        download.write_bytes(data)
        return checked

    monkeypatch.setattr(archive, "verify", then_changed)
    with pytest.raises(SourceError, match=r"a\.bin changed while it was read: its md5 was"):
        archive.unpack([download], tmp_path / "out", restore=True)
    assert tree(tmp_path / "out") == {}


def test_what_is_no_archive_is_only_restored(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(noise(100))
    (download,) = disguised([tmp_path / "notes.txt"])
    with pytest.raises(SourceError, match="does not end with the beginning of one") as caught:
        archive.unpack([download], tmp_path / "out")
    assert "--restore" in caught.value.hint
    archive.unpack([download], tmp_path / "out", restore=True)
    assert tree(tmp_path / "out") == {"notes.txt": noise(100)}


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


@pytest.mark.parametrize("read", [archive.verify, lambda files: list(archive.listing(files))])
def test_reading_writes_nothing(tmp_path: Path, read: Callable[[list[Path]], object]) -> None:
    path = write_tar(tmp_path / "x.tar.gz", FILES)
    before = tree(tmp_path)
    read([path])
    assert tree(tmp_path) == before
