"""Write the rows of one feature field: cast within an error bound, compress, in any order.

float16 halves a store. A row may be cast when the relative error of the whole vector stays within
``FLOAT16_BOUND`` (overflow and denormal loss included). One vector that breaks it turns the field into
float32. In it, too, the vectors within the bound have their rounded values, and only the others are
exact: so the values of a field do not depend on the order in which rows are written, nor on which shard
of an ingest met the vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias

import numpy as np

from featurestore.codecs import Codec
from featurestore.errors import NotFinite
from featurestore.halves import FLOAT16_BOUND, prepare, rounded_within, to_float16
from featurestore.record_arrays import Packed, RecordArray, pack, round_and_pack
from featurestore.row_arrays import RowArray
from featurestore.schema import ERROR, Field

#: Bytes of the records of a task (chosen here: it takes a few milliseconds, a hundred times what
#: handing it out takes, and a block of records makes several tasks).
_TASK = 4 << 20

#: An array of rows, or for ragged records one array a row.
Records: TypeAlias = np.ndarray | Sequence[np.ndarray]


class _Cast(NamedTuple):
    """Vectors in the dtype of their field, and how far that is from the exact ones."""

    values: np.ndarray
    error: float


class _Made(NamedTuple):
    """Records as they are written: packed chunks, or values where the field is not compressed."""

    dtype: np.dtype
    error: float
    records: Packed | np.ndarray


#: Some rows, their records, and what is being made of them.
_Task: TypeAlias = tuple[np.ndarray, Records, "Future[_Made | None]"]


class FeatureWriter:
    """One view or record field of a store being written.

    Args:
        begin: makes the array of the field in a dtype, with the rows it has from before an interruption.
        dtype: as the field is at the moment.
        rounds: whether float16 was asked for.
        pool: where records are cast and compressed.
    """

    def __init__(
        self,
        field: Field,
        shape: tuple[int, ...],
        *,
        dtype: np.dtype,
        rounds: bool,
        codec: Codec,
        pool: Executor,
        begin: Callable[[np.dtype], RowArray | RecordArray],
    ) -> None:
        self._field = field
        self.shape = shape
        self.dtype = dtype
        self._rounds = rounds
        self._codec = codec
        self._pool = pool
        self._together = max(1, _TASK // max(4 * math.prod(shape[1:]), 1))  # records of a task
        if dtype == np.float16:
            prepare(math.prod(shape))
        self._begin = begin
        self.array = begin(dtype)

    @property
    def path(self) -> str:
        return self._field.path

    def has(self, rows: np.ndarray) -> bool:
        """Whether all these rows are written."""
        return self.array.has(rows)

    @property
    def is_compressed(self) -> bool:
        return isinstance(self.array, RecordArray)

    @property
    def row_bytes(self) -> int:
        """Of a row in the dtype of the moment, before compression."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def bytes_left(self, compressed: float) -> int:
        """About how many bytes the rows take that are not written yet.

        Args:
            compressed: share of its size that a record keeps, unless some are there to tell.
        """
        if isinstance(self.array, RecordArray):
            return self.array.bytes_left(compressed)
        done = int(self.array.written.done.sum())
        return (self.shape[0] - done) * self.row_bytes

    def write(self, rows: range | np.ndarray, values: Records) -> None:
        """Write rows; those that are there already, from before an interruption, stay as they are.

        Args:
            rows: which rows; ascending order is fastest.
            values: (len(rows), *shape) array, or for ragged records one (n_i, …) array a row.

        Raises:
            NotFinite: NaN or infinite values; names the row.
            OSError: the disk is full, or another write error.
        """
        with self.writing(rows, values):
            pass

    @contextmanager
    def writing(self, rows: range | np.ndarray, values: Records) -> Iterator[None]:
        """Write rows as :meth:`write` does, after the ``with`` block.

        Every core compresses records while it runs. What the block refuses as not finite may have been
        derived of these rows: then they are refused.
        """
        index, values = self._missing(np.asarray(rows, np.int64), values)
        if self._field.layout != "record":
            if len(index):
                values = np.asarray(values)
                stored = self._settled(index, values, self._cast(index, values, self.dtype))
                self._put(index, stored)
            yield
            return
        tasks = self._tasks(index, values)
        try:
            try:
                yield
            except NotFinite:
                for _, _, begun in tasks:
                    begun.result()
                raise
            for part, records, begun in tasks:
                self._store(part, records, begun.result())
        finally:
            for _, _, begun in tasks:
                begun.cancel()

    def _missing(self, rows: np.ndarray, values: Records) -> tuple[np.ndarray, Records]:
        """The rows that are not there yet, and their values."""
        missing = self.array.written.missing(rows)
        if missing.all():
            return rows, values
        if isinstance(values, np.ndarray):
            return rows[missing], values[missing]
        return rows[missing], [values[place] for place in np.flatnonzero(missing).tolist()]

    def _tasks(self, index: np.ndarray, values: Records) -> list[_Task]:
        """Have every core read, cast and compress records, some of them a task."""
        tasks: list[_Task] = []
        for first in range(0, len(index), self._together):
            part = slice(first, first + self._together)
            begun = self._pool.submit(self._make, index[part], values[part], self.dtype)
            tasks.append((index[part], values[part], begun))
        return tasks

    def _make(self, rows: np.ndarray, records: Records, dtype: np.dtype) -> _Made | None:
        """What is written of records in a dtype; None if they lose too much in it."""
        records = [np.asarray(record) for record in records]
        counts = [len(record) for record in records]
        if max(counts) > self.shape[1]:
            raise ValueError(
                f"{self.path}: a record of {max(counts)} rows where {self.shape[1]} have room"
            )
        if dtype == np.float16:
            packed = round_and_pack(records, self.shape[1:], self._codec)
            if packed is not None:
                return _Made(dtype, packed[1], packed[0])
        joined = np.concatenate(records)
        cast = self._cast(np.repeat(rows, counts), joined, dtype)
        if cast.error > FLOAT16_BOUND:
            return None
        length = self.shape[1]
        places = [np.arange(count) + length * number for number, count in enumerate(counts)]
        whole = np.zeros((len(counts), *self.shape[1:]), dtype)
        whole.reshape(len(counts) * length, *self.shape[2:])[np.concatenate(places)] = cast.values
        if isinstance(self.array, RowArray):
            return _Made(dtype, cast.error, whole)
        return _Made(dtype, cast.error, pack([self._codec.encode(record) for record in whole]))

    def _store(self, rows: np.ndarray, records: Records, made: _Made | None) -> None:
        """Write records; None where they lost too much in the dtype they were made in."""
        if made is not None and made.dtype == self.dtype:
            self._note_error(made.error)
            self._put(rows, made.records)
        elif self.dtype == np.float32:
            self._store(rows, records, self._make(rows, records, self.dtype))
        elif len(rows) == 1:
            self._fall_back()
            self._store(rows, records, self._make(rows, records, self.dtype))
        else:  # only the first one that loses too much turns the field into float32
            for place in range(len(rows)):
                one = slice(place, place + 1)
                self._store(
                    rows[one], records[one], self._make(rows[one], records[one], self.dtype)
                )

    def _put(self, rows: np.ndarray, made: Packed | np.ndarray) -> None:
        if isinstance(self.array, RowArray):
            assert isinstance(made, np.ndarray)
            self.array.write(rows, made)
        else:
            assert isinstance(made, Packed)
            self.array.write(rows, made)

    def _cast(self, index: np.ndarray, values: np.ndarray, dtype: np.dtype) -> _Cast:
        """The values in ``dtype``. Reads nothing that another thread may change.

        Raises:
            NotFinite: names the row.
        """
        if not len(values):  # records without a row
            return _Cast(values.astype(dtype), 0.0)
        if dtype == np.float16 and values.dtype == np.float32:
            cast = _Cast(*to_float16(values.reshape(-1, values.shape[-1])))
            if np.isfinite(cast.error):  # then the values are
                return _Cast(cast.values.reshape(values.shape), cast.error)
        finite = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
        if not finite.all():
            row = int(index[np.flatnonzero(~finite)[0]])
            raise NotFinite(
                "the feature holds NaN or infinite values",
                where=f"{self.path}[{row}]",
                hint="look at that row of the source; a feature must be finite",
                row=row,
            )
        if values.dtype == np.float16:
            return _Cast(values.astype(dtype, copy=False), 0.0)
        if values.dtype != np.float32:  # float64
            return self._cast(index, values.astype(np.float32), dtype)
        if dtype == np.float16:
            return cast
        if not self._rounds:
            return _Cast(values, 0.0)
        settled = rounded_within(FLOAT16_BOUND, values.reshape(-1, values.shape[-1]))
        return _Cast(settled.reshape(values.shape), 0.0)

    def _settled(self, index: np.ndarray, values: np.ndarray, cast: _Cast) -> np.ndarray:
        """The cast values, as float32 where the field is, or hereby becomes, float32."""
        if cast.error > FLOAT16_BOUND and self.dtype == np.float16:
            self._fall_back()
        if cast.values.dtype != self.dtype:
            return self._cast(index, values, self.dtype).values
        self._note_error(cast.error)
        return cast.values

    def _note_error(self, error: float) -> None:
        if self.dtype == np.float16:
            self.array.facts[ERROR] = max(self.array.facts.get(ERROR, 0.0), error)

    def _fall_back(self) -> None:
        """Turn the field into float32, carrying over what was written."""
        old, self.dtype = self.array, np.dtype(np.float32)
        self.array = self._begin(self.dtype)
        if isinstance(old, RowArray):
            for block, values in old.blocks():
                chosen = np.flatnonzero(old.written.done[block.start : block.stop])
                exact = values[chosen].astype(np.float32)
                self._put(block.start + chosen, exact)
            return
        rows = np.flatnonzero(old.written.done)
        for first in range(0, len(rows), self._together):
            part = rows[first : first + self._together]
            records = [old.read(row).astype(np.float32) for row in part.tolist()]
            self._put(part, pack([self._codec.encode(record) for record in records]))
