"""Candidate entities for a mention, from the titles of the knowledge base alone.

The rule, from the best candidate to the last:

1. titles that equal the mention, but for case, Unicode form (NFKC), underscores and runs of blanks;
2. titles that equal it once their trailing bracket is left out: ``Paris`` finds ``Paris (Texas)``;
3. titles that share a gram with it.

Within each of the three, by the cosine of the two names' grams, then the shorter title, then the
row. A name's grams are its words and, so that a part of a word or another spelling still matches,
every three characters of a word between blanks: ``Khan`` has `` khan ``, `` kh``, ``kha``, ``han``
and ``an ``. A gram weighs log(1 + N / titles that hold it). The rule is chosen here, for mentions
that are mostly parts of names; docs/decisions/title-candidates.md has what it finds on WikiMEL.

Cost: :mod:`featurestore.postings` for each gram of each title. A mention costs the lists of its grams
and a pass over the N titles, so time grows with N.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from featurestore.postings import Occurrences, Postings
from featurestore.schema import NO_ROW

#: At most so many row numbers are read for a mention, its rarest grams first: a gram that most
#: titles share says little and costs most. Chosen here; mentions of WikiMEL stay below it.
POSTINGS = 500_000

#: What rules 1 and 2 add to a cosine, which is at most 1.
_EQUAL, _EQUAL_BUT_BRACKET = 4.0, 2.0

_WORD = re.compile(r"[^\W_]+")
_BRACKET = re.compile(r"\s*\([^()]*\)\s*$")


class TitleIndex:
    """Titles by their grams (an inverted index in NumPy arrays) and by what they equal."""

    def __init__(
        self,
        *,
        postings: Postings,
        lengths: NDArray[np.int32],
        equal: dict[str, list[int]],
        equal_but_bracket: dict[str, list[int]],
    ) -> None:
        """Keep the parts that ``build`` makes.

        Args:
            postings: the titles of each gram; the weights of a title make a vector of length 1.
            lengths: (N,) characters of each title.
            equal: spelling → the rows whose title it is.
            equal_but_bracket: the same of titles without their trailing bracket.
        """
        self._postings = postings
        self._lengths = lengths
        self._equal = equal
        self._equal_but_bracket = equal_but_bracket
        self._gram_weights = _gram_weights(np.diff(postings.offsets), len(lengths))

    @classmethod
    def build(cls, titles: Iterable[str]) -> TitleIndex:
        """Index titles; row i of the entity table is the i-th of them."""
        equal: dict[str, list[int]] = {}
        equal_but_bracket: dict[str, list[int]] = {}
        lengths = array("i")

        def grams_of_titles() -> Iterator[list[str]]:
            for row, title in enumerate(titles):
                name = bare_name(title)
                equal.setdefault(spelling(title), []).append(row)
                equal_but_bracket.setdefault(name, []).append(row)
                lengths.append(len(title))
                yield _grams(name)

        held = Occurrences.gather(grams_of_titles())
        weight = _gram_weights(held.sizes, held.count)[held.grams]
        norm = np.sqrt(np.bincount(held.rows, weight**2, minlength=held.count))
        return cls(
            postings=held.inverted(weight / norm[held.rows]),
            lengths=np.array(lengths, np.int32),
            equal=equal,
            equal_but_bracket=equal_but_bracket,
        )

    def __len__(self) -> int:
        """N: the titles."""
        return len(self._lengths)

    def top(self, mentions: Sequence[str], k: int) -> NDArray[np.int32]:
        """The candidates of each mention.

        Returns:
            (n, k) rows, best first, ``NO_ROW`` after the last: a title that shares no gram with the
            mention and does not equal it is no candidate.
        """
        found = np.full((len(mentions), k), NO_ROW, np.int32)
        known: dict[str, NDArray[np.intp]] = {}
        for place, mention in enumerate(mentions):
            if mention not in known:
                known[mention] = self._best(mention, k)
            best = known[mention]
            found[place, : len(best)] = best
        return found

    def _best(self, mention: str, k: int) -> NDArray[np.intp]:
        """The rows of at most k candidates, best first."""
        scores = self._scores(mention)
        rows = np.flatnonzero(scores)
        if len(rows) > k:
            last = np.partition(scores[rows], len(rows) - k)[len(rows) - k]
            rows = rows[scores[rows] >= last]  # those that tie for the last place are still in
        return rows[np.lexsort((rows, self._lengths[rows], -scores[rows]))][:k]

    def _scores(self, mention: str) -> NDArray[np.float64]:
        """(N,) cosine of each title with the mention, raised where they are equal; 0 = no candidate."""
        name = spelling(mention)
        grams = self._postings.rarest_first(_grams(name), most=POSTINGS)
        weights = self._gram_weights[grams]
        weights /= np.sqrt(np.sum(weights**2)) or 1.0
        scores = self._postings.scores(grams, weights)
        scores[self._equal_but_bracket.get(name, [])] += _EQUAL_BUT_BRACKET
        scores[self._equal.get(name, [])] += _EQUAL
        return scores


def _gram_weights(sizes: NDArray[np.int64], titles: int) -> NDArray[np.float64]:
    """(grams,) how much a gram that ``sizes`` titles hold tells of a title."""
    return np.log1p(titles / sizes)


def spelling(name: str) -> str:
    """What two names have in common if they are equal: case, Unicode form and blanks do not count."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return " ".join(folded.replace("_", " ").split())


def bare_name(title: str) -> str:
    """What two titles share if they name their entities alike, as ``Paris`` and ``paris (Texas)`` do.

    Case, Unicode form, underscores, runs of blanks and a trailing bracket do not count.
    """
    name = spelling(title)
    return _BRACKET.sub("", name) or name


def words_of(spelling: str) -> list[str]:
    """The words of a spelling, in order."""
    return _WORD.findall(spelling)


def _grams(spelling: str) -> list[str]:
    """The distinct grams of a spelling, in order: words, and three characters of each, with blanks."""
    words = (f" {word} " for word in words_of(spelling))
    grams = (chain([word], (word[i : i + 3] for i in range(len(word) - 2))) for word in words)
    return list(dict.fromkeys(chain.from_iterable(grams)))
