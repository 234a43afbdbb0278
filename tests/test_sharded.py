"""Stores in several files: read as one, refused when a file is not the one that was written."""

from __future__ import annotations

import json
import pickle
import random
import shutil
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  registers filters
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import featurestore
from cli.main import main
from featurestore import Store, chunks
from featurestore.codecs import Compression
from featurestore.diff import diff
from featurestore.errors import FieldMissing, StoreError
from featurestore.neighbours import neighbours
from featurestore.repack import RepackOptions, repack
from featurestore.shard_plan import Sharding
from featurestore.shards import decode_shards, encode_shards
from featurestore.verify import verify
from linker.config_text import read_config
from linker.train import train
from tests.flips import flip
from tests.runs_for_tests import QUICK, QuickRun, figures_of, without_clock
from tests.tiny_store import TinyStore, expected, write_tiny_store

ENTITIES = 12
CUTS = (0, 1, 7)

#: As a chance has it; to make a store takes longer than to read it.
SOME_CUTS = [
    (0, *sorted(random.Random(seed).sample(range(1, ENTITIES), seed))) for seed in range(5)
]


def sharded(path: Path, cuts: tuple[int, ...] = CUTS, **changes: Any) -> TinyStore:
    return write_tiny_store(path, entities=ENTITIES, sharding=Sharding(firsts=cuts), **changes)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[TinyStore, TinyStore]:
    """The same rows in one file, and in three. Read them only."""
    folder = tmp_path_factory.mktemp("pair")
    return write_tiny_store(folder / "one.h5", entities=ENTITIES), sharded(folder / "many.h5")


@pytest.fixture
def copy(pair: tuple[TinyStore, TinyStore], tmp_path: Path) -> Path:
    """A sharded store that a test may change."""
    source = pair[1].path
    shutil.copytree(source.parent / "many.h5.shards", tmp_path / "many.h5.shards")
    return Path(shutil.copy(source, tmp_path))


def shard_files(store: Path) -> list[Path]:
    return sorted(store.with_name(f"{store.name}.shards").iterdir())


@pytest.fixture(scope="module")
def cut_anywhere(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes a store of these cuts; each once."""
    folder, made = tmp_path_factory.mktemp("cuts"), {}

    def make(cuts: tuple[int, ...], compression: Compression) -> TinyStore:
        key = (cuts, compression)
        if key not in made:
            path = folder / f"{len(made)}.h5"
            made[key] = sharded(path, cuts, compression=compression)
        return made[key]

    return make


@pytest.mark.usefixtures("no_thread_threshold")
@settings(max_examples=40)
@given(
    cuts=st.sampled_from(SOME_CUTS),
    compression=st.sampled_from(["lz4-fast", "none"]),
    rows=st.lists(st.integers(0, ENTITIES - 1), max_size=20),
    ascending=st.booleans(),
)
def test_any_rows_of_any_cuts_are_what_was_written(
    cut_anywhere: Any,
    cuts: tuple[int, ...],
    compression: Compression,
    rows: list[int],
    ascending: bool,
) -> None:
    tiny = cut_anywhere(cuts, compression)
    rows = sorted(rows) if ascending else rows
    with featurestore.open(tiny.path, verify_reads=True) as store:
        entities = store.entities
        found = entities.gather_all(entities.fields, rows)
        for name, values in found.items():
            np.testing.assert_array_equal(values, expected(tiny, f"entities/{name}", rows), name)
            if entities.stored(name).schema.layout == "record":
                whole = entities.whole_records(name, rows)
                np.testing.assert_array_equal(whole[:, : values.shape[1]], values)
                assert not whole[:, values.shape[1] :].any()


@pytest.fixture(scope="module")
def no_thread_threshold() -> Any:
    """Threads work together on everything, however little there is to do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "_PARALLEL", 1)
        yield


def test_both_forms_are_one_store(pair: tuple[TinyStore, TinyStore]) -> None:
    one, many = (featurestore.open(tiny.path) for tiny in pair)
    with one, many:
        assert one.fingerprint == many.fingerprint
        assert [len(shard.entities) for shard in many.shards] == [1, 6, 5]
        assert diff(one, many).same
        assert set(many.entities.fields) == set(one.entities.fields)
        assert many.entities.find(["Q100", "Q111", "no"]).tolist() == [0, 11, -1]
        assert many.entities[11]["title"] == one.entities[11]["title"]
        assert many.width("entities/objects") == one.width("entities/objects")
        assert many.file_bytes == sum(
            f.stat().st_size for f in [many.path, *shard_files(many.path)]
        )


