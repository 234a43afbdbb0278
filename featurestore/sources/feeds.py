"""How recorded features travel: from where they lie, block by block, to what stores them.

Features are large, and an archive gives them only front to back, in an order of its own. So whoever
stores them says which rows of which files it wants, and takes them as they come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from featurestore.errors import NotFinite, SourceError
from featurestore.progress import Progress
from featurestore.sources.arrays import Header


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of one file on their way into the store. ``part``: which file of its feed."""

    where: str
    part: int
    source_rows: np.ndarray  # (b,) rows of the file
    rows: np.ndarray  # (b,) rows of the store
    values: np.ndarray  # (b, …)

    @contextmanager
    def located(self) -> Iterator[None]:
        """Name the file and its row, not the store's, when a feature written here is not finite."""
        try:
            yield
        except NotFinite as error:
            row = int(self.source_rows[np.flatnonzero(self.rows == error.row)[0]])
            raise SourceError(error.what, where=f"{self.where}[{row}]", hint=error.hint) from error


@dataclass(frozen=True, slots=True)
class Part:
    """The rows that are wanted of one file, and the rows of the store that they belong to."""

    file: str
    source_rows: np.ndarray  # (n,) ascending
    rows: np.ndarray  # (n,)

    def block(self, where: str, part: int, chosen: slice, values: np.ndarray) -> Block:
        """The block of some of these rows."""
        return Block(where, part, self.source_rows[chosen], self.rows[chosen], values)


@dataclass(frozen=True, slots=True)
class Feed:
    """The files of one kind of feature, and what takes their rows.

    Rows of a file come in ascending order; the files come in any. ``has`` tells whether rows of the store
    are written already and need not come. ``finish`` is for after the last.
    """

    name: str
    unit: str  # what a row is, for the progress
    parts: Sequence[Part]
    write: Callable[[Block], None]
    has: Callable[[np.ndarray], bool]
    finish: Callable[[], None] = lambda: None


class RecordedArrays(Protocol):
    """The files of a preprocessed dataset, wherever they are.

    Every method that takes the name of a file raises a ``SourceError`` if it is missing or damaged.
    """

    def where(self, file: str) -> str:
        """How messages name a file."""

    def has(self, file: str) -> bool: ...

    def json(self, file: str) -> dict[str, object]: ...

    def load(
        self,
        file: str,
        *,
        holds: str = "features",
        ndim: tuple[int, ...] = (),
        rows: int | None = None,
    ) -> np.ndarray:
        """A small array, to be read in any order; arguments as :meth:`Header.check`."""

    def features(self, file: str, *, ndim: tuple[int, ...] = (), rows: int | None = None) -> Header:
        """The header of a large array, which only :meth:`feed` reads."""

    def feed(self, feeds: Sequence[Feed], progress: Progress) -> None:
        """Read every row that is wanted once, and hand it over; the feeds are not finished by it."""

    def check_any_order(self) -> None:
        """Check that rows of large arrays can be read in any order, too, with :meth:`load`.

        Raises:
            SourceError: they come front to back only.
        """

    def origin(self) -> dict[str, Any]:
        """What identifies these files, for the store's provenance."""

    def state(self) -> dict[str, str]:
        """When the files were changed that :meth:`origin` does not digest whole: name → time."""
