"""pyfive: an HDF5 reader in Python alone. It reads contiguous arrays and gzip, not LZ4."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.alternatives.contract import Alternative, Arrays, First, part
from benchmarks.alternatives.hdf5_gzip import write_rows


class PyfiveStore(Alternative):
    """The store's own file: its views, not its compressed records."""

    name = "pyfive, fancy indexing"
    needs = ("pyfive",)
    owns_place = False

    def __init__(self, place: Path, *, table: str = "") -> None:
        super().__init__(place)
        self.table = table

    def open(self, arrays: Arrays) -> None:
        import pyfive

        self._file = pyfive.File(str(self.place))
        self._datasets = {name: self._file[f"{self.table}/{name}"] for name in arrays}

    def read(self, rows: np.ndarray, first: First) -> dict[str, np.ndarray]:
        return {name: values[rows, part(name, first)] for name, values in self._datasets.items()}

    def close(self) -> None:
        self._datasets.clear()
        self._file.close()


class PyfiveGzip(PyfiveStore):
    """A file of its own, a gzip chunk a row."""

    name = "pyfive, gzip, fancy indexing"
    owns_place = True

    def write(self, arrays: Arrays) -> None:
        write_rows(self.place, arrays, gzip=True)
