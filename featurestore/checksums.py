"""A checksum of every piece of a store: one a record, one a MiB of any other array (xxh3, 64 bits)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from xxhash import xxh3_64_intdigest

from featurestore.catalog import Extent
from featurestore.errors import AGAIN, StoreError

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


def blocks_of(path: str, array: Extent) -> Pieces:
    """The pieces of a contiguous array."""
    starts = np.arange(0, array.nbytes, BLOCK, dtype=np.int64)
    sizes = np.minimum(BLOCK, array.nbytes - starts)
    row_bytes = array.nbytes // max(array.shape[0], 1)
    return Pieces(path, starts + array.offset, sizes, max(row_bytes, 1))


def stored_sums(
    view: Callable[[Extent], np.ndarray], sums: Extent | None, count: int, where: str
) -> np.ndarray:
    """(count,) uint64 the checksums that a store holds of an array.

    Args:
        view: the values of an array of the file.
        sums: the checksums' place.
        where: ``file::/path`` of the array, for errors.

    Raises:
        StoreError: it holds none, or not one for each piece.
    """
    if sums is None:
        raise StoreError(
            "the store has no checksums", where=where, hint="ingest it again to have some"
        )
    values = view(sums)
    if values.shape != (count,) or values.dtype != np.uint64:
        raise StoreError(f"not one checksum for each of {count} pieces", where=where, hint=AGAIN)
    return values


def checksum_all(
    pieces: Pieces, read: Read, *, on_read: Callable[[int], None] = lambda size: None
) -> np.ndarray:
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
