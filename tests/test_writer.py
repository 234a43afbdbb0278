"""Writing a store: what may be rounded, what is refused, and that nothing half-written is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import featurestore
from featurestore import ids as ids_module
from featurestore import writer as writer_module
from featurestore.codecs import COMPRESSIONS, DEFAULT_COMPRESSION, Compression
from featurestore.errors import SourceError, WriteError
from featurestore.target import check_target, remove_leftovers
from featurestore.work import LINE
from featurestore.writer import StoreWriter
from tests.tiny_store import PROVENANCE, write_tiny_store

VIEW, RECORD = "entities/text_mean", "entities/text_tokens"


@contextmanager
def writing(
    path: Path, *, entities: int, compression: Compression = DEFAULT_COMPRESSION, **options: Any
) -> Iterator[StoreWriter]:
    """A writer with both tables and every column a reader needs; the test adds features."""
    with StoreWriter.create(path, compression=compression, **options) as writer:
        writer.table("entities", [f"Q{i}" for i in range(entities)])
        writer.table("mentions", [])
        writer.splits({"train": range(0)})
        yield writer


def publish(writer: StoreWriter) -> None:
    writer.publish(dataset="test", provenance={})


def folder(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


# float16 ----------------------------------------------------------------------------------------


@given(st.integers(0, 99), st.integers(-3, 4))
@settings(max_examples=25)
def test_float16_keeps_every_vector_within_the_bound_and_notes_the_error(
    tmp_path_factory: pytest.TempPathFactory, seed: int, exponent: int
) -> None:
    path = tmp_path_factory.mktemp("f16") / "s.h5"
    values = np.random.default_rng(seed).standard_normal((6, 8)).astype(np.float32)
    values *= np.float32(10.0**exponent)
    values[2] = 0
    with writing(path, entities=6) as writer:
        writer.feature(VIEW, (8,)).write(range(6), values)
        publish(writer)
    with featurestore.open(path) as store:
        stored = store.entities.stored("text_mean")
        read = store.entities.gather("text_mean", range(6)).astype(np.float32)
    errors = np.linalg.norm(read - values, axis=1)
    worst = (errors / np.maximum(np.linalg.norm(values, axis=1), 1e-30)).max()
    assert worst <= 1e-3
    if np.abs(values).max() < 65_504:
        assert worst <= stored.attributes.get("float16_error", worst) * 1.001 <= 1e-3
    else:
        assert stored.dtype == np.float32


OUT_OF_BOUND = {
    "overflow": 70_000.0,  # float16 ends at 65504
    "vanishing": 2e-8,  # float16's steps there are 6e-8
    "coarse": 1e-6,  # 16.8 of those steps: an error of 1 %
}


@pytest.mark.parametrize("value", OUT_OF_BOUND.values(), ids=OUT_OF_BOUND)
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize(("field", "shape"), [(VIEW, (4,)), (RECORD, (3, 4))])
def test_a_vector_that_float16_cannot_hold_turns_the_field_into_float32(
    tmp_path: Path, field: str, shape: tuple[int, ...], compression: Compression, value: float
) -> None:
    values = np.random.default_rng(0).standard_normal((5, *shape)).astype(np.float32)
    values[3] = value
    with writing(tmp_path / "s.h5", entities=5, compression=compression) as writer:
        if field == RECORD:
            writer.column("entities/token_count", np.full(5, 3))
        feature = writer.feature(field, shape)
        feature.write(range(2), values[:2])  # rounded, then carried over
        feature.write(range(2, 5), values[2:])
        publish(writer)
    with featurestore.open(tmp_path / "s.h5") as store:
        name = field.removeprefix("entities/")
        read = store.entities.gather(name, range(5))
        assert "float16_error" not in store.entities.stored(name).attributes
    assert read.dtype == np.float32
    assert np.array_equal(read[:2], values[:2].astype(np.float16))
    assert np.array_equal(read[3], values[3])
    assert np.array_equal(read[4], values[4].astype(np.float16))  # as if it had been written before


def test_ragged_records_are_carried_over_too(tmp_path: Path) -> None:
    texts = [np.full((n, 4), 1 + n / 8, np.float32) for n in (1, 3, 2)]
    texts.append(np.full((2, 4), 1e6, np.float32))
    with writing(tmp_path / "s.h5", entities=4) as writer:
        writer.column("entities/token_count", np.array([len(text) for text in texts]))
        order = [2, 0, 1, 3]
        writer.feature(RECORD, (3, 4)).write(np.array(order), [texts[row] for row in order])
        publish(writer)
    with featurestore.open(tmp_path / "s.h5") as store:
        for row, text in enumerate(texts):
            assert np.array_equal(store.entities.gather("text_tokens", [row])[0], text)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_records_before_the_fall_back_survive_it_within_one_long_write(
    tmp_path: Path, compression: Compression
) -> None:
    records = np.random.default_rng(0).standard_normal((600, 3, 4), np.float32)
    records[400] *= 1e6
    with writing(tmp_path / "s.h5", entities=600, compression=compression) as writer:
        writer.column("entities/token_count", np.full(600, 3))
        writer.feature(RECORD, (3, 4)).write(range(600), records)
        publish(writer)
    with featurestore.open(tmp_path / "s.h5") as store:
        stored = store.entities.gather("text_tokens", range(600))
    assert stored.dtype == np.float32
    np.testing.assert_allclose(stored, records, rtol=1e-3, atol=1e-6)


def test_float32_on_request_is_exact(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)
    with writing(tmp_path / "s.h5", entities=4, dtype="float32") as writer:
        writer.feature(VIEW, (8,)).write(range(4), values)
        publish(writer)
    with featurestore.open(tmp_path / "s.h5") as store:
        assert np.array_equal(store.entities.gather("text_mean", range(4)), values)


# what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize(("field", "shape"), [(VIEW, (4,)), (RECORD, (3, 4))])
def test_a_value_that_is_not_finite_is_refused_with_its_row(
    tmp_path: Path, field: str, shape: tuple[int, ...], dtype: str, value: float
) -> None:
    values = np.ones((3, *shape), np.float32)
    values[1, ..., 2] = value
    with (
        writing(tmp_path / "s.h5", entities=8, dtype=dtype) as writer,
        pytest.raises(SourceError, match="NaN or infinite") as caught,
    ):
        writer.feature(field, shape).write(np.array([6, 4, 2]), values)
    assert caught.value.where == f"{field}[4]"


def test_a_record_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with StoreWriter.create(tmp_path / "s.h5") as writer:
        writer.table("entities", ["a", "b"])
        field = writer.feature("entities/text_tokens", (3, 8))
        with pytest.raises(ValueError, match="a record of 4 rows where 3 have room"):
            field.write(range(2), [np.ones((n, 8), np.float32) for n in (4, 2)])


def test_rows_that_were_never_written_are_noticed(tmp_path: Path) -> None:
    with writing(tmp_path / "s.h5", entities=5) as writer:
        writer.feature(VIEW, (4,)).write(np.array([4, 0, 2]), np.ones((3, 4), np.float32))
        with pytest.raises(SourceError, match="2 of 5 rows were never written") as caught:
            publish(writer)
    assert caught.value.where == f"{VIEW}[1]"
    assert folder(tmp_path) == []


def test_an_id_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    with (
        StoreWriter.create(tmp_path / "s.h5") as writer,
        pytest.raises(SourceError, match="the id 'b' occurs twice") as caught,
    ):
        writer.table("entities", ["a", "b", "c", "b"])
    assert caught.value.where == "entities[1] and entities[3]"


class MadeWhenAsked(Sequence[str]):
    """Texts that are nowhere in memory, empty ones and other letters among them."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, place: Any) -> Any:
        found = range(20)[place]
        made = [
            f"Zürich {row}" * (row % 3) for row in ([found] if isinstance(found, int) else found)
        ]
        return made[0] if isinstance(found, int) else made


