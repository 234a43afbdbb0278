"""Open a bare store, find ids, gather random batches, and say what that took: a process of its own.

python -m benchmarks.gather_run STORE --rows 4000 --batches 9 --ids 10000

It imports what a reader of a store needs and no more, so that its memory is that of reading.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

import featurestore
from benchmarks.alternatives.contract import check_agrees
from featurestore import Store
from featurestore.machine import anonymous_memory, disk_bytes

#: The views of an entity that DRIN reads.
FIELDS = ("text_mean", "text_cls", "image_pooled", "objects")


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one process took. Seconds of each batch, and bytes."""

    opening: float
    finding: float
    batches: list[float]
    megabytes: float  # of a batch
    from_disk: list[int]  # of each batch
    anonymous: int  # the most seen, with a batch in hand; 0 = this system does not say
    digest: str  # of the first batch


def drawn(entities: int, *, rows: int, batches: int) -> Iterator[np.ndarray]:
    """For every batch its distinct rows, ascending: the same ones whoever asks."""
    random = np.random.default_rng(0)
    for _ in range(batches):
        yield np.sort(random.choice(entities, rows, replace=False, shuffle=False))


def digest(batch: Mapping[str, np.ndarray]) -> str:
    """Of all values of a batch."""
    made = blake2b(digest_size=16)
    for name in FIELDS:
        made.update(np.ascontiguousarray(batch[name]).data)
    return made.hexdigest()


def run(path: Path, *, rows: int, batches: int, ids: int) -> Run:
    """Open, find, gather. The garbage collector is left to itself, as in any program."""
    started = time.perf_counter()
    store = featurestore.open(path)
    opened = time.perf_counter() - started
    with store:
        finding = _find(store, ids)
        seconds, read, peak, first, size = [], [], 0, "", 0
        for asked in drawn(len(store.entities), rows=rows, batches=batches):
            before, started = disk_bytes(), time.perf_counter()
            batch = {name: store.entities.gather(name, asked) for name in FIELDS}
            seconds.append(time.perf_counter() - started)
            read.append(disk_bytes() - before)
            peak = max(peak, anonymous_memory() or 0)
            first = first or digest(batch)
            size = sum(values.nbytes for values in batch.values())
    return Run(
        opening=opened,
        finding=finding,
        batches=seconds,
        megabytes=size / 1e6,
        from_disk=read,
        anonymous=peak,
        digest=first,
    )


def _find(store: Store, count: int) -> float:
    """Seconds of one look-up of so many ids.

    Raises:
        Disagreement: they are found in other rows.
    """
    rows = np.random.default_rng(1).choice(len(store.entities), count, replace=False)
    ids = [f"Q{row}" for row in rows.tolist()]
    started = time.perf_counter()
    found = store.entities.rows(ids)
    spent = time.perf_counter() - started
    check_agrees("the store", {"rows of ids": found}, {"rows of ids": rows})
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gather_run")
    parser.add_argument("store", type=Path)
    for name in ("--rows", "--batches", "--ids"):
        parser.add_argument(name, type=int, required=True)
    asked = parser.parse_args()
    done = run(asked.store, rows=asked.rows, batches=asked.batches, ids=asked.ids)
    print(json.dumps(asdict(done)))


if __name__ == "__main__":
    main()
