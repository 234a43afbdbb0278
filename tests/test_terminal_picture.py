"""Pictures on a terminal: shown where there is one, and hostile thumbnails are refused."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

import featurestore
from cli import terminal_picture
from cli.terminal_picture import decoded, picture_view
from featurestore import Store
from featurestore.encoders.small import small_jpeg
from featurestore.ingest import ingest
from tests.golden_for_tests import RAW
from tests.test_thumbnails import NO_ENCODERS


def jpeg(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(file, "JPEG")
    return file.getvalue()


def test_a_thumbnail_is_decoded() -> None:
    picture = decoded(small_jpeg(Image.new("RGB", (400, 200), (200, 30, 30))))
    assert picture is not None
    assert picture.size == (160, 80)
    red, green, blue = picture.getpixel((40, 40))
    assert (red > 190, green < 45, blue < 45) == (True, True, True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no picture",
        jpeg(161, 10),
        jpeg(3000, 3000),
        jpeg(100, 100)[:300],
        jpeg(100, 100).replace(b"\x00\x64\x00\x64", b"\xff\xdc\xff\xdc"),  # says 65,500 × 65,500
    ],
)
def test_what_is_no_thumbnail_of_ours_is_none(data: bytes) -> None:
    assert decoded(data) is None


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    ingest(RAW / "wikimel", tmp_path / "s.h5", options=NO_ENCODERS)
    with featurestore.open(tmp_path / "s.h5") as opened:
        yield opened


def shown(store: Store, row: int, monkeypatch: pytest.MonkeyPatch, **console: object) -> str:
    file = io.StringIO()
    terminal = Console(file=file, width=80, **console)  # type: ignore[arg-type]
    monkeypatch.setattr(terminal_picture, "stdout", lambda: terminal)
    terminal.print(*picture_view(store.mentions, row))
    return file.getvalue()


@pytest.mark.filterwarnings("ignore:Image.Image.getdata is deprecated")  # in textual-image
def test_a_picture_stands_on_a_terminal_and_nowhere_else(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = store.mentions.view("thumbnail_size")
    with_one, without = int((sizes > 0).argmax()), int((sizes == 0).argmax())
    terminal = {"force_terminal": True, "color_system": "truecolor"}
    text = shown(store, with_one, monkeypatch, **terminal)
    assert text.count("\n") > 3
    assert len(set(text)) > 3
    assert shown(store, without, monkeypatch, **terminal).strip() == ""
    assert shown(store, with_one, monkeypatch).strip() == ""
    assert shown(store, with_one, monkeypatch, **terminal, no_color=True).strip() == ""


def test_it_says_what_to_install(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "textual_image.renderable", None)
    row = int((store.mentions.view("thumbnail_size") > 0).argmax())
    text = shown(store, row, monkeypatch, force_terminal=True)
    assert 'pip install "drin-fs[pictures]"' in text
