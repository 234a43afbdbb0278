"""Archives that are damaged, or mean harm: found before anything wrong stands on disk."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from cli.main import main
from featurestore.errors import DrinFsError, SourceError, WriteError
from featurestore.sources import archive, members
from tests.downloads_for_tests import FILES, disguised, noise, sums, tree, write_tar
from tests.split_zips import write_split_zip

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


@pytest.mark.parametrize("keep", [32, 63, 64, 5000])
def test_a_download_that_was_broken_off_is_said_to_be_incomplete(keep: int, tmp_path: Path) -> None:
    (packed,) = disguised([write_tar(tmp_path / "x.tar.gz", FILES)])
    path = packed.rename(tmp_path / "preprocessed.mp4")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SourceError, match="the download is incomplete or damaged") as caught:
        archive.unpack([path], tmp_path / "out")
    assert caught.value.where == str(path)
    assert caught.value.hint.startswith("download it again")
    assert not (tmp_path / "out").exists()


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


# names that are not unique ----------------------------------------------------------------------


def tar_of(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_member_that_stands_twice_with_two_contents_is_refused(
    overwrite: bool, tmp_path: Path
) -> None:
    path = tar_of(tmp_path / "x.tar.gz", ("a/1.jpg", b"one"), ("b.jpg", b""), ("a/1.jpg", b"two"))
    for _ in range(2):  # the first run leaves one of them, which the second meets
        with pytest.raises(SourceError) as caught:
            archive.unpack([path], tmp_path / "out", overwrite=overwrite)
        error = caught.value
        assert error.what == "the archive holds this member twice, with different contents"
        assert error.where == f"{path}::a/1.jpg"
        assert "tar -xf and unzip -o keep the last of them" in error.hint
        assert tree(tmp_path / "out") == {"a/1.jpg": b"one", "b.jpg": b""}


def test_a_member_that_stands_twice_with_one_content_does_no_harm(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar.gz", ("a/1.jpg", b"one"), ("a/1.jpg", b"one"))
    done = archive.unpack([path], tmp_path / "out")
    assert (done.written, done.skipped) == (1, 1)


def test_two_archives_with_one_name_are_both_named(tmp_path: Path) -> None:
    first = tar_of(tmp_path / "x.tar.gz", ("1.jpg", b"one"))
    second = tar_of(tmp_path / "y.tar.gz", ("1.jpg", b"two"))
    with pytest.raises(SourceError, match="holds a file of this name, too") as caught:
        archive.unpack([first, second], tmp_path / "out", overwrite=True)
    assert caught.value.what.startswith(str(first))
    assert caught.value.where == f"{second}::1.jpg"
