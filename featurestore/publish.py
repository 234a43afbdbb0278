"""Complete a file of arrays to a store: chunk tables, checksums, HDF5's metadata, catalog, header."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from xxhash import xxh3_128

from featurestore.catalog import INDEX_GROUP, Catalog, Extent, StoredField
from featurestore.catalog_json import encode_catalog
from featurestore.checksums import ALGORITHM, BLOCK, GROUP, blocks_of, checksum_all
from featurestore.hdf5 import Array, Group, Metadata, Virtual
from featurestore.header import Header, write_header
from featurestore.record_arrays import RecordArray
from featurestore.row_arrays import RowArray
from featurestore.schema import ERROR, FORMAT, FORMAT_VERSION, TABLES, Field
from featurestore.shards import decode_shards
from featurestore.work import PAGE, Work

#: Where the tables of chunks stand in the file, at the path of the array that they are of.
CHUNKS_GROUP = "chunks"

#: Rows of a table that are copied at once.
_ROWS = 1 << 18


@dataclass(slots=True)
class Contents:
    """What a store will hold, and where it lies by now."""

    rows: dict[str, int] = field(default_factory=dict)
    splits: dict[str, tuple[int, int]] = field(default_factory=dict)
    fields: dict[str, dict[str, StoredField]] = field(default_factory=dict)
    index: dict[str, tuple[Extent, Extent]] = field(default_factory=dict)
    records: dict[str, RecordArray] = field(default_factory=dict)

    def begin(self, table: str, rows: int, index: tuple[Extent, Extent]) -> None:
        self.rows[table], self.index[table], self.fields[table] = rows, index, {}

    def add(self, stored: StoredField) -> None:
        self.fields[stored.schema.table][stored.name] = stored

    def add_feature(self, schema: Field, array: RowArray | RecordArray) -> None:
        facts = dict(array.facts) if array.dtype == np.float16 else {}
        if array.dtype == np.float16:
            facts.setdefault(ERROR, 0.0)
        if isinstance(array, RowArray):
            extent = array.extent
            self.add(
                StoredField(
                    schema, extent.shape, extent.dtype, extent.nbytes, extent, attributes=facts
                )
            )
            return
        self.records[schema.path] = array
        self.add(
            StoredField(
                schema, array.shape, array.dtype, array.stored_bytes, codec=array.codec,
                attributes=facts,
            )
        )  # fmt: skip


def complete(
    work: Work,
    contents: Contents,
    attributes: Mapping[str, str],
    virtual: Sequence[StoredField] = (),
) -> None:
    """Write all that is no field data, and force the file to disk.

    Args:
        attributes: of the file; with the manifest of shards where it is the index of some.
        virtual: features of entities that stand in the shards, to be shown to other programs.

    Raises:
        OSError: it could not be written.
    """
    made = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **attributes,
    }
    tail = _Tail(work)
    catalog = tail.tables(
        Catalog(Path(), 0, made, contents.rows, contents.splits, contents.fields, contents.index),
        contents.records,
    )
    shown = {stored.name: _virtual(stored, catalog) for stored in virtual}
    tail.metadata(_tree(catalog, contents.records, shown))
    tail.finish(encode_catalog(catalog))


class _Tail:
    """What stands behind the field data, written front to back."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._start = work.append(0, PAGE)
        self._digest = xxh3_128()
        self._superblock: Metadata | None = None

    def _put(self, data: bytes) -> None:
        self._work.put(data, 1)
        self._digest.update(data)

    def _array(self, blocks: Iterator[np.ndarray], shape: tuple[int, ...], dtype: str) -> Extent:
        self._put(bytes(-self._work.end % 8))
        offset = self._work.end
        for block in blocks:
            self._put(np.ascontiguousarray(block, dtype).tobytes())
        return Extent(offset, shape, np.dtype(dtype))

    def tables(self, catalog: Catalog, records: Mapping[str, RecordArray]) -> Catalog:
        """Write chunk tables and checksums; the catalog that tells of them."""
        fields: dict[str, dict[str, StoredField]] = {
            table: {
                name: self._with_sums(stored, records.get(stored.schema.path))
                for name, stored in catalog.fields[table].items()
            }
            for table in TABLES
        }
        index = {
            table: (self._summed(pair[0]), self._summed(pair[1]))
            for table, pair in catalog.index.items()
        }
        return replace(catalog, fields=fields, index=index)

    def _with_sums(self, stored: StoredField, records: RecordArray | None) -> StoredField:
        if records is not None:
            rows = stored.shape[0]
            table = self._array(_blocks(records.table), (rows, 2), "<i8")
            sums = self._array(_blocks(records.sums), (rows,), "<u8")
            return replace(stored, table=table, sums=sums)
        assert stored.extent is not None
        extent = self._summed(stored.extent)
        offsets = self._summed(stored.offsets) if stored.offsets is not None else None
        return replace(stored, extent=extent, offsets=offsets)

    def _summed(self, extent: Extent) -> Extent:
        sums = checksum_all(blocks_of("", extent), self._work.file.read)
        return replace(extent, sums=self._array(iter([sums]), sums.shape, "<u8"))

    def metadata(self, root: Group) -> None:
        """Write all that makes the file HDF5, but for the superblock."""
        self._put(bytes(-self._work.end % 8))
        self._superblock = Metadata(root, start=self._work.end)
        for block in self._superblock.blocks():
            self._put(block)

    def finish(self, catalog: bytes) -> None:
        """Write the catalog, and at last the first page, which makes it a store."""
        assert self._superblock is not None
        catalog_start = self._work.end
        size = catalog_start + len(catalog)
        superblock = self._superblock.superblock(size)
        self._put(catalog)
        self._work.file.truncate(size)
        self._digest.update(superblock)
        header = Header(
            size, catalog_start, self._start, xxh3_128(catalog).digest(), self._digest.digest()
        )
        place, encoded = write_header(header)
        self._work.file.write(0, superblock)
        self._work.file.write(place, encoded)
        self._work.file.sync()


