"""A store of ids and candidate lists alone, for as many entities as a disk has room for.

Nothing of it is in memory as a whole but what its writer needs: ids are made when they are asked for,
candidates some mentions at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np

from benchmarks.steps import Step, watched
from featurestore.progress import Progress, Silent
from featurestore.writer import StoreWriter

#: Mentions whose candidates are drawn and written at once.
BLOCK = 1 << 14


class Numbered(Sequence[str]):
    """The texts ``Q0``, ``Q1``, …, made when they are asked for."""

    def __init__(self, letter: str, count: int) -> None:
        self._letter = letter
        self._numbers = range(count)

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [f"{self._letter}{number}" for number in self._numbers[place]]
        return f"{self._letter}{self._numbers[place]}"


def candidates_of(block: int, *, entities: int, candidates: int, mentions: int) -> np.ndarray:
    """(n, K) int32 random rows of the mentions from ``block * BLOCK`` on."""
    count = min(BLOCK, mentions - block * BLOCK)
    random = np.random.default_rng(block)
    return random.integers(0, entities, (count, candidates), np.int32)


def write_index_store(
    path: Path, *, entities: int, mentions: int, candidates: int, progress: Progress | None = None
) -> dict[str, Step]:
    """Write the store; what its steps took: ``ids``, ``candidates``, ``publish``."""
    steps: dict[str, Step] = {}
    with StoreWriter.create(path) as writer:
        with watched(steps, "ids"):
            writer.table("entities", Numbered("Q", entities))
        with (
            watched(steps, "candidates"),
            (progress or Silent()).stage("candidates", mentions, "mentions") as stage,
        ):
            writer.table("mentions", Numbered("m", mentions))
            writer.splits({"train": range(mentions)})
            writer.text("mentions/sentence", Numbered("sentence ", mentions))
            lists = writer.growing_column("mentions/candidates", (candidates,))
            gold = np.empty(mentions, np.int32)
            for block in range(-(-mentions // BLOCK)):
                values = candidates_of(
                    block, entities=entities, candidates=candidates, mentions=mentions
                )
                rows = np.arange(block * BLOCK, block * BLOCK + len(values))
                lists.write(rows, values)
                gold[rows] = values[:, 0]
                stage.advance(len(rows))
            writer.column("mentions/gold", gold)
            writer.column("mentions/answer", np.zeros(mentions, np.int32))
        with watched(steps, "publish"):
            writer.publish(dataset="index", provenance={})
    return steps
