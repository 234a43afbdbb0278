"""Arrays that are written row by row, in any order, and survive an interruption with their part."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np

from featurestore.catalog import Extent
from featurestore.disk import Bytes, bytes_of
from featurestore.errors import SourceError
from featurestore.work import Work, rows_of, runs_of
from featurestore.written import Share, Written

#: Bytes that are read back at once.
_STEP = 4 << 20


class PartArray(ABC):
    """What the rows of a part are of.

    ``facts``: numbers that are true of the rows written so far, and go into the manifest with them.
    """

    def __init__(self, name: str, rows: int) -> None:
        self.name = name
        self.written = Written(rows)
        self.facts: dict[str, float] = {}

    def has(self, rows: np.ndarray) -> bool:
        """Whether all these rows are written."""
        return bool(self.written.done[rows].all())

    @abstractmethod
    def written_bytes(self, rows: range) -> Iterator[Bytes]:
        """What was written of consecutive rows, in the order of the rows."""

    @property
    def kept(self) -> list[np.memmap]:
        """Maps of files that must be on disk when a part is entered."""
        return []

    def trust(self, share: Share, facts: dict[str, float]) -> None:
        """Take over the rows of a part, whose bytes may be in a finished shard by now."""
        for rows in rows_of(share.runs):
            self.written.done[rows.start : rows.stop] = True
        self.facts |= facts

    def restore(self, share: Share, facts: dict[str, float]) -> int:
        """Take over the rows of a part; how many of them are damaged, and are not taken over."""
        if not self.written.restore(share, self.written_bytes):
            return int((share.runs[:, 1] - share.runs[:, 0]).sum())
        self.facts |= facts
        return 0


class RowArray(PartArray):
    """One contiguous array of the store.

    Args:
        name: of the place in the file: the path of the field, and what else tells it from others.
    """

    def __init__(self, work: Work, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
        super().__init__(name, shape[0])
        self.shape, self.dtype = shape, dtype
        self._file = work.file
        self._row_bytes = math.prod(shape[1:]) * dtype.itemsize
        self._offset = work.reserve(name, shape[0] * self._row_bytes)

    @property
    def extent(self) -> Extent:
        return Extent(self._offset, self.shape, self.dtype)

    def write(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Write rows, (len(rows), …) in the dtype of the array; those that are there already stay.

        Raises:
            OSError: an earlier write failed.
        """
        missing = self.written.missing(rows)
        if not missing.all():
            rows, values = rows[missing], values[missing]
        if not len(rows):
            return
        values = np.ascontiguousarray(values, self.dtype)
        done = 0
        for run in rows_of(runs_of(rows)):
            place = self._offset + run.start * self._row_bytes
            self._file.write(place, bytes_of(values[done : done + len(run)]))
            done += len(run)
        self.written.add(rows, bytes_of(values))

    def read(self, rows: range) -> np.ndarray:
        """Consecutive rows; zero where none was written."""
        size = len(rows) * self._row_bytes
        data = self._file.read(self._offset + rows.start * self._row_bytes, size)
        values = np.frombuffer(data + bytes(size - len(data)), self.dtype)
        return values.reshape(len(rows), *self.shape[1:])

    def blocks(self, rows: range | None = None) -> Iterator[tuple[range, np.ndarray]]:
        """Consecutive rows, by default all, some megabytes at a time."""
        rows = range(self.shape[0]) if rows is None else rows
        step = max(1, _STEP // max(self._row_bytes, 1))
        for first in range(0, len(rows), step):
            block = rows[first : first + step]
            yield block, self.read(block)

    def written_bytes(self, rows: range) -> Iterator[Bytes]:
        return (bytes_of(values) for _, values in self.blocks(rows))


class KeptRows(PartArray):
    """An array that the work needs and the store does not hold as it is: exact vectors, choices made.

    ``values``: the rows; to be changed by :meth:`write` only.
    """

    def __init__(self, work: Work, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
        super().__init__(name, shape[0])
        self.values = work.rows_file(name, shape, dtype)

    def write(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Write rows; those that are there already stay."""
        missing = self.written.missing(rows)
        rows, values = rows[missing], np.ascontiguousarray(values[missing], self.values.dtype)
        if len(rows):
            self.values[rows] = values
            self.written.add(rows, bytes_of(values))

    def written_bytes(self, rows: range) -> Iterator[Bytes]:
        yield bytes_of(np.asarray(self.values[rows.start : rows.stop]))

    @property
    def kept(self) -> list[np.memmap]:
        return [self.values]


def check_complete(written: Written, path: str) -> None:
    """Check that every row was written.

    Raises:
        SourceError: rows were left out; names the first.
    """
    missing = np.flatnonzero(~written.done)
    if len(missing):
        raise SourceError(
            f"{len(missing)} of {len(written.done)} rows were never written",
            where=f"{path}[{int(missing[0])}]",
        )
