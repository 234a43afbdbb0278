"""One ``.npy`` file a field, memory-mapped: the layout of the original release."""

from __future__ import annotations

import numpy as np

from benchmarks.alternatives.contract import Alternative, Arrays, First, part


class NpyFancy(Alternative):
    """All rows of a field in one indexing operation."""

    name = ".npy memory map, fancy indexing"

    def write(self, arrays: Arrays) -> None:
        self.place.mkdir()
        for name, values in arrays.items():
            np.save(self.place / f"{name}.npy", values)

    def open(self, arrays: Arrays) -> None:
        self._mapped = {
            name: np.load(self.place / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in arrays
        }

    def read(self, rows: np.ndarray, first: First) -> dict[str, np.ndarray]:
        return {name: mapped[rows, part(name, first)] for name, mapped in self._mapped.items()}

    def close(self) -> None:
        self._mapped.clear()


class NpyRows(NpyFancy):
    """A row at a time, then stacked, as a dataset's ``__getitem__`` and a collate function do."""

    name = ".npy memory map, row by row"

    def read(self, rows: np.ndarray, first: First) -> dict[str, np.ndarray]:
        return {
            name: np.stack([mapped[row, part(name, first)] for row in rows.tolist()])
            for name, mapped in self._mapped.items()
        }
