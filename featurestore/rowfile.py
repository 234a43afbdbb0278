"""Rows of one shape in a file without a name: more of them than should be in memory, in any order."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np


class RowFile:
    """A file of rows that vanishes with the ``with`` block, or with the process.

    Plain reads and writes: a memory map would count every page it touches as this program's memory.

    Args:
        folder: where there is room for it.
        shape: of a row.
        dtype: of a row.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._shape, self._dtype = shape, dtype
        self._row_bytes = dtype.itemsize * math.prod(shape)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def write(self, numbers: np.ndarray, rows: np.ndarray) -> None:
        """Write the rows of these numbers.

        Raises:
            OSError: the disk is full, or another write error.
        """
        values = np.ascontiguousarray(rows, self._dtype)
        breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
        for run, block in zip(np.split(numbers, breaks), np.split(values, breaks), strict=True):
            if len(run):
                self._file.seek(int(run[0]) * self._row_bytes)
                self._file.write(block.tobytes())

    def read(self, numbers: np.ndarray) -> np.ndarray:
        """(len(numbers), *shape): rows that were written."""
        rows = np.empty((len(numbers), *self._shape), self._dtype)
        for number, row in zip(numbers.tolist(), rows, strict=True):
            self._file.seek(number * self._row_bytes)
            row[...] = np.frombuffer(self._file.read(self._row_bytes), self._dtype).reshape(
                self._shape
            )
        return rows
