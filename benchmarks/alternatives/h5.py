"""h5py on the store's own file, which is plain HDF5: three ways to ask for the same rows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  (registers the filters that the records are compressed with)
import numpy as np

from benchmarks.alternatives.contract import Alternative, Arrays, First, part
from linker.buffers import Buffers


class H5Fancy(Alternative):
    """One index array a field. h5py takes rising rows only, so they are sorted and put back."""

    name = "h5py, fancy indexing"
    owns_place = False

    def __init__(self, place: Path, *, table: str) -> None:
        super().__init__(place)
        self.table = table
        self._buffers = Buffers()

    def open(self, arrays: Arrays) -> None:
        self._file = h5py.File(self.place, "r", locking=False)
        self._datasets = {name: self._file[self.table][name] for name in arrays}

    def read(self, rows: np.ndarray, first: First) -> dict[str, np.ndarray]:
        rising, places = np.unique(rows, return_inverse=True)
        in_order = len(rising) == len(rows) and bool((rising == rows).all())
        found: dict[str, np.ndarray] = {}
        for name, dataset in self._datasets.items():
            values = dataset[rising, part(name, first)]
            found[name] = values if in_order else values[places]
        return found

    def close(self) -> None:
        self._datasets.clear()
        self._file.close()


class H5Rows(H5Fancy):
    """Each row by its number, into its place in the batch, whose memory is used again.

    h5py has a short way in C for such simple selections; ``read_direct`` does not take it and is
    several times slower for short rows.
    """

    name = "h5py, row by row"

    def read(self, rows: np.ndarray, first: First) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        for name, dataset in self._datasets.items():
            wanted = part(name, first)
            found[name] = _batch(self._buffers, dataset, len(rows), wanted)
            for place, row in enumerate(rows.tolist()):
                found[name][place] = dataset[row, wanted]
        return found


class H5Coalesced(H5Fancy):
    """Rows sorted, near neighbours read as one slice.

    Args:
        gap: unwanted rows read along rather than asking once more: 8 where a row costs nothing but
            a copy, 0 where it has to be decompressed.
    """

    name = "h5py, sorted and coalesced"

    def __init__(self, place: Path, *, table: str, gap: int) -> None:
        super().__init__(place, table=table)
        self.gap = gap

    def read(self, rows: np.ndarray, first: First) -> dict[str, np.ndarray]:
        rising, places = np.unique(rows, return_inverse=True)
        in_order = len(rising) == len(rows) and bool((rising == rows).all())
        found: dict[str, np.ndarray] = {}
        for name, dataset in self._datasets.items():
            values = self._sorted(dataset, rising, part(name, first))
            found[name] = values if in_order else values[places]
        return found

    def _sorted(self, dataset: h5py.Dataset, rising: np.ndarray, wanted: slice) -> np.ndarray:
        out = _batch(self._buffers, dataset, len(rising), wanted)
        for start, stop in _runs(rising, self.gap):
            low, high = int(rising[start]), int(rising[stop - 1]) + 1
            if high - low == stop - start:
                out[start:stop] = dataset[low:high, wanted]
            else:
                out[start:stop] = dataset[low:high, wanted][rising[start:stop] - low]
        return out


def _batch(buffers: Buffers, dataset: h5py.Dataset, rows: int, wanted: slice) -> np.ndarray:
    first_axis = dataset.shape[1] if wanted.stop is None else wanted.stop
    return buffers.array((rows, first_axis, *dataset.shape[2:]), dataset.dtype)


def _runs(rising: np.ndarray, gap: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of stretches of ``rising`` whose neighbours are at most ``gap`` rows apart."""
    breaks = np.flatnonzero(np.diff(rising) > gap + 1) + 1
    ends = [0, *breaks.tolist(), len(rising)]
    return pairwise(ends)
