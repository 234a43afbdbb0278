"""Bytes of a store straight from the memory-mapped file: contiguous rows, texts, records."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np

from featurestore import threads
from featurestore.bitshuffle import Damage
from featurestore.catalog import Extent, StoredField, read_chunk_table
from featurestore.codecs import Chunks, Codec
from featurestore.errors import StoreError
from featurestore.machine import disk_bytes

#: Makes the array that a gather fills, as ``numpy.empty`` does: (shape, dtype) → array.
New: TypeAlias = Callable[[tuple[int, ...], np.dtype], np.ndarray]

#: Fills the places of some records.
Fill: TypeAlias = Callable[[range], None]

#: Share of what was read that had to come from disk, from which on rows are announced to the kernel
#: beforehand (chosen here: announcing a row costs about a microsecond, waiting for its page 80).
_COLD = 1 / 32

#: Fewer rows than this are read without a look at where they come from.
_FEW = 16


class FileMap:
    """A read-only memory map of a whole file.

    Random access is announced to the kernel: its default read-ahead of 128 KB would multiply what a
    cold gather of single rows reads from disk. Where the last rows had to come from disk, the next
    ones are announced before they are touched, so that the disk works on all of them at once instead
    of on one page after the other.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        descriptor = os.open(path, os.O_RDONLY)
        try:
            self._file = _identity(os.fstat(descriptor))
            self._map = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
        if hasattr(mmap, "MADV_RANDOM"):
            self._map.madvise(mmap.MADV_RANDOM)
        self._bytes: np.ndarray | None = np.frombuffer(self._map, np.uint8)
        self._cold = True  # until something was read

    @property
    def bytes(self) -> np.ndarray:
        """The whole file, (file size,) uint8.

        Raises:
            StoreError: it was closed.
        """
        if self._bytes is None:
            raise StoreError("the store is closed", where=str(self.path), hint="open it again")
        return self._bytes

    def array(self, extent: Extent) -> np.ndarray:
        """A read-only view of a contiguous array; nothing is read yet."""
        part = self.bytes[extent.offset : extent.offset + extent.nbytes]
        return part.view(extent.dtype).reshape(extent.shape)

    @contextmanager
    def reading(self, starts: np.ndarray, sizes: np.ndarray | int) -> Iterator[None]:
        """Around the reading of scattered pieces of the file.

        Args:
            starts: (n,) bytes where they begin.
            sizes: (n,) bytes of each, or of every one.
        """
        if len(starts) < _FEW:
            yield
            return
        before = disk_bytes()
        if self._cold:
            self._announce(starts, starts + sizes)
        yield
        wanted = len(starts) * sizes if isinstance(sizes, int) else int(sizes.sum())
        self._cold = disk_bytes() - before > _COLD * wanted

    def _announce(self, starts: np.ndarray, ends: np.ndarray) -> None:
        """Have the kernel begin to read these pieces; it does not wait for them."""
        if not hasattr(mmap, "MADV_WILLNEED"):
            return
        first, last = starts // mmap.PAGESIZE, (ends - 1) // mmap.PAGESIZE + 1
        order = np.argsort(first)
        first, last = first[order], np.maximum.accumulate(last[order])
        heads = np.flatnonzero(np.concatenate([[True], first[1:] > last[:-1]]))
        tails = np.concatenate([heads[1:], [len(first)]]) - 1
        pages = zip(first[heads].tolist(), last[tails].tolist(), strict=True)
        for begin, end in pages:
            self._map.madvise(
                mmap.MADV_WILLNEED, begin * mmap.PAGESIZE, (end - begin) * mmap.PAGESIZE
            )

    def refuse_replaced(self) -> None:
        """Make sure that the path still leads to the file in the map, before it is read by path.

        Raises:
            StoreError: another file stands there now: its offsets are not ours.
        """
        if not self.path.exists() or _identity(self.path.stat()) != self._file:
            raise StoreError(
                "the store was replaced while it was in use",
                where=str(self.path),
                hint="open it again",
            )

    def release_pages(self) -> None:
        """Give back the memory that pages read so far occupy; views stay valid and read them again."""
        if self._bytes is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Drop the map. Views handed out earlier keep it alive until they are gone."""
        self._bytes = None
        with suppress(BufferError):  # while someone holds a view; the map goes with the last one
            self._map.close()


def _made(new: New, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array to fill.

    Raises:
        ValueError: it is not what was asked for.
    """
    out = new(shape, dtype)
    if out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous:
        raise ValueError(
            f"new made {out.dtype}{list(out.shape)} where a C-contiguous {dtype}{list(shape)} was needed"
        )
    return out


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _begins(lengths: np.ndarray) -> np.ndarray:
    """Where each of some pieces begins that stand behind each other."""
    return np.cumsum(lengths) - lengths


