"""Titles by how alike the letters are: RapidFuzz over blocks of names, with a running best of k.

    FuzzyTitles(table, k=100, scorer="WRatio", processor="default").find(["Griezmann"])

Scores are float32, as ``rapidfuzz.process.cdist`` gives them, and equal ones go to the entity that
stands first in the table. This is what made the candidate file of WikiMEL: scores in double precision
differ in their last bit where they should tie, and give another order.

Once k entities are known, names that cannot reach the last of them are given up early, which changes
nothing but the time. Memory: a block of scores beside the names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore.construct.title_table import TitleTable
from featurestore.construct.top_k import RunningTop, stacked

#: Names of a block (chosen here: its scores fit a processor's first cache, and calls do not count).
BLOCK = 2048

#: What a score may be below the last one kept before it is given up, in points of 100: more than
#: float32 rounds.
_SLACK = 1e-3


class FuzzyScorer:
    """One scorer of RapidFuzz, and what texts go through before it."""

    def __init__(self, *, scorer: str, processor: str) -> None:
        from rapidfuzz import fuzz, process, utils

        self._scorer: Any = getattr(fuzz, scorer)
        self._cdist: Any = process.cdist
        processors: dict[str, Callable[[str], str]] = {
            "default": utils.default_process,
            "lower": str.lower,
            "none": str,
        }
        self.processed = processors[processor]

    def scores(
        self, mention: str, names: Sequence[str], *, cutoff: float = 0.0
    ) -> NDArray[np.float32]:
        """(n,) how alike the processed names are to a processed mention, 0 … 100; 0 below the cutoff."""
        found: NDArray[np.float32] = self._cdist(
            [mention], names, scorer=self._scorer, score_cutoff=cutoff, dtype=np.float32
        )
        return found[0]


class FuzzyTitles:
    """The names of a table, processed.

    Args:
        k: entities to find for a mention; at most those of the table.
        block: names that are scored at once.
    """

    def __init__(
        self, table: TitleTable, *, k: int, scorer: str, processor: str, block: int = BLOCK
    ) -> None:
        self._k = k
        self._scorer = FuzzyScorer(scorer=scorer, processor=processor)
        names = [self._scorer.processed(name) for name in table.names]
        firsts = table.firsts
        self._blocks = [
            (
                rows.start,
                names[firsts[rows.start] : firsts[rows.stop]],
                None
                if table.one_name_each
                else firsts[rows.start : rows.stop] - firsts[rows.start],
            )
            for rows in table.blocks(block)
        ]

    def find(self, mentions: Sequence[str]) -> NDArray[np.int32]:
        """(n, k) entities, best first."""
        return stacked([self._top(mention) for mention in mentions], self._k)

    def _top(self, mention: str) -> NDArray[np.int64]:
        wanted = self._scorer.processed(mention)
        best = RunningTop(self._k)
        for first, names, starts in self._blocks:
            cutoff = max(0.0, best.floor - _SLACK)
            scores = self._scorer.scores(wanted, names, cutoff=cutoff)
            best.add(first, scores if starts is None else np.maximum.reduceat(scores, starts))
        return best.rows
