"""Bytes of a store straight from the memory-mapped file: contiguous rows, texts, records."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np

from featurestore import threads
from featurestore.catalog import Extent, StoredField
from featurestore.codecs import Chunks, Codec
from featurestore.errors import AGAIN, StoreError
from featurestore.filemap import FileMap, Reading
from featurestore.filter_blocks import Damage
from featurestore.guard import BlockGuard, RecordGuard
from featurestore.headerless import chunks_by_hdf5

#: Makes the array that a gather fills, as ``numpy.empty`` does: (shape, dtype) → array.
New: TypeAlias = Callable[[tuple[int, ...], np.dtype], np.ndarray]

#: Bytes of a file that are wanted next, in rounds: (n,) where pieces begin, and where they end.
Plan: TypeAlias = Iterator[tuple[np.ndarray, np.ndarray]]

#: Fills the places of some records.
Fill: TypeAlias = Callable[[range], None]


def made(new: New, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
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


def _begins(lengths: np.ndarray) -> np.ndarray:
    """Where each of some pieces begins that stand behind each other."""
    return np.cumsum(lengths) - lengths


#: Bytes from which on rows are copied by several threads (chosen here: a thread is handed its part
#: in some ten microseconds, in which one copies 100 KB).
_PARALLEL = 4 << 20


def _cuts(size: int, of: int) -> int:
    """Into how many parts threads cut the work for so many bytes; 0: it is done at once.

    Args:
        of: bytes of the whole gather that this is a share of.
    """
    whole = max(size, of)
    return max(1, round(threads.count() * size / whole)) if whole >= _PARALLEL else 0


#: No codec makes more than so many bytes of one (gzip 1032, LZ4 255, Zstandard less on blocks of 8 KB),
#: small records aside.
_MOST_COMPRESSED, _SLACK = 1100, 1 << 16


class RowColumn:
    """Rows of one column or view: one contiguous array in the map."""

    def __init__(self, file: FileMap, extent: Extent, guard: BlockGuard | None = None) -> None:
        self.array = file.array(extent)
        self._guard = guard
        self._start = extent.offset
        self._row_bytes = extent.nbytes // max(extent.shape[0], 1)

    def plan(self, rows: np.ndarray) -> Plan:
        """What of the file these rows take."""
        starts = self._start + rows * self._row_bytes
        yield starts, starts + self._row_bytes

    def gather(self, rows: np.ndarray, new: New, reading: Reading, *, of: int = 0) -> np.ndarray:
        """(len(rows), …) the rows, which are inside the array; complete when the reading is.

        Args:
            of: bytes of the gather that this is a share of, if it is.
        """
        self.verify(rows)
        out = made(new, (len(rows), *self.array.shape[1:]), self.array.dtype)
        reading.announce(self._start + rows * self._row_bytes, self._row_bytes)
        cuts = _cuts(out.nbytes, of)
        if not cuts:
            self._copy(rows, out)
        else:
            parts = np.array_split(np.arange(len(rows)), min(cuts, len(rows)))
            reading.do([partial(self._copy, rows[p], out[p[0] : p[-1] + 1]) for p in parts])
        return out

    def verify(self, rows: np.ndarray) -> None:
        """Compare what holds these rows with its checksums, if that was asked for.

        Raises:
            StoreError: it is not what was written.
        """
        if self._guard is not None:
            self._guard.check(rows)

    def _copy(self, rows: np.ndarray, out: np.ndarray) -> None:
        # rows are inside: mode="clip" only keeps take() from buffering the whole output
        np.take(self.array, rows, axis=0, out=out, mode="clip")


class TextColumn:
    """UTF-8 texts of one field.

    Args:
        where: ``file::/table/field``, for errors.
        begins: where the data and the offsets begin in their file.
    """

    def __init__(
        self, data: np.ndarray, offsets: np.ndarray, where: str, *, begins: tuple[int, int] = (0, 0)
    ) -> None:
        self._data = data
        self._offsets = offsets
        self._where = where
        self._begins = begins

    def plan(self, rows: np.ndarray) -> Plan:
        """What of the file these rows take: where the texts stand, then the texts."""
        starts = self._begins[1] + rows * self._offsets.dtype.itemsize
        yield starts, starts + 2 * self._offsets.dtype.itemsize
        bounds = self._offsets[rows], self._offsets[rows + 1]
        first, last = (np.clip(bound, 0, len(self._data)) for bound in bounds)
        yield self._begins[0] + first, self._begins[0] + np.maximum(first, last)

    def at(self, rows: np.ndarray) -> list[str]:
        """The texts of rows, in their order.

        Raises:
            StoreError: one is no UTF-8, or not inside the bytes of the field.
        """
        starts, ends = self._offsets[rows], self._offsets[rows + 1]
        wrong = (starts < 0) | (ends < starts) | (ends > len(self._data))
        if wrong.any():
            raise self._damaged("the text lies outside its bytes", rows[np.argmax(wrong)])
        data, texts = self._data, []
        try:
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
                texts.append(data[start:end].tobytes().decode())
        except UnicodeDecodeError as error:
            raise self._damaged("the text is no UTF-8", rows[len(texts)]) from error
        return texts

    def _damaged(self, what: str, row: int) -> StoreError:
        return StoreError(what, where=f"{self._where}[{row}]", hint=AGAIN)

    def shared_bytes(self, count: int, text: str) -> tuple[np.ndarray, np.ndarray]:
        """(count,) bytes that each of the first texts has in common with one, in any order; (count,) its
        length in bytes.
        """
        bounds = np.clip(self._offsets[: count + 1], 0, len(self._data)).astype(np.int64)
        first, last = (int(bounds[0]), int(bounds.max())) if count else (0, 0)
        bounds = np.maximum(bounds - first, 0)
        data = self._data[first:last]
        shared = np.zeros(count, np.int64)
        for byte, times in Counter(text.encode()).items():
            before = np.zeros(len(data) + 1, np.uint32)
            np.cumsum(data == byte, out=before[1:], dtype=np.uint32)
            here = before[bounds[1:]].astype(np.int64) - before[bounds[:-1]]
            shared += np.minimum(here, times)
        return shared, np.diff(bounds)

    def equal(self, rows: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """(n,) bool: whether the text of a row is the one given; without decoding what is stored."""
        wanted = [text.encode() for text in texts]
        lengths = np.fromiter(map(len, wanted), np.int64, len(wanted))
        starts = self._offsets[rows]
        same = (self._offsets[rows + 1] - starts == lengths) & (starts >= 0)
        same &= starts <= len(self._data) - lengths
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

    def __init__(
        self,
        file: FileMap,
        field: StoredField,
        counts: np.ndarray | None,
        guard: RecordGuard | BlockGuard | None = None,
    ) -> None:
        self._file = file
        self._guard = guard
        self._field = field
        self._counts = counts
        self._table: np.ndarray | None = None
        self._array = file.array(field.extent) if field.extent else None
        self._blocks = np.zeros(0 if field.extent else field.shape[0], np.int64)

    def plan(self, rows: np.ndarray) -> Plan:
        """What of the file these rows take: where the records stand, then the records."""
        if self._field.table is not None:
            starts = self._field.table.offset + rows * 16
            yield starts, starts + 16
        starts, sizes = self._pieces(rows)
        yield starts, starts + sizes

    def gather(
        self, rows: np.ndarray, length: int, new: New, reading: Reading, *, of: int = 0
    ) -> np.ndarray:
        """(len(rows), length, …) records; beyond a record's own count it is zero.

        Complete when the reading is.

        Args:
            of: bytes of the gather that this is a share of, if it is.
        """
        counts = np.full(len(rows), length)
        if self._counts is not None:
            counts = np.minimum(self._counts[rows], length)
        pieces = self._pieces(rows)  # before memory is asked for
        out = made(new, (len(rows), length, *self._field.shape[2:]), self._field.dtype)
        self._read(rows, pieces, counts, out, reading, of)
        return out

    def whole(self, rows: np.ndarray, new: New, reading: Reading, *, of: int = 0) -> np.ndarray:
        """(len(rows), S, …) records with whatever was stored beyond their count."""
        pieces = self._pieces(rows)
        out = made(new, (len(rows), *self._field.shape[1:]), self._field.dtype)
        self._read(rows, pieces, np.full(len(rows), self._field.shape[1]), out, reading, of)
        return out

    def stored(self, rows: np.ndarray) -> list[np.ndarray]:
        """The chunks of records as they are stored, (size,) uint8 views of the file.

        Raises:
            StoreError: one is not inside the file, or not what was written.
        """
        starts, sizes = self._pieces(rows)
        if isinstance(self._guard, RecordGuard):
            self._guard.check(rows, starts, sizes)
        data = self._file.bytes
        places = zip(starts.tolist(), sizes.tolist(), strict=True)
        return [data[start : start + size] for start, size in places]

    def _read(
        self,
        rows: np.ndarray,
        pieces: tuple[np.ndarray, np.ndarray],
        counts: np.ndarray,
        out: np.ndarray,
        reading: Reading,
        of: int,
    ) -> None:
        """Fill ``out`` with the first ``counts`` rows of each record, and zeros behind them."""
        starts, sizes = pieces
        if isinstance(self._guard, BlockGuard):
            self._guard.check(rows)
        elif self._guard is not None:
            self._guard.check(rows, starts, sizes)
        reading.announce(starts, sizes)
        if self._array is not None:
            fill = self._copying(self._array, rows, counts.tolist(), out)
        else:
            data = self._file.pieces(starts, sizes)
            fill = self._decoding(rows, Chunks(data, starts, sizes), counts, out)
        cuts = _cuts(out.nbytes, of)
        if not cuts:
            fill(range(len(rows)))
        else:
            reading.do([partial(fill, part) for part in _shares(counts, 2 * cuts)])

    def _pieces(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the stored records begin, and their sizes.

        Raises:
            StoreError: one was never written, is outside the file, or too small for what it is to hold.
        """
        if self._field.extent is not None:
            size = self._field.extent.nbytes // max(self._field.shape[0], 1)
            return self._field.extent.offset + rows * size, np.full(len(rows), size)
        table = self.chunk_table()[rows]
        starts, sizes = np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])
        end = self._file.size
        outside = (sizes < 0) | (starts < 0) | (starts > end) | (sizes > end - starts)
        if outside.any():
            raise StoreError(
                "the record lies outside the file: the file was cut off or damaged",
                where=self._where(rows[np.argmax(outside)]),
                hint=AGAIN,
            )
        if not sizes.all():
            raise StoreError(
                "the record was never written",
                where=self._where(rows[np.argmin(sizes)]),
                hint="ingest again",
            )
        whole = math.prod(self._field.shape[1:]) * self._field.dtype.itemsize
        bombs = sizes * _MOST_COMPRESSED + _SLACK < whole
        if bombs.any():
            raise StoreError(
                f"damaged record: it cannot hold {whole} bytes in {sizes[np.argmax(bombs)]}",
                where=self._where(rows[np.argmax(bombs)]),
                hint=AGAIN,
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
        """(n,) int64 sizes of blocks. A chunk is checked when it is read for the first time.

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
                hint=AGAIN,
            )

    def _where(self, row: int) -> str:
        return f"{self._file.path}::/{self._field.schema.path}[{row}]"

    def chunk_table(self) -> np.ndarray:
        """(rows, 2) int64 offset and size of each chunk; nothing in it has been checked."""
        if self._table is None:
            if self._field.table is not None:
                self._table = self._file.array(self._field.table)
            else:
                self._file.refuse_replaced()
                path = self._field.schema.path
                self._table = chunks_by_hdf5(Path(self._file.path), path, self._field.shape[0])
        return self._table


def _shares(counts: np.ndarray, number: int) -> list[range]:
    """The places of records, cut into at most so many runs of about equal work."""
    ends = np.cumsum(counts)
    wanted = ends[-1] * np.arange(1, number) // number
    cuts = [0, *np.searchsorted(ends, wanted).tolist(), len(counts)]
    return [range(first, last) for first, last in pairwise(cuts) if first < last]
