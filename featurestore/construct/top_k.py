"""The k best rows of scores that come block by block: equal to sorting all of them, ties included."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from featurestore.schema import NO_ROW


class RunningTop:
    """The best rows so far. Equal scores go to the lower row, whatever the blocks are.

    Args:
        k: rows to keep at most; at least 1.
    """

    def __init__(self, k: int) -> None:
        self._k = k
        self.rows: NDArray[np.int64] = np.empty(0, np.int64)
        self.scores: NDArray[np.float32] = np.empty(0, np.float32)

    @property
    def floor(self) -> float:
        """The score that a later row must exceed to be kept; -inf as long as there is room."""
        return float(self.scores[-1]) if len(self.rows) == self._k else -np.inf

    def add(self, first: int, scores: NDArray[np.float32]) -> None:
        """Take in the (n,) scores of rows ``first`` …, which follow all rows before them.

        A score of -inf is no candidate's.
        """
        places = np.flatnonzero(scores > self.floor)
        if len(places) > self._k:
            best = scores[places]
            kth = np.partition(best, len(best) - self._k)[len(best) - self._k]
            places = places[best >= kth]  # those that tie for the last place are still in
        if not len(places):
            return
        rows = np.concatenate([self.rows, places + first])
        found = np.concatenate([self.scores, scores[places]])
        order = np.argsort(-found, kind="stable")[: self._k]  # rows are ascending where scores tie
        self.rows, self.scores = rows[order], found[order]


def stacked(lists: Sequence[NDArray[np.integer]], k: int) -> NDArray[np.int32]:
    """(n, k) the rows of n lists of at most k, ``NO_ROW`` behind the last of each."""
    found = np.full((len(lists), k), NO_ROW, np.int32)
    for place, rows in enumerate(lists):
        found[place, : len(rows)] = rows
    return found
