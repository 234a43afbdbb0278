"""Whose candidate an entity is, and whom it competes with there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featurestore.browse import Pointing, pointing_at
from featurestore.schema import NO_ROW
from featurestore.store import Store

#: How many mentions are named.
_EXAMPLES = 5

#: Candidate lists that are read at a time (chosen here: a few megabytes).
_LISTS = 8192


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


def standing(store: Store, row: int, *, top: int = 5, pointing: Pointing | None = None) -> Standing:
    """Count the mentions that point at an entity, and the entities beside it in their lists.

    One pass over golds and candidates: 4·(K + 1) bytes a mention, and 8 bytes an entity in memory.

    Args:
        pointing: :func:`~featurestore.browse.pointing_at`, where it is known already.

    Raises:
        UnknownId: no such row.
        FieldMissing: the store lacks candidates, golds or ids.
    """
    mentions, entities = store.mentions, store.entities
    pointing = pointing or pointing_at(store, row)
    listed, beside = pointing.listed_by, np.zeros(len(entities), np.int64)
    for first in range(0, len(listed), _LISTS):
        once = np.sort(mentions.gather("candidates", listed[first : first + _LISTS]), axis=1)
        again = np.zeros(once.shape, bool)  # an entity that stands twice in a list counts once
        again[:, 1:] = once[:, 1:] == once[:, :-1]
        inside = (once > NO_ROW) & (once < len(entities)) & ~again
        np.add.at(beside, once[inside], 1)
    beside[row] = 0
    order = np.argsort(-beside, kind="stable")[:top]
    rows = order[beside[order] > 0]
    titles = entities.gather("title", rows) if "title" in entities else [None] * len(rows)
    return Standing(
        gold_of=len(pointing.gold_of),
        candidate_of=len(listed),
        gold_examples=tuple(mentions.ids(pointing.gold_of[:_EXAMPLES])),
        rivals=tuple(
            Rival(row=rival, id=name, title=title, shared=int(beside[rival]))
            for rival, name, title in zip(rows.tolist(), entities.ids(rows), titles, strict=True)
        ),
    )
