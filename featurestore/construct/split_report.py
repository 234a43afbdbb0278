"""How large splits are, and how much of valid and test was seen in train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from featurestore.schema import SPLITS


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSize:
    """What a split holds; ``entities`` are distinct golds."""

    mentions: int
    documents: int
    entities: int
    without_gold: int
    pictures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitOverlap:
    """What of a split was seen in train, each of how many.

    ``golds``: mentions whose gold is a gold of train, of those with a gold. ``entities``: distinct golds
    that are. ``unseen``: share of the mentions with a gold that no mention of train has, None of none.
    ``surfaces``: mentions whose text, letters' case aside, is one of train. ``documents``,
    ``sentences``, ``pictures``: distinct ones that are in both.
    """

    golds: int
    with_gold: int
    unseen: float | None
    entities: int
    of_entities: int
    surfaces: int
    mentions: int
    documents: int
    sentences: int
    pictures: int


def sizes(hashes: Mapping[str, np.ndarray], split_of: np.ndarray) -> dict[str, SplitSize]:
    """The sizes of all splits.

    Args:
        hashes: kind → (n,) uint64, 0 = none.
        split_of: (n,) index into SPLITS.
    """
    found = {}
    for place, split in enumerate(SPLITS):
        rows = split_of == place
        found[split] = SplitSize(
            mentions=int(rows.sum()),
            documents=len(_distinct(hashes["document"][rows])),
            entities=len(_distinct(hashes["gold"][rows])),
            without_gold=int((hashes["gold"][rows] == 0).sum()),
            pictures=len(_distinct(hashes["picture"][rows])),
        )
    return found


def overlaps(hashes: Mapping[str, np.ndarray], split_of: np.ndarray) -> dict[str, SplitOverlap]:
    """What valid and test share with train."""
    train = {name: _distinct(values[split_of == 0]) for name, values in hashes.items()}
    found = {}
    for place, split in enumerate(SPLITS[1:], start=1):
        mine = {name: values[split_of == place] for name, values in hashes.items()}
        own = {name: _distinct(values) for name, values in mine.items()}
        both = {name: int(np.isin(own[name], train[name]).sum()) for name in own}
        golds = mine["gold"][mine["gold"] != 0]
        seen = int(np.isin(golds, train["gold"]).sum())
        found[split] = SplitOverlap(
            golds=seen,
            with_gold=len(golds),
            unseen=1 - seen / len(golds) if len(golds) else None,
            entities=both["gold"],
            of_entities=len(own["gold"]),
            surfaces=int(np.isin(mine["surface"], train["surface"]).sum()),
            mentions=len(mine["surface"]),
            documents=both["document"],
            sentences=both["sentence"],
            pictures=both["picture"],
        )
    return found


def _distinct(values: np.ndarray) -> np.ndarray:
    return np.unique(values[values != 0])
