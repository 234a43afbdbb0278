"""Which rows of an array are written, which are in the manifest, and a digest of those that are not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from xxhash import xxh3_64

from featurestore.disk import Bytes
from featurestore.work import rows_of, runs_of


class Share(NamedTuple):
    """What a part holds of an array: rows in the order they were written in, and their digest."""

    runs: np.ndarray  # (k, 2) int64
    digest: str


class Written:
    """The rows of one array that are written."""

    def __init__(self, count: int) -> None:
        self.done = np.zeros(count, bool)
        self._pending: list[np.ndarray] = []  # runs, in the order of writing
        self._digest = xxh3_64()
        self._marked = 0
        self._marked_digest = self._digest.copy()

    def missing(self, rows: np.ndarray) -> np.ndarray:
        """(len(rows),) bool: those that are not written yet."""
        return ~self.done[rows]

    def add(self, rows: np.ndarray, data: Bytes) -> None:
        """Note that rows are written; ``data``: their bytes, in this order."""
        self.done[rows] = True
        self._pending.append(runs_of(rows))
        self._digest.update(data)

    def mark(self) -> None:
        """Nothing is half done now."""
        self._marked = len(self._pending)
        self._marked_digest = self._digest.copy()

    @property
    def is_marked(self) -> bool:
        """Whether there is something to take."""
        return self._marked > 0

    def take(self) -> Share | None:
        """What was written up to the mark, which is in the manifest from now on.

        What was written behind the mark is in none; it is only taken after another mark, or never.
        """
        if not self.is_marked:
            return None
        share = Share(
            np.concatenate(self._pending[: self._marked]), self._marked_digest.hexdigest()
        )
        left = self._pending[self._marked :]
        if left:
            raise RuntimeError("rows were written behind the mark")
        self._pending, self._digest, self._marked = [], xxh3_64(), 0
        self._marked_digest = self._digest.copy()
        return share

    def give_up_unmarked(self) -> None:
        """Forget what was written behind the mark."""
        self._pending, self._digest = self._pending[: self._marked], self._marked_digest

    def restore(self, share: Share, read: Callable[[range], Iterable[Bytes]]) -> bool:
        """Take over what an earlier part holds, if its bytes are still the same.

        Args:
            read: the bytes of consecutive rows.
        """
        digest = xxh3_64()
        for rows in rows_of(share.runs):
            for data in read(rows):
                digest.update(data)
        if digest.hexdigest() != share.digest:
            return False
        for rows in rows_of(share.runs):
            self.done[rows.start : rows.stop] = True
        return True
