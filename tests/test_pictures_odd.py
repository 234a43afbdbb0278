"""Pictures as strangers make them, and what stands where a picture should: features or a status."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featurestore.encoders import opening
from featurestore.encoders.images import read_pictures
from featurestore.encoders.opening import LARGEST_SIDE, open_picture, usable_picture
from featurestore.errors import SourceError
from featurestore.schema import IMAGE_STATUS
from featurestore.sources.pictures import PictureFolder
from tests.test_pictures import encoded, status_of

RED, GREEN, BLUE = (250, 10, 10), (10, 250, 10), (10, 10, 250)


def halves(left: tuple[int, int, int], right: tuple[int, int, int]) -> Image.Image:
    """80×60, one colour beside the other."""
    picture = Image.new("RGB", (80, 60), left)
    picture.paste(right, (40, 0, 80, 60))
    return picture


def opened(path: Path, data: bytes) -> Image.Image:
    path.write_bytes(data)
    picture, code = open_picture(path)
    assert picture is not None, IMAGE_STATUS[code]
    return picture


def near(picture: Image.Image, place: tuple[int, int], colour: tuple[int, int, int]) -> bool:
    return bool(np.abs(np.subtract(picture.getpixel(place), colour)).max() <= 12)


# frames, orientation, kinds -----------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path, file_format: str) -> None:
    later = [halves(BLUE, BLUE), halves(GREEN, GREEN)]
    data = encoded(halves(RED, BLUE), file_format, save_all=True, append_images=later)
    picture = opened(tmp_path / "picture", data)
    assert (picture.mode, picture.size) == ("RGB", (80, 60))
    assert near(picture, (10, 30), RED)
    assert near(picture, (70, 30), BLUE)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_tags_are_ignored_as_in_the_released_features(
    tmp_path: Path, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = opened(
        tmp_path / "picture", encoded(halves(RED, BLUE), "JPEG", exif=exif, quality=95)
    )
    assert picture.size == (80, 60)
    assert near(picture, (5, 5), RED)
    assert near(picture, (75, 55), BLUE)


def test_a_jpeg_in_cmyk_has_its_colours(tmp_path: Path) -> None:
    data = encoded(halves(RED, BLUE).convert("CMYK"), "JPEG", quality=95)
    picture = opened(tmp_path / "picture", data)
    assert near(picture, (10, 30), RED)
    assert near(picture, (70, 30), BLUE)


def test_transparency_of_a_palette_by_index_is_dropped(tmp_path: Path) -> None:
    picture = halves(RED, BLUE).convert("P")
    index = picture.getpixel((10, 30))
    for file_format in ("PNG", "GIF"):
        found = opened(tmp_path / "picture", encoded(picture, file_format, transparency=index))
        assert near(found, (10, 30), RED)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "broken"),
        (b"<html>404 Not Found</html>", "broken"),
        (b"\x89PNG\r\n\x1a\n", "broken"),
        (b"\xff\xd8\xff\xe0", "broken"),
        (encoded(Image.new("RGB", (1, 1)), "PNG"), "too small"),
        (encoded(Image.new("RGB", (1, 1)), "JPEG"), "too small"),
        (encoded(Image.new("RGB", (1, 400)), "GIF"), "too small"),
        (encoded(halves(RED, BLUE), "JPEG")[:-300], "broken"),
        (encoded(halves(RED, BLUE), "PPM"), "broken"),
    ],
)
def test_what_is_no_usable_picture_has_its_word(tmp_path: Path, data: bytes, expected: str) -> None:
    (tmp_path / "picture.jpg").write_bytes(data)
    assert status_of(tmp_path / "picture.jpg") == expected


# size ---------------------------------------------------------------------------------------------


def _png_that_claims(width: int, height: int) -> bytes:
    """A picture of one row of pixels, whose header has another size."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(13_378, 13_378), (2**31 - 1, 2**31 - 1), (10**9, 60)])
