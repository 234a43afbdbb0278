"""Rows of two stores, matched by id."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featurestore.store import Store
from featurestore.table import Table

#: Ids that are looked up at a time (chosen here: a few megabytes of text).
_AT_ONCE = 1 << 16

#: How many ids a difference names.
EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Matched:
    """Rows of one table that both stores have: ``a[i]`` and ``b[i]`` have the same id."""

    a: np.ndarray  # (n,) int64, ascending
    b: np.ndarray  # (n,) int64

    def __len__(self) -> int:
        return len(self.a)

    def in_place(self, a: Table, b: Table) -> bool:
        """Whether both tables hold the same ids in the same order."""
        return len(self) == len(a) == len(b) and bool((self.a == self.b).all())


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsDifference:
    """How the rows of one table differ. ``moved``: rows of A that have another number in B.

    ``other_split``: mentions that stand in another split. The ids are the first few of each.
    """

    table: str
    a: int
    b: int
    only_a: int
    only_b: int
    moved: int
    other_split: int
    only_a_ids: tuple[str, ...]
    only_b_ids: tuple[str, ...]
    moved_ids: tuple[str, ...]
    other_split_ids: tuple[str, ...]

    @property
    def differs(self) -> bool:
        return bool(self.only_a or self.only_b or self.moved or self.other_split)


def match_rows(a: Store, b: Store, name: str) -> tuple[Matched, RowsDifference]:
    """Match the rows of a table of two stores by their ids."""
    left, right = a.table(name), b.table(name)
    found = np.full(len(left), -1, np.int64)
    for first in range(0, len(left), _AT_ONCE):
        rows = np.arange(first, min(first + _AT_ONCE, len(left)))
        found[rows] = right.find(left.ids(rows))
    both = np.flatnonzero(found >= 0)
    matched = Matched(both, found[both])
    unseen = np.ones(len(right), bool)
    unseen[matched.b] = False
    only_a, only_b = np.flatnonzero(found < 0), np.flatnonzero(unseen)
    moved = both[matched.a != matched.b]
    elsewhere = both[
        _split_numbers(a, b, left)[matched.a] != _split_numbers(a, b, right)[matched.b]
    ]
    return matched, RowsDifference(
        table=name,
        a=len(left),
        b=len(right),
        only_a=len(only_a),
        only_b=len(only_b),
        moved=len(moved),
        other_split=len(elsewhere),
        only_a_ids=_first(left, only_a),
        only_b_ids=_first(right, only_b),
        moved_ids=_first(left, moved),
        other_split_ids=_first(left, elsewhere),
    )


def _split_numbers(a: Store, b: Store, table: Table) -> np.ndarray:
    """(rows,) a number for the split of each row, the same number in both stores; -1 = in none."""
    names = sorted({*a.mentions.splits, *b.mentions.splits})
    numbers = np.full(len(table), -1, np.int16)
    for name, rows in table.splits.items():
        numbers[rows.start : rows.stop] = names.index(name)
    return numbers


def _first(table: Table, rows: np.ndarray) -> tuple[str, ...]:
    return tuple(table.ids(rows[:EXAMPLES]))
