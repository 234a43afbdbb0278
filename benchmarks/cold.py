"""A batch of views from a store that is not in memory, against positioned reads of its rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

import featurestore
from benchmarks.alternatives.contract import Arrays, check_agrees
from benchmarks.page_cache import StaysWarm, drop, resident_bytes
from benchmarks.report import Row, Target
from benchmarks.timing import Times, ratio, timed
from featurestore.catalog import Extent

OURS = "ours: Table.gather, cold"
#: Reads under way at once.
DEPTHS = (1, 4, 16, 32)
#: Rounds; each reads another batch, after the cache was emptied once more.
_ROUNDS = 3
#: A larger share of the arrays left in memory is not cold.
_WARM = 0.02

#: Opens a file and gives what reads a batch: the clock runs on the call, not on the opening.
Opened = Callable[[], Arrays]


@dataclass(frozen=True, kw_only=True)
class Cold:
    """What goes into the report on gathering."""

    rows: Sequence[Row] = ()
    targets: Sequence[Target] = ()
    conditions: Sequence[str] = ()
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class _Taken:
    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)  # in the cache afterwards


def measure_cold(
    path: Path,
    *,
    extents: Mapping[str, Extent | None],
    batches: Sequence[np.ndarray],
    megabytes: float,
) -> Cold:
    """Gather batches of distinct rows after the store's pages were dropped.

    Args:
        extents: entity view → where it lies in the file.
        batches: for every round the distinct rows, ascending.
        megabytes: of a batch.
    """
    arrays = {name: extent for name, extent in extents.items() if extent is not None}
    try:
        taken = _rounds(path, arrays, batches[:_ROUNDS])
    except StaysWarm as reason:
        return Cold(left_out={"cold reads": str(reason)}, targets=_targets({}, str(reason)))
    times = {name: Times(tuple(one.seconds)) for name, one in taken.items()}
    rows = [
        Row(
            name=name,
            ours=name == OURS,
            figures={
                "ms a batch": times[name].median * 1e3,
                "MB/s": megabytes / times[name].median,
                "× time of ours": ratio(times[name], times[OURS]),
                "MB from disk": median(one.megabytes),
            },
        )
        for name, one in taken.items()
    ]
    return Cold(
        rows=rows,
        targets=_targets(times, ""),
        conditions=[
            f"cold: the store's pages dropped before every batch (at most {_WARM:.0%} of the views "
            f"left), the file opened, then the clock; median of {len(batches[:_ROUNDS])} rounds",
            "ours announces all rows of a field to the kernel and then copies them; positioned reads: "
            "one preadv a row, sorted, read-ahead off, by as many threads as the queue is deep",
        ],
    )


def _rounds(
    path: Path, extents: Mapping[str, Extent], batches: Sequence[np.ndarray]
) -> dict[str, _Taken]:
    taken = {name: _Taken() for name in (OURS, *map(_depth_name, DEPTHS))}
    for rows in batches:
        _empty(path, extents)
        with _opened_store(path, extents, rows) as gather:
            expected = _timed(gather, taken[OURS])
        taken[OURS].megabytes.append(resident_bytes(path, extents.values()) / 1e6)
        for depth in DEPTHS:
            name = _depth_name(depth)
            _empty(path, extents)
            with _positioned(path, extents, rows, depth=depth) as read:
                found = _timed(read, taken[name])
            taken[name].megabytes.append(resident_bytes(path, extents.values()) / 1e6)
            check_agrees(name, found, expected)
    return taken


def _timed(read: Opened, taken: _Taken) -> Arrays:
    kept: list[Arrays] = []
    taken.seconds.append(timed(lambda _: kept.append(read())))
    return kept[0]


def _empty(path: Path, extents: Mapping[str, Extent]) -> None:
    """Drop the file's pages, and make sure that they are gone."""
    drop(path)
    left = resident_bytes(path, extents.values())
    whole = sum(extent.nbytes for extent in extents.values())
    if left > max(_WARM * whole, 1 << 16):
        raise StaysWarm(f"{left / whole:.0%} of the views stay in the page cache when dropped")


@contextmanager
def _opened_store(path: Path, extents: Mapping[str, Extent], rows: np.ndarray) -> Iterator[Opened]:
    with featurestore.open(path) as store:
        yield lambda: {name: store.entities.gather(name, rows) for name in extents}


@contextmanager
def _positioned(
    path: Path, extents: Mapping[str, Extent], rows: np.ndarray, *, depth: int
) -> Iterator[Opened]:
    """Where each row lies and where it goes is settled before the clock starts."""
    found: dict[str, np.ndarray] = {}
    jobs: list[tuple[int, memoryview]] = []
    for name, extent in extents.items():
        found[name] = np.empty((len(rows), *extent.shape[1:]), extent.dtype)
        size = found[name][0].nbytes
        target = found[name].reshape(-1).view(np.uint8).data
        for place, row in enumerate(rows.tolist()):
            jobs.append((extent.offset + row * size, target[place * size : (place + 1) * size]))
    jobs.sort(key=lambda job: job[0])
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        with ThreadPoolExecutor(depth) as threads:
            shares = [jobs[first::depth] for first in range(depth)]

            def read() -> Arrays:
                list(threads.map(lambda share: _read_rows(descriptor, share), shares))
                return found

            yield read
    finally:
        os.close(descriptor)


def _read_rows(descriptor: int, share: Sequence[tuple[int, memoryview]]) -> None:
    for offset, target in share:
        if os.preadv(descriptor, [target], offset) != len(target):
            raise OSError(f"fewer than {len(target)} bytes at {offset}")


def _depth_name(depth: int) -> str:
    return f"positioned reads, queue depth {depth}, cold"


def _targets(times: Mapping[str, Times], why: str) -> list[Target]:
    best, name = None, ""
    if times:
        name = min((_depth_name(depth) for depth in DEPTHS), key=lambda n: times[n].median)
        best = ratio(times[name], times[OURS])
    return [
        Target(
            what="cold, against positioned reads at their best depth: share of their speed",
            bound=0.8,
            measured=best,
            why=why or name.removesuffix(", cold"),
        ),
    ]
