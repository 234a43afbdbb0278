"""Do work once per distinct value and hand the result to every row that has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np


class Distinct:
    """The distinct texts of a list, in order of first appearance, and the rows that hold each.

    ``values``: the distinct texts; the number of one is its place here. ``of_row``: (rows,) the
    number of each row's text.
    """

    def __init__(self, values: Sequence[str]) -> None:
        number: dict[str, int] = {}
        self.of_row = np.array([number.setdefault(v, len(number)) for v in values], np.int64)
        self.values: list[str] = list(number)
        self._order = np.argsort(self.of_row, kind="stable")
        self._bounds = np.searchsorted(self.of_row[self._order], np.arange(len(number) + 1))

    def __len__(self) -> int:
        return len(self.values)

    def first_row(self, value: int) -> int:
        """The first row that holds the value of this number."""
        return int(self._order[self._bounds[value]])

    def rows(self, values: np.ndarray, *, block: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows that hold these values, at most ``block`` at a time.

        Yields:
            (rows ascending, for each row the place of its value in ``values``).
        """
        parts = [self._order[self._bounds[v] : self._bounds[v + 1]] for v in values.tolist()]
        rows = np.concatenate(parts) if parts else np.zeros(0, np.int64)
        places = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        ascending = np.argsort(rows, kind="stable")
        for first in range(0, len(rows), block):
            chosen = ascending[first : first + block]
            yield rows[chosen], places[chosen]
