"""Records in chunks that are written in any order: appended to the store, found through a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from xxhash import xxh3_64_intdigest

from featurestore import bitshuffle
from featurestore.codecs import Codec, decode_record
from featurestore.disk import Bytes, bytes_of
from featurestore.errors import StoreError
from featurestore.halves import close_bound
from featurestore.row_arrays import PartArray
from featurestore.work import LINE, Work, rows_of
from featurestore.written import Share


class Packed(NamedTuple):
    """Chunks of some records behind each other, as they go into the file at once."""

    data: np.ndarray  # (bytes,) uint8
    starts: np.ndarray  # (n,) int64, in ``data``
    sizes: np.ndarray  # (n,) int64
    sums: np.ndarray  # (n,) uint64


def pack(pieces: Sequence[np.ndarray]) -> Packed:
    """Chunks, (bytes,) uint8 each, behind each other."""
    sizes = np.array([len(piece) for piece in pieces], np.int64)
    room = -(-sizes // LINE) * LINE
    starts = np.cumsum(room) - room
    data = np.zeros(int(starts[-1] + sizes[-1]), np.uint8)
    for piece, start in zip(pieces, starts.tolist(), strict=True):
        data[start : start + len(piece)] = piece
    sums = np.array([xxh3_64_intdigest(piece.data) for piece in pieces], np.uint64)
    return Packed(data, starts, sizes, sums)


def round_and_pack(
    records: Sequence[np.ndarray], shape: tuple[int, ...], codec: Codec
) -> tuple[Packed, float] | None:
    """Packed chunks of float32 records rounded to float16, and a bound of the error of their vectors.

    Several times as fast as doing one after the other. None where that is to be done: of other records,
    codecs and processors, and where the bound would not be a close one.

    Args:
        records: at least one.
        shape: (S, …) of a whole record, zero behind its own rows.
    """
    if codec.compression != "lz4":
        return None
    made = bitshuffle.round_and_encode(records, shape, LINE)
    if made is None:
        return None
    error = close_bound(made.norms, shape[-1])
    if error is None:
        return None
    places = zip(made.starts.tolist(), made.sizes.tolist(), strict=True)
    chunks = [made.data[start : start + size].data for start, size in places]
    sums = np.array([xxh3_64_intdigest(chunk) for chunk in chunks], np.uint64)
    return Packed(made.data, made.starts, made.sizes, sums), error


class RecordArray(PartArray):
    """The records of one field, one chunk each.

    ``table``: (rows, 2) int64 offset and size of each chunk. ``sums``: (rows,) uint64 their checksums.
    Both are maps of files: memory does not grow with the rows.
    """

    def __init__(
        self, work: Work, name: str, shape: tuple[int, ...], dtype: np.dtype, codec: Codec
    ) -> None:
        super().__init__(name, shape[0])
        self.shape, self.dtype, self.codec = shape, dtype, codec
        self.stored_bytes = 0
        self._work = work
        self.table = work.rows_file(f"{name}.chunks", (shape[0], 2), np.dtype(np.int64))
        self.sums = work.rows_file(f"{name}.sums", (shape[0],), np.dtype(np.uint64))

    def write(self, rows: np.ndarray, packed: Packed) -> None:
        """Write records, none of which is there yet.

        Raises:
            OSError: an earlier write failed.
        """
        begin = self._work.put(bytes_of(packed.data), LINE)
        self.table[rows, 0] = begin + packed.starts
        self.table[rows, 1] = packed.sizes
        self.sums[rows] = packed.sums
        self.stored_bytes += int(packed.sizes.sum())
        self.written.add(rows, bytes_of(packed.sums))

    def bytes_left(self, compressed: float) -> int:
        """About how many bytes the rows take that are not written yet.

        Args:
            compressed: share of its size that a record keeps, unless some are there to tell.
        """
        done = int(self.written.done.sum())
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        mean = self.stored_bytes / done if done else compressed * row
        return int((self.shape[0] - done) * mean)

    def chunk(self, row: int) -> np.ndarray:
        """The stored bytes of a record."""
        start, size = self.table[row].tolist()
        return np.frombuffer(self._work.file.read(start, size), np.uint8)

    def read(self, row: int) -> np.ndarray:
        """A record.

        Raises:
            StoreError: it does not decode.
        """
        out = np.empty(self.shape[1:], self.dtype)
        damage = decode_record(self.codec, self.chunk(row), out)
        if damage is not None:
            raise StoreError(f"damaged record: {damage.why}", where=f"{self.name}[{row}]")
        return out

    def written_bytes(self, rows: range) -> Iterator[Bytes]:
        for row in rows:
            yield bytes_of(self.chunk(row))

    @property
    def kept(self) -> list[np.memmap]:
        return [self.table, self.sums]

    def trust(self, share: Share, facts: dict[str, float]) -> None:
        super().trust(share, facts)
        for rows in rows_of(share.runs):
            self.stored_bytes += int(self.table[rows.start : rows.stop, 1].sum())

    def restore(self, share: Share, facts: dict[str, float]) -> int:
        """Record by record: only those whose bytes are not what they were are written again."""
        self.facts |= facts
        damaged = 0
        for rows in rows_of(share.runs):
            for row in rows:
                start, size = self.table[row].tolist()
                data = self._work.file.read(start, size) if 0 < size <= self._work.end else b""
                if data and xxh3_64_intdigest(data) == int(self.sums[row]):
                    self.written.done[row] = True
                    self.stored_bytes += size
                else:
                    damaged += 1
        return damaged
