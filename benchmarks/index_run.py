"""Write a store of ids, or open one and search it: a process of its own, that says what it took.

python -m benchmarks.index_run write STORE --entities 1000000 --mentions 1000 --candidates 100
python -m benchmarks.index_run search STORE --ids 10000 --batch 64 --rounds 9

It imports what a reader of a store needs and no more, so that its memory is that of reading.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import featurestore
from benchmarks.alternatives.contract import check_agrees
from benchmarks.index_store import BLOCK, candidates_of, write_index_store
from featurestore import Store
from featurestore.machine import anonymous_memory, disk_bytes


@dataclass(frozen=True, kw_only=True)
class Search:
    """Seconds of each act, the first time and the times after it; bytes."""

    seconds: dict[str, list[float]]
    from_disk: dict[str, list[int]]
    anonymous: int  # the most seen; 0 = this system does not say
    before: int  # anonymous memory before the store was opened


def search(path: Path, *, ids: int, batch: int, rounds: int) -> Search:
    """Open the store, find ids, say the ids of rows, read candidate lists and the ids in them.

    Raises:
        Disagreement: what is found is not what was written.
    """
    acts = _Acts()
    store = acts.timed("open", lambda: featurestore.open(path))
    with store:
        random = np.random.default_rng(1)
        for _ in range(rounds + 1):
            rows = random.integers(0, len(store.entities), ids)
            asked = [f"Q{row}" for row in rows.tolist()]
            found = acts.timed("find", partial(store.entities.find, asked))
            check_agrees("the store", {"rows of ids": found}, {"rows of ids": rows})
            rows = random.integers(0, len(store.entities), ids)
            texts = acts.timed("ids", partial(store.entities.ids, rows))
            if texts != [f"Q{row}" for row in rows.tolist()]:
                raise RuntimeError("the store has other ids than were written")
            mentions = random.integers(0, len(store.mentions), batch)
            acts.timed("candidates", partial(_candidates, store, mentions))
        _check_candidates(store)
    return Search(
        seconds=acts.seconds,
        from_disk=acts.from_disk,
        anonymous=acts.anonymous,
        before=acts.before,
    )


class _Acts:
    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.from_disk: dict[str, list[int]] = {}
        self.before = self.anonymous = anonymous_memory() or 0

    def timed(self, name: str, act: Callable[[], Any]) -> Any:
        before, started = disk_bytes(), time.perf_counter()
        result = act()
        spent = time.perf_counter() - started
        self.seconds.setdefault(name, []).append(spent)
        self.from_disk.setdefault(name, []).append(disk_bytes() - before)
        self.anonymous = max(self.anonymous, anonymous_memory() or 0)
        return result


def _candidates(store: Store, mentions: np.ndarray) -> list[str]:
    """The ids of all distinct candidates of some mentions."""
    lists = store.mentions.gather("candidates", mentions)
    return store.entities.ids(np.unique(lists))


def _check_candidates(store: Store) -> None:
    """The last block of candidate lists is what was drawn."""
    mentions, entities = len(store.mentions), len(store.entities)
    block = (mentions - 1) // BLOCK
    found = store.mentions.gather("candidates", np.arange(block * BLOCK, mentions))
    drawn = candidates_of(block, entities=entities, candidates=found.shape[1], mentions=mentions)
    check_agrees("the store", {"candidates": found}, {"candidates": drawn})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.index_run")
    parser.add_argument("what", choices=("write", "search"))
    parser.add_argument("store", type=Path)
    for name in ("--entities", "--mentions", "--candidates", "--ids", "--batch", "--rounds"):
        parser.add_argument(name, type=int)
    asked = parser.parse_args()
    if asked.what == "write":
        steps = write_index_store(
            asked.store,
            entities=asked.entities,
            mentions=asked.mentions,
            candidates=asked.candidates,
        )
        print(json.dumps({name: asdict(step) for name, step in steps.items()}))
    else:
        found = search(asked.store, ids=asked.ids, batch=asked.batch, rounds=asked.rounds)
        print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
