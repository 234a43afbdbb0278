"""Progress off a terminal: a line when a stage ends, and now and then while it runs."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from cli import progress
from cli.progress import Bars, Lines, progress_on


def console(stream: io.StringIO, *, terminal: bool = False) -> Console:
    return Console(file=stream, force_terminal=terminal, width=200)


def test_a_stage_ends_with_one_line() -> None:
    stream = io.StringIO()
    with Lines(console(stream)).stage("entity text", 300, "texts") as stage:
        stage.advance(100)
        stage.advance(200)
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("entity text: 300/300 texts in ")
    assert "left" not in line


def test_a_long_stage_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 10.0, 45.0, 45.0, 60.0, 60.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    stream = io.StringIO()
    with Lines(console(stream)).stage("text", 100, "texts") as stage:
        stage.advance(10)  # after 10 s: too early for a line
        stage.advance(40)  # after 45 s
        stage.advance(50)  # at the end
    first, last = stream.getvalue().splitlines()
    assert first == "text: 50/100 texts in 45.0 s (1 texts/s), 45 s left"
    assert last.startswith("text: 100/100")


def test_an_empty_stage_has_a_line_too() -> None:
    stream = io.StringIO()
    with Lines(console(stream)).stage("pictures", 0, "pictures"):
        pass
    assert stream.getvalue().startswith("pictures: 0/0")


def test_a_terminal_gets_bars_and_a_file_gets_lines() -> None:
    assert isinstance(progress_on(console(io.StringIO(), terminal=True)), Bars)
    assert isinstance(progress_on(console(io.StringIO())), Lines)


def test_a_bar_names_its_stage_whatever_the_name() -> None:
    stream = io.StringIO()
    with Bars(console(stream, terminal=True)).stage("[red]text", 2, "texts") as stage:
        stage.advance(2)
    assert "[red]text" in stream.getvalue()
    assert "2/2" in stream.getvalue()


def test_a_bar_keeps_its_numbers_and_units_on_one_line() -> None:
    stream = io.StringIO()
    narrow = Console(file=stream, force_terminal=True, color_system=None, width=80)
    with Bars(narrow).stage("ranking all entities", 25_106, "mentions") as stage:
        stage.advance(25_106)
    lines = [
        line for line in re.sub(r"\x1b\S*?[A-Za-z]|\r", "", stream.getvalue()).split("\n") if line
    ]
    assert all("25106" in line and "mentions/s" in line and "left" in line for line in lines)
