"""HDF5's metadata as we write them: h5py and pyfive read every array and attribute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - h5py finds the filters once this is imported
import numpy as np
import pyfive
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.codecs import COMPRESSIONS, Codec, Compression
from featurestore.hdf5 import Array, Attributes, Group, Metadata
from featurestore.headerless import chunks_by_hdf5
from featurestore.lookup3 import lookup3

DTYPES = ["<f2", "<f4", "<f8", "<i4", "<i8", "<u8", "|u1"]


class Written:
    """A file of arrays; metadata are added by ``finish``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._data = bytearray(4096)

    def _put(self, data: bytes) -> int:
        self._data += bytes(-len(self._data) % 64)
        place = len(self._data)
        self._data += data
        return place

    def array(self, values: np.ndarray, attributes: Attributes | None = None) -> Array:
        offset = self._put(values.tobytes())
        return Array(values.shape, values.dtype, offset, attributes=attributes or {})

    def records(self, values: np.ndarray, compression: Compression) -> Array:
        codec, table = Codec(compression), np.zeros((len(values), 2), np.int64)
        for row, record in enumerate(values):
            chunk = codec.encode(np.ascontiguousarray(record)).tobytes()
            table[row] = self._put(chunk), len(chunk)
        filters = codec.filters(values.dtype.itemsize)
        return Array(values.shape, values.dtype, chunks=table, filters=filters)

    def finish(self, root: Group) -> Path:
        metadata = Metadata(root, start=self._put(b""))
        for block in metadata.blocks():
            self._data += block
        superblock = metadata.superblock(len(self._data))
        self._data[: len(superblock)] = superblock
        self.path.write_bytes(self._data)
        return self.path


SOME_ROWS = [1, 2, 63, 64, 65, 4096, 4097]


@pytest.mark.parametrize(
    ("compression", "rows"),
    [("lz4-fast", 70_000), *((c, rows) for c in COMPRESSIONS if c != "none" for rows in SOME_ROWS)],
)
def test_records_in_chunks_are_found_by_hdf5(
    tmp_path: Path, rows: int, compression: Compression
) -> None:
    values = np.random.default_rng(rows).integers(0, 99, (rows, 2, 4)).astype("<f2")
    file = Written(tmp_path / "f.h5")
    records = file.records(values, compression)
    path = file.finish(Group({"t": Group({"records": records})}))
    with h5py.File(path) as found:
        dataset = found["t/records"]
        assert dataset.id.get_num_chunks() == rows
        some = np.unique(np.linspace(0, rows - 1, 500).astype(int))
        assert np.array_equal(dataset[some], values[some])
    assert np.array_equal(chunks_by_hdf5(path, "t/records", rows), records.chunks)
    if compression == "gzip":
        with pyfive.File(str(path)) as found:
            assert np.array_equal(found["t/records"][:100], values[:100])


@given(data=st.data())
@settings(max_examples=25)
def test_arrays_of_every_dtype_and_shape_are_read_by_other_programs(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    shapes = st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple)
    wanted = data.draw(
        st.dictionaries(
            st.text("abcäß/".replace("/", ""), min_size=1, max_size=300),
            st.tuples(st.sampled_from(DTYPES), shapes),
            max_size=12,
        )
    )
    random = np.random.default_rng(0)
    values = {n: random.integers(0, 9, s).astype(d) for n, (d, s) in wanted.items()}
    file = Written(tmp_path_factory.mktemp("hdf5") / "f.h5")
    path = file.finish(Group({name: file.array(each) for name, each in values.items()}))
    with h5py.File(path) as found:
        assert set(found) == set(values)
        for name, each in values.items():
            assert (found[name].dtype, found[name].shape) == (each.dtype, each.shape)
            assert np.array_equal(found[name][()], each)
    with pyfive.File(str(path)) as found:
        for name, each in values.items():
            if each.size:
                assert np.array_equal(found[name][()], each)


ATTRIBUTES: dict[str, Any] = {
    "text": "drin-fs",
    "empty": "",
    "long": "é№" * 60_000,
    "number": -3,
    "large": 2**62,
    "share": 0.25,
}


def test_attributes_of_every_kind_are_read_by_other_programs(tmp_path: Path) -> None:
    file = Written(tmp_path / "f.h5")
    array = file.array(np.arange(3), {"unit": "pixel", "error": 1e-4})
    path = file.finish(Group({"g": Group({"a": array}, {"rows": 3})}, ATTRIBUTES))
    with h5py.File(path) as found:
        assert dict(found.attrs) == ATTRIBUTES
        assert dict(found["g"].attrs) == {"rows": 3}
        assert dict(found["g/a"].attrs) == {"unit": "pixel", "error": 1e-4}
    with pyfive.File(str(path)) as found:
        assert {
            n: v.decode() if isinstance(v, bytes) else v for n, v in found.attrs.items()
        } == ATTRIBUTES


def test_more_texts_than_one_heap_holds(tmp_path: Path) -> None:
    texts = {f"a{number}": f"text {number}" for number in range(200)}
    file = Written(tmp_path / "f.h5")
    groups = {f"g{number}": Group({}, texts) for number in range(310)}
    with h5py.File(file.finish(Group(groups))) as found:
        for name in ("g0", "g299", "g300", "g309"):
            assert dict(found[name].attrs) == texts


def test_a_value_that_hdf5_has_no_type_for_is_refused(tmp_path: Path) -> None:
    file = Written(tmp_path / "f.h5")
    with pytest.raises(ValueError, match="no HDF5 type for complex128"):
        file.finish(Group({"a": file.array(np.zeros(2, complex))}))


@pytest.mark.parametrize(
    ("data", "value"),
    [(b"", 0xDEADBEEF), (b"Four score and seven years ago", 0x17770551)],
)
def test_lookup3_is_that_of_its_author(data: bytes, value: int) -> None:
    assert lookup3(data) == value
