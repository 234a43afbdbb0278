"""What reading batches cost, counted as it happens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class ReadCost:
    """What a batch, or several, took out of the store.

    Two costs are equal when the same was read, however long it took and wherever it was.
    """

    batches: int = 0
    slots: int = 0  # mention–candidate pairs
    distinct: int = 0  # entities read: each once a batch
    bytes: int = 0  # of features, as they are stored
    disk_bytes: int = field(default=0, compare=False)  # read from disk: what no page cache had
    seconds: float = field(default=0.0, compare=False)

    @property
    def cached(self) -> float:
        """Share of the bytes that memory had."""
        return max(0.0, 1 - self.disk_bytes / self.bytes) if self.bytes else 1.0


def total(costs: Iterable[ReadCost]) -> ReadCost:
    """The sum of costs."""
    costs = list(costs)
    return ReadCost(
        batches=sum(c.batches for c in costs),
        slots=sum(c.slots for c in costs),
        distinct=sum(c.distinct for c in costs),
        bytes=sum(c.bytes for c in costs),
        disk_bytes=sum(c.disk_bytes for c in costs),
        seconds=sum(c.seconds for c in costs),
    )
