"""LitData: chunks made for streaming; random access is one item a call.

WebDataset is left out: its tar files are read from front to back.
"""

from __future__ import annotations

import numpy as np

from benchmarks.alternatives.contract import Alternative, Arrays, First, part


class LitData(Alternative):
    """``dataset[row]``, then stacked."""

    name = "LitData, row by row"
    needs = ("litdata",)
    rounds = 2

    def write(self, arrays: Arrays) -> None:
        from litdata.streaming import Cache

        # the writer below litdata.optimize(), which would start a process to write 200 MB
        cache = Cache(str(self.place), chunk_bytes="64MB")
        for row in range(len(next(iter(arrays.values())))):
            cache[row] = {name: values[row] for name, values in arrays.items()}
        cache.done()
        cache.merge(1)

    def open(self, arrays: Arrays) -> None:
        import litdata

        self._dataset = litdata.StreamingDataset(str(self.place))
        self._names = list(arrays)

    def read(self, rows: np.ndarray, first: First) -> dict[str, np.ndarray]:
        items = [self._dataset[row] for row in rows.tolist()]
        return {
            name: np.stack([item[name][part(name, first)] for item in items])
            for name in self._names
        }

    def close(self) -> None:
        del self._dataset
