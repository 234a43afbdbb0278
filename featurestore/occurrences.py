"""Where some bytes occur in many texts, and how well: NumPy over the bytes, no loop over texts."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

#: Bytes of a block that tell which byte of the text searched for is rare (chosen here).
_SAMPLE = 1 << 16


class Match(IntEnum):
    """How a text occurs in another, best first."""

    EXACT = 0
    START = 1
    WORD = 2
    WITHIN = 3


#: Bytes that are part of a word: ASCII letters and digits, and all of what is not ASCII.
_OF_WORD = np.array([chr(b).isalnum() or b >= 0x80 for b in range(256)])


def best_in_each(
    data: np.ndarray, offsets: np.ndarray, needle: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The texts that hold the needle, and how well each does.

    Args:
        data: (bytes,) uint8 of n texts.
        offsets: (n + 1,) where each begins.
        needle: (m,) uint8, at least one.

    Returns:
        (hits,) int64 which texts, ascending, and (hits,) uint8 the best :class:`Match` of each.
    """
    places = _places(data, needle)
    rows = np.searchsorted(offsets, places, side="right") - 1
    inside = places + len(needle) <= offsets[rows + 1]
    places, rows = places[inside], rows[inside]
    if not len(places):
        return rows, np.empty(0, np.uint8)
    ends = places + len(needle)
    starts, closes = places == offsets[rows], ends == offsets[rows + 1]
    word = (starts | ~_OF_WORD[data[places - 1]]) & (
        closes | ~_OF_WORD[data[np.minimum(ends, len(data) - 1)]]
    )
    match = np.where(word, np.uint8(Match.WORD), np.uint8(Match.WITHIN))
    match[starts] = Match.START
    match[starts & closes] = Match.EXACT
    heads = np.flatnonzero(np.diff(rows, prepend=-1))
    return rows[heads], np.minimum.reduceat(match, heads)


def _places(data: np.ndarray, needle: np.ndarray) -> np.ndarray:
    """(p,) int64 where the needle begins in the bytes, ascending, ends of texts not regarded."""
    last = len(data) - len(needle)
    if last < 0:
        return np.empty(0, np.int64)
    often = np.bincount(data[:_SAMPLE], minlength=256)
    rarest, *others = np.argsort(often[needle], kind="stable").tolist()
    places = np.flatnonzero(data[rarest : rarest + last + 1] == needle[rarest])
    for byte in others:
        places = places[data[places + byte] == needle[byte]]
    return places