def test_blocks_join_shards(pair: tuple[TinyStore, TinyStore]) -> None:
    with featurestore.open(pair[1].path) as store:
        values = pair[1].values["entities/text_mean"]
        for first, stop in ((0, 12), (0, 1), (1, 7), (6, 8), (3, 3), (12, 12)):
            found = store.entities.block("text_mean", range(first, stop))
            np.testing.assert_array_equal(found, values[first:stop])
        with pytest.raises(FieldMissing, match="stands in 3 files"):
            store.entities.view("text_mean")
        with pytest.raises(FieldMissing, match="stand in 3 files"):
            store.entities.chunk_table("text_tokens")


def test_the_memory_of_the_caller_is_filled_in_place(pair: tuple[TinyStore, TinyStore]) -> None:
    made: list[np.ndarray] = []

    def new(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        made.append(np.full(shape, 7, dtype))
        return made[-1]

    with featurestore.open(pair[1].path) as store:
        found = store.entities.gather_all(["text_mean", "objects"], [0, 1, 8], new=new)
    assert [found["text_mean"] is made[0], found["objects"] is made[1]] == [True, True]


def test_other_programs_see_one_file(pair: tuple[TinyStore, TinyStore]) -> None:
    with h5py.File(pair[0].path) as one, h5py.File(pair[1].path) as many:
        for name in ("text_mean", "text_tokens", "objects", "thumbnail"):
            joined = many["entities"][name]
            assert joined.is_virtual
            np.testing.assert_array_equal(joined[...], one["entities"][name][...])
            assert dict(joined.attrs) == dict(one["entities"][name].attrs)


def test_a_shard_is_a_store_of_its_own(pair: tuple[TinyStore, TinyStore]) -> None:
    file = shard_files(pair[1].path)[1]
    assert verify(file, "full").problems == []
    with featurestore.open(file) as shard:
        assert shard.entities.ids([0]) == ["Q101"]
        assert shard.entities.find(["Q106", "Q100"]).tolist() == [5, -1]
        assert (len(shard.mentions), shard.mentions.splits) == (0, {})
        assert shard.provenance["shard"]["rows"] == [1, 7]


def test_it_crosses_processes(pair: tuple[TinyStore, TinyStore]) -> None:
    with pickle.loads(pickle.dumps(featurestore.open(pair[1].path))) as store:
        assert len(store.shards) == 3
        assert store.entities.gather("text_mean", [11]).shape[0] == 1


def test_a_closed_store_says_so(pair: tuple[TinyStore, TinyStore]) -> None:
    store = featurestore.open(pair[1].path)
    store.release_pages()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.entities.gather("text_mean", [0])


def test_a_store_that_is_open_outlives_its_files(copy: Path) -> None:
    with featurestore.open(copy) as store:
        for file in shard_files(copy):
            file.unlink()
        assert store.entities.gather("text_mean", [0, 11]).shape[0] == 2


def test_a_missing_shard_is_named(copy: Path) -> None:
    missing = shard_files(copy)[1]
    missing.unlink()
    with pytest.raises(StoreError, match="missing: rows 1 to 6") as caught:
        featurestore.open(copy)
    assert caught.value.where == str(missing)
    assert "many.h5 and the folder many.h5.shards belong together" in caught.value.hint


def test_a_shard_that_was_cut_off_is_named(copy: Path) -> None:
    file = shard_files(copy)[2]
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - 1)
    with pytest.raises(StoreError, match=r"where the index many\.h5 names one of") as caught:
        featurestore.open(copy)
    assert caught.value.where == str(file)


