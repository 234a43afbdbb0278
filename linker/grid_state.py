"""How far each run of a grid is: for who watches, and for ``grid.json``."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from linker.atomic import write_text
from linker.grid_plan import PlannedRun
from linker.run_folder import RunFolder

#: ``kept``: was finished before. ``stopped``: by Ctrl-C or SIGTERM; continues when the grid runs again.
State: TypeAlias = Literal["waiting", "running", "finished", "kept", "failed", "stopped"]

#: States of a run whose figures are there.
DONE = ("finished", "kept")


@dataclass(slots=True, kw_only=True)
class RunState:
    """One run while the grid goes on. ``seconds``: of earlier calls that it was stopped in, too."""

    plan: PlannedRun
    state: State
    reason: str = ""
    seconds: float = 0.0
    epoch: int | None = None
    valid: float | None = None  # the selected figure of the newest epoch; of the best when finished
    test: float | None = None
    stage: str = ""  # what it is doing: training, or scoring a split
    share: float | None = None  # of the training that this call has to do, 0 … 1
    started: float | None = None  # time.monotonic() of this call

    @classmethod
    def of(cls, plan: PlannedRun) -> RunState:
        """Before anything ran."""
        state = RunState(plan=plan, state="waiting")
        if plan.action == "impossible":
            state.state, state.reason = "failed", plan.reason
        elif plan.action == "keep":
            state.state = "kept"
            state.read_summary()
        return state

    @property
    def select(self) -> str:
        """The figure shown."""
        return self.plan.config.metrics.select

    @property
    def spent(self) -> float:
        """Seconds of this call so far."""
        return 0.0 if self.started is None else time.monotonic() - self.started

    @property
    def left(self) -> float | None:
        """Seconds that training will go on, as far as one can tell."""
        if self.state != "running" or not self.share:
            return None
        return self.spent * (1 - self.share) / self.share

    def begin(self) -> None:
        self.state, self.started = "running", time.monotonic()

    def end(self, state: State, reason: str = "") -> None:
        self.seconds += self.spent
        self.state, self.reason, self.started, self.stage = state, reason, None, ""
        if state == "finished":
            self.read_summary()

    def read_epoch(self) -> bool:
        """Take the newest epoch of ``metrics.csv``; whether there is another one than before."""
        try:
            with RunFolder(self.plan.folder).metrics.open(encoding="utf-8", newline="") as file:
                newest = list(csv.DictReader(file))[-1]
            epoch, valid = int(newest["epoch"]), float(newest[f"valid_{self.select}"])
        except (OSError, ValueError, KeyError, IndexError, TypeError, csv.Error):
            return False  # none yet
        before, self.epoch, self.valid = self.epoch, epoch, valid
        return epoch != before

    def read_summary(self) -> None:
        """Take the figures of a finished run."""
        summary = RunFolder(self.plan.folder).read_summary()
        self.epoch = summary.get("epochs")
        self.valid = summary.get("valid", {}).get(self.select)
        self.test = summary.get("test", {}).get(self.select)

    def as_json(self, folder: Path) -> dict[str, Any]:
        return {
            "cell": self.plan.cell,
            "seed": self.plan.seed,
            "model": self.plan.config.model.name,
            "store": str(self.plan.store),
            "run": os.path.relpath(self.plan.folder, folder),
            "log": os.path.relpath(self.plan.log, folder) if self.plan.log.exists() else None,
            "state": self.state,
            "reason": self.reason or None,
            "seconds": round(self.seconds + self.spent, 1),
            "epoch": self.epoch,
            "epochs": self.plan.epochs,
            "select": self.select,
            "valid": self.valid,
            "test": self.test,
        }


class Watcher(Protocol):
    """Is told what happens in a grid."""

    def begin(self, runs: Sequence[RunState], *, jobs: int) -> None:
        """The runs are checked, and the first is about to start."""

    def event(self, run: RunState, text: str) -> None:
        """Something worth a line happened to a run."""

    def tick(self) -> None:
        """A moment has passed."""

    def end(self) -> None:
        """No run goes on."""


class Unwatched:
    """Shows nothing."""

    def begin(self, runs: Sequence[RunState], *, jobs: int) -> None:
        pass

    def event(self, run: RunState, text: str) -> None:
        pass

    def tick(self) -> None:
        pass

    def end(self) -> None:
        pass


@dataclass(slots=True, kw_only=True)
class StateFile:
    """``grid.json`` of a folder: written anew whenever something changes; runs that are not of this
    call stay in it as they were."""

    folder: Path
    jobs: int
    _others: list[dict[str, Any]] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.folder / "grid.json"

    def take_over(self, runs: Sequence[RunState]) -> None:
        """Take the seconds of earlier calls, and the runs that this call leaves out."""
        here = {os.path.relpath(run.plan.folder, self.folder): run for run in runs}
        for line in self._recorded():
            run = here.get(line["run"])
            if run is None:
                self._others.append(line)
            elif run.plan.action in ("keep", "continue"):
                run.seconds = float(line["seconds"])

    def _recorded(self) -> list[dict[str, Any]]:
        """The runs of the file that is there; none of one that cannot be read."""
        try:
            lines = json.loads(self.path.read_text(encoding="utf-8"))["runs"]
            return [line for line in lines if isinstance(line["run"], str) and line["seconds"] >= 0]
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def write(self, runs: Sequence[RunState], *, state: str) -> None:
        """Raises: WriteError."""
        values = {
            "state": state,
            "process": os.getpid(),
            "jobs": self.jobs,
            "updated": datetime.now(UTC).isoformat(timespec="seconds"),
            "runs": [run.as_json(self.folder) for run in runs] + self._others,
        }
        text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_text(self.path, text)
