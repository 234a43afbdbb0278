"""Exports: the release's arrays bit by bit, JSON lines, parquet; complete folders or none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import featurestore
from cli.main import main
from featurestore import derive
from featurestore.errors import ConfigError, FieldMissing, SourceError, StoreError, WriteError
from featurestore.export import export_jsonl, export_npy, export_parquet
from featurestore.export.projection import principal_plane
from featurestore.ingest import ingest
from featurestore.options import IngestOptions
from featurestore.progress import Silent
from featurestore.schema import NO_ROW
from featurestore.sources.sample import write_sample
from featurestore.store import Store
from tests.hdf5_edits import edited
from tests.tiny_store import TinyStore, write_tiny_store

RELEASES = Path(__file__).parent / "golden" / "pipeline" / "preprocessed"
EXACT = IngestOptions(dtype="float32")
FILES = {"wikimel": 42, "wikidiverse": 54}
OBJECTS = {
    f"{table}/object{rest}" for table in ("entities", "mentions") for rest in ("s", "_scores")
}


def stored(dataset: str, folder: Path, options: IngestOptions = EXACT) -> Path:
    """A recorded release as a store."""
    target = folder / f"{dataset}.h5"
    ingest(RELEASES / dataset, target, options=options)
    return target


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def content(path: Path) -> Any:
    """What a file of a release says: shape, type and bytes of an array, or the JSON in order."""
    if path.suffix == ".json":
        return list(json.loads(path.read_text(encoding="utf-8")).items())
    array = np.load(path, allow_pickle=False)
    return array.shape, array.dtype.str, array.flags.c_contiguous, array.tobytes()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# npy --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", FILES)
def test_a_release_comes_back_byte_for_byte(dataset: str, tmp_path: Path) -> None:
    with featurestore.open(stored(dataset, tmp_path)) as store:
        summary = export_npy(store, tmp_path / "out")
    recorded = RELEASES / dataset
    assert names(tmp_path / "out") == names(recorded)
    for name in names(recorded):
        assert content(tmp_path / "out" / name) == content(recorded / name), name
    assert summary.files == FILES[dataset]
    assert summary.bytes == sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert summary.notes == []


@pytest.mark.parametrize("dataset", FILES)
def test_blocks_join_without_a_seam_and_memory_stays_small(
    dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    write_sample(
        source, dataset=dataset, layout="preprocessed", mentions=300, entities=40, entity_tokens=40
    )
    ingest(source, tmp_path / "s.h5", options=EXACT)
    monkeypatch.setattr(derive, "BLOCK_BYTES", 50_000)  # 2 to 3 pictures
    with featurestore.open(tmp_path / "s.h5") as store:
        tracemalloc.start()
        export_npy(store, tmp_path / "out")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert names(tmp_path / "out") == names(source)
    for name in names(source):
        assert content(tmp_path / "out" / name) == content(source / name), name
    # Python's own table of names may grow by 2 MB just then
    assert peak < 3e6 < (source / "mention-image-feature_train.npy").stat().st_size


class Watch(Silent):
    """The most of a mapped file that is in this process's memory whenever a stage advances."""

    def __init__(self, path: Path) -> None:
        self.path, self.most = str(path), 0

    def advance(self, amount: int) -> None:
        maps = Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines()
        heads = [place for place, line in enumerate(maps) if line.endswith(self.path)]
        resident = (line for at in heads for line in maps[at : at + 5] if line.startswith("Rss:"))
        self.most = max(self.most, sum(1024 * int(line.split()[1]) for line in resident))


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux tells what is resident")
@pytest.mark.parametrize(
    "export", [export_npy, partial(export_parquet, field="mentions/image_mean"), export_jsonl]
)
def test_what_was_read_of_the_store_does_not_stay_in_memory(
    export: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sample(tmp_path / "source", layout="preprocessed", mentions=300, entities=40)
    ingest(tmp_path / "source", tmp_path / "s.h5", options=EXACT)
    monkeypatch.setattr(derive, "BLOCK_BYTES", 500_000)
    watch = Watch(tmp_path / "s.h5")
    with featurestore.open(tmp_path / "s.h5") as store:
        np.add.reduce(np.frombuffer(store._file.bytes, np.uint8), dtype=np.int64)  # all of it
        watch.advance(0)
        assert watch.most > 0.9 * store.file_bytes
        watch.most = 0
        export(store, tmp_path / "out", progress=watch)
    assert watch.most < 1e6 < (tmp_path / "s.h5").stat().st_size


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (IngestOptions(dtype="float16", padding="keep"), ["float16"]),
        (IngestOptions(dtype="float32", padding="drop"), ["beyond a text's end"]),
        (IngestOptions(dtype="float32", limit=3), ["not complete"]),
        (IngestOptions(), ["float16", "beyond a text's end"]),
    ],
)
def test_what_keeps_an_export_from_being_exact_is_said(
    options: IngestOptions, said: list[str], tmp_path: Path
) -> None:
    with featurestore.open(stored("wikimel", tmp_path, options)) as store:
        notes = export_npy(store, tmp_path / "out").notes
    assert len(notes) == len(said)
    assert all(phrase in note for phrase, note in zip(said, notes, strict=True))


