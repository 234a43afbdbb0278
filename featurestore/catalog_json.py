"""A catalog as JSON, and back. What comes from a file is believed in nothing: each number is checked."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

import numpy as np

from featurestore.catalog import Catalog, Extent, StoredField
from featurestore.codecs import COMPRESSIONS, Codec
from featurestore.errors import AGAIN, StoreError
from featurestore.place import Place
from featurestore.schema import BY_PATH, FEATURE, FORMAT, FORMAT_VERSION, TABLES, Field

_DTYPES = {"<f2", "<f4", "<i4", "<i8", "<u8", "|u1"}

#: No record is larger (chosen here: those of the datasets have up to 400 KB), so that a file cannot
#: make its reader ask for more memory than there is.
MOST_RECORD = 1 << 28


# writing ----------------------------------------------------------------------------------------


def encode_catalog(catalog: Catalog) -> bytes:
    """UTF-8 JSON of all but the path and the size of the file."""
    tables = {
        table: {
            "rows": catalog.rows[table],
            "index": [_extent(extent) for extent in catalog.index[table]],
            "fields": {name: _field(stored) for name, stored in catalog.fields[table].items()},
        }
        for table in TABLES
    }
    splits = {name: list(bounds) for name, bounds in catalog.splits.items()}
    plain = {"attributes": catalog.attributes, "splits": splits, "tables": tables}
    return json.dumps(plain, ensure_ascii=False).encode()


def _extent(extent: Extent) -> dict[str, Any]:
    made: dict[str, Any] = {
        "offset": extent.offset, "shape": list(extent.shape), "dtype": extent.dtype.str,
    }  # fmt: skip
    if extent.sums is not None:
        made["sums"] = _extent(extent.sums)
    return made


def _field(stored: StoredField) -> dict[str, Any]:
    made: dict[str, Any] = {"attributes": stored.attributes}
    if stored.extent is not None:
        made["data"] = _extent(stored.extent)
        if stored.offsets is not None:
            made["offsets"] = _extent(stored.offsets)
        return made
    made |= {
        "shape": list(stored.shape),
        "dtype": stored.dtype.str,
        "compression": stored.compression,
        "stored_bytes": stored.stored_bytes,
    }
    for name, extent in (("table", stored.table), ("sums", stored.sums)):
        if extent is not None:
            made[name] = _extent(extent)
    return made


# reading ----------------------------------------------------------------------------------------


def decode_catalog(data: bytes, path: Place, file_bytes: int) -> Catalog:
    """The catalog of a store of so many bytes.

    Raises:
        StoreError: a later format, or anything in it is not as it must be.
    """
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StoreError("the catalog is no JSON", where=str(path), hint=AGAIN) from error
    return _Decoder(path, file_bytes).catalog(plain)


class _Decoder:
    """Reads the catalog of one file."""

    def __init__(self, path: Place, file_bytes: int) -> None:
        self._path = path
        self._size = file_bytes

    def catalog(self, plain: Any) -> Catalog:
        attributes = self._mapping(self._get(plain, "attributes", ""), "attributes")
        check_format(attributes, self._path)
        for name in ("dataset", "created", "fingerprint", "provenance"):
            if not isinstance(attributes.get(name), str):
                self._refuse(f"the attribute {name} is no text", "")
        self._check_provenance(attributes["provenance"])
        tables = self._get(plain, "tables", "")
        rows: dict[str, int] = {
            t: self._rows(self._get(self._get(tables, t, t), "rows", t), t) for t in TABLES
        }
        return Catalog(
            path=self._path,
            file_bytes=self._size,
            attributes=attributes,
            rows=rows,
            splits=self._splits(self._get(plain, "splits", "")),
            fields={t: self._fields(tables[t], t, rows[t]) for t in TABLES},
            index={t: self._index(tables[t], t, rows[t]) for t in TABLES},
        )

    def _check_provenance(self, text: str) -> None:
        try:
            parts = json.loads(text)
        except (ValueError, RecursionError):
            self._refuse("the provenance is no JSON", "")
        for part in ("source", "encoders", "options", "dropped", "counts", "run"):
            self._mapping(self._mapping(parts, "").get(part, {}), "")

    def _refuse(self, what: str, where: str) -> NoReturn:
        raise StoreError(what, where=f"{self._path}::/{where}", hint=AGAIN)

    def _mapping(self, node: Any, where: str) -> dict[str, Any]:
        if not isinstance(node, dict):
            self._refuse("the catalog is not as it must be", where)
        return node

    def _get(self, node: Any, key: str, where: str) -> Any:
        if key not in self._mapping(node, where):
            self._refuse(f"the catalog does not say its {key}", where)
        return node[key]

    def _integer(self, value: Any, where: str, *, most: int) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            self._refuse(f"{str(value)[:40]} where a number up to {most} belongs", where)
        return value

    def _rows(self, value: Any, where: str) -> int:
        return self._integer(value, where, most=self._size)  # a row takes at least a byte

    def _splits(self, node: Any) -> dict[str, tuple[int, int]]:
        splits = {}
        for name, bounds in self._mapping(node, "mentions").items():
            if not isinstance(bounds, list) or len(bounds) != 2:
                self._refuse(f"the split {name[:40]!r} is no range of rows", "mentions")
            first, stop = (self._integer(b, "mentions", most=self._size) for b in bounds)
            splits[name] = (first, stop)
        return splits

    def _index(self, table: Any, name: str, rows: int) -> tuple[Extent, Extent]:
        pair, where = self._get(table, "index", name), f"{name}/id_index"
        if not isinstance(pair, list) or len(pair) != 2:
            self._refuse("the index of ids is not two arrays", where)
        hashes, numbers = (self._extent(node, where) for node in pair)
        if (hashes.dtype.str, numbers.dtype.str) != ("<u8", "<i4"):
            self._refuse(f"{hashes.dtype} and {numbers.dtype} where uint64 and int32 belong", where)
        if not hashes.shape == numbers.shape == (rows,):
            self._refuse(f"{hashes.shape} hashes and {numbers.shape} rows of {rows} ids", where)
        return hashes, numbers

    def _shape(self, value: Any, where: str) -> tuple[int, ...]:
        if not isinstance(value, list) or not 1 <= len(value) <= 8:
            self._refuse("the shape is no list of lengths", where)
        return tuple(self._integer(length, where, most=1 << 48) for length in value)

    def _dtype(self, value: Any, where: str) -> np.dtype:
        if not isinstance(value, str) or value not in _DTYPES:
            self._refuse(f"the dtype {str(value)[:40]!r} is none that a store has", where)
        return np.dtype(value)

    def _extent(self, node: Any, where: str) -> Extent:
        offset = self._integer(self._get(node, "offset", where), where, most=self._size)
        shape = self._shape(self._get(node, "shape", where), where)
        dtype = self._dtype(self._get(node, "dtype", where), where)
        if offset + math.prod(shape) * dtype.itemsize > self._size:
            raise StoreError(
                "the array reaches past the end of the file: the file was cut off",
                where=f"{self._path}::/{where}",
                hint=AGAIN,
            )
        sums = self._extent(node["sums"], where) if "sums" in node else None
        return Extent(offset, shape, dtype, sums)

    def _fields(self, table: Any, name: str, rows: int) -> dict[str, StoredField]:
        nodes = self._mapping(self._get(table, "fields", name), name)
        return {
            field: self._field(BY_PATH[f"{name}/{field}"], node, rows)
            for field, node in nodes.items()
            if f"{name}/{field}" in BY_PATH
        }

    def _field(self, schema: Field, node: Any, rows: int) -> StoredField:
        where = schema.path
        attributes = self._mapping(self._mapping(node, where).get("attributes", {}), where)
        if not isinstance(attributes.get("float16_error", 0.0), int | float):
            self._refuse("the error of rounding is no number", where)
        if schema.layout == "text":
            return self._text(schema, node, rows, attributes)
        if "data" in node:
            extent = self._extent(node["data"], where)
            self._check(schema, extent.shape, extent.dtype, rows)
            return StoredField(
                schema, extent.shape, extent.dtype, extent.nbytes, extent, attributes=attributes
            )
        if schema.layout != "record":
            self._refuse("the array is not stored contiguously", where)
        return self._chunked(schema, node, rows, attributes)

    def _text(self, schema: Field, node: Any, rows: int, attributes: dict[str, Any]) -> StoredField:
        data = self._extent(self._get(node, "data", schema.path), schema.path)
        offsets = self._extent(self._get(node, "offsets", schema.path), schema.path)
        if (data.dtype.str, offsets.dtype.str) != ("|u1", "<i8") or len(data.shape) != 1:
            self._refuse("a text is not bytes with int64 offsets", schema.path)
        if offsets.shape != (rows + 1,):
            self._refuse(f"offsets of shape {offsets.shape} for {rows} rows", schema.path)
        size = data.nbytes + offsets.nbytes
        return StoredField(
            schema, (rows,), np.dtype("uint8"), size, data, offsets, attributes=attributes
        )

    def _chunked(
        self, schema: Field, node: Any, rows: int, attributes: dict[str, Any]
    ) -> StoredField:
        where = schema.path
        shape = self._shape(self._get(node, "shape", where), where)
        dtype = self._dtype(self._get(node, "dtype", where), where)
        self._check(schema, shape, dtype, rows)
        record = math.prod(shape[1:]) * dtype.itemsize
        if record > MOST_RECORD:
            self._refuse(f"records of {record} bytes, above the {MOST_RECORD} that are read", where)
        compression = node.get("compression")
        if not isinstance(compression, str) or compression not in COMPRESSIONS:
            self._refuse(f"the compression {str(compression)[:40]!r} is not known", where)
        table = sums = None
        if "table" in node:
            table = self._extent(node["table"], where)
            if table.shape != (rows, 2) or table.dtype.str != "<i8":
                self._refuse(f"a chunk table of shape {table.shape} for {rows} rows", where)
        if "sums" in node:
            sums = self._extent(node["sums"], where)
        stored = self._integer(node.get("stored_bytes"), where, most=self._size)
        return StoredField(
            schema, shape, dtype, stored, codec=Codec(compression), table=table, sums=sums,
            attributes=attributes,
        )  # fmt: skip

    def _check(self, schema: Field, shape: tuple[int, ...], dtype: np.dtype, rows: int) -> None:
        if shape[0] != rows or len(shape) != 1 + len(schema.axes):
            self._refuse(
                f"shape {shape} where {rows} rows of ({', '.join(schema.axes)}) belong", schema.path
            )
        allowed = ("float16", "float32") if schema.dtype == FEATURE else (schema.dtype,)
        if dtype.name not in allowed:
            self._refuse(f"{dtype} where {' or '.join(allowed)} belongs", schema.path)


def check_format(attributes: dict[str, Any], path: Place, *, holds: str = "") -> None:
    """Refuse what is no store, or of a later format.

    Args:
        holds: what the file holds, to be said where it is no store.

    Raises:
        StoreError: says what to do.
    """
    if attributes.get("format") != FORMAT:
        raise StoreError(
            "an HDF5 file, but not a drin-fs store",
            where=str(path),
            hint=f"it holds: {holds or 'nothing'}; "
            "a store is made with: drin-fs ingest SOURCE -o STORE.h5",
        )
    version = attributes.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version > FORMAT_VERSION:
        raise StoreError(
            f"store format {version}, this program reads up to {FORMAT_VERSION}",
            where=str(path),
            hint="pip install --upgrade drin-fs",
        )
