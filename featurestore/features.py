"""Write the rows of one feature field: cast within an error bound, compress, in any order.

float16 halves a store. A row may be cast when the relative error of the whole vector stays within
``FLOAT16_BOUND`` (overflow and denormal loss included); the first row that breaks it turns the field
into float32, and the rows already written are carried over: they were within the bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import h5py
import numpy as np

from featurestore.codecs import Codec
from featurestore.errors import NotFinite, SourceError
from featurestore.schema import Field

#: Largest relative L2 error of a stored vector. float16 rounds each value within 2⁻¹¹ = 4.9e-4, so
#: 1e-3 is kept unless values overflow (above 65504) or vanish (chosen here, because the models'
#: cosines then change by at most 1e-6, far under float32 training noise).
FLOAT16_BOUND = 1e-3


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
        stored = self._cast(index, values)
        breaks = np.flatnonzero(np.diff(index) != 1) + 1  # runs of consecutive rows: one write each
        for run, block in zip(np.split(index, breaks), np.split(stored, breaks), strict=True):
            if len(run):
                self._dataset[run[0] : run[-1] + 1] = block

    def _write_records(self, index: np.ndarray, values: Sequence[np.ndarray] | np.ndarray) -> None:
        for first in range(0, len(index), 256):  # bounds what waits in memory for the disk
            part = index[first : first + 256]
            records = [
                self._cast(part[i : i + 1], np.asarray(record)[None])[0]
                for i, record in enumerate(values[first : first + 256])
            ]
            records = [r.astype(self.dtype, copy=False) for r in records]  # after a late fall-back
            self._store_records(part.tolist(), records)
            self._written[part] = True  # a fall-back in the next part carries these over

    def _store_records(self, rows: list[int], records: list[np.ndarray]) -> None:
        if not self._is_chunked:
            for row, record in zip(rows, records, strict=True):
                self._dataset[row, : len(record)] = record
            return
        chunks = self._pool.map(self._encode, records)
        for row, chunk in zip(rows, chunks, strict=True):
            self._dataset.id.write_direct_chunk((row, *[0] * (len(self.shape) - 1)), chunk)

    def _encode(self, record: np.ndarray) -> bytes:
        whole = self.shape[1:]
        if record.shape != whole:
            padded = np.zeros(whole, record.dtype)
            padded[: len(record)] = record
            record = padded
        return self._codec.encode(np.ascontiguousarray(record))

    def _cast(self, index: np.ndarray, values: np.ndarray) -> np.ndarray:
        """The values in the field's dtype, which this may have turned into float32."""
        flat = values.reshape(len(values), -1)
        finite = np.isfinite(flat).all(axis=1)
        if not finite.all():
            row = int(index[np.flatnonzero(~finite)[0]])
            raise NotFinite(
                "the feature holds NaN or infinite values",
                where=f"{self.path}[{row}]",
                hint="look at that row of the source; a feature must be finite",
                row=row,
            )
        if self.dtype == np.float32 or values.dtype == np.float16:
            return values.astype(self.dtype, copy=False)
        with np.errstate(over="ignore"):
            small = values.astype(np.float16)
        worst = _relative_error(values.reshape(-1, values.shape[-1]), small)
        if worst > FLOAT16_BOUND:
            self._fall_back()
            return values.astype(np.float32, copy=False)
        self._worst = max(self._worst, worst)
        return small

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


def _relative_error(exact: np.ndarray, stored: np.ndarray) -> float:
    """Largest ‖exact − stored‖ / ‖exact‖ over the vectors of a block; inf where one overflowed."""
    back = stored.reshape(exact.shape).astype(np.float32)
    if not np.isfinite(back).all():
        return float("inf")
    error = back
    error -= exact
    norms = np.sqrt(np.einsum("ij,ij->i", exact, exact, dtype=np.float64))
    errors = np.sqrt(np.einsum("ij,ij->i", error, error, dtype=np.float64))
    return float(
        np.divide(errors, norms, out=np.zeros_like(errors), where=norms > 0).max(initial=0.0)
    )