def test_a_bomb_is_broken(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "picture").write_bytes(_png_that_claims(*size))
    assert status_of(tmp_path / "picture") == "broken"


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_ten_thousand_by_ten_thousand_is_a_picture(tmp_path: Path, file_format: str) -> None:
    """Above the size that Pillow warns of, which is an error in these tests."""
    whole = Image.new("L", (10_000, 10_000), 10)
    whole.paste(200, (5_000, 0, 10_000, 10_000))
    picture = opened(tmp_path / "picture", encoded(whole, file_format))
    assert picture.size == (5_000, 5_000)
    assert near(picture, (100, 4_900), (10, 10, 10))
    assert near(picture, (4_900, 100), (200, 200, 200))


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "P", "L", "1", "CMYK"])
def test_a_large_picture_is_reduced_to_means_of_its_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(opening, "LARGEST_SIDE", 64)
    monkeypatch.setattr(opening, "_BAND", 500)  # several bands
    noise = np.random.default_rng(0).integers(0, 256, (150, 333, 3), dtype=np.uint8)
    whole = Image.fromarray(noise).convert(kind)
    picture = opened(tmp_path / "picture", encoded(whole, "TIFF"))
    assert picture.size == (56, 50)  # 333 / 6, 150 / 3
    expected = whole.convert("RGB").reduce((6, 3))
    np.testing.assert_array_equal(np.asarray(picture), np.asarray(expected))


def test_a_large_jpeg_is_decoded_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "LARGEST_SIDE", 100)
    whole = halves(RED, BLUE).resize((900, 700))
    data = encoded(whole, "JPEG", quality=95)
    picture = opened(tmp_path / "picture", data)
    assert picture.size == (75, 88)  # a fourth at once: (225, 175); then a third and a half
    assert near(picture, (5, 5), RED)
    assert near(picture, (70, 80), BLUE)


def test_pictures_that_are_not_large_keep_every_pixel(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, LARGEST_SIDE + 50, 3), dtype=np.uint8)
    picture = opened(tmp_path / "picture", encoded(Image.fromarray(noise), "PNG"))
    np.testing.assert_array_equal(np.asarray(picture), noise)


def test_a_file_of_absurd_length_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "picture"
    path.write_bytes(encoded(halves(RED, BLUE), "PNG"))
    assert status_of(path) == "ok"
    os.truncate(path, opening.MOST_BYTES + 1)  # a hole, which takes no room on disk
    assert status_of(path) == "broken"


# what is no file ------------------------------------------------------------------------------------


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def _in_a_circle(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [_dangling, _in_a_circle])
def test_a_link_to_nothing_is_missing(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "Q1.jpg")
    assert status_of(tmp_path / "Q1.jpg") == "missing"
    assert PictureFolder.open(tmp_path).find("Q1") == ""


@pytest.mark.parametrize("name", ["a\0b", "n" * 5000, "\ud800"])
def test_a_name_that_no_file_can_have_is_missing(tmp_path: Path, name: str) -> None:
    assert status_of(tmp_path / name) == "missing"


def test_a_name_below_a_file_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert status_of(tmp_path / "file" / "picture.jpg") == "missing"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "Q1.jpg")
    with pytest.raises(SourceError) as caught:
        open_picture(tmp_path / "Q1.jpg")
    assert str(caught.value) == (
        "the picture cannot be read: a pipe or device, not a file\n"
        f"  where: {tmp_path / 'Q1.jpg'}\n"
        "  next:  check permissions and the disk, then run the command again"
    )
    assert PictureFolder.open(tmp_path).find("Q1") == ""  # an ingest finds no picture there


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_forbidden_file_is_said_to_be_so(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(halves(RED, BLUE), "PNG"))
    path.chmod(0)
    with pytest.raises(SourceError, match="cannot be read: Permission denied"):
        open_picture(path)


def test_an_open_picture_that_is_cut_off_is_broken() -> None:
    data = encoded(halves(RED, BLUE), "PNG")
    assert usable_picture(Image.open(io.BytesIO(data[:-60]))) == (
        None,
        IMAGE_STATUS.index("broken"),
    )


def test_all_of_them_in_one_batch(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(encoded(halves(RED, BLUE), "PNG"))
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "bomb").write_bytes(_png_that_claims(10**6, 10**6))
    (tmp_path / "small").write_bytes(encoded(Image.new("L", (1, 1)), "PNG"))
    _dangling(tmp_path / "link")
    names = ("good", "empty", "bomb", "small", "link")
    (batch,) = read_pictures(tmp_path / name for name in names)
    words = [IMAGE_STATUS[code] for code in batch.status.tolist()]
    assert words == ["ok", "broken", "broken", "too small", "missing"]
