"""Run a grid: every run in a process of its own, some at once; what fails does not stop the rest.

    result = run_grid(read_grid("grid.yaml"), output="runs/grid", jobs=2)
    result.failed

A grid that is stopped anywhere goes on when it is run again: finished runs are kept, begun ones
continue from their last checkpoint, to the figures that they would have had (with the same number of
jobs, because that of torch's threads is among the things that figures depend on).

RUNS/
  <cell>/seed-<n>/   the run of a model that learns
  <cell>/            that of one that does not
  logs/              what each run said
  grid.yaml          the grid
  grid.json          the state of every run, while the grid goes on and afterwards
  .lock              who runs a grid in this folder, while somebody does
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import Any

from featurestore.errors import ConfigError
from linker.atomic import write_text
from linker.folder_lock import alone_in
from linker.grid_file import Grid
from linker.grid_jobs import Jobs
from linker.grid_plan import plan_grid
from linker.grid_state import DONE, RunState, StateFile, Unwatched, Watcher
from linker.run_folder import RunFolder

#: Seconds between two looks while no run says anything.
_TICK = 0.25

#: Seconds that stopped runs may take to leave their folders: the step of training they are in.
_PATIENCE = 60.0

#: Characters of a log's last line that a reason quotes.
_QUOTED = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class GridResult:
    """How every run ended, in the order of the cells."""

    folder: Path
    runs: tuple[RunState, ...]

    @property
    def failed(self) -> tuple[RunState, ...]:
        return tuple(run for run in self.runs if run.state == "failed")

    @property
    def done(self) -> tuple[Path, ...]:
        """The folders of the runs whose figures are there."""
        return tuple(run.plan.folder for run in self.runs if run.state in DONE)

    def as_json(self) -> dict[str, Any]:
        """The runs as ``grid.json`` has them, and the summary of each that is finished."""
        lines = []
        for run in self.runs:
            done = run.state in DONE
            summary = RunFolder(run.plan.folder).read_summary() if done else None
            lines.append({**run.as_json(self.folder), "summary": summary})
        return {"folder": str(self.folder), "runs": lines}


def run_grid(
    grid: Grid,
    *,
    output: str | os.PathLike[str],
    jobs: int = 1,
    only: Sequence[str] = (),
    overwrite: bool = False,
    watcher: Watcher | None = None,
) -> GridResult:
    """Make every run of a grid that is not finished yet.

    Args:
        output: the folder of the runs.
        jobs: runs at once; each has its share of the cores (of ``OMP_NUM_THREADS``, if that is set).
        only: names of cells, or patterns with ``*``; empty = all.
        overwrite: replace runs of another configuration or store, and begun ones.

    Raises:
        ConfigError, StoreError: as ``plan_grid``, before anything has started.
        RunLocked: another grid runs in this folder.
        WriteError: the folder cannot be written.
        KeyboardInterrupt: the runs were told to stop, and have; their checkpoints are kept.
    """
    if jobs < 1:
        raise ConfigError(f"{jobs} runs at once", where="--jobs", hint="give 1 or more")
    folder = Path(output)
    plans = plan_grid(grid, output=folder, only=only, overwrite=overwrite)
    with alone_in(folder, lock=folder / ".lock", work="grid"):
        runs = [RunState.of(plan) for plan in plans]
        file = StateFile(folder=folder, jobs=jobs)
        file.take_over(runs)
        write_text(folder / "grid.yaml", grid.text)
        _Running(runs, jobs, file, watcher or Unwatched()).complete()
    return GridResult(folder=folder, runs=tuple(runs))


class _Running:
    """The runs of one call, from the first to the last."""

    def __init__(
        self, runs: Sequence[RunState], jobs: int, file: StateFile, watcher: Watcher
    ) -> None:
        self.runs = runs
        self.file = file
        self.watcher = watcher
        self.jobs = Jobs(jobs)
        self.waiting = deque(run for run in runs if run.state == "waiting")
        self.at_work: list[RunState | None] = [None] * jobs
        self.stopping = False
        self._totals: dict[int, int] = {}  # job → mentions of the stage it is in

    def complete(self) -> None:
        """Start, listen and start again, until there is nothing left to do."""
        self.watcher.begin(self.runs, jobs=len(self.at_work))
        for run in self.runs:
            if run.state != "waiting":
                self.watcher.event(run, run.reason or "finished before")
        state = "stopped"
        try:
            self._loop()
            state = "finished"
        except KeyboardInterrupt:
            self._stop()
            raise
        finally:
            self.jobs.close()
            for run in self.runs:
                if run.state == "running":
                    run.end("stopped", "killed")
            self.file.write(self.runs, state=state)
            self.watcher.end()

    def _loop(self) -> None:
        self.file.write(self.runs, state="running")
        while self.waiting or any(self.at_work):
            for job, run in enumerate(self.at_work):
                if run is None and self.waiting:
                    self._start(job, self.waiting.popleft())
            self._listen()

    def _start(self, job: int, run: RunState) -> None:
        self.at_work[job] = run
        run.begin()
        self.jobs.start(job, run.plan)
        again = run.plan.action == "continue" and run.read_epoch()
        self.watcher.event(run, f"continues after epoch {run.epoch}" if again else "started")
        self.file.write(self.runs, state="running")

    def _stop(self) -> None:
        """Let the runs leave their folders; a second Ctrl-C does not wait."""
        self.stopping = True
        self.jobs.interrupt()
        give_up = time.monotonic() + _PATIENCE
        while any(self.at_work) and time.monotonic() < give_up:
            self._listen()

    def _listen(self) -> None:
        """Take what is said within a moment."""
        try:
            job, message = self.jobs.messages.get(timeout=_TICK)
        except Empty:
            self.watcher.tick()
            return
        run = self.at_work[job]
        if message is None:
            status = self.jobs.gone(job)
            if run is not None:
                self._ended(job, run, status)
        elif run is not None:
            self._said(job, run, message)
        self.watcher.tick()

    def _said(self, job: int, run: RunState, message: Mapping[str, Any]) -> None:
        kind = message["event"]
        if kind == "begun":  # what came before was the start of a worker
            run.begin()
        elif kind == "stage":
            run.stage = message["name"]
            self._totals[job] = message["total"]
        elif kind == "done" and run.stage == "training":
            run.share = message["done"] / max(self._totals[job], 1)
        elif kind == "note" and run.plan.learns and run.read_epoch():
            assert run.valid is not None
            self.watcher.event(
                run, f"epoch {run.epoch}/{run.plan.epochs}  valid {run.select} {run.valid:.4f}"
            )
            self.file.write(self.runs, state="running")
        elif kind == "failed":
            run.reason = message["what"]
        elif kind == "ended":
            self._ended(job, run, message["status"])

    def _ended(self, job: int, run: RunState, status: int) -> None:
        self.at_work[job] = None
        if status == 0:
            run.end("finished")
            self.watcher.event(run, _finished(run))
        elif status == 130 or self.stopping:
            run.end("stopped")
            self.watcher.event(run, "stopped; it continues when the grid is run again")
        else:
            run.end("failed", run.reason or _reason(run, status))
            self.watcher.event(run, run.reason)
        self.file.write(self.runs, state="running")


def _finished(run: RunState) -> str:
    figures = [
        f"{split} {run.select} {value:.4f}"
        for split, value in (("valid", run.valid), ("test", run.test))
        if value is not None
    ]
    return f"finished in {run.seconds:,.0f} s  {'  '.join(figures)}"


def _reason(run: RunState, status: int) -> str:
    """Why a process ended that said nothing."""
    if status == -signal.SIGKILL:
        return "killed by SIGKILL, which the system also sends when memory runs out"
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    try:
        last = run.plan.log.read_text(encoding="utf-8", errors="replace").splitlines()[-1:]
    except OSError:
        last = []
    return f"ended with status {status}: {''.join(last)[-_QUOTED:] or 'it said nothing'}"
