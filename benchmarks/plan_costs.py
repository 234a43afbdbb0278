"""The figures that a plan is computed from, out of the file of ``python -m benchmarks costs``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cost_keys import OPTIONAL, Cost
from benchmarks.saved import load
from featurestore.errors import ConfigError

_AGAIN = "make one with: python -m benchmarks costs --json FILE"


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Seconds and bytes of one of each; ``cores`` and ``memory`` (bytes) of the measured machine.

    Seconds are those of one core, or from start to end where a disk is waited for.
    """

    seconds: Mapping[Cost, float]
    sizes: Mapping[Cost, float]
    cores: int
    memory: float
    machine: str

    @classmethod
    def read(cls, path: Path) -> Costs:
        """The costs in a file.

        Raises:
            ConfigError: no such file, none of costs, or one is not in it.
        """
        try:
            saved = load([path])["costs"]
        except (OSError, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError("no file of costs", where=str(path), hint=_AGAIN) from error
        known = {str(cost): cost for cost in Cost}
        rows = {known[row["name"]]: row for row in saved.rows if row["name"] in known}
        seconds = {cost: _number(row, "µs") / 1e6 for cost, row in rows.items() if row.get("µs")}
        sizes = {cost: _number(row, "bytes") for cost, row in rows.items() if row.get("bytes")}
        absent = [cost for cost in Cost if cost not in {*seconds, *sizes, *OPTIONAL}]
        if absent:
            raise ConfigError(
                f"the file of costs lacks {str(absent[0])!r}", where=str(path), hint=_AGAIN
            )
        machine = saved.machine
        return cls(
            seconds=seconds,
            sizes=sizes,
            cores=int(machine["cores"]),
            memory=float(machine["memory_gb"]) * 1e9,
            machine=f"{machine['processor']}, {machine['cores']} cores, "
            f"{machine['memory_gb']:.0f} GB",
        )

    def of(self, cost: Cost) -> float:
        """Seconds of one.

        Raises:
            ConfigError: it was not measured.
        """
        if cost not in self.seconds:
            raise ConfigError(f"{str(cost)!r} was not measured", hint=_AGAIN)
        return self.seconds[cost]


def _number(row: Mapping[str, Any], column: str) -> float:
    value = row[column]
    if not isinstance(value, int | float) or value < 0:
        raise ConfigError(f"the {column} of {row['name']!r} are {value!r}, no number", hint=_AGAIN)
    return float(value)
