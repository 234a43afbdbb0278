"""Equal rows among a million, by a digest of each: sorting, never comparing all with all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from xxhash import xxh3_64_intdigest


def digests(values: Iterable[bytes], count: int) -> np.ndarray:
    """(count,) uint64 a digest of each value.

    Among a million different values two have the same digest with a chance of 3 in 100 million.
    """
    return np.fromiter(map(xxh3_64_intdigest, values), np.uint64, count)


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows that are equal to another one: ``members`` group by group, where each group begins."""

    members: np.ndarray  # (n,) int64 rows, ascending within a group
    starts: np.ndarray  # (groups,) int64
    sizes: np.ndarray  # (groups,) int64, each at least 2

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[np.ndarray]:
        """The rows of each group, in the order of its first one."""
        for group in np.argsort(self.members[self.starts]).tolist():
            start = int(self.starts[group])
            yield self.members[start : start + int(self.sizes[group])]

    @property
    def rows(self) -> int:
        """How many rows have an equal."""
        return int(self.sizes.sum())

    @property
    def said(self) -> str:
        """How many groups, in words."""
        if len(self) == 1:
            return "1 group"
        return f"{len(self):,} groups, the largest of {int(self.sizes.max(initial=0)):,}"


def equal_groups(values: np.ndarray, rows: np.ndarray) -> Groups:
    """The groups of at least two among ``rows`` whose values are equal.

    Args:
        values: (len(rows),) what is compared.
        rows: (n,) ascending row numbers, as the groups name them.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else order
    sizes = np.diff(np.r_[begins, len(ordered)])
    several = sizes >= 2
    kept = np.repeat(several, sizes)
    sizes = sizes[several]
    return Groups(rows[order[kept]].astype(np.int64), np.cumsum(sizes) - sizes, sizes)
