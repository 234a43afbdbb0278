"""The mentions of a split by what the store says of them: topic, and whether pictures are there.

    for grouping in mention_groupings(store, "test").groupings:
        print(grouping.title, grouping.counts)

Columns are read in blocks, so memory holds one small number a mention. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featurestore import Store, Table
from featurestore.browse import mention_topics
from featurestore.schema import IMAGE_STATUS, NO_PICTURE, NO_ROW

#: Keys of the groupings, in their order.
MENTION_PICTURE, GOLD_PICTURE, TOPIC = "mention_picture", "gold_picture", "topic"

#: Topics that are groups of their own (chosen here: those of WikiDiverse are ten); rarer ones are
#: one group together.
TOPICS = 12

#: Golds whose status is looked up at a time (chosen here: half a megabyte of row numbers).
_BLOCK = 1 << 16

_PICTURES = ("present", "missing", "not known", "gold not in the store")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """One way to put the mentions of a split into groups; none of these is empty.

    ``names``: of the groups. ``codes``: (n,) int32 the group of each mention, in the order of the
    split's rows.
    """

    key: str
    title: str
    names: tuple[str, ...]
    codes: NDArray[np.int32]

    @property
    def counts(self) -> dict[str, int]:
        """Group → mentions."""
        found = np.bincount(self.codes, minlength=len(self.names))
        return dict(zip(self.names, found.tolist(), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Groupings:
    """``not_known``: key of a grouping that the store cannot tell → why."""

    groupings: tuple[Grouping, ...]
    not_known: dict[str, str]


def mention_groupings(store: Store, split: str, *, most_topics: int = TOPICS) -> Groupings:
    """Group a split by the mention's picture, the gold's picture and the topic.

    Args:
        most_topics: topics with a group of their own, the most frequent of the split.

    Raises:
        UnknownId: no such split.
        FieldMissing: the store has no golds.
    """
    rows = store.mentions.split(split)
    found, not_known = [], {}
    if "image_status" in store.mentions:
        codes = _picture(store.mentions.view("image_status")[rows.start : rows.stop])
        found.append(_grouping(MENTION_PICTURE, "mention's picture", _PICTURES, codes))
    else:
        not_known[MENTION_PICTURE] = "the store has no mentions/image_status"
    if "image_status" in store.entities:
        codes = _gold_pictures(store.mentions, store.entities, rows)
        found.append(_grouping(GOLD_PICTURE, "gold's picture", _PICTURES, codes))
    else:
        not_known[GOLD_PICTURE] = "the store has no entities/image_status"
    topics = _topics(store, rows, most_topics)
    if isinstance(topics, str):
        not_known[TOPIC] = topics
    else:
        found.append(topics)
    return Groupings(groupings=tuple(each for each in found if each.names), not_known=not_known)


def _picture(status: NDArray[np.uint8]) -> NDArray[np.int32]:
    """(n,) places in ``_PICTURES``."""
    codes = np.full(len(status), _PICTURES.index("not known"), np.int32)
    codes[status == IMAGE_STATUS.index("ok")] = _PICTURES.index("present")
    codes[np.isin(status, NO_PICTURE)] = _PICTURES.index("missing")
    return codes


def _gold_pictures(mentions: Table, entities: Table, rows: range) -> NDArray[np.int32]:
    codes = np.full(len(rows), _PICTURES.index("gold not in the store"), np.int32)
    for first in range(0, len(rows), _BLOCK):
        gold = mentions.gather("gold", np.arange(len(rows))[first : first + _BLOCK] + rows.start)
        known = np.flatnonzero(gold != NO_ROW)
        codes[first + known] = _picture(entities.gather("image_status", gold[known]))
    return codes


def _topics(store: Store, rows: range, most: int) -> Grouping | str:
    """The grouping by topic, or why there is none."""
    if "topic" not in store.mentions:
        return "the store has no mentions/topic (WikiDiverse has topics)"
    topics = mention_topics(store)
    codes = topics.codes[rows.start : rows.stop]
    counts = np.bincount(codes, minlength=len(topics.counts))
    texts = list(topics.counts)
    if not any(text.strip() and counts[place] for place, text in enumerate(texts)):
        return "the topic of every mention of the split is empty"
    frequent = np.argsort(-counts, kind="stable")
    frequent = frequent[counts[frequent] > 0]
    own = frequent[:most] if len(frequent) > most else frequent
    place_of = np.full(len(texts), len(own), np.int32)
    place_of[own] = np.arange(len(own), dtype=np.int32)
    names = [texts[place].strip() or "(no topic)" for place in own.tolist()]
    rest = len(frequent) - len(own)
    names += [f"{rest:,} rarer topic{'s' if rest > 1 else ''}"] if rest else []
    return Grouping(key=TOPIC, title="topic", names=tuple(names), codes=place_of[codes])


def _grouping(key: str, title: str, names: tuple[str, ...], codes: NDArray[np.int32]) -> Grouping:
    """The grouping without the groups that no mention is in."""
    used, dense = np.unique(codes, return_inverse=True)
    kept = tuple(names[place] for place in used.tolist())
    return Grouping(key=key, title=title, names=kept, codes=dense.astype(np.int32))
