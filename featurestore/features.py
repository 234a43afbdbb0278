"""Write the rows of one feature field: cast within an error bound, compress, in any order.

float16 halves a store. A row may be cast when the relative error of the whole vector stays within
``FLOAT16_BOUND`` (overflow and denormal loss included); the first row that breaks it turns the field
into float32, and the rows already written are carried over: they were within the bound.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import NamedTuple

import h5py
import numpy as np

from featurestore.codecs import Codec
from featurestore.errors import NotFinite, SourceError
from featurestore.halves import FLOAT16_BOUND, to_float16
from featurestore.schema import Field

#: Records on their way from the caller to the disk (chosen here: enough for every core to have the
#: next one, little beside the caller's block).
_UNDERWAY = 64


class _Cast(NamedTuple):
    """Vectors in the dtype of their field, and how far that is from the exact ones."""

    values: np.ndarray
    error: float


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
        self._written = np.zeros(shape[0], bool)
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

    def write(self, rows: range | np.ndarray, values: np.ndarray | Sequence[np.ndarray]) -> None:
        """Write rows.

        Args:
            rows: which rows; ascending order is fastest.
            values: (len(rows), *shape) array, or for ragged records one (n_i, …) array a row.

        Raises:
            NotFinite: NaN or infinite values; names the row.
            OSError: the disk is full, or another write error.
        """
        index = np.asarray(rows, np.int64)
        if not len(index):
            return
        if self._field.layout == "record":
            self._write_records(index, values)
        else:
            self._write_rows(index, np.asarray(values))
        self._check()
        self._written[index] = True

    def _write_rows(self, index: np.ndarray, values: np.ndarray) -> None:
        stored = self._settled(index, values, self._cast(index, values, self.dtype))
        breaks = np.flatnonzero(np.diff(index) != 1) + 1  # runs of consecutive rows: one write each
        for run, block in zip(np.split(index, breaks), np.split(stored, breaks), strict=True):
            if len(run):
                self._dataset[run[0] : run[-1] + 1] = block

    def _write_records(self, index: np.ndarray, values: Sequence[np.ndarray] | np.ndarray) -> None:
        """Records are read, cast and compressed by every core, and written here in their order."""
        underway: deque[tuple[int, np.ndarray, Future[tuple[_Cast, bytes]]]] = deque()
        for row, record in zip(index.tolist(), values, strict=True):
            made = self._pool.submit(self._make, row, record, self.dtype)
            underway.append((row, record, made))
            if len(underway) >= _UNDERWAY:
                self._store(*underway.popleft())
        while underway:
            self._store(*underway.popleft())

    def _make(self, row: int, record: np.ndarray, dtype: np.dtype) -> tuple[_Cast, bytes]:
        """A record in a dtype, and its chunk, which is empty where the record is written as it is."""
        cast = self._cast(np.array([row]), np.asarray(record)[None], dtype)
        fits = self._is_chunked and cast.error <= FLOAT16_BOUND
        return cast, self._encode(cast.values[0]) if fits else b""

    def _store(self, row: int, record: np.ndarray, made: Future[tuple[_Cast, bytes]]) -> None:
        cast, chunk = made.result()
        values = self._settled(np.array([row]), np.asarray(record)[None], cast)[0]
        if not self._is_chunked:
            self._dataset[row, : len(values)] = values
        else:
            if values.dtype != cast.values.dtype or not chunk:  # the field is float32 by now
                chunk = self._encode(values)
            self._dataset.id.write_direct_chunk((row, *[0] * (len(self.shape) - 1)), chunk)
        self._written[row] = True  # a fall-back at a later record carries this one over

    def _encode(self, record: np.ndarray) -> bytes:
        whole = self.shape[1:]
        if record.shape != whole:
            padded = np.zeros(whole, record.dtype)
            padded[: len(record)] = record
            record = padded
        return self._codec.encode(np.ascontiguousarray(record))

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
        if self._is_chunked:
            offset = (row, *[0] * (len(self.shape) - 1))
            self._dataset.id.write_direct_chunk(offset, self._encode(values))
        else:
            self._dataset[row] = values

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
