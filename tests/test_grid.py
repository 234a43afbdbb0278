"""Grids that run: what fails alone, what is kept, killed, stopped and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from cli.render_grid import EventLines
from featurestore.errors import ConfigError
from featurestore.lock import Lock, is_running
from linker.baseline import evaluate_untrained
from linker.config_text import read_config
from linker.folder_lock import RunLocked
from linker.grid import GridResult, run_grid
from linker.grid_state import RunState
from linker.recorded import RecordedRun
from linker.run_folder import RunFolder
from linker.run_groups import group_runs, runs_below
from linker.train import train
from tests.grids_for_tests import DEFAULTS, Watching, grid_of_cells, outcome
from tests.stores_for_tests import planted_store

#: Long enough to be stopped in the middle: a checkpoint after every step takes its time.
LONG: dict[str, Any] = {"epochs": 8, "checkpoint_steps": 1}

linux = pytest.mark.skipif(sys.platform != "linux", reason="signals and process ids")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted_store(tmp_path_factory.mktemp("grid") / "planted.h5")


@dataclass(frozen=True)
class Done:
    result: GridResult
    watching: Watching
    folder: Path


CELLS: dict[str, Any] = {
    "drin": {"matrix": {"model.layers": [1, 2]}},
    "diverges": {"lr": 1e30, "seeds": [0]},
    "impossible": {"model": "ghmfc"},
    "bert": {"model": "bert"},
}


@pytest.fixture(scope="module")
def done(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A grid of all kinds of cells, two at once. Read its folder only."""
    folder, watching = tmp_path_factory.mktemp("runs") / "grid", Watching()
    grid = grid_of_cells(store, CELLS, seeds=[0, 1])
    return Done(run_grid(grid, output=folder, jobs=2, watcher=watching), watching, folder)


# a grid that runs through -----------------------------------------------------------------------


def test_what_fails_does_not_stop_the_rest(done: Done) -> None:
    states = {run.plan.name: run.state for run in done.result.runs}
    assert states == {
        **{f"drin-layers={n} seed {s}": "finished" for n in (1, 2) for s in (0, 1)},
        "diverges seed 0": "failed",
        "impossible seed 0": "failed",
        "impossible seed 1": "failed",
        "bert": "finished",
    }
    reasons = {run.plan.cell: run.reason for run in done.result.failed}
    assert reasons["diverges"].startswith("the loss is nan in epoch 1")
    assert "no mentions/image_regions" in reasons["impossible"]
    assert "--image-encoder" in reasons["impossible"]


def test_two_run_at_once(done: Done) -> None:
    assert done.watching.most_at_once == 2


def test_a_run_of_a_grid_is_the_run_of_its_own_command(
    done: Done, store: Path, tmp_path: Path
) -> None:
    config = read_config({**DEFAULTS, "model": {"layers": 1}, "seed": 1})
    train(store, config, run=tmp_path / "alone")
    assert outcome(done.folder / "drin-layers=1" / "seed-1") == outcome(tmp_path / "alone")
    own = read_config({**DEFAULTS, "model": "bert"})
    evaluate_untrained(store, own, splits=("valid", "test"), run=tmp_path / "bert")
    summaries = [
        RunFolder(path).read_summary() for path in (done.folder / "bert", tmp_path / "bert")
    ]
    assert summaries[0] == summaries[1]


def test_the_folder_is_one_that_reports_understand(done: Done) -> None:
    groups = group_runs(RecordedRun(path) for path in runs_below([done.folder]))
    assert [(group.name, len(group.runs)) for group in groups] == [
        ("bert", 1), ("drin-layers=1", 2), ("drin-layers=2", 2)
    ]  # fmt: skip
    assert set(done.result.done) == set(runs_below([done.folder]))


def test_the_state_is_written_for_others(done: Done) -> None:
    values = json.loads((done.folder / "grid.json").read_text())
    assert (values["state"], values["jobs"]) == ("finished", 2)
    by_name = {(line["cell"], line["seed"]): line for line in values["runs"]}
    line = by_name["drin-layers=2", 1]
    assert (line["run"], line["state"], line["epoch"]) == ("drin-layers=2/seed-1", "finished", 2)
    assert line["seconds"] > 0
    assert 0 < line["valid"] <= 1
    assert by_name["diverges", 0]["reason"] == by_name["diverges", 0]["reason"].strip() != ""
    assert (done.folder / "grid.yaml").read_text().startswith("store: ")
    assert "epoch 2/2" in (done.folder / line["log"]).read_text()
    assert not (done.folder / ".lock").exists()


# the same grid again ----------------------------------------------------------------------------