def test_texts_are_written_some_at_a_time_from_whatever_makes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = MadeWhenAsked()
    for name, together, copied in (("one.h5", 4096, 1 << 20), ("other.h5", 3, 8)):
        monkeypatch.setattr(writer_module, "_TEXTS", together)
        monkeypatch.setattr(writer_module, "_COPIED", copied)
        with writing(tmp_path / name, entities=20) as writer:
            writer.text("entities/title", texts)
            publish(writer)
    with (
        featurestore.open(tmp_path / "one.h5") as one,
        featurestore.open(tmp_path / "other.h5") as two,
    ):
        assert one.entities.gather("title", np.arange(20)) == list(texts)
        assert list(two.entities.texts("title")) == list(texts)
        assert one.fingerprint == two.fingerprint
        assert two.entities.find([f"Q{row}" for row in range(20)]).tolist() == list(range(20))


@given(st.lists(st.sampled_from("abcd"), max_size=7), st.integers(1, 3))
def test_ids_are_refused_exactly_when_one_repeats_even_where_hashes_collide(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str], hashes: int
) -> None:
    def colliding(texts: list[str]) -> np.ndarray:
        return np.array([ord(text) % hashes for text in texts], np.uint64)

    path = tmp_path_factory.getbasetemp() / "repeated.h5"
    with pytest.MonkeyPatch.context() as patch, StoreWriter.create(path) as writer:
        patch.setattr(ids_module, "hash_ids", colliding)
        if len(set(ids)) == len(ids):
            writer.table("entities", ids)
        else:
            with pytest.raises(SourceError, match="occurs twice"):
                writer.table("entities", ids)