#: Bytes from which on rows are copied by several threads (chosen here: a thread is handed its part
#: in some ten microseconds, in which one copies 100 KB).
_PARALLEL = 4 << 20


class RowColumn:
    """Rows of one column or view: one contiguous array in the map."""

    def __init__(self, file: FileMap, extent: Extent) -> None:
        self.array = file.array(extent)
        self._file = file
        self._start = extent.offset
        self._row_bytes = extent.nbytes // max(extent.shape[0], 1)

    def gather(self, rows: np.ndarray, new: New) -> np.ndarray:
        """(len(rows), …) the rows, which are inside the array."""
        out = _made(new, (len(rows), *self.array.shape[1:]), self.array.dtype)
        with self._file.reading(self._start + rows * self._row_bytes, self._row_bytes):
            if out.nbytes < _PARALLEL:
                self._copy(rows, out)
            else:
                parts = np.array_split(np.arange(len(rows)), threads.count())
                threads.each(
                    lambda part: self._copy(rows[part], out[part[0] : part[-1] + 1]), parts
                )
        return out

    def _copy(self, rows: np.ndarray, out: np.ndarray) -> None:
        # rows are inside: mode="clip" only keeps take() from buffering the whole output
        np.take(self.array, rows, axis=0, out=out, mode="clip")


