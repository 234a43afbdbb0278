"""A quick training run on the planted store, and what the tests of runs look at it with."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featurestore.progress import Stage
from linker.config_text import read_config
from linker.train import train
from tests.stores_for_tests import planted_store

#: Columns of ``metrics.csv``, and keys of the summary, that measure time or memory.
CLOCK_OF_EPOCHS = ("seconds", "valid_seconds", "mentions_per_s")
CLOCK_OF_RUN = ("train_seconds_per_epoch", "peak_rss_anon_mb")

#: Enough to learn the planted signal in a second.
QUICK: dict[str, Any] = {"epochs": 6, "batch_size": 16, "lr": 0.01}


@dataclass(frozen=True)
class QuickRun:
    """A finished run of ``drin`` under ``QUICK``. Read its folder only."""

    store: Path
    folder: Path
    summary: dict[str, Any]


def quick_run(folder: Path) -> QuickRun:
    """Train ``drin`` on a new planted store."""
    store = planted_store(folder / "planted.h5")
    summary = train(store, read_config(QUICK), run=folder / "drin")
    return QuickRun(store=store, folder=folder / "drin", summary=summary)


class Recording:
    """A progress that keeps the lines, and interrupts the run after some mentions."""

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.lines: list[str] = []
        self.left = interrupt_after
        self.total = self.done = 0

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Stage]:
        self.total = total
        yield self

    def advance(self, amount: int) -> None:
        self.done += amount
        if self.left is not None and self.done >= self.left:
            raise KeyboardInterrupt

    def note(self, text: str) -> None:
        self.lines.append(text)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def without_clock(summary: dict[str, Any]) -> dict[str, Any]:
    """The summary without what two runs of one configuration need not share."""
    return {key: value for key, value in summary.items() if key not in CLOCK_OF_RUN}


def figures_of(path: Path) -> list[dict[str, str]]:
    """``metrics.csv`` without the columns of the clock."""
    return [{k: v for k, v in row.items() if k not in CLOCK_OF_EPOCHS} for row in read_csv(path)]
