"""Damage that a repair makes good: only what is damaged is made again, to the very same bytes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featurestore
from cli.main import main
from featurestore import Store, ingest_shards
from featurestore.encoders import pictures, raw
from featurestore.errors import SourceError, StoreError
from featurestore.ingest import ingest
from featurestore.options import IngestOptions
from featurestore.repair import repair
from featurestore.verify import content_digest, pieces_of, verify
from tests.flips import flip
from tests.golden_for_tests import PREPROCESSED, RAW, TINY
from tests.hdf5_edits import remove_header

SOURCES = {
    "raw wikimel": (RAW / "wikimel", TINY),
    "raw wikidiverse": (RAW / "wikidiverse", TINY),
    "preprocessed wikimel": (PREPROCESSED / "wikimel", IngestOptions(compression="zstd")),
    "preprocessed wikidiverse": (PREPROCESSED / "wikidiverse", IngestOptions(dtype="float32")),
}


@pytest.fixture(scope="module", autouse=True)
def small_windows() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest_shards, "BLOCK_ROWS", 8)
        patch.setattr(pictures, "WINDOW", 8)
        yield


@pytest.fixture(scope="module", params=SOURCES)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, small_windows: None
) -> Any:
    """A source, and the store that was made from it."""
    source, options = SOURCES[request.param]
    store = tmp_path_factory.mktemp("repair") / "s.h5"
    ingest(source, store, options=options)
    return source, store


def damage(store: Path, path: str, row: int) -> None:
    """Flip a bit of an array where a row stands."""
    with Store(store) as opened:
        pieces, _ = pieces_of(opened, path, dict(opened.catalog.arrays())[path])
        starts, sizes, row_bytes = pieces.starts, pieces.sizes, pieces.row_bytes
    place = starts[row] + sizes[row] // 2 if not row_bytes else starts[0] + row * row_bytes
    flip(store, int(place), 3)


def digest(path: Path) -> str:
    assert verify(path, "full").problems == []
    with featurestore.open(path) as store:
        return content_digest(store)


def test_every_array_is_made_again_as_it_was(made: Any, tmp_path: Path) -> None:
    source, whole = made
    with Store(whole) as store:
        paths = [p for p, array in store.catalog.arrays() if np.prod(array.shape)]
    # every seventh at once, because a repair takes a second; all of one source, some of the others
    for first in range(7 if source == PREPROCESSED / "wikimel" else 1):
        damaged = paths[first::7]
        store_path = Path(shutil.copy(whole, tmp_path / "s.h5"))
        for path in damaged:
            damage(store_path, path, 0)
        done = repair(store_path, source)
        assert sorted(done.rows) == sorted(damaged)
        assert done.exact
        assert digest(store_path) == digest(whole)
        assert [each.name for each in tmp_path.iterdir()] == ["s.h5"]


def test_only_what_is_damaged_is_encoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, options = SOURCES["raw wikimel"]
    store = tmp_path / "s.h5"
    ingest(source, store, options=options)
    before = digest(store)
    damage(store, "mentions/text_tokens", 11)
    encoded: list[str] = []
    encode = raw.TextEncoder.encode

    def counting(self: Any, texts: Any, **more: Any) -> Any:
        encoded.extend(texts)
        return encode(self, texts, **more)

    monkeypatch.setattr(raw.TextEncoder, "encode", counting)
    monkeypatch.setattr(raw.Encoders, "load", _without_pictures(raw.Encoders.load))
    done = repair(store, source)
    assert done.rows == {"mentions/text_tokens": 1}
    assert 0 < len(encoded) <= 8
    assert digest(store) == before


def _without_pictures(load: Any) -> Any:
    """Encoders that fail where a picture is encoded."""

    def loaded(*arguments: Any, **more: Any) -> Any:
        encoders = load(*arguments, **more)
        encoders.image.encode = encoders.image.encode_pooled = None
        encoders.clip.encode_texts = encoders.clip.encode_images = None
        return encoders

    return loaded


def test_a_sound_store_is_left_alone(made: Any, capsys: pytest.CaptureFixture[str]) -> None:
    source, store = made
    before = store.stat()
    assert main(["repair", str(store), "--from", str(source)]) == 0
    assert "nothing had to be made again" in capsys.readouterr().out
    assert store.stat().st_ino == before.st_ino


def test_damaged_metadata_are_written_again(made: Any, tmp_path: Path) -> None:
    source, whole = made
    store = Path(shutil.copy(whole, tmp_path / "s.h5"))
    content = store.read_bytes()
    flip(store, content.index(b"OHDR") + 9, 0)
    assert [p.path for p in verify(store, "full").problems] == ["(metadata)"]
    repair(store, source)
    assert digest(store) == digest(whole)


def test_the_command_says_what_was_made_again(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, whole = made
    store = Path(shutil.copy(whole, tmp_path / "s.h5"))
    damage(store, "mentions/image_mean", 1)
    assert main(["repair", str(store), "--from", str(source)]) == 0
    printed = capsys.readouterr().out
    assert "mentions/image_mean" in printed
    assert "every checksum is as it was" in printed
    damage(store, "mentions/image_mean", 1)
    assert main(["repair", str(store), "--from", str(source), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["exact"] is True


def test_another_source_is_refused_and_the_store_kept(made: Any, tmp_path: Path) -> None:
    source, whole = made
    other = next(s for s, _ in SOURCES.values() if s.name != source.name)
    store = Path(shutil.copy(whole, tmp_path / "s.h5"))
    damage(store, "mentions/image_mean", 1)
    before = store.read_bytes()
    with pytest.raises(SourceError, match="not what the store was made from") as caught:
        repair(store, other)
    assert caught.value.hint
    assert store.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["s.h5"]


def test_what_cannot_be_repaired_says_so(made: Any, tmp_path: Path) -> None:
    source, whole = made
    store = Path(shutil.copy(whole, tmp_path / "s.h5"))
    flip(store, store.stat().st_size - 3, 0)  # the catalog
    with pytest.raises(StoreError, match="the catalog is damaged"):
        repair(store, source)


def test_a_file_of_another_program_is_repaired_too(made: Any, tmp_path: Path) -> None:
    source, whole = made
    store = Path(shutil.copy(whole, tmp_path / "s.h5"))
    damage(store, "mentions/image_mean", 2)
    remove_header(store)
    repair(store, source)
    assert digest(store) == digest(whole)
