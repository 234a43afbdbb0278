"""Shows the stages of long work on stderr: bars on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from featurestore.progress import Progress as ProgressProtocol
from featurestore.progress import Stage

#: Seconds between two lines of one stage in a log file.
LOG_EVERY = 30.0


def progress_on(console: Console) -> ProgressProtocol:
    """Bars when the console is a terminal, plain lines otherwise."""
    return Bars(console) if console.is_terminal else Lines(console)


def _rate(done: float, seconds: float, unit: str) -> str:
    return f"{done / seconds:,.0f} {unit}/s" if seconds > 0 else ""


def _whole() -> Column:
    return Column(no_wrap=True)


class _Rate(ProgressColumn):
    """Units a second since the stage began."""

    def render(self, task: Task) -> Text:
        return Text(_rate(task.completed, task.elapsed or 0.0, task.fields["unit"]))


class _Told(ProgressColumn):
    """The words of the stage."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["told"])


class Bars:
    """One rich bar a stage, with rate and time left."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Stage]:
        bars = Progress(
            TextColumn("{task.description:<20}"),
            BarColumn(bar_width=24),  # the only one that gives way where a terminal has no room
            MofNCompleteColumn(table_column=_whole()),
            _Rate(table_column=_whole()),
            TimeElapsedColumn(table_column=_whole()),
            TextColumn("left"),
            TimeRemainingColumn(table_column=_whole()),
            _Told(),
            console=self._console,
        )
        with bars:
            task = bars.add_task(escape(name), total=total, unit=unit, told="")
            yield _Bar(bars, task)

    def note(self, text: str) -> None:
        self._console.print(Text(text))


class _Bar:
    def __init__(self, bars: Progress, task: object) -> None:
        self._bars = bars
        self._task = task

    def advance(self, amount: int) -> None:
        self._bars.advance(self._task, amount)  # type: ignore[arg-type]

    def say(self, text: str) -> None:
        self._bars.update(self._task, told=text)  # type: ignore[arg-type]


class Lines:
    """A line when a stage ends, and every ``LOG_EVERY`` seconds while it runs."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Stage]:
        line = _Line(self._console, name, total, unit)
        yield line
        line.end()

    def note(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)


class _Line:
    def __init__(self, console: Console, name: str, total: int, unit: str) -> None:
        self._console = console
        self._name, self._total, self._unit = name, total, unit
        self._done, self._shown_at, self._told = 0, -1, ""
        self._started = self._shown = time.monotonic()

    def advance(self, amount: int) -> None:
        self._done += amount
        now = time.monotonic()
        if now - self._shown >= LOG_EVERY:
            self._shown = now
            self.show()

    def say(self, text: str) -> None:
        self._told = text

    def end(self) -> None:
        if self._shown_at != self._done or not self._done:
            self.show()

    def show(self) -> None:
        self._shown_at = self._done
        spent = time.monotonic() - self._started
        left = (self._total - self._done) * spent / self._done if self._done else 0.0
        tail = f", {left:,.0f} s left" if self._done < self._total else ""
        tail += f"; {self._told}" if self._told else ""
        of = f"/{self._total:,}" if self._total or not self._done else ""
        self._console.print(
            Text(
                f"{self._name}: {self._done:,}{of} {self._unit} in {spent:,.1f} s "
                f"({_rate(self._done, spent, self._unit)}){tail}"
            ),
            soft_wrap=True,
        )