def test_a_column_of_another_length_is_refused(tmp_path: Path) -> None:
    with (
        writing(tmp_path / "s.h5", entities=5) as writer,
        pytest.raises(SourceError, match="4 values for a table of 5 rows") as caught,
    ):
        writer.text("entities/title", ["title"] * 4)
    assert caught.value.where == "entities/title"


# the target -------------------------------------------------------------------------------------


def test_an_existing_target_is_kept_unless_overwriting_is_asked_for(tmp_path: Path) -> None:
    target = tmp_path / "s.h5"
    target.write_text("precious")
    with (
        pytest.raises(WriteError, match="the target exists") as caught,
        StoreWriter.create(target),
    ):
        pass
    assert caught.value.hint == "pass --overwrite to replace it"
    assert target.read_text() == "precious"
    with writing(target, entities=1, overwrite=True) as writer:
        assert target.read_text() == "precious"  # until the new store is complete
        publish(writer)
    assert h5py.is_hdf5(target)


def test_a_failure_while_overwriting_keeps_the_old_store(tmp_path: Path) -> None:
    target = tmp_path / "s.h5"
    target.write_text("precious")
    with (
        pytest.raises(RuntimeError, match="half-way"),
        writing(target, entities=1, overwrite=True),
    ):
        raise RuntimeError("half-way")
    assert folder(tmp_path) == ["s.h5"]
    assert target.read_text() == "precious"


def test_a_target_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "s.h5"
    with writing(target, entities=1) as writer:
        target.write_text("somebody else's")
        with pytest.raises(WriteError, match="the target exists"):
            publish(writer)
    assert target.read_text() == "somebody else's"
    assert folder(tmp_path) == ["s.h5"]


def test_a_device_is_no_target() -> None:
    with pytest.raises(WriteError, match="a device or a pipe"):
        check_target(Path(os.devnull), overwrite=True)


def test_a_folder_is_no_target(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="the target is a folder"), StoreWriter.create(tmp_path):
        pass