def test_what_is_finished_is_kept_and_another_configuration_refused(
    done: Done, store: Path
) -> None:
    """No process starts: kept runs take no time, and refused ones neither."""
    before = {path: path.stat().st_mtime_ns for path in done.folder.rglob("summary.json")}
    cells = {
        "drin-layers=1": {"model.layers": 1},
        "drin-layers=2": {"model.layers": 2, "epochs": 3},
    }
    watching = Watching()
    grid = grid_of_cells(store, cells, seeds=[0, 1])
    result = run_grid(grid, output=done.folder, watcher=watching)
    assert [run.state for run in result.runs] == ["kept", "kept", "failed", "failed"]
    assert "other options: epochs 2 → 3; replace it with --overwrite" in result.runs[2].reason
    assert watching.lines[0] == "drin-layers=1 seed 0: finished before"
    assert before == {path: path.stat().st_mtime_ns for path in done.folder.rglob("summary.json")}
    seconds = {
        (line["cell"], line["seed"]): line["seconds"]
        for line in json.loads((done.folder / "grid.json").read_text())["runs"]
    }
    assert seconds["drin-layers=1", 0] > 0  # of the call that made it
    assert ("bert", None) in seconds  # not of this call, and still there


def test_two_grids_in_one_folder_are_refused(store: Path, tmp_path: Path) -> None:
    lock = Lock(tmp_path / ".lock")
    with pytest.raises(
        RunLocked, match=f"another process is writing to this grid: process {os.getpid()}"
    ):
        run_grid(grid_of_cells(store, {"bert": {"model": "bert"}}), output=tmp_path)
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_no_runs_at_once_are_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="0 runs at once"):
        run_grid(grid_of_cells(store, {"a": {}}), output=tmp_path, jobs=0)


# stopped in the middle --------------------------------------------------------------------------


def lock_holder(run: Path) -> int:
    return int(json.loads((run / ".lock").read_text())["process"])


def terminated(
    file: Path,
    runs: Path,
    *,
    at: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> tuple[int, str]:
    """``drin-fs grid``, sent SIGTERM at an event; its status and last line."""
    shown = EventLines.event

    def event(self: EventLines, run: RunState, text: str) -> None:
        shown(self, run, text)
        if at in text:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(EventLines, "event", event)
        status = main(["grid", str(file), "-o", str(runs)])
    return status, capsys.readouterr().err.splitlines(keepends=True)[-1]


def killed_command(file: Path, runs: Path, *, at: str) -> int:
    """``drin-fs grid`` in a process of its own, killed at an event; its status."""
    command = [sys.executable, "-m", "cli", "grid", str(file), "-o", str(runs)]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    with process:
        assert process.stderr is not None
        for line in process.stderr:
            if at in line:
                process.kill()
                at = "killed"
    return process.returncode


def gone(process: int) -> bool:
    """Whether a process ends within a while."""
    give_up = time.monotonic() + 60
    while is_running(process) and time.monotonic() < give_up:
        time.sleep(0.02)
    return not is_running(process)


def states_in(runs: Path) -> list[str]:
    return [line["state"] for line in json.loads((runs / "grid.json").read_text())["runs"]]


@linux
def test_a_grid_that_is_stopped_in_every_way_has_the_figures_of_one_that_was_not(
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """SIGTERM, the grid killed, a run killed: each time it goes on from the last checkpoint."""
    grid = grid_of_cells(store, {"drin": LONG, "text": {"model": "text"}})
    file, runs = tmp_path / "g.yaml", tmp_path / "runs"
    file.write_text(grid.text)
    drin = RunFolder(runs / "drin" / "seed-0")
    log = runs / "logs" / "drin.seed-0.txt"

    status, last = terminated(file, runs, at="epoch 1/", monkeypatch=monkeypatch, capsys=capsys)
    assert (status, last) == (130, "interrupted\n")
    assert states_in(runs) == ["stopped", "waiting"]
    assert drin.last.is_file()
    assert not (drin.path / ".lock").exists()
    assert "continue with --resume" in log.read_text()

    assert killed_command(file, runs, at="epoch 2/") == -signal.SIGKILL
    assert states_in(runs)[0] == "running"
    if (drin.path / ".lock").exists():
        assert gone(lock_holder(drin.path))
    assert not drin.summary.exists()

    def kill(run: RunState) -> None:
        os.kill(lock_holder(run.plan.folder), signal.SIGKILL)

    killed = Watching("drin seed 0: epoch ", kill)
    result = run_grid(grid, output=runs, watcher=killed)
    assert [run.state for run in result.runs] == ["failed", "finished"]
    assert result.runs[0].reason.startswith("killed by SIGKILL")

    again = Watching()
    result = run_grid(grid, output=runs, watcher=again)
    assert [run.state for run in result.runs] == ["finished", "kept"]
    assert again.lines[1].startswith("drin seed 0: continues after epoch ")
    assert log.read_text().count("continuing after") == 3
    train(store, grid.cells[0].config(0), run=tmp_path / "alone")
    assert outcome(drin.path) == outcome(tmp_path / "alone")
