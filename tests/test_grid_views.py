"""What a grid shows: the live table, lines in a log, the plan, what failed; and the command itself."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, Group

from cli.main import main
from cli.render_grid import (
    EventLines,
    LiveTable,
    duration,
    failures_view,
    live_view,
    plan_view,
    seconds_left,
    watcher_on,
)
from linker.baseline import evaluate_untrained
from linker.config_text import read_config
from linker.grid_plan import PlannedRun
from linker.grid_state import RunState
from tests.grids_for_tests import DEFAULTS, grid_of_cells
from tests.snapshots import check_snapshot
from tests.stores_for_tests import planted_store
from tests.terminal import shown


def plan(cell: str, seed: int | None = 0, **values: Any) -> PlannedRun:
    model = {"name": "bert" if seed is None else "drin"}
    folder = Path("runs") / cell
    given = {"action": "train", "reason": "", **values}
    return PlannedRun(
        cell=cell, seed=seed, config=read_config({"epochs": 4, "model": model}),
        store=Path("s.h5"), folder=folder, log=folder.with_suffix(".txt"), **given,
    )  # fmt: skip


def state(cell: str, seed: int | None, kind: Any, **values: Any) -> RunState:
    return RunState(plan=plan(cell, seed), state=kind, **values)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[RunState]:
    """One in each state, at a clock that stands still."""
    monkeypatch.setattr("linker.grid_state.time.monotonic", lambda: 1000.0)
    return [
        state("bert", None, "kept", seconds=3.0, valid=0.81, test=0.8),
        state("drin", 0, "finished", seconds=200.0, epoch=4, valid=0.7759, test=0.78),
        state("drin", 1, "running", epoch=1, valid=0.75, started=900.0, share=0.25, stage="training"),
        state("drin", 2, "waiting"),
        state("ghmfc-with-a-name-that-is-long-because-of-its-matrix-heads=4", 0, "failed",
              reason="the loss is nan in epoch 1; try a lower --lr"),
        state("text", 0, "stopped", seconds=12.0, epoch=2, valid=0.5),
    ]  # fmt: skip


@pytest.mark.parametrize("width", [80, 120])
def test_the_live_table(runs: list[RunState], width: int) -> None:
    view = live_view(runs, jobs=2, rows=20, spent=305.0)
    check_snapshot(f"grid-live-{width}", shown(view, width=width))


@pytest.mark.parametrize("width", [80, 120])
def test_the_plan_and_the_failures(runs: list[RunState], width: int) -> None:
    plans = [
        plan("drin", 0), plan("drin", 1, action="continue"), plan("bert", None, action="keep"),
        plan("ghmfc", 0, action="impossible", reason="the store has no \x1b[2Jpictures"),
        plan("ghmfc", 1, action="impossible", reason="the store has no \x1b[2Jpictures"),
    ]  # fmt: skip
    view = Group(plan_view(plans), failures_view(runs[4:]))
    check_snapshot(f"grid-plan-{width}", shown(view, width=width))


def test_a_table_that_is_too_long_shows_what_goes_on(runs: list[RunState]) -> None:
    text = shown(live_view(runs, jobs=1, rows=2, spent=1.0), width=120)
    assert "training" in text
    assert "failed" in text
    assert "bert" not in text
    assert "4 more; 6 runs: 1 running, 1 finished" in text


def test_the_time_left_counts_what_waits(runs: list[RunState]) -> None:
    # running: 100 s for a quarter, 300 s left; waiting: as long as runs of drin, (200 + 400) / 2
    assert seconds_left(runs, jobs=1) == pytest.approx(600)
    assert seconds_left(runs, jobs=2) == pytest.approx(300)
    assert seconds_left(runs, jobs=8) == pytest.approx(300)
    assert seconds_left(runs[3:4], jobs=1) is None


def test_times_are_short() -> None:
    assert [duration(s) for s in (0.4, 59, 61, 3599, 3661)] == [
        "0 s",
        "59 s",
        "1:01",
        "59:59",
        "1:01:01",
    ]


def test_a_log_has_a_line_an_event(runs: list[RunState]) -> None:
    file = io.StringIO()
    lines = watcher_on(Console(file=file, width=200))
    assert isinstance(lines, EventLines)
    lines.begin(runs, jobs=2)
    lines.event(runs[2], "epoch 1/4")
    lines.event(runs[4], "no \x1b[2Jluck")
    lines.tick()
    lines.end()
    written = file.getvalue().splitlines()
    assert written[0].endswith("1 waiting; 2 at once")
    assert written[1] == "[3/6] drin seed 1: epoch 1/4"
    assert written[2].endswith("seed 0: failed: no \\x1b[2Jluck")
    assert len(written) == 4


def test_a_terminal_has_a_table_and_keeps_what_failed(runs: list[RunState]) -> None:
    file = io.StringIO()
    table = watcher_on(Console(file=file, width=140, height=30, force_terminal=True))
    assert isinstance(table, LiveTable)
    table.begin(runs, jobs=1)
    table.event(runs[4], "the loss is nan")
    table.tick()
    table.end()
    assert "seed 0: failed: " in file.getvalue()
    assert "training" in file.getvalue()


# the command ------------------------------------------------------------------------------------


@pytest.fixture
def grid_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A grid of two cells beside its store; one is finished, and one cannot run."""
    monkeypatch.chdir(tmp_path)
    store = planted_store(tmp_path / "planted.h5")
    config = read_config({**DEFAULTS, "model": "bert"})
    evaluate_untrained(store, config, splits=("valid", "test"), run=tmp_path / "runs" / "bert")
    cells = {"bert": {"model": "bert"}, "ghmfc": {"model": "ghmfc"}}
    file = tmp_path / "g.yaml"
    file.write_text(grid_of_cells(Path("planted.h5"), cells, output="runs").text)
    return file


