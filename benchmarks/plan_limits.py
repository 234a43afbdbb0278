"""What gives out first: each need of a plan beside what there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.plan_costs import Costs
from benchmarks.plan_sizes import Dataset
from benchmarks.plan_stages import (
    WORKS,
    Stage,
    cache_bytes,
    divided_seconds,
    ingest_memory,
    scratch_bytes,
    serial_seconds,
    store_bytes,
    wall_seconds,
)
from benchmarks.report import shown

#: Limits that are named where several make the work slow.
_NAMED = 2

#: Rows are int32.
_MOST_ROWS = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Means:
    """What a worker has, and how long one waits."""

    memory: float  # bytes
    disk: float  # bytes
    hours: float


@dataclass(frozen=True, kw_only=True)
class Limit:
    """``share``: what is needed of what there is; above 1 there is not enough.

    ``stops``: the work cannot be done at all then; otherwise it only takes too long.
    """

    name: str
    share: float
    stops: bool = False

    @property
    def words(self) -> str:
        return f"{self.name} {shown(self.share)} ×"


def limits_of(
    data: Dataset, costs: Costs, stages: Sequence[Stage], *, workers: int, means: Means
) -> list[Limit]:
    """All limits, in the order in which they are felt: what stops the work, then by their shares."""
    found = [
        *_room(data, costs, workers, means),
        *_time(stages, workers, means),
        Limit(name="page cache in training", share=cache_bytes(data) / means.memory),
    ]
    return sorted(found, key=lambda limit: (not (limit.stops and limit.share > 1), -limit.share))


def first_limits(limits: Sequence[Limit]) -> str:
    """What breaks first, in words: all that stops the work, and the worst of what makes it slow."""
    missed = [limit for limit in limits if limit.share > 1]
    stops = [limit.words for limit in missed if limit.stops]
    slow = [limit.words for limit in missed if not limit.stops][:_NAMED]
    parts = [f"stops: {', '.join(stops)}"] if stops else []
    parts += [f"slow: {', '.join(slow)}"] if slow else []
    return "; ".join(parts) or f"nothing (nearest: {limits[0].words})"


def _room(data: Dataset, costs: Costs, workers: int, means: Means) -> Iterator[Limit]:
    memory = ingest_memory(data, costs)
    yield Limit(name="memory of ingest", share=memory / means.memory, stops=True)
    disk = store_bytes(data, costs) + scratch_bytes(data, costs, workers)
    yield Limit(name="disk", share=disk / means.disk, stops=True)
    yield Limit(name="int32 rows", share=(data.entities + 1) / _MOST_ROWS, stops=True)


def _time(stages: Sequence[Stage], workers: int, means: Means) -> Iterator[Limit]:
    for work in WORKS:
        hours = wall_seconds(stages, work, workers) / 3600
        longest = max(
            (stage for stage in stages if stage.work == work),
            key=lambda stage: stage.seconds / (workers if stage.divides else 1),
        )
        yield Limit(name=f"{work} ({longest.name})", share=hours / means.hours)
    if workers > 1:
        serial = serial_seconds(stages, "ingest", workers)
        shared = divided_seconds(stages, "ingest") / workers
        yield Limit(name="serial stages of ingest", share=serial / shared)
