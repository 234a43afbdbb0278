"""Stores of every version that was ever shipped are read forever, and by other programs alike.

``tests/stores`` holds them, and ``digests.json`` what each array holds, as h5py read it when they
were added (``python -m tests.test_versions`` adds those that are not in it).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - h5py finds the filters once this is imported
import numpy as np
import pyfive
import pytest

import featurestore
from featurestore.catalog import StoredField
from featurestore.codecs import codec_of, decode_record
from featurestore.schema import FIELDS, TABLES
from featurestore.verify import verify
from tests.hdf5_edits import edited
from tests.schema_docs import PAGE
from tests.tiny_store import write_tiny_store

FOLDER = Path(__file__).parent / "stores"
DIGESTS = FOLDER / "digests.json"
STORES = sorted(path.name for path in FOLDER.glob("*.h5"))

Read = Callable[[Path], dict[str, str]]


def _digest(values: np.ndarray) -> str:
    head = f"{values.dtype.str}{values.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(values).tobytes()).hexdigest()[:32]


def by_h5py(path: Path) -> dict[str, str]:
    """Path of every array of both tables → digest."""
    found: dict[str, str] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = _digest(item[()])

    with h5py.File(path) as file:
        for table in TABLES:
            file[table].visititems(lambda name, item, table=table: visit(f"{table}/{name}", item))
    return found


def by_pyfive(path: Path) -> dict[str, str]:
    """As :func:`by_h5py`; pyfive has no LZ4 and no bitshuffle: it finds such chunks, we decode them."""

    def walk(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        for name in group:
            item = group[name]
            if isinstance(item, pyfive.Group):
                yield from walk(item, f"{prefix}/{name}")
            else:
                yield f"{prefix}/{name}", item

    with pyfive.File(str(path)) as file:
        return {
            name: _digest(_values(item))
            for table in TABLES
            for name, item in walk(file[table], table)
        }


def _values(item: Any) -> np.ndarray:
    """The values of one of pyfive's datasets."""
    if item.chunks is None or item.compression == "gzip":
        return np.asarray(item[()])
    filters = [(f["filter_id"], f["client_data"]) for f in item.id.filter_pipeline]
    codec = codec_of(filters, where=item.name)
    whole = np.empty(item.shape, item.dtype)
    rest = (0,) * (len(item.shape) - 1)
    for row in range(len(whole)):
        _, chunk = item.id.read_direct_chunk((row, *rest))
        data = np.frombuffer(chunk, np.uint8)
        assert decode_record(codec, data, whole[row]) is None
    return whole


def by_us(path: Path) -> dict[str, str]:
    """As :func:`by_h5py`, through our reader."""
    found: dict[str, str] = {}
    with featurestore.open(path, verify_reads=True) as store:
        for name, array in store.catalog.arrays():
            if isinstance(array, StoredField):
                table = store.table(array.schema.table)
                values = table.whole_records(array.name, range(len(table)))
            else:
                values = store.array(array)
            found[name] = _digest(values)
    return found


@pytest.mark.parametrize("name", STORES)
def test_a_store_of_every_version_is_read_as_it_always_was(name: str) -> None:
    wanted = json.loads(DIGESTS.read_text())[name]
    assert len(wanted) > 60
    assert by_us(FOLDER / name) == wanted
    assert by_h5py(FOLDER / name) == wanted
    assert by_pyfive(FOLDER / name) == wanted
    assert verify(FOLDER / name, "full").problems == []


def test_every_store_of_this_version_is_among_them(tmp_path: Path) -> None:
    """The stores that this program writes are those that were added last."""
    for compression, dtype in (
        ("lz4-fast", "float16"),
        ("lz4", "float16"),
        ("gzip", "float32"),
    ):
        fresh = write_tiny_store(
            tmp_path / f"{compression}.h5", compression=compression, dtype=dtype, seed=7
        )
        kept = json.loads(DIGESTS.read_text())[f"format1-thumbnails-{compression}.h5"]
        assert by_us(fresh.path) == kept


def test_a_later_format_is_refused_with_what_to_install(tmp_path: Path) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5")
    with edited(tiny.path) as file:
        file.attrs["format_version"] = 2
    with pytest.raises(
        featurestore.errors.StoreError, match="this program reads up to 1"
    ) as caught:
        featurestore.open(tiny.path)
    assert caught.value.hint == "pip install --upgrade drin-fs"


def test_a_fresh_store_holds_what_the_page_and_the_schema_say(tmp_path: Path) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5")
    page = PAGE.read_text()
    with h5py.File(tiny.path) as file:
        assert set(file) == {*TABLES, "chunks", "checksums"}
        for attribute in (*file.attrs, *file["entities"].attrs, *file["mentions"].attrs):
            assert f"| `{attribute}` |" in page
        for table in TABLES:
            fields = {field.name: field for field in FIELDS if field.table == table}
            assert set(file[table]) == {*fields, "id_index"}
            for name, field in fields.items():
                item = file[table][name]
                assert (item.attrs["unit"], item.attrs["doc"]) == (field.unit, field.doc)
                if field.layout == "text":
                    assert set(item) == {"bytes", "offsets"}
                    assert [str(item[part].dtype) for part in ("bytes", "offsets")] == [
                        "uint8",
                        "int64",
                    ]
                    continue
                assert item.ndim == 1 + len(field.axes)
                if field.dtype != "feature":
                    assert str(item.dtype) == field.dtype


def add_digests() -> None:
    """Add what h5py reads of stores that are not in the file yet."""
    known = json.loads(DIGESTS.read_text()) if DIGESTS.exists() else {}
    known |= {name: by_h5py(FOLDER / name) for name in STORES if name not in known}
    DIGESTS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    add_digests()
