"""Which numbers came before, one bit each."""

from __future__ import annotations

#: Numbers of a page, as a power of two.
_PAGE_BITS = 16


class Seen:
    """A set of numbers that only grows: 1 bit for each number of every page that holds one.

    All items of Wikidata take less than 20 MB, the most that ids may take is 256 MB.
    """

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}

    def add(self, number: int) -> bool:
        """Whether the number is new."""
        key = number >> _PAGE_BITS
        page = self._pages.get(key)
        if page is None:
            page = self._pages[key] = bytearray(1 << (_PAGE_BITS - 3))
        place, bit = (number >> 3) & ((1 << (_PAGE_BITS - 3)) - 1), 1 << (number & 7)
        if page[place] & bit:
            return False
        page[place] |= bit
        return True
