"""One hash of a store's content: blind to how it was written, not to any value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featurestore
from cli.main import main
from featurestore.codecs import Compression
from featurestore.content_hash import content_hash
from featurestore.schema import BY_PATH
from featurestore.writer import StoreWriter
from tests.tiny_store import PROVENANCE, TinyStore, tiny_values, write_values

SPLITS = {"train": range(0, 9), "valid": range(9, 12), "test": range(12, 15)}


def hash_of(path: Path) -> str:
    with featurestore.open(path) as store:
        return content_hash(store)


def written(
    path: Path, values: dict[str, Any], splits: dict[str, range], compression: Compression
) -> str:
    with StoreWriter.create(path, compression=compression) as writer:
        write_values(writer, values, splits, set())
        writer.publish(dataset="d", provenance=PROVENANCE | {"run": {"at": str(path)}})
    return hash_of(path)


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    return tiny_values(entities=12, mentions=15)


def test_the_way_of_writing_does_not_count(tmp_path: Path, values: dict[str, Any]) -> None:
    compressions: tuple[Compression, ...] = ("lz4-fast", "lz4-fast", "lz4", "zstd", "gzip", "none")
    hashes = {
        written(tmp_path / f"{number}.h5", values, SPLITS, compression)
        for number, compression in enumerate(compressions)
    }
    assert len(hashes) == 1


def changed(value: Any) -> Any:
    """The values of a field, of which the last is another."""
    if isinstance(value, list) and isinstance(value[-1], str):
        return [*value[:-1], f"{value[-1]}!"]
    if isinstance(value, list):
        last = np.array(value[-1])
        last[-1] = 1 - last[-1]
        return [*value[:-1], last]
    other = np.array(value)
    other[-1] = 1 - other[-1]
    return other


@pytest.mark.parametrize(
    "path",
    [
        "entities/id",
        "entities/text_tokens",
        "entities/objects",
        "entities/object_scores",
        "mentions/sentence",
        "mentions/image_regions",
        "mentions/gold",
    ],
)
def test_every_value_counts(tmp_path: Path, values: dict[str, Any], path: str) -> None:
    assert BY_PATH[path].layout in ("text", "record", "view", "column")
    one = written(tmp_path / "a.h5", values, SPLITS, "lz4")
    two = written(tmp_path / "b.h5", values | {path: changed(values[path])}, SPLITS, "lz4")
    assert one != two


def test_splits_and_the_split_between_texts_count(tmp_path: Path, values: dict[str, Any]) -> None:
    moved = {"train": range(0, 8), "valid": range(8, 12), "test": range(12, 15)}
    titles = values["entities/title"]
    shifted = [titles[0] + titles[1][:1], titles[1][1:], *titles[2:]]
    hashes = {
        written(tmp_path / "a.h5", values, SPLITS, "lz4"),
        written(tmp_path / "b.h5", values, moved, "lz4"),
        written(tmp_path / "c.h5", values | {"entities/title": shifted}, SPLITS, "lz4"),
    }
    assert len(hashes) == 3


def test_the_command_prints_it(tiny: TinyStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tiny.path), "--content-hash"]) == 0
    assert capsys.readouterr().out == f"{hash_of(tiny.path)}\n"
    assert main(["inspect", str(tiny.path), "--content-hash", "--json"]) == 0
    assert f'"content_hash": "{hash_of(tiny.path)}"' in capsys.readouterr().out