def _blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    return (array[first : first + _ROWS] for first in range(0, len(array), _ROWS))


# the tree that HDF5 shows ---------------------------------------------------------------------------


def _tree(
    catalog: Catalog, records: Mapping[str, RecordArray], virtual: Mapping[str, Virtual]
) -> Group:
    tables: dict[str, Group] = {}
    chunks: dict[str, dict[str, Array]] = {table: {} for table in TABLES}
    for table in TABLES:
        members: dict[str, Group | Array | Virtual] = {}
        if table == "entities":
            members |= virtual
        for name, stored in catalog.fields[table].items():
            members[name] = _member(stored, records.get(stored.schema.path))
            if stored.table is not None:
                chunks[table][name] = _array(stored.table)
        pair = catalog.index[table]
        members[INDEX_GROUP] = Group({"hash": _array(pair[0]), "row": _array(pair[1])})
        attributes: dict[str, int | float | str] = {"rows": catalog.rows[table]}
        if table == "mentions":
            plain = {name: list(bounds) for name, bounds in catalog.splits.items()}
            attributes["splits"] = json.dumps(plain)
        tables[table] = Group(members, attributes)
    return Group(
        {
            **tables,
            CHUNKS_GROUP: Group({t: Group(found) for t, found in chunks.items()}),
            GROUP: _sums(catalog),
        },
        catalog.attributes,
    )


def _said_of(stored: StoredField) -> dict[str, Any]:
    return {"unit": stored.schema.unit, "doc": stored.schema.doc, **stored.attributes}


def _virtual(stored: StoredField, catalog: Catalog) -> Virtual:
    """A field of the shards, for programs that read HDF5; our own reader never looks at it."""
    shards = decode_shards(catalog.attributes, catalog.rows["entities"], catalog.path)
    path = f"/{stored.schema.path}"
    sources = [(shard.file, path, shard.first, shard.stop - 1) for shard in shards]
    return Virtual(stored.shape, stored.dtype, sources, _said_of(stored))


def _member(stored: StoredField, records: RecordArray | None) -> Group | Array:
    attributes = _said_of(stored)
    if stored.offsets is not None and stored.extent is not None:
        parts = {"bytes": _array(stored.extent), "offsets": _array(stored.offsets)}
        return Group(parts, attributes)
    if records is not None:
        filters = records.codec.filters(stored.dtype.itemsize)
        return Array(
            stored.shape, stored.dtype, chunks=records.table, filters=filters, attributes=attributes
        )
    assert stored.extent is not None
    return _array(stored.extent, attributes)


def _array(extent: Extent, attributes: Mapping[str, int | float | str] | None = None) -> Array:
    return Array(extent.shape, extent.dtype, extent.offset, attributes=attributes or {})


def _sums(catalog: Catalog) -> Group:
    """The checksums, each at the path of the array that it is of."""
    root: dict[str, Any] = {}
    for path, array in catalog.arrays():
        assert array.sums is not None
        *folders, name = path.split("/")
        place = root
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = _array(array.sums)
    return _group(root, {"algorithm": ALGORITHM, "block": BLOCK})


def _group(members: Mapping[str, Any], attributes: Mapping[str, int | float | str]) -> Group:
    made = {n: _group(m, {}) if isinstance(m, dict) else m for n, m in members.items()}
    return Group(made, attributes)