def test_a_dry_run_lists_the_runs_and_writes_nothing(
    grid_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["grid", str(grid_file), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["bert", "ghmfc", "ghmfc"]
    assert "finished: kept" in out
    assert "--image-encoder" in out.splitlines()[-1]
    assert main(["grid", str(grid_file), "--dry-run", "--json"]) == 0
    lines = json.loads(capsys.readouterr().out)
    assert [(line["cell"], line["action"]) for line in lines] == [
        ("bert", "keep"), ("ghmfc", "impossible")
    ]  # fmt: skip
    assert not (grid_file.parent / "runs" / "grid.json").exists()


def test_the_command_shows_the_table_the_failures_and_exits_with_1(
    grid_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["grid", str(grid_file)]) == 1
    shown_ = capsys.readouterr()
    assert "bert (span text)" in shown_.out
    assert "ghmfc seed 0: model ghmfc reads" in shown_.err
    assert main(["grid", str(grid_file), "--json"]) == 1
    values = json.loads(capsys.readouterr().out)
    assert [run["state"] for run in values["runs"]] == ["kept", "failed"]
    assert values["runs"][0]["summary"]["test"]["hits@1"] > 0
    assert main(["grid", str(grid_file), "--only", "bert"]) == 0


def test_runs_under_different_conditions_have_a_table_all_the_same(
    grid_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = read_config({**DEFAULTS, "model": "bert", "metrics": {"tie_rule": "optimistic"}})
    folder = grid_file.parent / "runs" / "ties"
    evaluate_untrained("planted.h5", config, splits=("valid", "test"), run=folder)
    cells = {"bert": {"model": "bert"}, "ties": {"model": "bert", "metrics.tie_rule": "optimistic"}}
    grid_file.write_text(grid_of_cells(Path("planted.h5"), cells, output="runs").text)
    assert main(["grid", str(grid_file)]) == 0
    out = capsys.readouterr().out
    assert "optimistic" in out
    assert "expected" in out


def test_a_wrong_key_is_a_usage_error_before_anything_starts(
    grid_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid_file.write_text("store: planted.h5\ncells: {a: {epoch: 1}}\n")
    assert main(["grid", str(grid_file), "-o", "elsewhere"]) == 2
    error = capsys.readouterr().err
    assert "unknown key epoch" in error
    assert "did you mean epochs?" in error
    assert not Path("elsewhere").exists()
    assert main(["grid", "absent.yaml"]) == 2