def test_float16_without_padding_is_near_and_zero_beyond_the_text(tmp_path: Path) -> None:
    with featurestore.open(stored("wikimel", tmp_path, IngestOptions())) as store:
        export_npy(store, tmp_path / "out")
    name = "mention-text-{}_train.npy"
    ours, recorded = (
        np.load(folder / name.format("feature"))
        for folder in (tmp_path / "out", RELEASES / "wikimel")
    )
    mask = np.load(RELEASES / "wikimel" / name.format("mask")).astype(bool)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours[mask], recorded[mask], rtol=1e-3, atol=1e-4)
    assert not ours[~mask].any()
    assert recorded[~mask].any()


def test_repeated_rows_that_differed_are_said(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for path in (RELEASES / "wikidiverse").iterdir():
        array = np.load(path)
        if path.name == "entity-attr-feature_test.npy":
            array = array + np.float32(0.5)
        np.save(source / path.name, array)
    ingest(source, tmp_path / "s.h5", options=EXACT)
    with featurestore.open(tmp_path / "s.h5") as store:
        (note,) = export_npy(store, tmp_path / "out").notes
    assert note.startswith("not bit-exact: entity-attr-feature: ")
    assert "the first is stored" in note


@pytest.mark.parametrize("without", [set(), {"entities/text_pooled"}])
def test_a_split_without_mentions_has_its_files(without: set[str], tmp_path: Path) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5", mentions=(5, 0, 3), without=without)
    with featurestore.open(tiny.path) as store:
        export_npy(store, tmp_path / "out")
    for path in (tmp_path / "out").glob("*_train.npy"):
        full = np.load(path)
        empty = np.load(path.with_name(path.name.replace("_train", "_valid")))
        assert empty.shape == (0, *full.shape[1:])
        assert empty.dtype.kind == full.dtype.kind
    assert np.load(tmp_path / "out" / "start-pos_train.npy").dtype == np.int64


@pytest.mark.parametrize("form", ["wikimel", "wikidiverse"])
def test_every_field_that_is_missing_is_named_before_anything_is_written(
    form: str, tmp_path: Path
) -> None:
    without = OBJECTS | ({"entities/text_pooled"} if form == "wikimel" else set())
    tiny = write_tiny_store(tmp_path / "s.h5", without=without)
    with (
        featurestore.open(tiny.path) as store,
        pytest.raises(FieldMissing, match="lacks 4 fields") as caught,
    ):
        export_npy(store, tmp_path / "out")
    assert all(path in caught.value.what for path in OBJECTS)
    assert caught.value.hint == "ingest again with them; they come from: --detector"
    assert names(tmp_path) == ["s.h5"]


def test_a_mention_without_gold_is_named(tmp_path: Path) -> None:
    gold = np.zeros(10, np.int32)
    gold[6] = NO_ROW
    tiny = write_tiny_store(tmp_path / "s.h5", change={"mentions/gold": gold})
    with (
        featurestore.open(tiny.path) as store,
        pytest.raises(SourceError, match="no gold entity") as caught,
    ):
        export_npy(store, tmp_path / "out")
    assert caught.value.where.endswith("/mentions/gold[6]")
    assert names(tmp_path) == ["s.h5"]


def test_a_list_of_candidates_with_empty_places_is_named(tmp_path: Path) -> None:
    full = write_tiny_store(tmp_path / "full.h5")
    candidates = full.values["mentions/candidates"].copy()
    candidates[7, -1] = NO_ROW
    tiny = write_tiny_store(tmp_path / "s.h5", change={"mentions/candidates": candidates})
    with (
        featurestore.open(tiny.path) as store,
        pytest.raises(SourceError, match="1 mentions have fewer than the") as caught,
    ):
        export_npy(store, tmp_path / "out")
    assert caught.value.where.endswith("/mentions/candidates[7]")
    assert "jsonl" in caught.value.hint
    assert names(tmp_path) == ["full.h5", "s.h5"]


# jsonl ------------------------------------------------------------------------------------------


def test_jsonl_holds_the_texts_and_ids_of_every_row(tmp_path: Path) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5")
    with featurestore.open(tiny.path) as store:
        summary = export_jsonl(store, tmp_path / "out")
    value = tiny.values
    ids = value["entities/id"]
    entity, mention = (lines(tmp_path / "out" / f"{t}.jsonl") for t in ("entities", "mentions"))
    assert (len(entity), len(mention)) == (8, 10)
    assert [row["id"] for row in entity] == ids
    assert [row["title"] for row in entity] == value["entities/title"]
    assert [row["description"] for row in entity] == value["entities/description"]
    assert [row["id"] for row in mention] == value["mentions/id"]
    assert [row["split"] for row in mention] == ["train"] * 5 + ["valid"] * 2 + ["test"] * 3
    for row, one in enumerate(mention):
        start, end = one["span"]
        assert one["sentence"][start:end] == one["mention"] == f"name{row}"
        assert one["gold"] == ids[value["mentions/gold"][row]]
        assert one["candidates"] == [ids[c] for c in value["mentions/candidates"][row]]
    assert summary.rows == {"mentions": 10, "entities": 8}
    assert summary.notes == []


def test_rows_that_are_no_entity_are_null(tmp_path: Path) -> None:
    change = {
        "mentions/gold": np.array([NO_ROW] + [3] * 9, np.int32),
        "mentions/candidates": np.array([[2, NO_ROW, 1, 2]] * 10, np.int32),
    }
    tiny = write_tiny_store(tmp_path / "s.h5", change=change)
    with featurestore.open(tiny.path) as store:
        export_jsonl(store, tmp_path / "out")
    first, second, *_ = lines(tmp_path / "out" / "mentions.jsonl")
    assert (first["gold"], second["gold"]) == (None, "Q103")
    assert first["candidates"] == ["Q102", None, "Q101", "Q102"]


def test_a_text_with_line_ends_is_one_line(tmp_path: Path) -> None:
    texts = [f"a\nb\r\u2028c\u2029d\x85e\x0b{i}" for i in range(8)]
    tiny = write_tiny_store(tmp_path / "s.h5", change={"entities/title": texts})
    with featurestore.open(tiny.path) as store:
        export_jsonl(store, tmp_path / "out")
    assert [row["title"] for row in lines(tmp_path / "out" / "entities.jsonl")] == texts


def test_what_a_store_of_arrays_cannot_tell_is_left_out_and_said(tmp_path: Path) -> None:
    with featurestore.open(stored("wikimel", tmp_path)) as store:
        notes = export_jsonl(store, tmp_path / "out").notes
    assert lines(tmp_path / "out" / "entities.jsonl")[0] == {"id": "Q100"}
    first = lines(tmp_path / "out" / "mentions.jsonl")[0]
    assert set(first) == {"id", "sentence", "split", "gold", "candidates"}
    assert notes[0] == "not in this store: entities/title, description, text, image_path"
    assert notes[1].startswith("not in this store: mentions/mention, ")


# parquet ----------------------------------------------------------------------------------------

MATRICES = arrays(
    np.float32,
    st.tuples(st.integers(1, 30), st.integers(1, 6)),
    elements=st.floats(-10, 10, width=32),
)


@given(MATRICES, st.integers(1, 9))
def test_the_plane_holds_as_much_variance_as_that_of_all_rows_at_once(
    rows: np.ndarray, step: int
) -> None:
    plane = principal_plane(
        lambda: (rows[first : first + step] for first in range(0, len(rows), step)), rows.shape[1]
    )
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    best = np.linalg.svd(centred, compute_uv=False)[:2]
    scale = max(1.0, float(np.square(centred).sum()))
    kept = np.square(plane(rows).astype(np.float64)).sum(axis=0)
    np.testing.assert_allclose(kept[: len(best)], np.square(best), atol=1e-5 * scale)


def test_the_plane_lies_the_same_way_every_time() -> None:
    rows = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32) * [1, 9, 3]
    for each in (rows, rows[::-1]):
        axes = principal_plane(lambda each=each: iter([each]), 3).axes
        assert np.abs(axes).argmax(axis=0).tolist() == [1, 2]
        assert axes.max(axis=0) == pytest.approx([1, 1], abs=0.05)