@pytest.mark.parametrize("other", ["of another store", "of other rows", "damaged"])
def test_another_shard_is_refused(copy: Path, tmp_path: Path, other: str) -> None:
    file = shard_files(copy)[0]
    if other == "damaged":
        flip(file, 70, 0)
    else:
        cuts = CUTS if other == "of another store" else (0, 1, 6)
        made = sharded(tmp_path / "x.h5", cuts, seed=3 if cuts == CUTS else 0)
        shutil.copy(shard_files(made.path)[0 if cuts == CUTS else 1], file)
    with pytest.raises(StoreError, match=r"another shard|of \d+ bytes|header is damaged") as caught:
        featurestore.open(copy)
    assert caught.value.where == str(file)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"file": "../other/x.h5"}, "not as it must be"),
        ({"file": "/etc/passwd"}, "not as it must be"),
        ({"rows": [0, 2]}, r"rows 1 to 7 after 2"),
        ({"rows": [0, -1]}, "not as it must be"),
        ({"bytes": "many"}, "not as it must be"),
    ],
)
def test_a_manifest_leads_nowhere_else(
    pair: tuple[TinyStore, TinyStore], change: dict[str, Any], what: str
) -> None:
    with featurestore.open(pair[1].path) as store:
        manifest = json.loads(store.catalog.attributes["shards"])
    attributes = {"shards": json.dumps([manifest[0] | change, *manifest[1:]])}
    with pytest.raises(StoreError, match=what):
        decode_shards(attributes, ENTITIES, Path("many.h5"))
    shards = decode_shards({"shards": json.dumps(manifest)}, ENTITIES, Path("x"))
    assert json.loads(encode_shards(shards)) == manifest
    with pytest.raises(StoreError, match="has 12 rows of 13"):
        decode_shards({"shards": encode_shards(shards)}, 13, Path("x"))


def test_verify_names_the_file_of_a_flipped_bit(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = shard_files(copy)[1]
    with featurestore.open(file) as shard:
        extent = shard.entities.stored("image_pooled").extent
        assert extent is not None
    flip(file, extent.offset + 3, 1)
    assert main(["verify", "--full", str(copy)]) == 3
    told = capsys.readouterr().out
    assert "1 problem" in told
    assert file.name in told
    assert "entities/image_pooled" in told
    with featurestore.open(copy, verify_reads=True) as store:
        assert store.entities.gather("image_pooled", [0, 8]).shape[0] == 2
        with pytest.raises(StoreError, match="not what was written") as caught:
            store.entities.gather("image_pooled", [0, 8, 3])
    assert str(file) in caught.value.where


@pytest.mark.parametrize(
    "command",
    [
        ["inspect", "STORE"],
        ["inspect", "STORE", "--field", "entities/text_tokens"],
        ["inspect", "STORE", "--entity", "Q105"],
        ["inspect", "STORE", "--search", "Title"],
        ["audit", "STORE"],
        ["verify", "STORE"],
    ],
)
def test_commands_say_the_same_of_both_forms(
    pair: tuple[TinyStore, TinyStore], command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for tiny in pair:
        status = main([str(tiny.path) if word == "STORE" else word for word in command])
        lines = capsys.readouterr().out.replace(str(tiny.path), "STORE").splitlines()
        own = (" on disk", "share of", "UTC by drin-fs")  # what depends on files and time
        kept = [line for line in lines if not any(word in line for word in own)]
        said.append((status, [line for line in kept if "│" in line or "%" not in line]))
    assert said[0] == said[1]


def test_neighbours_are_those_of_one_file(pair: tuple[TinyStore, TinyStore]) -> None:
    found = []
    for tiny in pair:
        with featurestore.open(tiny.path) as store:
            found.append(neighbours(store, "entities", 3, k=5))
    assert found[0] == found[1]


def test_a_repair_is_refused(copy: Path, tmp_path: Path) -> None:
    from featurestore.repair import repair

    for path in (copy, shard_files(copy)[0]):
        with pytest.raises(StoreError, match="cannot be repaired in place"):
            repair(path, tmp_path)


def test_training_is_the_same_to_the_last_bit(quick: QuickRun, tmp_path: Path) -> None:
    store = tmp_path / "cut.h5"
    with Store(quick.store) as one:
        rows = len(one.entities)
    repack(quick.store, store, options=RepackOptions(firsts=(0, 1, rows // 2)))
    summary = train(store, read_config(QUICK), run=tmp_path / "run")
    assert without_clock(summary) == without_clock(quick.summary) | {
        key: summary[key] for key in ("store", "run") if key in summary
    }
    assert figures_of(tmp_path / "run" / "metrics.csv") == figures_of(quick.folder / "metrics.csv")
    ranks = [folder / "ranks" / "test.npy" for folder in (tmp_path / "run", quick.folder)]
    if ranks[0].exists():
        assert ranks[0].read_bytes() == ranks[1].read_bytes()
