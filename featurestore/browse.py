"""Rows of a store by what they are: the lists that the browser pages through.

    with featurestore.open("wikimel.h5") as store:
        rows = select_mentions(store, MentionFilter(split="test", retrieved=False))
        pointing_at(store, 17).gold_of        # the mentions that mean entity 17

Columns are read in blocks. A selection is an array of row numbers: a page of it is a slice.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from featurestore.errors import UnknownId
from featurestore.schema import IMAGE_STATUS, NO_PICTURE
from featurestore.store import Store
from featurestore.summary import blocks
from featurestore.table import Table

#: The value of ``image_status`` of a picture of its own; "unknown" is neither that nor a lack of one.
_HAS = IMAGE_STATUS.index("ok")

#: Texts that are read at a time (chosen here: a few megabytes).
_TEXT_ROWS = 1 << 16

#: Selections that a browser keeps (chosen here: eight of a million rows are 64 MB).
_KEPT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class MentionFilter:
    """Which mentions. ``None``: whatever it is.

    ``picture``: has one of its own, or is known to have none. ``retrieved``: whether the gold is among
    the candidates. ``topic``: the whole topic, as it is stored.
    """

    split: str | None = None
    picture: bool | None = None
    retrieved: bool | None = None
    topic: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """``counts``: topic → mentions, most frequent first. ``codes``: (n,) int32, place in ``counts``."""

    counts: dict[str, int]
    codes: NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointing:
    """The mentions that point at an entity, as ascending rows.

    ``gold_of``: whose gold it is. ``listed_by``: who list it as a candidate.
    """

    gold_of: NDArray[np.int64]
    listed_by: NDArray[np.int64]

    @property
    def candidate_of(self) -> NDArray[np.int64]:
        """Who list it without it being their gold."""
        return np.setdiff1d(self.listed_by, self.gold_of, assume_unique=True)


def select_mentions(
    store: Store, chosen: MentionFilter, *, topics: Topics | None = None
) -> NDArray[np.int64]:
    """Rows of the mentions that a filter lets through, ascending.

    Args:
        topics: :func:`mention_topics`, where they are known already.

    Raises:
        UnknownId: no such split or topic.
        FieldMissing: the store lacks the column that a filter reads.
    """
    table = store.mentions
    rows = table.split(chosen.split) if chosen.split is not None else range(len(table))
    kept = _picture(table, rows, chosen.picture)
    if chosen.retrieved is not None:
        width = store.width("mentions/candidates")
        found = [(block >= 0) & (block < width) for block in blocks(table, "answer", rows)]
        kept &= _joined(found) == chosen.retrieved
    if chosen.topic is not None:
        topics = topics or mention_topics(store)
        kept &= topics.codes[rows.start : rows.stop] == _code(store, topics, chosen.topic)
    return np.flatnonzero(kept) + rows.start


def select_entities(store: Store, *, picture: bool | None = None) -> NDArray[np.int64]:
    """Rows of the entities that have a picture of their own, or are known to have none, ascending.

    Raises:
        FieldMissing: the store does not know about pictures.
    """
    return np.flatnonzero(_picture(store.entities, range(len(store.entities)), picture))


def mention_topics(store: Store) -> Topics:
    """The topics of a store's mentions; none where the dataset has none."""
    table = store.mentions
    if "topic" not in table:
        return Topics(counts={}, codes=np.empty(0, np.int32))
    counts: Counter[str] = Counter()
    places: dict[str, int] = {}
    codes = np.empty(len(table), np.int32)
    for first in range(0, len(table), _TEXT_ROWS):
        rows = np.arange(first, min(first + _TEXT_ROWS, len(table)))
        texts = table.gather("topic", rows)
        counts.update(texts)
        codes[rows] = [places.setdefault(text, len(places)) for text in texts]
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    new_place = np.empty(len(places), np.int32)
    for place, (text, _) in enumerate(ordered):
        new_place[places[text]] = place
    return Topics(counts=dict(ordered), codes=new_place[codes] if len(places) else codes)


def pointing_at(store: Store, entity: int) -> Pointing:
    """Who points at an entity.

    Raises:
        UnknownId: no such row.
        FieldMissing: the store lacks candidates or golds.
    """
    store.entities[entity]  # refuses a row outside the table
    table = store.mentions
    every = range(len(table))
    is_gold = _joined([block == entity for block in blocks(table, "gold", every)])
    listed = _joined(
        [(block == entity).any(axis=1) for block in blocks(table, "candidates", every)]
    )
    return Pointing(gold_of=np.flatnonzero(is_gold), listed_by=np.flatnonzero(listed))


class Selections:
    """The selections of one store; those asked for last are kept. May be shared among threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.mentions = lru_cache(_KEPT)(self._mentions)
        self.entities = lru_cache(2)(self._entities)
        self.topics = lru_cache(1)(self._topics)

    def _mentions(self, chosen: MentionFilter) -> NDArray[np.int64]:
        topics = self.topics() if chosen.topic is not None else None
        return select_mentions(self._store, chosen, topics=topics)

    def _entities(self, picture: bool | None) -> NDArray[np.int64]:
        return select_entities(self._store, picture=picture)

    def _topics(self) -> Topics:
        return mention_topics(self._store)


def _picture(table: Table, rows: range, wanted: bool | None) -> NDArray[np.bool_]:
    """(rows,) bool: which rows have, or lack, a picture; all where it does not matter."""
    if wanted is None:
        return np.ones(len(rows), bool)
    codes = (_HAS,) if wanted else NO_PICTURE
    return _joined([np.isin(block, codes) for block in blocks(table, "image_status", rows)])


def _joined(parts: list[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    return np.concatenate([np.empty(0, bool), *parts])


def _code(store: Store, topics: Topics, wanted: str) -> int:
    for place, topic in enumerate(topics.counts):
        if topic == wanted:
            return place
    known = ", ".join(list(topics.counts)[:5]) or "none"
    raise UnknownId(
        f"no mention has the topic {wanted!r}",
        where=f"{store.path}::/mentions/topic",
        hint=f"topics: {known}",
    )
