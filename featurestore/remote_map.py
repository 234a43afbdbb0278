"""A remote store's file as memory: what is asked for is fetched first, so no byte is read unfetched.

Nothing hands out the map itself: arrays are :class:`~featurestore.remote_array.LazyArray`, which fetches
the rows that it is indexed with, and scattered pieces are fetched when they are announced.
"""

from __future__ import annotations

import builtins
import os
import threading
from typing import NoReturn, cast

import numpy as np

from featurestore.catalog import Extent
from featurestore.errors import AGAIN, StoreError
from featurestore.filemap import FileMap
from featurestore.place import StoreUrl, fetch_hint
from featurestore.remote_array import LazyArray
from featurestore.remote_cache import BlockCache
from featurestore.remote_source import Changed
from featurestore.remote_transfer import MOST, Transfer

#: Bytes between two wanted blocks that are fetched with them (chosen here: a request costs as much as
#: some hundred kilobytes of a fast line).
_GAP = 256 << 10


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

    @property
    def mapped(self) -> np.ndarray:
        """The whole file for who has fetched what it reads of it: the rest is zero."""
        return self._cache.bytes

    def first_page(self) -> builtins.bytes:
        """As it was when the store was opened."""
        return self._page

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