def test_one_dimension_has_no_second_axis() -> None:
    rows = np.array([[1.0], [3.0]], np.float32)
    assert principal_plane(lambda: iter([rows]), 1)(rows).tolist() == [[-1, 0], [1, 0]]


@pytest.mark.parametrize(
    ("field", "title", "text"),
    [("entities/text_mean", "title", "text"), ("mentions/text_span", "mention", "sentence")],
)
def test_parquet_has_texts_vectors_and_their_place_in_the_plane(
    field: str, title: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("featurestore.export.parquet._ROWS", 3)
    tiny = write_tiny_store(tmp_path / "s.h5")
    with featurestore.open(tiny.path) as store:
        export_parquet(store, tmp_path / "out", field=field)
    table = field.partition("/")[0]
    read = parquet.read_table(tmp_path / "out" / f"{table}.parquet").to_pydict()
    assert list(read) == ["id", "title", "text", "vector", "x", "y"]
    for column, name in (("id", "id"), ("title", title), ("text", text)):
        assert read[column] == tiny.values[f"{table}/{name}"]
    vectors = tiny.values[field]
    assert np.array_equal(np.array(read["vector"], np.float32), vectors)
    plane = principal_plane(lambda: iter([vectors]), vectors.shape[1])
    np.testing.assert_allclose(np.column_stack([read["x"], read["y"]]), plane(vectors), atol=1e-5)


@pytest.mark.parametrize("field", ["entities/text_tokens", "entities/title", "nonsense"])
def test_a_field_that_is_no_vector_is_refused_with_those_that_are(
    field: str, store: Store, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(ConfigError, match=f"--field {field}: not a feature") as caught:
        export_parquet(store, tmp_path / "out", field=field)
    assert "entities/text_mean" in caught.value.hint
    assert "text_tokens" not in caught.value.hint


def test_without_pyarrow_the_extra_is_named(
    tiny: TinyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["export", str(tiny.path), str(tmp_path / "out"), "--format", "parquet"]) == 1
    assert capsys.readouterr().err.endswith('next:  pip install "drin-fs[export]"\n')


# the folder -------------------------------------------------------------------------------------


def test_a_folder_with_something_in_it_is_left_alone(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "precious.txt").write_text("mine")
    with pytest.raises(WriteError, match="not empty") as caught:
        export_jsonl(store, target)
    assert caught.value.where == str(target)
    assert names(tmp_path) == ["out"]
    assert names(target) == ["precious.txt"]


def test_an_empty_folder_is_filled(store: Store, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export_jsonl(store, tmp_path / "out")
    assert names(tmp_path / "out") == ["entities.jsonl", "mentions.jsonl"]


def test_a_link_to_an_empty_folder_is_followed(store: Store, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    export_jsonl(store, tmp_path / "link")
    assert names(tmp_path / "real") == ["entities.jsonl", "mentions.jsonl"]
    assert (tmp_path / "link").is_symlink()


def test_a_file_and_a_folder_without_parent_are_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="is a file"):
        export_jsonl(store, tmp_path / "file")
    with pytest.raises(WriteError, match="folder above does not exist"):
        export_jsonl(store, tmp_path / "no" / "out")


class Interrupted(Silent):
    """Stops the program when one file is begun."""

    def __init__(self, name: str) -> None:
        self._name = name

    @contextmanager
    def stage(self, name: str, total: int, unit: str):
        if name == self._name:
            raise KeyboardInterrupt
        yield self


def test_an_interrupted_export_leaves_nothing(store: Store, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        export_npy(store, tmp_path / "out", progress=Interrupted("answer_test"))
    assert names(tmp_path) == []


def test_what_a_killed_export_left_is_removed(store: Store, tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for process in (ended.pid, os.getppid()):
        (tmp_path / f".out.{process}.part").mkdir()
        (tmp_path / f".out.{process}.part" / "half.npy").touch()
    export_jsonl(store, tmp_path / "out")
    assert names(tmp_path) == [f".out.{os.getppid()}.part", "out"]


@pytest.mark.parametrize("form", ["npy", "jsonl", "parquet"])
def test_a_full_disk_is_said_and_leaves_nothing(form: str, tiny: TinyStore, tmp_path: Path) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    limited = (
        "import resource, sys;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000));"
        "from cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["export", str(tiny.path), str(tmp_path / "out"), "--format", form]
    done = subprocess.run(
        [sys.executable, "-c", limited, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "the disk is full or a size limit was reached" in done.stderr
    assert f"where: {tmp_path / 'out'}" in done.stderr
    assert "name a folder on another disk" in done.stderr
    assert names(tmp_path) == []


# the command ------------------------------------------------------------------------------------


def test_the_command_writes_and_tells(tmp_path: Path, capsys) -> None:
    store = stored("wikidiverse", tmp_path, IngestOptions())
    assert main(["export", str(store), str(tmp_path / "a"), "--format", "npy", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["format"], told["files"]) == ("npy", 54)
    assert told["rows"] == {"train": 14, "valid": 5, "test": 5, "entities": 25}
    assert main(["export", str(store), str(tmp_path / "b"), "--format", "npy"]) == 0
    text = capsys.readouterr().out
    assert "14 train, 5 valid, 5 test, 25 entities" in text
    assert "not bit-exact" in text


def test_a_field_goes_with_parquet_only(tiny: TinyStore, tmp_path: Path, capsys) -> None:
    arguments = ["export", str(tiny.path), str(tmp_path / "out"), "--format", "npy"]
    assert main([*arguments, "--field", "entities/text_mean"]) == 2
    assert "--field goes with --format parquet" in capsys.readouterr().err


def test_vectors_that_are_not_finite_have_no_plane(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow.parquet")
    path = write_tiny_store(tmp_path / "s.h5").path
    with edited(path) as file:
        file["entities/text_mean"][5, 2] = np.inf
    with featurestore.open(path) as store, pytest.raises(StoreError) as caught:
        export_parquet(store, tmp_path / "out", field="entities/text_mean")
    assert caught.value.where == "/entities/text_mean[5]"
    assert not (tmp_path / "out").exists()
