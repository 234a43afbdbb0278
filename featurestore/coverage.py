"""What of a store is there: golds among the candidates, pictures, texts.

    with featurestore.open("wikimel.h5") as store:
        coverage(store).splits[0].found[9]          # mentions with their gold among the first ten

Columns are read in blocks, and of texts only where they begin, so memory stays flat.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featurestore.schema import TABLES, fields_of
from featurestore.store import Store
from featurestore.summary import gold_places, picture_counts
from featurestore.table import Table

#: Beginnings of texts that are compared at a time (chosen here: half a megabyte).
_ROWS = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCoverage:
    """One split.

    ``found``: (K,) int64 mentions whose gold is among the first 1, 2, … K candidates. ``pictures``:
    image_status → mentions; empty where the store does not know.
    """

    name: str
    mentions: int
    found: NDArray[np.int64]
    pictures: dict[str, int]

    @property
    def recall(self) -> NDArray[np.float64]:
        """(K,) the share of the split's mentions in ``found``; NaN where the split is empty."""
        return self.found / self.mentions if self.mentions else np.full(len(self.found), np.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextCoverage:
    """A text field: ``filled`` of ``of`` rows have a text."""

    path: str
    doc: str
    filled: int
    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """``entity_pictures``: image_status → entities; empty where the store does not know."""

    splits: tuple[SplitCoverage, ...]
    entity_pictures: dict[str, int]
    texts: tuple[TextCoverage, ...]


def coverage(store: Store) -> Coverage:
    """Count what is there.

    Raises:
        FieldMissing: the store lacks candidates or answers.
    """
    mentions, entities = store.mentions, store.entities
    return Coverage(
        splits=tuple(
            SplitCoverage(
                name=name,
                mentions=len(rows),
                found=np.cumsum(gold_places(mentions, rows)[:-1]),
                pictures=picture_counts(mentions, rows),
            )
            for name, rows in mentions.splits.items()
        ),
        entity_pictures=picture_counts(entities, range(len(entities))),
        texts=tuple(
            TextCoverage(
                path=field.path, doc=field.doc, filled=_filled(table, field.name), of=len(table)
            )
            for name in TABLES
            for table in [store.table(name)]
            for field in fields_of(name)
            if field.layout == "text" and field.name in table
        ),
    )


def _filled(table: Table, field: str) -> int:
    offsets = table.offsets(field)
    return sum(
        int(np.count_nonzero(np.diff(offsets[first : first + _ROWS + 1])))
        for first in range(0, len(table), _ROWS)
    )
