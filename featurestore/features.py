"""Write the rows of one feature field: cast within an error bound, compress, in any order.

float16 halves a store. A row may be cast when the relative error of the whole vector stays within
``FLOAT16_BOUND`` (overflow and denormal loss included); the first row that breaks it turns the field
into float32, and the rows already written are carried over: they were within the bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias

import h5py
import numpy as np

from featurestore.codecs import Codec
from featurestore.errors import NotFinite, SourceError
from featurestore.halves import FLOAT16_BOUND, prepare, to_float16
from featurestore.schema import Field

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
    """Records as they are written: chunks, or values where the field is not compressed."""

    dtype: np.dtype
    error: float
    pieces: list[np.ndarray]


#: Some rows, their records, and what is being made of them.
_Task: TypeAlias = tuple[np.ndarray, Records, "Future[_Made | None]"]


class FeatureWriter:
    """One view or record field of a store being written."""

    def __init__(
        self,
        file: h5py.File,
        field: Field,
        shape: tuple[int, ...],
        *,
        dtype: np.dtype,
        codec: Codec,
        pool: Executor,
        check: Callable[[], None],
    ) -> None:
        self._file = file
        self._check = check
        self._field = field
        self.shape = shape
        self.dtype = dtype
        self._codec = codec
        self._pool = pool
        self._together = max(1, _TASK // max(4 * math.prod(shape[1:]), 1))  # records of a task
        self._written = np.zeros(shape[0], bool)
        if dtype == np.float16:
            prepare(math.prod(shape))
        self._worst = 0.0
        self._dataset = self._create(self.path, dtype)

    @property
    def path(self) -> str:
        return self._field.path

    def _create(self, path: str, dtype: np.dtype) -> h5py.Dataset:
        if self._is_chunked:
            chunks = (1, *self.shape[1:])
            return self._file.create_dataset(
                path, self.shape, dtype, chunks=chunks, **self._codec.create_options()
            )
        return self._file.create_dataset(path, self.shape, dtype)

    @property
    def _is_chunked(self) -> bool:
        """Records are, one a chunk; uncompressed ones, and those of an empty table, need no chunks."""
        records = self._field.layout == "record" and self._codec.compression != "none"
        return records and self.shape[0] > 0

    def write(self, rows: range | np.ndarray, values: Records) -> None:
        """Write rows.

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

        Every core begins before it to compress records; what the block starts comes after that.
        """
        index = np.asarray(rows, np.int64)
        if self._field.layout != "record":
            if len(index):
                self._write_rows(index, np.asarray(values))
            yield
        else:
            tasks = self._tasks(index, values)
            try:
                yield
                for part, records, begun in tasks:
                    self._store(part, records, begun.result())
            finally:
                for _, _, begun in tasks:
                    begun.cancel()
        self._check()
        self._written[index] = True

    def _write_rows(self, index: np.ndarray, values: np.ndarray) -> None:
        stored = self._settled(index, values, self._cast(index, values, self.dtype))
        breaks = np.flatnonzero(np.diff(index) != 1) + 1  # runs of consecutive rows: one write each
        for run, block in zip(np.split(index, breaks), np.split(stored, breaks), strict=True):
            if len(run):
                self._dataset[run[0] : run[-1] + 1] = block

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
        joined = np.concatenate([np.asarray(record) for record in records])
        counts = [len(record) for record in records]
        cast = self._cast(np.repeat(rows, counts), joined, dtype)
        if cast.error > FLOAT16_BOUND:
            return None
        length = self.shape[1]
        if max(counts) > length:
            raise ValueError(
                f"{self.path}: a record of {max(counts)} rows where {length} have room"
            )
        places = [np.arange(count) + length * number for number, count in enumerate(counts)]
        whole = np.zeros((len(counts), *self.shape[1:]), dtype)
        whole.reshape(len(counts) * length, *self.shape[2:])[np.concatenate(places)] = cast.values
        pieces = [self._codec.encode(one) for one in whole] if self._is_chunked else list(whole)
        return _Made(dtype, cast.error, pieces)

    def _store(self, rows: np.ndarray, records: Records, made: _Made | None) -> None:
        if made is not None and made.dtype == self.dtype:
            self._worst = max(self._worst, made.error)
            for row, piece in zip(rows.tolist(), made.pieces, strict=True):
                self._put(row, piece)
            self._written[rows] = True
        elif len(rows) == 1:  # it loses too much, or the field is float32 by now
            if self.dtype == np.float16:
                self._fall_back()
            self._store(rows, records, self._make(rows, records, self.dtype))
        else:  # only the first one that loses too much turns the field into float32
            for place in range(len(rows)):
                one = slice(place, place + 1)
                again = self._make(rows[one], records[one], self.dtype)
                self._store(rows[one], records[one], again)

    def _put(self, row: int, piece: np.ndarray) -> None:
        """Write a chunk, or the values of a record that is not compressed."""
        if self._is_chunked:
            self._dataset.id.write_direct_chunk((row, *[0] * (len(self.shape) - 1)), piece)
        else:
            self._dataset[row] = piece

    def _cast(self, index: np.ndarray, values: np.ndarray, dtype: np.dtype) -> _Cast:
        """The values in ``dtype``. Reads nothing that another thread may change.

        Raises:
            NotFinite: names the row.
        """
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
        if dtype == np.float32 or values.dtype == np.float16:
            return _Cast(values.astype(dtype, copy=False), 0.0)
        if values.dtype != np.float32:  # float64
            return self._cast(index, values.astype(np.float32), dtype)
        return cast

    def _settled(self, index: np.ndarray, values: np.ndarray, cast: _Cast) -> np.ndarray:
        """The cast values, or the exact ones where the field is, or hereby becomes, float32."""
        if cast.error > FLOAT16_BOUND and self.dtype == np.float16:
            self._fall_back()
        if cast.values.dtype != self.dtype:
            return self._cast(index, values, self.dtype).values
        self._worst = max(self._worst, cast.error)
        return cast.values

    def _fall_back(self) -> None:
        """Turn the field into float32, carrying over what was written."""
        old, self.dtype = self._dataset, np.dtype(np.float32)
        self._dataset = self._create(f"{self.path}.float32", self.dtype)
        rows = np.flatnonzero(self._written)
        step = 1 if self._is_chunked else 4096
        for first in range(0, len(rows), step):
            for row in rows[first : first + step].tolist():
                self._copy_row(old, row)
        name = self.path
        del self._file[name]
        self._file.move(f"{name}.float32", name)
        self._dataset = self._file[name]

    def _copy_row(self, old: h5py.Dataset, row: int) -> None:
        values = old[row].astype(np.float32)
        self._put(row, self._codec.encode(values) if self._is_chunked else values)

    def finish(self) -> None:
        """Check that every row was written, and note how the field is stored.

        Raises:
            SourceError: rows were left out; names the first.
        """
        missing = np.flatnonzero(~self._written)
        if len(missing):
            raise SourceError(
                f"{len(missing)} of {len(self._written)} rows were never written",
                where=f"{self.path}[{int(missing[0])}]",
            )
        attributes = self._dataset.attrs
        attributes["unit"] = self._field.unit
        attributes["doc"] = self._field.doc
        if self.dtype == np.float16:
            attributes["float16_error"] = self._worst