def test_a_target_in_no_folder_is_refused_before_any_work(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with (
        pytest.raises(WriteError, match="folder does not exist") as caught,
        StoreWriter.create(missing / "s.h5"),
    ):
        pass
    assert caught.value.where == str(missing)


def test_an_unfinished_store_leaves_nothing(tmp_path: Path) -> None:
    with writing(tmp_path / "s.h5", entities=3):
        assert folder(tmp_path) == [".s.h5.ingest", ".s.h5.lock"]
    assert folder(tmp_path) == []


@pytest.fixture
def dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def test_leftovers_of_dead_processes_are_removed_and_those_of_living_ones_kept(
    tmp_path: Path, dead_process: int
) -> None:
    target = tmp_path / "s[1].h5"
    ours = tmp_path / f".s[1].h5.{dead_process}.part"
    others = {f".s[1].h5.{os.getppid()}.part", f".other.h5.{dead_process}.part", ".s[1].h5.x.part"}
    for name in (ours.name, *others):
        (tmp_path / name).touch()
    assert remove_leftovers(target) == [ours]
    assert set(folder(tmp_path)) == others


FULL_DISK = """
import resource, sys
import numpy as np
from featurestore.errors import WriteError
from featurestore.writer import StoreWriter

target, limit, compression = sys.argv[1], int(sys.argv[2]), sys.argv[3]
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    with StoreWriter.create(target, compression=compression) as writer:
        writer.table("entities", [f"Q{i}" for i in range(16)])
        writer.table("mentions", [])
        writer.splits({})
        writer.column("entities/token_count", np.full(16, 8))
        noise = np.random.default_rng(0).standard_normal((16, 8, 256)).astype(np.float32)
        writer.feature("entities/text_tokens", (8, 256)).write(range(16), noise)
        writer.feature("entities/text_mean", (256,)).write(range(16), noise[:, 0])
        writer.publish(dataset="d", provenance={})
except WriteError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [3_000, 20_000, 75_000], ids=["ids", "records", "views"])
@pytest.mark.parametrize("compression", ["lz4-fast", "none"])
def test_a_full_disk_is_a_message_and_leaves_no_file(
    tmp_path: Path, limit: int, compression: str
) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "s.h5"), str(limit), compression]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("the disk is full or a size limit was reached"), done.stderr
    assert f"where: {tmp_path / 's.h5'}" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")
    assert folder(tmp_path) == []


# what is published ------------------------------------------------------------------------------


def test_equal_stores_have_equal_fingerprints_and_others_do_not(tmp_path: Path) -> None:
    def fingerprint(name: str, **options: Any) -> str:
        path = write_tiny_store(tmp_path / f"{name}.h5", **options).path
        with featurestore.open(path) as store:
            return store.fingerprint

    first = fingerprint("first")
    assert fingerprint("again") == first
    assert fingerprint("gzip", compression="gzip") == first  # the same values, stored otherwise
    assert len({first, fingerprint("rows", entities=9), fingerprint("dtype", dtype="float16"),
                fingerprint("splits", mentions=(4, 3, 3)),
                fingerprint("fields", without={"mentions/clip_text"})}) == 5  # fmt: skip


def test_how_a_store_was_made_counts_for_its_fingerprint_and_when_and_where_does_not(
    tmp_path: Path,
) -> None:
    def fingerprint(name: str, provenance: dict[str, Any]) -> str:
        with writing(tmp_path / name, entities=2) as writer:
            writer.publish(dataset="test", provenance=provenance)
        with featurestore.open(tmp_path / name) as store:
            assert store.provenance == provenance
            return store.fingerprint

    first = fingerprint("a.h5", PROVENANCE)
    assert fingerprint("b.h5", PROVENANCE | {"run": {"host": "elsewhere"}}) == first
    assert fingerprint("c.h5", PROVENANCE | {"encoders": {}}) != first


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_rows_lie_on_cache_lines(tmp_path: Path, compression: Compression) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5", entities=40, compression=compression)
    with h5py.File(tiny.path) as file:
        offsets = [file["entities/text_mean"].id.get_offset()]
        records = file["entities/text_tokens"].id
        if compression == "none":
            offsets.append(records.get_offset())
        else:
            records.chunk_iter(lambda chunk: offsets.append(chunk.byte_offset))
    assert all(offset % LINE == 0 for offset in offsets)
    assert len(offsets) > 1


def test_every_field_says_what_it_is(tmp_path: Path) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5")
    with h5py.File(tiny.path) as file:
        for path in tiny.values:
            assert file[path].attrs["unit"]
            assert file[path].attrs["doc"]
        assert json.loads(file.attrs["provenance"]) == PROVENANCE
        attributes = dict(file.attrs)
    assert (attributes["format"], attributes["format_version"]) == ("drin-fs", 1)
    assert attributes["dataset"] == "tiny"
