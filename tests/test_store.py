"""Reading a store: every value comes back, in any order, by any reader."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - h5py finds the filters once this is imported
import numpy as np
import pyfive
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import featurestore
from featurestore import Store, chunks, threads
from featurestore.codecs import COMPRESSIONS, Compression
from featurestore.errors import FieldMissing, UnknownId
from featurestore.schema import BY_PATH, FEATURE, FIELDS
from featurestore.writer import FeatureDtype
from tests.tiny_store import SIZES, TinyStore, expected, shape_of, write_tiny_store

RAGGED = [field.path for field in FIELDS if field.ragged and field.dtype == FEATURE]


def assert_holds(store: Store, tiny: TinyStore, *, dtype: FeatureDtype = "float32") -> None:
    """Every field of the store holds what was written."""
    for path in tiny.values:
        table, _, name = path.partition("/")
        rows = list(range(len(store.table(table))))
        found, wanted = store.table(table).gather(name, rows), expected(tiny, path, rows)
        if BY_PATH[path].dtype == FEATURE:
            wanted = wanted.astype(dtype)
            assert found.dtype == np.dtype(dtype), path
        assert found == wanted if isinstance(found, list) else np.array_equal(found, wanted), path


def assert_equal(found: Any, wanted: Any) -> None:
    assert type(found) is type(wanted)
    assert found == wanted if isinstance(found, list) else np.array_equal(found, wanted)


# round trips ------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", COMPRESSIONS)
@given(
    entities=st.integers(0, 7),
    mentions=st.tuples(*[st.integers(0, 4)] * 3),
    dtype=st.sampled_from(["float16", "float32"]),
    seed=st.integers(0, 3),
)
@settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow])
def test_every_value_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    compression: Compression,
    entities: int,
    mentions: tuple[int, int, int],
    dtype: FeatureDtype,
    seed: int,
) -> None:
    tiny = write_tiny_store(
        tmp_path_factory.mktemp("round") / "s.h5",
        entities=entities, mentions=mentions, compression=compression, dtype=dtype, seed=seed,
    )  # fmt: skip
    with featurestore.open(tiny.path) as store:
        assert store.mentions.splits == tiny.splits
        assert_holds(store, tiny, dtype=dtype)


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_tables_of_no_row_and_of_one_row_are_stores_too(
    tmp_path: Path, rows: int, compression: Compression
) -> None:
    tiny = write_tiny_store(
        tmp_path / "s.h5", entities=rows, mentions=(rows, 0, 0), compression=compression
    )
    with featurestore.open(tiny.path) as store:
        assert len(store.entities) == len(store.mentions) == rows
        assert_holds(store, tiny)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_are_read_in_any_order_and_may_repeat(
    tiny: TinyStore, store: Store, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(sorted(tiny.values)))
    table, _, name = path.partition("/")
    rows = data.draw(st.lists(st.integers(0, len(store.table(table)) - 1), max_size=12))
    found, wanted = store.table(table).gather(name, rows), expected(tiny, path, rows)
    assert found == wanted if isinstance(found, list) else np.array_equal(found, wanted)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("path", RAGGED)
def test_what_lies_beyond_a_count_is_zero_in_a_batch_and_kept_in_the_whole_record(
    tmp_path: Path, path: str, compression: Compression
) -> None:
    table, _, name = path.partition("/")
    padded = np.random.default_rng(0).standard_normal((6, *shape_of(path))).astype(np.float32)
    counts = np.array([3, 2, 5, 2, 4, 3], np.int32)
    change = {path: padded, f"{table}/token_count": counts}
    write_tiny_store(
        tmp_path / "s.h5", entities=6, mentions=(6, 0, 0), compression=compression, change=change
    )
    with featurestore.open(tmp_path / "s.h5") as store:
        batch = store.table(table).gather(name, [1, 4, 0])
        assert batch.shape == (3, 4, SIZES["D"])
        for found, row in zip(batch, (1, 4, 0), strict=True):
            assert np.array_equal(found[: counts[row]], padded[row, : counts[row]])
            assert not found[counts[row] :].any()
        assert np.array_equal(store.table(table).whole_records(name, [4, 0]), padded[[4, 0]])


@pytest.mark.parametrize("path", ["entities/text_mean", *RAGGED, "mentions/image_regions"])
def test_gather_fills_an_array_made_for_it(tiny: TinyStore, store: Store, path: str) -> None:
    table, _, name = path.partition("/")
    made: list[np.ndarray] = []

    def new(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        made.append(np.full(shape, 7, dtype))
        return made[0]

    rows = [5, 0, 5]
    assert store.table(table).gather(name, rows, new=new) is made[0]
    assert np.array_equal(made[0], expected(tiny, path, rows))


@pytest.mark.parametrize("table", ["entities", "mentions"])
def test_fields_gathered_together_are_those_gathered_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    monkeypatch.setattr(chunks, "_PARALLEL", 1)  # threads, however little there is to do
    monkeypatch.setattr(threads, "available_processors", lambda: 3)
    rows = [5, 0, 5]
    found = store.table(table).gather_all(store.table(table).fields, rows)
    assert list(found) == list(store.table(table).fields)
    for name, values in found.items():
        assert_equal(values, store.table(table).gather(name, rows))


def test_a_view_is_the_whole_column_and_read_only(tiny: TinyStore, store: Store) -> None:
    column = store.mentions.view("candidates")
    assert np.array_equal(column, tiny.values["mentions/candidates"])
    with pytest.raises(ValueError, match="read-only"):
        column[0] = 0


def test_a_row_is_a_mapping_of_its_fields(tiny: TinyStore, store: Store) -> None:
    row = store.mentions["m3-0"]
    assert row.row == 3
    assert row["sentence"] == "Here stands name3, and é."
    assert row["answer"] == tiny.values["mentions/answer"][3]
    assert type(row["answer"]) is int
    assert np.array_equal(row["text_tokens"], tiny.values["mentions/text_tokens"][3])
    assert {f"mentions/{name}" for name in row} == {p for p in tiny.values if "mentions/" in p}
    assert store.mentions[3]["id"] == "m3-0"
    assert "nonsense" not in row


def test_ids_lead_to_rows_and_back(store: Store) -> None:
    assert store.entities.rows(["Q107", "Q100", "Q107"]).tolist() == [7, 0, 7]
    assert store.entities.ids([7, 0]) == ["Q107", "Q100"]
    assert store.entities.find(["Q100", "Q999"]).tolist() == [0, -1]


def test_texts_are_read_a_block_at_a_time(tiny: TinyStore, store: Store) -> None:
    assert list(store.entities.texts("title", block=3)) == tiny.values["entities/title"]


def test_a_store_says_what_it_is(tiny: TinyStore, store: Store) -> None:
    assert (store.dataset, store.format_version, store.path) == ("tiny", 1, tiny.path)
    assert store.width("entities/text_mean") == SIZES["D"]
    assert store.has("mentions/clip_text")
    assert not store.has("mentions/title")
    assert store.file_bytes == tiny.path.stat().st_size
    assert repr(store) == f"<Store {str(tiny.path)!r}: tiny, 10 mentions, 8 entities>"


# other readers ----------------------------------------------------------------------------------


def read_all(file: Any, tiny: TinyStore) -> dict[str, Any]:
    """Every field as another HDF5 reader sees it."""
    found: dict[str, Any] = {}
    for path in tiny.values:
        if BY_PATH[path].layout == "text":
            data, ends = file[path]["bytes"][:].tobytes(), file[path]["offsets"][:]
            found[path] = [data[a:b].decode() for a, b in pairwise(ends)]
        else:
            found[path] = file[path][:]
    return found


def assert_equals(found: dict[str, Any], tiny: TinyStore) -> None:
    for path, wanted in tiny.values.items():
        if isinstance(found[path], list):
            assert found[path] == wanted, path
        elif BY_PATH[path].ragged:
            for record, text in zip(found[path], wanted, strict=True):
                assert np.array_equal(record[: len(text)], text), path
                assert not record[len(text) :].any(), path
        else:
            assert np.array_equal(found[path], wanted), path


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_h5py_alone_reads_the_same(tmp_path: Path, compression: Compression) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5", compression=compression)
    with h5py.File(tiny.path) as file:
        assert_equals(read_all(file, tiny), tiny)


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_a_reader_that_is_not_hdf5s_library_reads_the_same(
    tmp_path: Path, compression: Compression
) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5", compression=compression)
    with pyfive.File(str(tiny.path)) as file:
        assert_equals(read_all(file, tiny), tiny)


# what is not there ------------------------------------------------------------------------------


def test_a_field_that_an_option_makes_is_missing_with_that_option(tmp_path: Path) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5", without={"mentions/clip_text"})
    with featurestore.open(tiny.path) as store, pytest.raises(FieldMissing) as caught:
        store.mentions.gather("clip_text", [0])
    assert caught.value.what.startswith("this store has no mentions/clip_text")
    assert caught.value.where == f"{tiny.path}::/mentions/clip_text"
    assert "--clip" in caught.value.hint


def test_a_field_of_no_format_is_missing_with_those_there_are(store: Store) -> None:
    with pytest.raises(FieldMissing, match="no field 'text_men' in format 1") as caught:
        store.entities.gather("text_men", [0])
    assert "text_mean" in caught.value.hint


@pytest.mark.parametrize("row", [-1, 8, 2**40])
def test_a_row_outside_the_table_is_refused(store: Store, row: int) -> None:
    for read in (store.entities.__getitem__, lambda r: store.entities.gather("id", [0, r])):
        with pytest.raises(UnknownId, match=f"row {row} is outside the table") as caught:
            read(row)
        assert caught.value.hint == "rows are 0 … 7"


def test_an_unknown_id_suggests_the_nearest(store: Store) -> None:
    with pytest.raises(UnknownId, match="unknown id 'm33-0'") as caught:
        store.mentions["m33-0"]
    assert caught.value.hint.startswith("nearest ids: m3-0")


def test_an_unknown_split_names_those_there_are(store: Store) -> None:
    assert store.mentions.split("valid") == range(5, 7)
    with pytest.raises(UnknownId, match="no split 'dev'") as caught:
        store.mentions.split("dev")
    assert caught.value.hint == "splits: train, valid, test"


@pytest.mark.parametrize("name", ["sentence", "text_tokens"])
def test_text_and_records_are_no_one_array(store: Store, name: str) -> None:
    with pytest.raises(FieldMissing, match="is not stored as one array"):
        store.mentions.view(name)


def test_only_records_have_whole_records(store: Store) -> None:
    with pytest.raises(FieldMissing, match="entities/text_mean is not a record field"):
        store.entities.whole_records("text_mean", [0])
