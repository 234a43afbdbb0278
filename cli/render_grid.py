"""What a grid shows: a live table on a terminal, a line an event in a log, the plan, what failed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from cli.console import plain_text
from cli.render_parts import grid, yielding

if TYPE_CHECKING:
    from linker.grid_plan import PlannedRun
    from linker.grid_state import RunState, Watcher

#: Seconds between two drawings of the table.
_EVERY = 0.25

#: Lines of a terminal that are not rows of the table: its heads, the line below, and the prompt.
_OTHER_LINES = 6

_STYLES: Mapping[str, str] = {
    "running": "bold cyan",
    "finished": "green",
    "kept": "dim green",
    "failed": "bold red",
    "stopped": "yellow",
    "waiting": "dim",
}

#: The order in which states have a place in a table that is too long for the terminal.
_URGENCY = ("running", "failed", "stopped", "finished", "waiting", "kept")

#: What a plan says of an action.
_ACTIONS: Mapping[str, str] = {
    "train": "train",
    "score": "score",
    "continue": "continue",
    "replace": "replace",
    "keep": "finished: kept",
    "impossible": "cannot run",
}


def watcher_on(console: Console) -> Watcher:
    """A live table when the console is a terminal, plain lines otherwise."""
    return LiveTable(console) if console.is_terminal else EventLines(console)


class EventLines:
    """One line an event: which run of how many, and what happened."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._runs: Sequence[RunState] = ()

    def begin(self, runs: Sequence[RunState], *, jobs: int) -> None:
        self._runs = runs
        self._say(Text(f"{tally(runs)}; {jobs} at once"))

    def event(self, run: RunState, text: str) -> None:
        place = next(n for n, other in enumerate(self._runs, 1) if other is run)
        failed = "failed: " if run.state == "failed" else ""
        line = f"[{place}/{len(self._runs)}] {run.plan.name}: {failed}"
        self._say(Text.assemble(line, plain_text(text)))

    def tick(self) -> None:
        pass

    def end(self) -> None:
        self._say(Text(tally(self._runs)))

    def _say(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)


