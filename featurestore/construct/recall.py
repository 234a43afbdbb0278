"""How many golds stand among the first candidates."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

#: The k that are told, beside K itself (chosen here: those of published tables).
LEVELS = (1, 5, 10, 50, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """``golds``: mentions whose gold is known; ``recall``: "recall@k" → share of them, empty if none."""

    mentions: int
    golds: int
    recall: dict[str, float]


@dataclass(slots=True, kw_only=True)
class RecallCount:
    """Counts that grow; those of several splits can be added.

    ``found``: (K,) golds at each place.
    """

    found: NDArray[np.int64]
    mentions: int = 0
    golds: int = field(default=0)

    @classmethod
    def none(cls, k: int) -> RecallCount:
        return cls(found=np.zeros(k, np.int64))

    def add(self, rows: NDArray[np.int32], gold: int, *, known: bool) -> None:
        """Count the (K,) candidates of a mention; a known gold of no entity's row is not found."""
        self.mentions += 1
        self.golds += known
        if known:
            self.found[np.flatnonzero(rows == gold)[:1]] += 1

    def __add__(self, other: RecallCount) -> RecallCount:
        return RecallCount(
            found=self.found + other.found,
            mentions=self.mentions + other.mentions,
            golds=self.golds + other.golds,
        )

    def recall(self) -> Recall:
        within, k = np.cumsum(self.found), len(self.found)
        levels = [level for level in LEVELS if level < k] + [k]
        shares = {f"recall@{level}": float(within[level - 1] / self.golds) for level in levels
                  if self.golds}  # fmt: skip
        return Recall(mentions=self.mentions, golds=self.golds, recall=shares)
