"""Picture files: found by stem, opened safely, replaced only with a reason."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from featurestore.encoders.images import (
    DEFAULT_COLOUR,
    default_picture,
    open_picture,
    read_pictures,
)
from featurestore.errors import SourceError
from featurestore.schema import IMAGE_STATUS
from featurestore.sources.pictures import STATUS_CODE, SUFFIXES, PictureFolder

RAW = Path(__file__).parent / "golden" / "pipeline" / "raw" / "wikimel"


def status_of(path: Path | None) -> str:
    """The name of the status, after checking that a picture comes with "ok" and only then."""
    picture, code = open_picture(path)
    assert (picture is not None) == (code == STATUS_CODE["ok"])
    return IMAGE_STATUS[code]


def encoded(picture: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


class TestFolder:
    @given(present=st.sets(st.sampled_from(SUFFIXES), min_size=1))
    def test_the_first_suffix_present_is_taken(self, present: set[str]) -> None:
        folder = PictureFolder(Path("pictures"), frozenset("Q1" + suffix for suffix in present))
        assert folder.find("Q1") == "Q1" + min(present, key=SUFFIXES.index)
        assert folder.find("Q") == ""

    def test_folders_inside_are_no_pictures(self, tmp_path: Path) -> None:
        (tmp_path / "Q1").mkdir()
        (tmp_path / "Q2").write_bytes(b"")
        folder = PictureFolder.open(tmp_path)
        assert (folder.find("Q1"), folder.find("Q2"), len(folder)) == ("", "Q2", 1)

    def test_an_absent_folder_holds_nothing(self, tmp_path: Path) -> None:
        assert len(PictureFolder.open(tmp_path / "absent")) == 0

    def test_a_suffix_outside_the_list_is_not_found(self) -> None:
        assert PictureFolder(Path("pictures"), frozenset({"Q1.gif"})).find("Q1") == ""


class TestStatus:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [("Q100.jpg", "ok"), ("Q322.jpg", "broken"), ("Q396.jpg", "too small")],
    )
    def test_golden_pictures(self, name: str, expected: str) -> None:
        assert status_of(RAW / "entities" / "cleaned-images" / name) == expected

    def test_missing(self, tmp_path: Path) -> None:
        assert status_of(None) == "missing"
        assert status_of(tmp_path / "absent.jpg") == "missing"

    @pytest.mark.parametrize(
        ("size", "expected"),
        [((50, 50), "ok"), ((49, 400), "too small"), ((400, 49), "too small")],
    )
    def test_smallest_size(self, tmp_path: Path, size: tuple[int, int], expected: str) -> None:
        path = tmp_path / "picture.png"
        Image.new("RGB", size).save(path)
        assert status_of(path) == expected

    def test_a_truncated_picture_is_broken(self, tmp_path: Path) -> None:
        path = tmp_path / "picture.jpg"
        noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
        data = encoded(Image.fromarray(noise), "JPEG")
        path.write_bytes(data[: len(data) // 2])
        assert status_of(path) == "broken"

    def test_a_decompression_bomb_is_broken(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "picture.png"
        Image.new("RGB", (60, 60)).save(path)
        assert status_of(path) == "ok"
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60 * 60 // 2 - 1)
        assert status_of(path) == "broken"

    def test_a_format_that_runs_other_programs_is_not_opened(self, tmp_path: Path) -> None:
        path = tmp_path / "picture.jpg"
        path.write_bytes(encoded(Image.new("RGB", (60, 60)), "EPS"))
        assert status_of(path) == "broken"

    def test_what_the_system_refuses_is_no_broken_picture(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=r"cannot be read: Is a directory"):
            open_picture(tmp_path)

    def test_a_bug_of_ours_is_not_called_a_broken_picture(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "picture.png"
        Image.new("RGB", (60, 60)).save(path)
        monkeypatch.setattr(Image, "open", lambda *_, **__: None)
        with pytest.raises(AttributeError):
            open_picture(path)

    @pytest.mark.filterwarnings("ignore")  # Pillow warns of some damage
    @settings(max_examples=60, deadline=None)
    @given(
        file_format=st.sampled_from(["PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP"]),
        damage=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=8),
        kept=st.floats(0, 1),
    )
    def test_any_damage_gives_a_status(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        file_format: str,
        damage: list[tuple[int, int]],
        kept: float,
    ) -> None:
        data = bytearray(encoded(Image.linear_gradient("L").convert("RGB"), file_format))
        for place, value in damage:
            data[place] = value
        path = tmp_path_factory.getbasetemp() / "damaged"
        path.write_bytes(data[: round(kept * len(data))])
        assert status_of(path) in ("ok", "broken", "too small")


def _grey16() -> bytes:
    return encoded(Image.fromarray(np.full((60, 60), 100 * 256 + 7, np.uint16)), "PNG")


def _palette() -> bytes:
    picture = Image.new("P", (60, 60), 1)
    picture.putpalette([0, 0, 0, 100, 50, 20])
    return encoded(picture, "PNG", transparency=b"\x00\x10")


KINDS: dict[str, tuple[Callable[[], bytes], tuple[int, int, int]]] = {
    "16-bit grey": (_grey16, (100, 100, 100)),
    "palette with transparency": (_palette, (100, 50, 20)),
    "alpha": (lambda: encoded(Image.new("RGBA", (60, 60), (9, 8, 7, 0)), "PNG"), (9, 8, 7)),
    "grey with alpha": (lambda: encoded(Image.new("LA", (60, 60), (9, 3)), "PNG"), (9, 9, 9)),
    "black and white": (lambda: encoded(Image.new("1", (60, 60), 1), "PNG"), (255, 255, 255)),
    "CMYK": (
        lambda: encoded(Image.new("CMYK", (60, 60), (0, 51, 102, 0)), "TIFF"),
        (255, 204, 153),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture_becomes_rgb(tmp_path: Path, kind: str) -> None:
    make, colour = KINDS[kind]
    (tmp_path / "picture").write_bytes(make())
    picture, _ = open_picture(tmp_path / "picture")
    assert picture is not None
    assert (picture.mode, picture.size) == ("RGB", (60, 60))
    assert picture.getpixel((30, 30)) == colour


class TestReading:
    @pytest.fixture
    def paths(self, tmp_path: Path) -> list[Path | None]:
        """Seven pictures of different width, the fourth of them absent."""
        paths: list[Path | None] = [tmp_path / f"{width}.png" for width in range(50, 57)]
        for path in paths:
            assert path is not None
            Image.new("RGB", (int(path.stem), 50)).save(path)
        paths[3] = None
        return paths

    def test_pictures_come_in_order_in_batches(self, paths: list[Path | None]) -> None:
        batches = list(read_pictures(paths, batch_size=3))
        assert [len(batch.pictures) for batch in batches] == [3, 3, 1]
        widths = [picture.width for batch in batches for picture in batch.pictures]
        assert widths == [50, 51, 52, 224, 54, 55, 56]
        status = np.concatenate([batch.status for batch in batches])
        assert status.tolist() == [0, 0, 0, STATUS_CODE["missing"], 0, 0, 0]

    def test_an_absent_picture_becomes_the_default_one(self) -> None:
        (batch,) = read_pictures([None])
        assert batch.pictures[0].tobytes() == default_picture().tobytes()
        assert default_picture().getpixel((0, 0)) == DEFAULT_COLOUR

    def test_large_pictures_end_a_batch_early(self, paths: list[Path | None]) -> None:
        batches = list(read_pictures(paths[:3], batch_pixels=50 * 50 + 1))
        assert [len(batch.pictures) for batch in batches] == [2, 1]

    def test_an_unreadable_file_ends_the_reading(self, paths: list[Path | None]) -> None:
        with pytest.raises(SourceError):
            list(read_pictures([*paths, Path(__file__).parent]))
