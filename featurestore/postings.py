"""An inverted index in NumPy arrays: which rows hold a gram, and how much it weighs in each.

A gram is any string that rows have in common: three letters of a title, or a word of it.

Cost: a row number and a weight for each gram of each row, 8 bytes together, and the grams themselves.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrences:
    """Which grams stand in which rows, in the order of the rows.

    ``gram_ids``: gram → g. ``grams``, ``rows``: (p,) the gram and the row of each occurrence.
    ``count``: n, the rows.
    """

    gram_ids: dict[str, int]
    grams: NDArray[np.int32]
    rows: NDArray[np.int32]
    count: int

    @classmethod
    def gather(cls, grams_of_row: Iterable[Sequence[str]]) -> Occurrences:
        """Number the grams; those of a row are distinct."""
        gram_ids: dict[str, int] = {}
        held, sizes = array("i"), array("i")
        for grams in grams_of_row:
            held.extend(gram_ids.setdefault(gram, len(gram_ids)) for gram in grams)
            sizes.append(len(grams))
        rows = np.repeat(np.arange(len(sizes), dtype=np.int32), np.array(sizes, np.int32))
        return cls(gram_ids=gram_ids, grams=np.array(held, np.int32), rows=rows, count=len(sizes))

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(grams,) how many rows hold each gram."""
        return np.bincount(self.grams, minlength=len(self.gram_ids))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(n,) how many grams each row holds."""
        return np.bincount(self.rows, minlength=self.count)

    def inverted(self, weights: NDArray[np.floating]) -> Postings:
        """The rows of each gram, with the (p,) weights of the occurrences."""
        by_gram = np.argsort(self.grams, kind="stable")
        return Postings(
            gram_ids=self.gram_ids,
            offsets=np.concatenate([[0], np.cumsum(self.sizes)]),
            rows=self.rows[by_gram],
            weights=weights[by_gram].astype(np.float32),
            count=self.count,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Postings:
    """The rows of gram 0, of gram 1, …, each ascending.

    ``offsets``: (grams + 1,), the rows of g are ``rows[offsets[g]:offsets[g + 1]]``. ``rows``,
    ``weights``: (p,). ``count``: n, the rows that were indexed.
    """

    gram_ids: dict[str, int]
    offsets: NDArray[np.int64]
    rows: NDArray[np.int32]
    weights: NDArray[np.float32]
    count: int

    def rarest_first(self, grams: Iterable[str], *, most: int) -> list[int]:
        """The known ones of some grams, rarest first, until ``most`` rows are read; at least one."""
        known = [self.gram_ids[gram] for gram in grams if gram in self.gram_ids]
        known.sort(key=lambda gram: (self.offsets[gram + 1] - self.offsets[gram], gram))
        read = np.cumsum([self.offsets[gram + 1] - self.offsets[gram] for gram in known])
        return known[: max(1, int(np.searchsorted(read, most, side="right")))]

    def scores(self, grams: Sequence[int], factors: Iterable[float]) -> NDArray[np.float64]:
        """(n,) the sum of the weights of distinct grams in each row, each times its factor."""
        found = np.zeros(self.count)
        for gram, factor in zip(grams, factors, strict=True):
            span = slice(self.offsets[gram], self.offsets[gram + 1])
            found[self.rows[span]] += factor * self.weights[span]  # a row stands once in a span
        return found