class TextColumn:
    """UTF-8 texts of one field."""

    def __init__(self, data: np.ndarray, offsets: np.ndarray) -> None:
        self._data = data
        self._offsets = offsets

    def at(self, rows: np.ndarray) -> list[str]:
        """The texts of rows, in their order."""
        starts, ends = self._offsets[rows], self._offsets[rows + 1]
        data = self._data
        return [data[a:b].tobytes().decode() for a, b in zip(starts, ends, strict=True)]

    def equal(self, rows: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """(n,) bool: whether the text of a row is the one given; without decoding what is stored."""
        wanted = [text.encode() for text in texts]
        lengths = np.fromiter(map(len, wanted), np.int64, len(wanted))
        starts = self._offsets[rows]
        same = self._offsets[rows + 1] - starts == lengths
        # every byte of the texts that have the right length: which text it is of, which byte of it
        of = np.repeat(np.arange(len(wanted)), lengths * same)
        byte = np.arange(len(of)) - np.repeat(_begins(lengths * same), lengths * same)
        given = np.frombuffer(b"".join(wanted), np.uint8)
        differs = self._data[starts[of] + byte] != given[_begins(lengths)[of] + byte]
        same[of[differs]] = False
        return same


class RecordColumn:
    """Records of one field, decoded from the map into the caller's batch.

    The table of chunk positions is read at the first use and kept, as is what was found when a chunk
    was checked (24 bytes a record). Records stored without compression are one contiguous array and
    need neither. A published store is replaced and never written to, so one check is enough.
    """

    def __init__(self, file: FileMap, field: StoredField, counts: np.ndarray | None) -> None:
        self._file = file
        self._field = field
        self._counts = counts
        self._table: np.ndarray | None = None
        self._array = file.array(field.extent) if field.extent else None
        self._blocks = np.zeros(0 if field.extent else field.shape[0], np.int64)

    def gather(self, rows: np.ndarray, length: int, new: New) -> np.ndarray:
        """(len(rows), length, …) records; beyond a record's own count it is zero."""
        counts = np.full(len(rows), length)
        if self._counts is not None:
            counts = np.minimum(self._counts[rows], length)
        out = _made(new, (len(rows), length, *self._field.shape[2:]), self._field.dtype)
        self._read(rows, counts, out)
        return out

    def whole(self, rows: np.ndarray, new: New) -> np.ndarray:
        """(len(rows), S, …) records with whatever was stored beyond their count."""
        out = _made(new, (len(rows), *self._field.shape[1:]), self._field.dtype)
        self._read(rows, np.full(len(rows), self._field.shape[1]), out)
        return out

    def _read(self, rows: np.ndarray, counts: np.ndarray, out: np.ndarray) -> None:
        """Fill ``out`` with the first ``counts`` rows of each record, and zeros behind them."""
        starts, sizes = self._pieces(rows)
        with self._file.reading(starts, sizes):
            if self._array is not None:
                fill = self._copying(self._array, rows, counts.tolist(), out)
            else:
                fill = self._decoding(rows, Chunks(self._file.bytes, starts, sizes), counts, out)
            threads.each(fill, _shares(counts) if out.nbytes >= _PARALLEL else [range(len(rows))])

    def _pieces(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the stored records begin, and their sizes.

        Raises:
            StoreError: one was never written.
        """
        if self._field.extent is not None:
            size = self._field.extent.nbytes // max(self._field.shape[0], 1)
            return self._field.extent.offset + rows * size, np.full(len(rows), size)
        table = self._chunk_table()[rows]
        starts, sizes = np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])
        if not sizes.all():
            raise StoreError(
                "the record was never written",
                where=self._where(rows[np.argmin(sizes)]),
                hint="ingest again",
            )
        return starts, sizes

    @staticmethod
    def _copying(array: np.ndarray, rows: np.ndarray, counts: list[int], out: np.ndarray) -> Fill:
        def fill(part: range) -> None:
            for place in part:
                count = counts[place]
                out[place, :count] = array[rows[place], :count]
                out[place, count:] = 0

        return fill

    def _decoding(
        self, rows: np.ndarray, chunks: Chunks, counts: np.ndarray, out: np.ndarray
    ) -> Fill:
        assert self._field.codec is not None
        row_values = math.prod(self._field.shape[2:])
        whole = self._field.shape[1] * row_values
        blocks = self._checked_blocks(self._field.codec, rows, chunks, whole)
        decoder = self._field.codec.decoder(
            chunks, blocks, counts * row_values, whole=whole, out=out
        )
        return lambda part: self._refuse(decoder.decode(part), rows)

    def _checked_blocks(
        self, codec: Codec, rows: np.ndarray, chunks: Chunks, whole: int
    ) -> np.ndarray:
        """(n,) int64 values a block. A chunk is checked when it is read for the first time.

        Raises:
            StoreError: one is not safe to decode.
        """
        new = np.flatnonzero(self._blocks[rows] == 0)
        if len(new):
            some = Chunks(chunks.data, chunks.starts[new], chunks.sizes[new])
            found = codec.checked_blocks(some, whole=whole, item=self._field.dtype.itemsize)
            if isinstance(found, Damage):
                self._refuse(found, rows[new])
            else:
                self._blocks[rows[new]] = found
        return self._blocks[rows]

    def _refuse(self, damage: Damage | None, rows: np.ndarray) -> None:
        if damage is not None:
            raise StoreError(
                f"damaged record: {damage.why}",
                where=self._where(rows[damage.record]),
                hint="copy or ingest the store again",
            )

    def _where(self, row: int) -> str:
        return f"{self._file.path}::/{self._field.schema.path}[{row}]"

    def _chunk_table(self) -> np.ndarray:
        if self._table is None:
            self._file.refuse_replaced()
            path = self._field.schema.path
            self._table = read_chunk_table(self._file.path, path, self._field.shape[0])
        return self._table


def _shares(counts: np.ndarray) -> list[range]:
    """The places of records, cut into runs of about equal work, a few for each thread."""
    ends = np.cumsum(counts)
    wanted = ends[-1] * np.arange(1, 2 * threads.count()) // (2 * threads.count())
    cuts = [0, *np.searchsorted(ends, wanted).tolist(), len(counts)]
    return [range(first, last) for first, last in pairwise(cuts) if first < last]
