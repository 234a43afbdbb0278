"""Whose candidate an entity is, and whom it competes with there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featurestore.schema import NO_ROW
from featurestore.store import Store
from featurestore.summary import blocks

#: How many mentions are named.
_EXAMPLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """An entity that stands in the same candidate lists. ``shared``: how many of them."""

    row: int
    id: str
    title: str | None
    shared: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Mentions that point at an entity, and its most frequent rivals.

    ``gold_of``: mentions whose gold it is; ``candidate_of``: whose candidate it is.
    """

    gold_of: int
    candidate_of: int
    gold_examples: tuple[str, ...]  # ids of the first mentions whose gold it is
    rivals: tuple[Rival, ...]  # most lists shared first, then by row


def standing(store: Store, row: int, *, top: int = 5) -> Standing:
    """Count the mentions that point at an entity, and the entities beside it in their lists.

    One pass over golds and candidates: 4·(K + 1) bytes a mention, and 8 bytes an entity in memory.

    Raises:
        FieldMissing: the store lacks candidates, golds or ids.
    """
    mentions, entities = store.mentions, store.entities
    every = range(len(mentions))
    gold_of, first, examples = 0, 0, np.empty(0, np.int64)
    for block in blocks(mentions, "gold", every):
        hits = np.flatnonzero(block == row)
        examples = np.append(examples, first + hits)[:_EXAMPLES]
        gold_of += len(hits)
        first += len(block)
    listed, beside = 0, np.zeros(len(entities), np.int64)
    for block in blocks(mentions, "candidates", every):
        lists = block[(block == row).any(axis=1)]
        listed += len(lists)
        once = np.sort(lists, axis=1)
        again = np.zeros(once.shape, bool)  # an entity that stands twice in a list counts once
        again[:, 1:] = once[:, 1:] == once[:, :-1]
        inside = (once > NO_ROW) & (once < len(entities)) & ~again
        np.add.at(beside, once[inside], 1)
    beside[row] = 0
    order = np.argsort(-beside, kind="stable")[:top]
    rows = order[beside[order] > 0]
    titles = entities.gather("title", rows) if "title" in entities else [None] * len(rows)
    return Standing(
        gold_of=gold_of,
        candidate_of=listed,
        gold_examples=tuple(mentions.ids(examples)),
        rivals=tuple(
            Rival(row=rival, id=name, title=title, shared=int(beside[rival]))
            for rival, name, title in zip(rows.tolist(), entities.ids(rows), titles, strict=True)
        ),
    )
