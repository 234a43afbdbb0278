"""Which numbers, or QIDs, came before, one bit each."""

from __future__ import annotations

import re

#: Numbers of a page, as a power of two.
_PAGE_BITS = 16

_QID = re.compile(r"Q([1-9][0-9]{0,8})")


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

    def __contains__(self, number: int) -> bool:
        page = self._pages.get(number >> _PAGE_BITS)
        place, bit = (number >> 3) & ((1 << (_PAGE_BITS - 3)) - 1), 1 << (number & 7)
        return page is not None and bool(page[place] & bit)


class Ids:
    """A set of ids that only grows: a bit each where they are QIDs as Wikidata has them, else texts.

    ``count``: how many it holds.
    """

    def __init__(self) -> None:
        self.count = 0
        self._numbers = Seen()
        self._others: set[str] = set()

    def add(self, name: str) -> bool:
        """Whether the id is new."""
        number = _number(name)
        if number is not None:
            is_new = self._numbers.add(number)
        else:
            is_new = name not in self._others
            self._others.add(name)
        self.count += is_new
        return is_new

    def __contains__(self, name: str) -> bool:
        number = _number(name)
        return name in self._others if number is None else number in self._numbers


def _number(name: str) -> int | None:
    """31 of Q31; None of what is spelt otherwise."""
    found = _QID.fullmatch(name)
    return int(found[1]) if found else None
