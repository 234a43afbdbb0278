"""hidefix: a second HDF5 reader, which indexes the chunks once and then needs no HDF5 lock.

It reads gzip and byte shuffle, not LZ4, and integers, float32 and float64, not float16; so it
gets a file of its own with the same bytes declared as uint16. It takes one slice at a time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.alternatives.contract import Alternative, Arrays, First
from benchmarks.alternatives.hdf5_gzip import as_bits, write_rows


class Hidefix(Alternative):
    """Row by row.

    Args:
        gzip: whether the rows are compressed; otherwise each is a chunk as it is.
    """

    needs = ("hidefix",)

    def __init__(self, place: Path, *, gzip: bool) -> None:
        super().__init__(place)
        self.gzip = gzip
        self.name = "hidefix, gzip, row by row" if gzip else "hidefix, row by row"

    def write(self, arrays: Arrays) -> None:
        write_rows(self.place, as_bits(arrays), gzip=self.gzip)

    def open(self, arrays: Arrays) -> None:
        import hidefix

        index = hidefix.Index(str(self.place))
        self._datasets = {name: index[name] for name in arrays}
        self._kinds = {name: (values.dtype, values.shape[1:]) for name, values in arrays.items()}

    def read(self, rows: np.ndarray, first: First) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        for name, dataset in self._datasets.items():
            dtype, (axis, *rest) = self._kinds[name]
            axis = first.get(name, axis)
            wanted = (slice(0, axis), *(slice(0, size) for size in rest))
            out = np.empty((len(rows), axis, *rest), dtype)
            for place, row in enumerate(rows.tolist()):
                values = dataset[(slice(row, row + 1), *wanted)]
                out[place] = values.view(dtype).reshape(axis, *rest)
            found[name] = out
        return found

    def close(self) -> None:
        self._datasets.clear()
