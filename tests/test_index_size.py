"""An index above --max-file-size is told of at the end: the size holds for the shards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import featurestore
from cli.main import main
from featurestore.assemble import assemble
from featurestore.index_size import index_notes
from featurestore.ingest_shard import ingest_shard
from featurestore.ingest_shards import Shard
from featurestore.progress import Silent
from featurestore.sources.sample import write_sample
from tests.tiny_store import TinyStore

#: Shards of the small dataset fit into it, its index does not.
SIZE = 200_000


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many mentions of few entities."""
    folder = tmp_path_factory.mktemp("many") / "wikimel"
    write_sample(
        folder, dataset="wikimel", layout="preprocessed", mentions=120, entities=30,
        candidates=6, text_width=32, image_width=16, mention_tokens=32, entity_tokens=40,
        regions=4,
    )  # fmt: skip
    return folder


def told_of(text: str, store: Path) -> bool:
    size = store.stat().st_size
    return f"{store.name} takes {size:,} bytes, above --max-file-size {SIZE:,}" in text


def test_ingest_tells_of_a_large_index(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "s.h5"
    command = ["ingest", str(dataset), "-o", str(store), "--json", "--max-file-size"]
    assert main([*command, str(SIZE)]) == 0
    printed = capsys.readouterr()
    (note,) = json.loads(printed.out)["notes"]
    assert told_of(note, store)
    assert told_of(printed.err, store)
    with featurestore.open(store) as opened:
        assert all(shard.file_bytes <= SIZE for shard in opened.shards)
        assert opened.shards
        assert "above" not in json.dumps(opened.provenance["notes"])  # not of what it holds
    assert main([*command, str(10**9), "--overwrite"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["notes"] == []
    assert "--max-file-size" not in printed.err


def test_assemble_tells_of_a_large_index(dataset: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.h5"
    ingest_shard(dataset, store, Shard(number=1, of=1))
    assert told_of("".join(assemble(store, max_file_size=SIZE).notes), store)


def test_repack_tells_of_a_large_index(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, many = tmp_path / "one.h5", tmp_path / "many.h5"
    assert main(["ingest", str(dataset), "-o", str(one)]) == 0
    command = ["repack", str(one), "-o", str(many), "--overwrite"]
    capsys.readouterr()
    assert main([*command, "--json", "--max-file-size", str(SIZE)]) == 0
    printed = capsys.readouterr()
    (note,) = json.loads(printed.out)["notes"]
    assert told_of(note, many)
    assert told_of(printed.err, many)
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == []


def test_what_takes_most_is_named(tiny: TinyStore) -> None:
    (note,) = index_notes(tiny.path, 1000, Silent())
    with featurestore.open(tiny.path) as store:
        tables = (store.entities, store.mentions)
        most = max((f for t in tables for f in t.fields.values()), key=lambda f: f.stored_bytes)
    assert f"({most.stored_bytes:,} are {most.schema.path};" in note
    assert index_notes(tiny.path, tiny.path.stat().st_size, Silent()) == []
    assert index_notes(tiny.path, None, Silent()) == []
