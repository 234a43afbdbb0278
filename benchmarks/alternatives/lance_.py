"""Lance: a columnar format made for random access."""

from __future__ import annotations

import numpy as np

from benchmarks.alternatives.arrow import as_arrays, as_table
from benchmarks.alternatives.contract import Alternative, Arrays, First


class Lance(Alternative):
    """``LanceDataset.take`` of all fields together."""

    name = "Lance, take"
    needs = ("lance", "pyarrow")

    def write(self, arrays: Arrays) -> None:
        import lance

        lance.write_dataset(as_table(arrays), str(self.place))

    def open(self, arrays: Arrays) -> None:
        import lance

        self._dataset = lance.dataset(str(self.place))
        self._shapes = {name: values.shape[1:] for name, values in arrays.items()}

    def read(self, rows: np.ndarray, first: First) -> dict[str, np.ndarray]:
        return as_arrays(self._dataset.take(rows, columns=list(self._shapes)), self._shapes, first)

    def close(self) -> None:
        del self._dataset
