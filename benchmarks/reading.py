"""What the benchmarks of reading share: contestants in turn, their values compared, one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.alternatives.contract import Alternative, Arrays, First, check_agrees
from benchmarks.report import Row
from benchmarks.timing import Act, Times, ratio

COLUMNS = ("ms a batch", "MB/s", "× time of ours")

#: Rows of a batch that every alternative is checked on: enough to notice a wrong order, few enough
#: for the slowest.
_CHECKED = 256


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The rows of one batch; ``first``: entries of a ragged record that its longest row has."""

    rows: np.ndarray
    first: First


def acts_of(alternatives: Sequence[Alternative], batches: Sequence[Asked]) -> dict[str, Act]:
    """Contestant → what it does in a round."""
    return {one.name: _act(one, batches) for one in alternatives}


def _act(one: Alternative, batches: Sequence[Asked]) -> Act:
    def read(turn: int) -> object:
        asked = batches[turn]
        return one.read(asked.rows, asked.first)

    return read


def check_all(
    alternatives: Sequence[Alternative],
    asked: Asked,
    ours: Callable[[np.ndarray], Arrays],
) -> None:
    """Compare what each reads with what the store gives, on rows spread over one batch.

    Raises:
        Disagreement: one of them read other values.
    """
    rows = asked.rows[:: max(1, len(asked.rows) // _CHECKED)]
    expected = ours(rows)
    first = {name: expected[name].shape[1] for name in asked.first}
    for one in alternatives:
        check_agrees(one.name, one.read(rows, first), expected)


def table(times: Mapping[str, Times], *, ours: str, megabytes: float) -> list[Row]:
    """A row a contestant; ``ours`` names the one that times are compared with."""
    return [
        Row(
            name=name,
            ours=name.startswith("ours"),
            figures={
                "ms a batch": taken.median * 1e3,
                "MB/s": megabytes / taken.median,
                "× time of ours": ratio(taken, times[ours]),
            },
        )
        for name, taken in times.items()
    ]


def slow_ones(alternatives: Sequence[Alternative], rounds: int) -> dict[str, int]:
    """The contestants that take part in fewer rounds."""
    return {one.name: min(one.rounds, rounds) for one in alternatives if one.rounds}
