"""Text as a search compares it: without case and accents.

Each character is folded for itself: decomposed (NFKD), its diacritical marks dropped, its case folded,
so ``É``, ``é`` and ``e`` are one, ``ß`` is ``ss`` and ``ﬁ`` is ``fi``. Where the result would take more
bytes of UTF-8 than the character (a Hangul syllable, ``½``), case alone is folded, or nothing. Letters
that have no decomposition (``ø``, ``ł``, ``đ``) stay as they are. Line breaks are blanks.

Because each character is folded for itself and never grows, a whole block of bytes is folded in place
by table: no Python code runs for a text.
"""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np

#: The Unicode blocks of combining diacritical marks. Marks of other kinds (Hebrew points, vowel signs)
#: are spelling, and stay.
_MARKS = ((0x300, 0x36F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE20, 0xFE2F))

#: A byte that no UTF-8 holds: it stands where a folded character is shorter than its place.
_NOTHING = 0xFF

#: Code points that four bytes can spell, those that Unicode does not use included.
_CODES = 1 << 21

_ASCII = bytes(
    ord(chr(b).lower()) if b < 128 and b != 10 else 32 if b == 10 else b for b in range(256)
)


def fold(text: str) -> str:
    """The text as a search compares it."""
    return "".join(map(_fold_character, text))


def fold_with_places(text: str) -> tuple[str, list[int]]:
    """The folded text, and for each of its characters the place in ``text`` of the one it comes from."""
    folded = [_fold_character(character) for character in text]
    places = [place for place, part in enumerate(folded) for _ in part]
    return "".join(folded), places


@cache
def _fold_character(character: str) -> str:
    if character == "\n":
        return " "
    room = len(character.encode("utf-8", "surrogatepass"))
    bare = "".join(c for c in unicodedata.normalize("NFKD", character) if not _is_mark(c))
    choices = (bare.casefold(), character.casefold(), character)
    return next(c for c in choices if len(c.encode("utf-8", "surrogatepass")) <= room)


def _is_mark(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _MARKS)


def fold_bytes(data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same of many texts at once.

    Args:
        data: (bytes,) uint8 the UTF-8 of the texts.
        offsets: (n + 1,) int64 where each begins.

    Returns:
        (bytes',) uint8 and (n + 1,) int64 of the folded texts. Bytes that are no UTF-8 are folded to
        something, without an error.
    """
    out = np.frombuffer(data.tobytes().translate(_ASCII), np.uint8)
    leads = np.flatnonzero(data >= 0xC0)
    if not len(leads):
        return out, offsets
    padded = np.concatenate([out, np.full(3, _NOTHING, np.uint8)])
    for size, codes in _codes_of(padded, leads):
        places, folded = codes
        table = _table(folded)
        for byte in range(size):
            padded[places + byte] = table[folded, byte]
    out = padded[: len(out)]
    dropped = np.flatnonzero(out == _NOTHING)
    if len(dropped):
        out = out[out != _NOTHING]
        offsets = offsets - np.searchsorted(dropped, offsets)
    return out, offsets


def _codes_of(
    data: np.ndarray, leads: np.ndarray
) -> list[tuple[int, tuple[np.ndarray, np.ndarray]]]:
    """Bytes a character → where those of that size begin, and their code points; all read first."""
    found = []
    first = data[leads]
    for size, low, high in ((2, 0xC0, 0xE0), (3, 0xE0, 0xF0), (4, 0xF0, 0xF8)):
        places = leads[(first >= low) & (first < high)]
        codes = (data[places] & (0x7F >> size)).astype(np.int64)
        for byte in range(1, size):
            codes = codes << 6 | (data[places + byte] & 0x3F)
        if len(places):
            found.append((size, (places, codes)))
    return found


class _Folds:
    """Code point → the bytes of its folded form; filled as characters are met. At most 10 MiB."""

    def __init__(self) -> None:
        self.table = np.full((_CODES, 4), _NOTHING, np.uint8)
        self.known = np.zeros(_CODES, bool)

    def learn(self, codes: np.ndarray) -> None:
        for code in np.unique(codes).tolist():
            folded = _folded_code(code)
            self.table[code, : len(folded)] = np.frombuffer(folded, np.uint8)
            self.known[code] = True


def _folded_code(code: int) -> bytes:
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        return b"?"  # no UTF-8 holds it
    return _fold_character(chr(code)).encode()


@cache
def _folds() -> _Folds:
    return _Folds()


def _table(codes: np.ndarray) -> np.ndarray:
    """(codes, 4) the table, in which these are known."""
    folds = _folds()
    new = codes[~folds.known[codes]]
    if len(new):
        folds.learn(new)
    return folds.table
