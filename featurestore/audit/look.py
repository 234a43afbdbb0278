"""What checks share: the store, and the passes over it that several of them need, each made once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from featurestore.audit.equals import digests
from featurestore.catalog import StoredField
from featurestore.progress import Progress
from featurestore.schema import NO_ENTITIES, NO_ROW, PADDING, TABLES
from featurestore.store import Store
from featurestore.summary import gold_places
from featurestore.table import Table
from featurestore.vectors import row_bytes

#: Bytes of an array, and rows of a text, that are looked at at a time (chosen here: a few megabytes).
_BYTES, _TEXT_ROWS = 4 << 20, 1 << 14

#: Views whose rows are compared with each other: equal ones mean that a model cannot tell rows apart.
COMPARED = ("entities/text_mean", "entities/text_pooled", "entities/image_pooled")


@dataclass(frozen=True, slots=True)
class ViewScan:
    """One pass over a view or a column of real numbers.

    ``not_finite``, ``zero``: (rows,) bool, whether the row holds NaN or infinity, and nothing but
    zeros. ``digests``: (rows,) uint64 of the bytes, of the views of :data:`COMPARED`.
    """

    field: StoredField
    not_finite: np.ndarray
    zero: np.ndarray
    digests: np.ndarray | None


class Look:
    """An open store, looked at."""

    def __init__(self, store: Store, progress: Progress) -> None:
        self.store = store
        self.progress = progress
        self.entities, self.mentions = store.entities, store.mentions

    # features -----------------------------------------------------------------------------------

    @cached_property
    def views(self) -> tuple[ViewScan, ...]:
        """Every view, and every column of real numbers."""
        fields = [
            field
            for name in TABLES
            for field in self.store.table(name).fields.values()
            if field.schema.layout in ("view", "column") and field.dtype.kind == "f"
        ]
        if not fields:
            return ()
        rows = sum(field.shape[0] for field in fields)
        with self.progress.stage("features", rows, "vectors") as stage:
            scans = []
            for field in fields:
                scans.append(_scan(self.store.table(field.schema.table), field))
                self.store.release_pages()
                stage.advance(field.shape[0])
        return tuple(scans)

    # entities -----------------------------------------------------------------------------------

    @cached_property
    def is_entity(self) -> np.ndarray:
        """(entities,) bool: not the padding of short lists, nor what stands for "no entity"."""
        real = np.ones(len(self.entities), bool)
        special = self.entities.find(list(NO_ENTITIES))
        real[special[special >= 0]] = False
        return real

    @cached_property
    def padding(self) -> int:
        """The row that fills short candidate lists, or ``NO_ROW``."""
        return int(self.entities.find([PADDING])[0])

    # mentions -----------------------------------------------------------------------------------

    @cached_property
    def gold(self) -> np.ndarray:
        """(mentions,) int64 entity row of each gold; ``NO_ROW`` where it is none of the table."""
        gold = np.asarray(self.mentions.view("gold"), np.int64)
        return np.where((gold >= 0) & (gold < len(self.entities)), gold, NO_ROW)

    @property
    def width(self) -> int:
        """K: the candidates of a mention."""
        return self.store.width("mentions/candidates")

    @cached_property
    def places(self) -> dict[str, np.ndarray]:
        """Split → (K + 1,) int64: how many mentions have their gold at each place; K = nowhere."""
        return {
            split: gold_places(self.mentions, rows) for split, rows in self.mentions.splits.items()
        }

    @cached_property
    def sentences(self) -> np.ndarray:
        """(mentions,) uint64 a digest of each sentence."""
        return digests(map(str.encode, self.mentions.texts("sentence")), len(self.mentions))

    @cached_property
    def triples(self) -> np.ndarray:
        """(mentions,) uint64 a digest of sentence, mention and gold; without the mention's text where
        the store has none."""
        count = len(self.mentions)
        texts = np.zeros(count, np.uint64)
        if "mention" in self.mentions:
            texts = digests(map(str.encode, self.mentions.texts("mention")), count)
        keys = np.column_stack([self.sentences, texts, self.gold.astype(np.uint64)])
        return digests((row.tobytes() for row in keys), count)


# reading in blocks ------------------------------------------------------------------------------


def row_blocks(rows: range, step: int = _TEXT_ROWS) -> Iterator[np.ndarray]:
    """Row numbers, some at a time."""
    for first in range(rows.start, rows.stop, step):
        yield np.arange(first, min(first + step, rows.stop))


def _scan(table: Table, field: StoredField) -> ViewScan:
    rows = len(table)
    not_finite, zero = np.zeros(rows, bool), np.zeros(rows, bool)
    found = np.zeros(rows, np.uint64) if field.schema.path in COMPARED else None
    step = max(1, _BYTES // row_bytes(field))
    for first in range(0, rows, step):
        values = table.block(field.name, range(first, min(first + step, rows)))
        block = values.reshape(len(values), -1)
        part = slice(first, first + len(block))
        not_finite[part] = ~np.isfinite(block).all(axis=1)
        zero[part] = ~block.any(axis=1)
        if found is not None:
            found[part] = digests((row.tobytes() for row in block), len(block))
    return ViewScan(field, not_finite, zero, found)
