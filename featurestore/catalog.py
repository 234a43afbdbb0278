"""What a store file holds and where each byte of it lies, without reading its data.

A store says so itself, in JSON at its end, to which the header has a digest. HDF5 files without a header,
such as other programs write, are opened by libhdf5 in a process of their own
(:mod:`featurestore.headerless`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from featurestore.codecs import Codec
from featurestore.place import Place
from featurestore.schema import TABLES, Field

#: Arrays of a table that are not fields of the schema: the id index.
INDEX_GROUP = "id_index"


@dataclass(frozen=True, slots=True)
class Extent:
    """A contiguous array in the file; ``sums``: its checksums, one a block."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype
    sums: Extent | None = None

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class StoredField:
    """One field of one store: its schema line, and how it is stored here.

    ``shape`` includes the row axis. ``extent`` is set for contiguous data, ``offsets`` too for text. For
    records in chunks ``codec`` is, with ``table``: (rows, 2) int64 offset and stored size of each, unless
    only libhdf5 can tell; ``sums``: a checksum for each of them. ``spread``: the rows stand in the shards
    of the store, whose catalogs know the places; of these only ``codec`` is set then.
    """

    schema: Field
    shape: tuple[int, ...]
    dtype: np.dtype
    stored_bytes: int
    extent: Extent | None = None
    offsets: Extent | None = None
    codec: Codec | None = None
    table: Extent | None = None
    sums: Extent | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    spread: bool = False

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
    def chunks(self) -> tuple[int, ...] | None:
        """The shape of a chunk: one record."""
        return (1, *self.shape[1:]) if self.codec else None

    @property
    def compression(self) -> str:
        return self.codec.compression if self.codec else "none"


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything known of a store without reading its data.

    ``index``: table → hashes, rows. ``identity``: device and number of the file that was read.
    """

    path: Place
    file_bytes: int
    attributes: dict[str, Any]
    rows: dict[str, int]
    splits: dict[str, tuple[int, int]]
    fields: dict[str, dict[str, StoredField]]
    index: dict[str, tuple[Extent, Extent]]
    identity: tuple[int, int] = (0, 0)

    def arrays(self) -> list[tuple[str, Extent | StoredField]]:
        """Path in the file → every array of both tables; a field where it is in chunks."""
        found: list[tuple[str, Extent | StoredField]] = []
        for table in TABLES:
            for name, stored in self.fields[table].items():
                path = f"{table}/{name}"
                if stored.extent is not None and stored.offsets is not None:
                    found += [(f"{path}/bytes", stored.extent), (f"{path}/offsets", stored.offsets)]
                else:
                    found.append((path, stored.extent or stored))
            pair = self.index[table]
            found += [
                (f"{table}/{INDEX_GROUP}/{n}", e)
                for n, e in zip(("hash", "row"), pair, strict=True)
            ]
        return found
