"""Grids on the planted store, and a watcher that keeps what it is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from linker.grid_file import Grid, parse_grid
from linker.grid_state import RunState
from linker.run_folder import RunFolder
from tests.runs_for_tests import QUICK, figures_of, without_clock

#: So few epochs that a run takes half a second.
DEFAULTS: dict[str, Any] = {**QUICK, "epochs": 2}


def grid_of_cells(store: Path, cells: dict[str, Any], **keys: Any) -> Grid:
    """A grid of these cells; ``keys``: others of the file."""
    values = {"store": str(store), "defaults": DEFAULTS, "cells": cells, **keys}
    return parse_grid(yaml.safe_dump(values, sort_keys=False), where="grid.yaml")


class Watching:
    """Keeps the events, and does something at one of them."""

    def __init__(self, at: str = "", do: Callable[[RunState], None] | None = None) -> None:
        self.lines: list[str] = []
        self.at, self.do = at, do
        self.most_at_once = 0
        self._runs: Sequence[RunState] = ()

    def begin(self, runs: Sequence[RunState], *, jobs: int) -> None:
        self._runs = runs

    def event(self, run: RunState, text: str) -> None:
        line = f"{run.plan.name}: {text}"
        self.lines.append(line)
        if self.do is not None and self.at and self.at in line:
            self.at = ""
            self.do(run)

    def tick(self) -> None:
        at_once = sum(run.state == "running" for run in self._runs)
        self.most_at_once = max(self.most_at_once, at_once)

    def end(self) -> None:
        pass


def outcome(run: Path) -> dict[str, Any]:
    """All that a finished run says of its model, clocks left out."""
    return {
        "summary": without_clock(RunFolder(run).read_summary()),
        "metrics": figures_of(run / "metrics.csv"),
        **{path.name: path.read_text() for path in sorted((run / "ranks").iterdir())},
        "left behind": [path.name for path in run.rglob(".*")],
    }
