"""What a store file holds and where each byte of it lies: read once with h5py, then HDF5 is closed."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from featurestore.codecs import Codec, codec_of
from featurestore.errors import StoreError
from featurestore.schema import BY_PATH, FORMAT, FORMAT_VERSION, TABLES, Field

#: Arrays of a table that are not fields of the schema: the id index.
INDEX_GROUP = "id_index"


@dataclass(frozen=True, slots=True)
class Extent:
    """A contiguous array in the file."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class StoredField:
    """One field of one store: its schema line, and how it is stored here.

    ``shape`` includes the row axis. ``extent`` is set for contiguous data, ``offsets`` too for text;
    ``codec`` for records in chunks.
    """

    schema: Field
    shape: tuple[int, ...]
    dtype: np.dtype
    stored_bytes: int
    extent: Extent | None = None
    offsets: Extent | None = None
    codec: Codec | None = None
    chunks: tuple[int, ...] | None = None
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.schema.name

    @property
    def logical_bytes(self) -> int:
        """Bytes of the decoded array, padding included."""
        if self.schema.layout == "text":
            return self.stored_bytes
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @property
    def compression(self) -> str:
        return self.codec.compression if self.codec else "none"


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything known of a store without reading its data."""

    path: Path
    file_bytes: int
    attributes: dict[str, Any]
    rows: dict[str, int]
    splits: dict[str, tuple[int, int]]
    fields: dict[str, dict[str, StoredField]]
    index: dict[str, tuple[Extent, Extent]]


def read_catalog(path: str | os.PathLike[str]) -> Catalog:
    """Read the metadata of a store.

    Raises:
        StoreError: missing file, not HDF5, not a drin-fs store, a newer format, or a broken layout.
    """
    path = Path(path)
    if path.is_dir():
        raise StoreError(
            "a folder, not a store",
            where=str(path),
            hint=f"if it is a dataset: drin-fs ingest {path} -o STORE.h5",
        )
    if not path.is_file():
        raise StoreError("no such store", where=str(path), hint=_nearby_stores(path))
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise StoreError(
            f"not a readable HDF5 file ({error})",
            where=str(path),
            hint="a store is made with: drin-fs ingest SOURCE -o STORE.h5",
        ) from error
    with file:
        attributes = _root_attributes(file, path)
        return _Reader(file, path, attributes).catalog()


def _nearby_stores(path: Path) -> str:
    folder = path.parent
    found = sorted(p.name for p in folder.glob("*.h5"))[:5] if folder.is_dir() else []
    if found:
        return f"stores in {folder}: {', '.join(found)}"
    return "make one with: drin-fs ingest SOURCE -o STORE.h5"


def _root_attributes(file: h5py.File, path: Path) -> dict[str, Any]:
    attributes = {key: _plain(value) for key, value in file.attrs.items()}
    if attributes.get("format") != FORMAT:
        raise StoreError(
            "an HDF5 file, but not a drin-fs store",
            where=str(path),
            hint=f"it holds: {', '.join(sorted(file)[:8]) or 'nothing'}; "
            "a store is made with: drin-fs ingest SOURCE -o STORE.h5",
        )
    version = attributes.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise StoreError(
            f"store format {version}, this program reads up to {FORMAT_VERSION}",
            where=str(path),
            hint="pip install --upgrade drin-fs",
        )
    return attributes


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return value.item() if isinstance(value, np.generic) else value


class _Reader:
    """Walks one open file."""

    def __init__(self, file: h5py.File, path: Path, attributes: dict[str, Any]) -> None:
        self.file = file
        self.path = path
        self.attributes = attributes
        self.file_bytes = path.stat().st_size

    def catalog(self) -> Catalog:
        rows: dict[str, int] = {}
        fields: dict[str, dict[str, StoredField]] = {}
        index: dict[str, tuple[Extent, Extent]] = {}
        for table in TABLES:
            group = self.file.get(table)
            if not isinstance(group, h5py.Group):
                raise StoreError("the table is missing", where=f"{self.path}::/{table}")
            rows[table] = int(group.attrs["rows"])
            fields[table] = {
                name: self._field(BY_PATH[f"{table}/{name}"], group[name], rows[table])
                for name in group
                if f"{table}/{name}" in BY_PATH
            }
            pair = group[INDEX_GROUP]
            index[table] = (self._extent(pair["hash"]), self._extent(pair["row"]))
        splits = json.loads(self.file["mentions"].attrs["splits"])
        return Catalog(
            path=self.path,
            file_bytes=self.file_bytes,
            attributes=self.attributes,
            rows=rows,
            splits={name: (int(a), int(b)) for name, (a, b) in splits.items()},
            fields=fields,
            index=index,
        )

    def _where(self, item: h5py.Dataset | h5py.Group) -> str:
        return f"{self.path}::{item.name}"

    def _extent(self, dataset: h5py.Dataset) -> Extent:
        extent = Extent(dataset.id.get_offset() or 0, dataset.shape, dataset.dtype)
        if extent.nbytes and not extent.offset:
            raise StoreError("the array is not stored contiguously", where=self._where(dataset))
        if extent.offset + extent.nbytes > self.file_bytes:
            raise StoreError(
                "the array reaches past the end of the file: the file was cut off",
                where=self._where(dataset),
                hint="copy it again, or ingest again",
            )
        return extent

    def _field(self, schema: Field, item: h5py.Dataset | h5py.Group, rows: int) -> StoredField:
        if schema.layout == "text":
            data, offsets = self._extent(item["bytes"]), self._extent(item["offsets"])
            if offsets.shape != (rows + 1,):
                raise StoreError(
                    f"offsets of shape {offsets.shape} for {rows} rows", where=self._where(item)
                )
            return StoredField(
                schema, (rows,), np.dtype("uint8"), data.nbytes + offsets.nbytes, data, offsets
            )
        if item.shape[0] != rows or item.ndim != 1 + len(schema.axes):
            raise StoreError(
                f"shape {item.shape} where {rows} rows of ({', '.join(schema.axes)}) belong",
                where=self._where(item),
            )
        attributes = {key: _plain(value) for key, value in item.attrs.items()}
        if item.chunks is None:
            extent = self._extent(item)
            return StoredField(
                schema, item.shape, item.dtype, extent.nbytes, extent, attributes=attributes
            )
        if item.chunks != (1, *item.shape[1:]):
            raise StoreError(
                f"chunks {item.chunks}: format 1 keeps one record a chunk", where=self._where(item)
            )
        plist = item.id.get_create_plist()
        filters = [plist.get_filter(i) for i in range(plist.get_nfilters())]
        codec = codec_of([(f[0], f[2]) for f in filters], where=self._where(item))
        return StoredField(
            schema,
            item.shape,
            item.dtype,
            item.id.get_storage_size(),
            codec=codec,
            chunks=item.chunks,
            attributes=attributes,
        )


def chunk_positions(dataset: h5py.Dataset, rows: int) -> np.ndarray:
    """(rows, 2) int64: byte offset and stored size of the chunk of each row, as HDF5 states them."""
    table = np.zeros((rows, 2), np.int64)

    def note(chunk: Any) -> None:
        table[chunk.chunk_offset[0]] = chunk.byte_offset, chunk.size

    dataset.id.chunk_iter(note)
    return table


def read_chunk_table(path: Path, dataset: str, rows: int) -> np.ndarray:
    """(rows, 2) int64: byte offset and stored size of every record; 0, 0 where none was written.

    One pass over HDF5's own chunk index, about a microsecond a record.
    """
    with h5py.File(path, "r", locking=False) as file:
        table = chunk_positions(file[dataset], rows)
    if (table < 0).any() or (table.sum(axis=1) > path.stat().st_size).any():
        raise StoreError(
            "a record lies outside the file: the file was cut off or damaged",
            where=f"{path}::/{dataset}",
            hint="copy it again, or ingest again",
        )
    return table
