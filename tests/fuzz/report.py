"""How cases end, and the figures of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

#: How a case may end well: data that is correct, or an error of ours that says what and where.
OK, REFUSED = "ok", "refused"

#: And how it may not.
FAILURES = (
    "crash",  # the process was ended by a signal
    "hang",  # more than ten seconds
    "memory",  # more than two gigabytes
    "untyped",  # an exception that is not ours
    "vague",  # one of ours that does not say what or where
    "foreign",  # something was run, or written where nothing belongs
    "wrong",  # accepted, and contradicts itself
)


@dataclass
class Report:
    """What became of the cases of one kind. ``peak``: bytes above the baseline, the most of a case."""

    kind: str
    seed: int
    cases: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    longest: tuple[float, int] = (0.0, -1)  # seconds, case
    peak: tuple[int, int] = (0, -1)  # bytes, case
    seconds: float = 0.0
    heard: Callable[[dict[str, Any]], object] | None = None

    @property
    def failed(self) -> int:
        return sum(self.ends[name] for name in FAILURES)

    def add(self, end: dict[str, Any]) -> None:
        self.cases += 1
        self.ends[end["end"]] += 1
        self.longest = max(self.longest, (end["seconds"], end["case"]))
        self.peak = max(self.peak, (end["peak"], end["case"]))
        if end["end"] in FAILURES:
            self.failures.append(end)
        if self.heard:
            self.heard(end)

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "seed": self.seed,
            "cases": self.cases,
            "ok": self.ends[OK],
            "refused": self.ends[REFUSED],
            "failures": {name: self.ends[name] for name in FAILURES if self.ends[name]},
            "longest_seconds": round(self.longest[0], 2),
            "longest_case": self.longest[1],
            "peak_mb": round(self.peak[0] / 1e6),
            "peak_case": self.peak[1],
            "seconds": round(self.seconds),
            "failed": self.failures,
        }
