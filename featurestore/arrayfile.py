"""``.npy`` files that are written from front to back, without ever being in memory as a whole."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt


class ArrayFile:
    """A ``.npy`` file written a block of rows at a time, as ``numpy.save`` would at once.

    Plain sequential writes: a memory map would count every written page as this program's memory.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self._shape, self._dtype = shape, np.dtype(dtype)
        self._rows = 0
        self._path = path
        self._file = path.open("wb")
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if kind is None and self._rows != self._shape[0]:
            raise ValueError(f"{self._path}: {self._rows} rows written of {self._shape[0]}")

    def append(self, block: npt.ArrayLike) -> None:
        """Write the next rows.

        Raises:
            ValueError: they have another shape than the file's.
        """
        rows = np.ascontiguousarray(block, dtype=self._dtype)
        if rows.shape[1:] != self._shape[1:]:
            raise ValueError(f"{self._path}: rows of {rows.shape[1:]}, not {self._shape[1:]}")
        self._file.write(rows.view(np.uint8).data if rows.size else b"")
        self._rows += len(rows)
