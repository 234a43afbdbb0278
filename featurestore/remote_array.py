"""Arrays of a remote file that fetch what they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from featurestore.catalog import Extent
from featurestore.remote_transfer import MOST

if TYPE_CHECKING:
    from featurestore.remote_map import RemoteMap

#: Bytes that are fetched at once where an array is read from its start to its end.
AHEAD = MOST


class LazyArray(NDArrayOperatorsMixin):
    """A contiguous array of a remote file: stands where an ``ndarray`` does, read-only.

    Indexing and ``take`` fetch the rows asked for; everything else that an array can do fetches all of
    it and does it.
    """

    def __init__(self, file: RemoteMap, extent: Extent) -> None:
        self.shape, self.dtype = extent.shape, extent.dtype
        self.ndim, self.nbytes = len(extent.shape), extent.nbytes
        self._file = file
        self._offset = extent.offset
        self._row_bytes = extent.nbytes // max(extent.shape[0], 1)
        self._next = -1  # the row after the last slice

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        rows = key[0] if isinstance(key, tuple) and key else key
        if isinstance(rows, slice):
            self._need_slice(rows)
        elif isinstance(rows, int | np.integer | list | np.ndarray):
            self._need_rows(np.asarray(rows))
        else:
            self._need(0, len(self))
        return self._here()[key]

    def take(
        self, indices: Any, axis: int | None = None, out: Any = None, mode: str = "raise"
    ) -> Any:
        if axis == 0:
            self._need_rows(np.asarray(indices))
            return self._here().take(indices, axis=0, out=out, mode=mode)  # type: ignore[call-overload]
        return self.whole().take(indices, axis=axis, out=out, mode=mode)  # type: ignore[call-overload]

    def whole(self) -> np.ndarray:
        """All of it."""
        self._need(0, len(self))
        return self._here()

    def searchsorted(self, v: Any, side: Any = "left", sorter: Any = None) -> Any:
        """As that of an array, for hashes: looked for first where equally spread ones would stand.

        It reads a few blocks a value, where a search by halves would wait for one after the other.
        """
        wanted, count = np.atleast_1d(np.asarray(v)), len(self)
        if self.dtype != np.uint64 or wanted.dtype != np.uint64 or sorter is not None:
            return self.whole().searchsorted(v, side=side, sorter=sorter)
        around = 64 + int(6 * np.sqrt(count) / 2)  # six standard deviations
        guess = (wanted.astype(np.float64) / 2**64 * count).astype(np.int64)
        low, high = np.maximum(guess - around, 0), np.minimum(guess + around, count)
        self._fetch(low, high)
        values, places = self._here(), np.empty(len(wanted), np.int64)
        for place, (first, stop, value) in enumerate(zip(low, high, wanted, strict=True)):
            inside = (first == 0 or values[first] < value) and (
                stop == count or values[stop - 1] > value
            )
            some = values[first:stop] if inside else self.whole()
            places[place] = some.searchsorted(value, side=side) + (int(first) if inside else 0)
        return places.reshape(np.shape(v))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.whole(), dtype=dtype) if copy else np.asarray(self.whole(), dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        there = [one.whole() if isinstance(one, LazyArray) else one for one in inputs]
        return getattr(ufunc, method)(*there, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # what NumPy and copy() look for before they ask for the array
            raise AttributeError(name)
        return getattr(self.whole(), name)

    def _here(self) -> np.ndarray:
        """The array over the map; what was not fetched is zero in it."""
        part = self._file.mapped[self._offset : self._offset + self.nbytes]
        return part.view(self.dtype).reshape(self.shape)

    def _need_slice(self, rows: slice) -> None:
        first, stop, step = rows.indices(len(self))
        if step < 0:
            first, stop = stop + 1, first + 1
        if step == 1 and first == self._next:  # one after the other: the next ones will be wanted
            self._need(first, max(stop, first + AHEAD // max(self._row_bytes, 1)))
        else:
            self._need(first, stop)
        self._next = stop

    def _need_rows(self, rows: np.ndarray) -> None:
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.reshape(-1).astype(np.int64)
        rows = np.where(rows < 0, rows + len(self), rows)
        rows = rows[(rows >= 0) & (rows < len(self))]  # the array itself says what is outside
        self._fetch(rows, rows + 1)

    def _need(self, first: int, stop: int) -> None:
        self._fetch(np.array([first]), np.array([min(stop, len(self))]))

    def _fetch(self, first: np.ndarray, stop: np.ndarray) -> None:
        self._file.fetch(
            self._offset + first * self._row_bytes, self._offset + stop * self._row_bytes
        )
