"""A checksum of every piece of a store: one a record, one a MiB of any other array (xxh3, 64 bits).

They stand in the store itself, below ``/checksums``, at the path of the array that they are of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import h5py
import numpy as np
from xxhash import xxh3_64_intdigest

from featurestore.catalog import chunk_positions
from featurestore.schema import TABLES

GROUP, ALGORITHM = "checksums", "xxh3_64"

#: Bytes of a contiguous array under one checksum (chosen here: damage is located to a few hundred rows,
#: and checksums are a hundred-thousandth of the store).
BLOCK = 1 << 20

#: Reads ``size`` bytes of the file from ``start`` on, or what there is of them.
Read = Callable[[int, int], bytes]


class Pieces(NamedTuple):
    """Stored bytes of one array: the file's ``[start, start + size)`` for each piece."""

    path: str  # in the file, without the first slash
    starts: np.ndarray  # (n,) int64
    sizes: np.ndarray  # (n,) int64
    row_bytes: int  # of a contiguous array; 0 = a piece is a row

    def rows(self, piece: int) -> tuple[int, int]:
        """The rows that a piece holds something of: first, one after the last."""
        if not self.row_bytes:
            return piece, piece + 1
        first, last = piece * BLOCK, piece * BLOCK + int(self.sizes[piece])
        return first // self.row_bytes, -(-last // self.row_bytes)


def arrays_of(file: h5py.File) -> Iterator[h5py.Dataset]:
    """Every array of both tables: fields, parts of text fields, and the index of ids."""
    found: list[h5py.Dataset] = []

    def note(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found.append(item)

    for table in TABLES:
        file[table].visititems(note)
    return iter(found)


def pieces_of(array: h5py.Dataset) -> Pieces:
    """Where the pieces of an array lie; what was written must have been handed to the file."""
    path = array.name.lstrip("/")
    if array.chunks is None:
        size = array.size * array.dtype.itemsize
        starts = np.arange(0, size, BLOCK, dtype=np.int64)
        sizes = np.minimum(BLOCK, size - starts)
        row_bytes = size // max(array.shape[0], 1)
        return Pieces(path, starts + (array.id.get_offset() or 0), sizes, max(row_bytes, 1))
    table = chunk_positions(array, array.shape[0])
    return Pieces(path, table[:, 0], table[:, 1], 0)


def checksum_all(pieces: Pieces, read: Read, *, on_read: Callable[[int], None]) -> np.ndarray:
    """(n,) uint64 checksums, read in the order of the file.

    Args:
        on_read: told the bytes of every piece.
    """
    sums = np.zeros(len(pieces.starts), np.uint64)
    for piece in np.argsort(pieces.starts, kind="stable").tolist():
        size = int(pieces.sizes[piece])
        sums[piece] = xxh3_64_intdigest(read(int(pieces.starts[piece]), size))
        on_read(size)
    return sums


def write_checksums(file: h5py.File, read: Read) -> None:
    """Add the checksums of all arrays to a store that is complete but for them."""
    file.flush()
    pieces = [pieces_of(array) for array in arrays_of(file)]
    group = file.create_group(GROUP)
    group.attrs["algorithm"] = ALGORITHM
    group.attrs["block"] = BLOCK
    for one in pieces:
        group[one.path] = checksum_all(one, read, on_read=lambda size: None)
