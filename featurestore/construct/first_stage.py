"""Titles by what they share with a mention, for millions of them: a pool, put in order by RapidFuzz.

``ngram`` is :class:`featurestore.candidates.TitleIndex`, which ``link`` and MIMIC's layout use too:
three letters and words, cosine of TF-IDF. ``bm25`` knows whole words only: quicker, and blind to
another spelling. Only the names that share something with the mention are compared, but the best of
them are chosen out of one number a name of the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from featurestore.candidates import POSTINGS, TitleIndex, spelling, words_of
from featurestore.construct.fuzzy import FuzzyScorer
from featurestore.construct.title_table import TitleTable
from featurestore.construct.top_k import stacked
from featurestore.postings import Occurrences, Postings
from featurestore.schema import NO_ROW

#: Robertson's usual values: how much the words of a name count against each other (B, of 0 … 1), and
#: how much that counts beside the rarity of a word (K1).
K1, B = 1.2, 0.75


class NameIndex(Protocol):
    """Finds names."""

    def top(self, mentions: Sequence[str], k: int) -> NDArray[np.int32]:
        """(n, k) rows of names, best first, ``NO_ROW`` behind the last."""


class WordIndex:
    """Names by their words, weighed by BM25.

    A word that n of N names hold weighs log(1 + (N - n + 0.5) / (n + 0.5)), times
    (K1 + 1) / (1 + K1 · (1 - B + B · words / mean words)) in a name of so many words. A name has a word
    or not: how often is not counted (chosen here, titles hardly repeat one). Case and Unicode form do
    not count. Equal sums go to the first row.
    """

    def __init__(self, postings: Postings) -> None:
        self._postings = postings

    @classmethod
    def build(cls, names: Iterable[str]) -> WordIndex:
        """Index names; the i-th is row i."""
        held = Occurrences.gather(_distinct_words(name) for name in names)
        sizes, lengths = held.sizes, held.lengths
        idf = np.log1p((held.count - sizes + 0.5) / (sizes + 0.5))
        norm = K1 * (1 - B + B * lengths / max(1.0, float(lengths.sum())) * held.count)
        return cls(held.inverted(idf[held.grams] * (K1 + 1) / (1 + norm[held.rows])))

    def top(self, mentions: Sequence[str], k: int) -> NDArray[np.int32]:
        """(n, k) rows, best first, ``NO_ROW`` behind the last."""
        found = np.full((len(mentions), k), NO_ROW, np.int32)
        for place, mention in enumerate(mentions):
            grams = self._postings.rarest_first(_distinct_words(mention), most=POSTINGS)
            scores = self._postings.scores(grams, np.ones(len(grams)))
            rows = np.flatnonzero(scores)
            if len(rows) > k:
                kth = np.partition(scores[rows], len(rows) - k)[len(rows) - k]
                rows = rows[scores[rows] >= kth]
            rows = rows[np.lexsort((rows, -scores[rows]))][:k]
            found[place, : len(rows)] = rows
        return found


def _distinct_words(name: str) -> list[str]:
    return list(dict.fromkeys(words_of(spelling(name))))


class PooledTitles:
    """A first stage and the order of its pool.

    The pool are the best names of the first stage, as entities. With a scorer they are put in order by
    the best score of their names in the pool; equal scores keep the order of the first stage.

    Args:
        index: over the names of the table.
        k: entities to find for a mention, at most.
        pool: names that the first stage gives.
        scorer: of RapidFuzz; None = the order of the first stage.
    """

    def __init__(
        self,
        table: TitleTable,
        index: NameIndex,
        *,
        k: int,
        pool: int,
        scorer: FuzzyScorer | None,
    ) -> None:
        self._index = index
        self._k = k
        self._pool = min(pool, len(table.names))
        self._scorer = scorer
        self._owners = table.owners()
        self._names = [scorer.processed(name) for name in table.names] if scorer else []

    def find(self, mentions: Sequence[str]) -> NDArray[np.int32]:
        """(n, k) entities, best first, ``NO_ROW`` behind those that share anything with the mention."""
        return stacked([self._top(mention) for mention in mentions], self._k)

    def _top(self, mention: str) -> NDArray[np.int32]:
        names = self._index.top([mention], self._pool)[0]
        names = names[names != NO_ROW]
        owners = self._owners[names]
        if self._scorer is not None and len(names):
            wanted = self._scorer.processed(mention)
            scores = self._scorer.scores(wanted, [self._names[name] for name in names.tolist()])
            owners = owners[np.argsort(-scores, kind="stable")]
        _, first = np.unique(owners, return_index=True)
        return owners[np.sort(first)][: self._k]


def pooled_titles(
    table: TitleTable, method: str, *, k: int, pool: int, scorer: FuzzyScorer | None
) -> PooledTitles:
    """The names of a table behind the first stage ``ngram`` or ``bm25``."""
    index: NameIndex = (
        TitleIndex.build(table.names) if method == "ngram" else WordIndex.build(table.names)
    )
    return PooledTitles(table, index, k=k, pool=pool, scorer=scorer)
