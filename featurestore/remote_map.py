"""A remote store's file as memory: what is asked for is fetched first, so no byte is read unfetched.

Nothing hands out the map itself: arrays are :class:`LazyArray`, which fetches the rows that it is indexed
with, and scattered pieces are fetched when they are announced.
"""

from __future__ import annotations

import os
import threading
from typing import Any, NoReturn, cast

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from featurestore.catalog import Extent
from featurestore.errors import AGAIN, StoreError
from featurestore.filemap import FileMap
from featurestore.place import StoreUrl, fetch_hint
from featurestore.remote_cache import BlockCache
from featurestore.remote_source import Changed
from featurestore.remote_transfer import MOST, Transfer

#: Bytes between two wanted blocks that are fetched with them (chosen here: a request costs as much as
#: some hundred kilobytes of a fast line).
_GAP = 256 << 10

#: Bytes that are fetched at once where an array is read from its start to its end.
_AHEAD = MOST

#: Bytes of the first page, by whose header a store is known.
PAGE = 4096


class RemoteMap(FileMap):
    """Stands where a :class:`FileMap` does. May be used by several threads.

    Args:
        page: the store's first page, as it was when it was opened.
        version: the server's name for the state of the file; may be empty.
    """

    remote = True

    def __init__(
        self, url: StoreUrl, transfer: Transfer, cache: BlockCache, *, page: bytes, version: str
    ) -> None:
        self.path = url
        self.identity = (0, 0)
        self.transfer = transfer
        self._cache = cache
        self._page, self._version = page, version
        self._cold = False
        self._open = True
        self._turn, self._process = threading.Condition(), os.getpid()
        self._block = cache.block
        self._coming = np.zeros(-(-cache.size // cache.block), bool)  # under way, for some thread

    @property
    def size(self) -> int:
        return self._cache.size

    @property
    def bytes(self) -> NoReturn:
        """There is no such array of a file that is elsewhere.

        Raises:
            StoreError: says how to have one.
        """
        raise StoreError(
            "this needs the whole store on this machine",
            where=str(self.path),
            hint=fetch_hint(cast(StoreUrl, self.path)),
        )

    def array(self, extent: Extent) -> np.ndarray:
        """An array that fetches what it is asked for; nothing is fetched yet."""
        self._refuse_closed()
        return cast(np.ndarray, LazyArray(self, extent))

    def pieces(self, starts: np.ndarray, sizes: np.ndarray | int) -> np.ndarray:
        """The whole file, of which only these pieces may be read.

        Raises:
            StoreError: they cannot be fetched, or lie outside the file.
        """
        self.fetch(starts, starts + sizes)
        return self._cache.bytes

    def announce(self, starts: np.ndarray, sizes: np.ndarray | int) -> None:
        self.fetch(starts, starts + sizes)

    def fetch(self, starts: np.ndarray, ends: np.ndarray) -> None:
        """Have ``[start, end)`` of the file here, as many requests at once as it takes.

        Raises:
            StoreError: the server cannot be reached, the file changed, or the cache is full.
        """
        self._refuse_closed()
        self._begin_in_a_child()
        some = ends > starts
        first, last = starts[some] // self._block, (ends[some] - 1) // self._block
        if len(first) and (first.min() < 0 or last.max() >= len(self._coming)):
            raise StoreError("a piece lies outside the file", where=str(self.path), hint=AGAIN)
        blocks = _all_of(first, last)
        while len(missing := self._cache.missing(blocks)):
            mine = self._claim(missing)
            try:
                if len(mine):
                    self._fetch(mine)
            finally:
                with self._turn:
                    self._coming[mine] = False
                    self._turn.notify_all()

    def _begin_in_a_child(self) -> None:
        """Forget what the threads of the process did that this one was forked from."""
        if self._process != os.getpid():
            self._turn, self._process = threading.Condition(), os.getpid()
            self._coming[:] = False

    def _claim(self, missing: np.ndarray) -> np.ndarray:
        """Blocks that this thread is to fetch; none where others fetch all of them: then wait."""
        with self._turn:
            free = missing[~self._coming[missing]]
            if not len(free):
                self._turn.wait(1.0)
                return free
            runs = _bridged(free, _GAP // self._block)
            mine = runs[~self._coming[runs]]
            mine = self._cache.missing(mine)
            self._coming[mine] = True
            return mine

    def _fetch(self, mine: np.ndarray) -> None:
        self._cache.make_room(len(mine) * self._block)
        runs = np.split(mine, np.flatnonzero(np.diff(mine) != 1) + 1)
        ranges = [
            (first * self._block, min(self.size, (last + 1) * self._block))
            for run in runs
            for part in range(0, len(run), MOST // self._block)
            for first, last in [(int(run[part]), int(run[part : part + MOST // self._block][-1]))]
        ]

        def put_down(start: int, data: bytes) -> None:
            blocks = np.arange(start // self._block, -(-(start + len(data)) // self._block))
            self._cache.write(start, data, blocks)

        try:
            versions = self.transfer.read(ranges, put_down)
        except Changed:
            self._refuse_changed()
        if not self._version or versions != {self._version}:
            self._check_same(versions)
        self._cache.keep(mine)

    def _check_same(self, versions: set[str]) -> None:
        """Make sure, by its header, that the file still is what was opened.

        Raises:
            StoreError: it is not.
        """
        head = self.transfer.head(len(self._page))
        if head.data != self._page or head.size != self.size:
            self._refuse_changed()
        if versions == {head.version}:  # the server has another name for the same bytes
            self._version = head.version

    def _refuse_changed(self) -> NoReturn:
        raise StoreError(
            "the store was changed while it was in use",
            where=str(self.path),
            hint="run the command again: what was kept of the old one will be dropped",
        )

    def again(self, start: int, stop: int) -> bool:
        """Fetch ``[start, stop)`` once more, as what came is not what was written."""
        blocks = np.arange(start // self._block, -(-stop // self._block))
        self._cache.forget(blocks)
        self.fetch(np.array([start]), np.array([stop]))
        return True

    def refuse_replaced(self) -> None:
        """Only what a store's own header says can be read at a distance.

        Raises:
            StoreError: always.
        """
        raise StoreError(
            "libhdf5 would have to look for its records",
            where=str(self.path),
            hint=fetch_hint(cast(StoreUrl, self.path)),
        )

    def release_pages(self) -> None:
        if self._open:
            self._cache.release_pages()

    def close(self) -> None:
        if self._open:
            self._open = False
            self.transfer.close()
            self._cache.close()

    def _refuse_closed(self) -> None:
        if not self._open:
            raise StoreError("the store is closed", where=str(self.path), hint="open it again")


def _all_of(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """The numbers of all blocks from ``first`` to ``last``, each once, ascending."""
    lengths = last - first + 1
    before = np.cumsum(lengths) - lengths
    return np.unique(np.repeat(first - before, lengths) + np.arange(int(lengths.sum())))


def _bridged(blocks: np.ndarray, most: int) -> np.ndarray:
    """Ascending blocks, with those between two of them where they are no more than ``most``."""
    gaps = np.diff(blocks)
    closed = (gaps > 1) & (gaps <= most + 1)
    return _all_of(blocks, np.append(np.where(closed, blocks[1:] - 1, blocks[:-1]), blocks[-1]))


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
        part = self._file._cache.bytes[self._offset : self._offset + self.nbytes]
        return part.view(self.dtype).reshape(self.shape)

    def _need_slice(self, rows: slice) -> None:
        first, stop, step = rows.indices(len(self))
        if step < 0:
            first, stop = stop + 1, first + 1
        if step == 1 and first == self._next:  # one after the other: the next ones will be wanted
            self._need(first, max(stop, first + _AHEAD // max(self._row_bytes, 1)))
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
