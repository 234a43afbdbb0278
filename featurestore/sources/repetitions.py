"""The rows that a preprocessed WikiDiverse repeats, compared with the one that is stored."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from featurestore.derive import block_rows
from featurestore.rowfile import RowFile

#: Marks the notes of a store that cannot give every repeated row back as it was.
DIFFERING = "repeated rows differ from their entity's first row"


class Differences:
    """How many rows differ from their entity's first row, and by how much at most."""

    def __init__(self) -> None:
        self.rows, self.largest = 0, 0.0

    def compare(self, rows: np.ndarray, firsts: np.ndarray) -> None:
        """(n, …) rows, and (n, …) the first row of the entity of each."""
        with np.errstate(invalid="ignore"):
            gaps = np.abs(rows - firsts)
        largest = np.nan_to_num(gaps.reshape(len(gaps), -1).max(axis=1), nan=np.inf)
        self.add(int((largest > 0).sum()), float(largest.max(initial=0.0)))

    def add(self, rows: int, largest: float) -> None:
        """What was found of other rows."""
        self.rows += rows
        self.largest = max(self.largest, largest)

    def note(self, name: str) -> list[str]:
        return _note(name, self.rows, self.largest)


class Repetitions:
    """Counts the repetitions of an entity's row that differ from its first row.

    The first rows of entities that recur are kept on disk. Files come in any order: a repetition
    that comes before the first row waits there, too.

    Args:
        recurring: (N,) bool: entities that have more than one row.
        shape, dtype: of a row.
        folder: where there is room for the rows.
        scratch: closes the files.
    """

    def __init__(
        self,
        recurring: np.ndarray,
        *,
        shape: tuple[int, ...],
        dtype: np.dtype,
        folder: Path,
        scratch: ExitStack,
    ) -> None:
        self._number = np.cumsum(recurring) - 1  # entity → its row of _firsts
        self._recurring = recurring
        self._seen = np.zeros(len(recurring), bool)
        self._firsts = scratch.enter_context(RowFile(folder, shape, dtype))
        self._waiting = scratch.enter_context(RowFile(folder, shape, dtype))
        self._waiting_for: list[np.ndarray] = []  # entities, in the order of _waiting
        self._waiting_count = 0
        self._step = block_rows(dtype.itemsize * int(np.prod(shape)))
        self.differences = Differences()

    def first(self, entities: np.ndarray, rows: np.ndarray) -> None:
        """The first rows of these entities."""
        kept = self._recurring[entities]
        self._firsts.write(self._number[entities[kept]], rows[kept])
        self._seen[entities] = True

    def again(self, entities: np.ndarray, rows: np.ndarray) -> None:
        """Other rows of these entities."""
        seen = self._seen[entities]
        self._compare(entities[seen], rows[seen])
        early = entities[~seen]
        numbers = np.arange(self._waiting_count, self._waiting_count + len(early))
        self._waiting.write(numbers, rows[~seen])
        self._waiting_for.append(early)
        self._waiting_count += len(early)

    def _compare(self, entities: np.ndarray, rows: np.ndarray) -> None:
        if not len(entities):
            return
        self.differences.compare(rows, self._firsts.read(self._number[entities]))

    def note(self, name: str) -> list[str]:
        """What was found, once all rows came."""
        entities = np.concatenate([np.zeros(0, np.int64), *self._waiting_for])
        for start in range(0, len(entities), self._step):
            chosen = entities[start : start + self._step]
            self._compare(chosen, self._waiting.read(np.arange(start, start + len(chosen))))
        return self.differences.note(name)


def differing_note(name: str, gaps: np.ndarray) -> list[str]:
    """What is said of rows, whose largest difference from their entity's first row is (n,) ``gaps``."""
    return _note(name, int((gaps > 0).sum()), float(gaps.max(initial=0)))


def _note(name: str, differing: int, largest: float) -> list[str]:
    if not differing:
        return []
    return [f"{name}: {differing} {DIFFERING} (at most {largest:.2g}); the first is stored"]