class LiveTable:
    """A table that is drawn again while the runs go on; as many rows as the terminal has room for."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._runs: Sequence[RunState] = ()
        self._jobs = 1
        self._started = self._drawn = 0.0

    def begin(self, runs: Sequence[RunState], *, jobs: int) -> None:
        self._runs, self._jobs, self._started = runs, jobs, time.monotonic()
        self._live.start()
        self._draw()

    def event(self, run: RunState, text: str) -> None:
        if run.state in ("failed", "stopped"):
            self._live.console.print(
                Text.assemble(
                    (f"{run.plan.name}: {run.state}: ", _STYLES[run.state]), plain_text(text)
                )
            )
        self._draw()

    def tick(self) -> None:
        if time.monotonic() - self._drawn >= _EVERY:
            self._draw()

    def end(self) -> None:
        self._live.stop()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        view = live_view(
            self._runs,
            jobs=self._jobs,
            rows=max(self._console.height - _OTHER_LINES, 3),
            spent=self._drawn - self._started,
        )
        self._live.update(view, refresh=True)


def live_view(runs: Sequence[RunState], *, jobs: int, rows: int, spent: float) -> RenderableType:
    """The table of the runs, and below it how many are in which state.

    Args:
        rows: of the table at most; the most urgent are shown, in their order.
        spent: seconds since the grid began.
    """
    shown = _most_urgent(runs, rows)
    table = grid(
        "", "cell", "seed", "state", "epoch", "valid", "time", "left",
        right=("seed", "epoch", "valid", "time", "left"),
    )  # fmt: skip
    table.columns[0].no_wrap = False  # the only one that gives way
    for run in shown:
        table.add_row(*_cells(run))
    left = seconds_left(runs, jobs=jobs)
    more = f"{len(runs) - len(shown)} more; " if len(shown) < len(runs) else ""
    line = f"{more}{tally(runs)}; {duration(spent)}"
    if left is not None:
        line += f", about {duration(left)} left"
    return Group(table, Text(line, "dim"))


def _most_urgent(runs: Sequence[RunState], rows: int) -> list[RunState]:
    by_urgency = sorted(runs, key=lambda run: _URGENCY.index(run.state))
    chosen = {id(run) for run in by_urgency[:rows]}
    return [run for run in runs if id(run) in chosen]


def _cells(run: RunState) -> list[RenderableType]:
    epochs = run.plan.epochs
    epoch = "" if epochs is None else f"{run.epoch or 0}/{epochs}"
    valid = "" if run.valid is None else f"{run.valid:.4f}"
    time_ = duration(run.seconds + run.spent) if run.seconds + run.spent else ""
    left = "" if run.left is None else duration(run.left)
    seed = "" if run.plan.seed is None else str(run.plan.seed)
    state = run.stage if run.state == "running" and run.stage else run.state
    return [
        yielding(run.plan.cell), seed, Text(state, _STYLES[run.state]), epoch, valid, time_, left
    ]  # fmt: skip


def seconds_left(runs: Sequence[RunState], *, jobs: int) -> float | None:
    """About how long it takes yet; None while there is nothing to tell it from.

    What waits takes as long as runs of its cell take that have ended or tell; else as long as the others.
    """
    known: dict[str, list[float]] = {}
    left = 0.0
    for run in runs:
        if run.state == "finished" or (run.state == "kept" and run.seconds):
            known.setdefault(run.plan.cell, []).append(run.seconds)
        elif run.left is not None:
            known.setdefault(run.plan.cell, []).append(run.seconds + run.spent + run.left)
            left += run.left
    if not known:
        return None
    times = [seconds for each in known.values() for seconds in each]
    everybody = sum(times) / len(times)
    for run in runs:
        if run.state == "waiting" or (run.state == "running" and run.left is None):
            own = known.get(run.plan.cell)
            whole = sum(own) / len(own) if own else everybody
            left += max(whole - run.spent, 0.0)
    going_on = sum(run.state in ("waiting", "running") for run in runs)
    return left / max(1, min(jobs, going_on))


def tally(runs: Sequence[RunState]) -> str:
    """``18 runs: 3 kept, 1 finished, 14 waiting``."""
    states = [run.state for run in runs]
    counts = [f"{states.count(state)} {state}" for state in _STYLES if state in states]
    return f"{len(runs)} run{'s' * (len(runs) != 1)}: {', '.join(counts)}"


def duration(seconds: float) -> str:
    """``42 s``, ``12:07``, ``3:04:09``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def plan_view(plans: Sequence[PlannedRun]) -> RenderableType:
    """What a grid would do, a row a run; below it why some cannot run."""
    table = grid("", "cell", "seed", "model", "epochs", "what happens", right=("seed", "epochs"))
    table.columns[0].no_wrap = False
    for plan in plans:
        table.add_row(
            yielding(plan.cell),
            "" if plan.seed is None else str(plan.seed),
            plan.config.model.name,
            "" if plan.epochs is None else str(plan.epochs),
            Text(_ACTIONS[plan.action], "bold red" if plan.action == "impossible" else ""),
        )
    return Group(table, *_reasons([(plan.cell, plan.name, plan.reason) for plan in plans]))


def failures_view(runs: Sequence[RunState]) -> RenderableType:
    """Why runs have no figures, and where each one's log is."""
    lines = [(run.plan.cell, run.plan.name, run.reason or run.state) for run in runs]
    logs = [
        Text(f"log: {run.plan.log}", "dim", overflow="fold")
        for run in runs
        if run.plan.log.exists()
    ]
    return Group(*_reasons(lines), *logs)


def _reasons(lines: Sequence[tuple[str, str, str]]) -> list[Text]:
    """(cell, run, reason) → a line each; one for all runs of a cell that share it."""
    told: dict[tuple[str, str], list[str]] = {}
    for cell, run, reason in lines:
        if reason:
            told.setdefault((cell, reason), []).append(run)
    return [
        Text.assemble(
            (f"{names[0] if len(names) == 1 else cell}: ", "bold red"), plain_text(reason)
        )
        for (cell, reason), names in told.items()
    ]
