"""Searches: their trials are runs, none sees the test split, and they go on where they stopped."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")

from rich.console import Console

import linker.tune_trial as tune_trial
from cli.main import main
from featurestore.errors import ConfigError, WriteError
from linker.config_text import read_config
from linker.diagnosis import TrainingDiverged
from linker.evaluate import evaluate
from linker.folder_lock import RunLocked
from linker.recorded import RecordedRun
from linker.rerun import rerun_of
from linker.run_folder import RunError, RunFolder
from linker.run_groups import runs_below
from linker.train import train
from linker.tune import TuneError, tune
from linker.tune_jobs import run_in_processes
from linker.tune_result import TrialLine, Tuned, tuned_view
from linker.tune_space import read_space
from linker.tune_study import Work
from linker.yaml_text import read_file
from tests.runs_for_tests import Recording
from tests.snapshots import check_snapshot
from tests.stores_for_tests import planted_store
from tests.tunes_for_tests import interrupted_in_the_third_trial

SPACE: dict[str, Any] = {
    "defaults": {"model": "text", "epochs": 3, "batch_size": 16},
    "search": {
        "lr": {"low": 1e-4, "high": 1e-1, "log": True},
        "loss.negatives": ["batch", "row"],
    },
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted_store(tmp_path_factory.mktemp("tune") / "planted.h5")


@pytest.fixture(scope="module")
def searched(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tuned]:
    """A finished search of eight trials. Read it only."""
    runs = tmp_path_factory.mktemp("searched") / "runs"
    return runs, tune(store, SPACE, runs=runs, trials=8)


def essence(tuned: Tuned) -> list[tuple[object, ...]]:
    """What two searches of one seed share."""
    return [
        (trial.values, trial.value, trial.state, trial.epochs)
        for trial in tuned.trials
        if trial.state != "interrupted"
    ]


# trials are runs ----------------------------------------------------------------------------------


def test_every_trial_is_a_run_with_the_values_it_was_given(searched: tuple[Path, Tuned]) -> None:
    runs, tuned = searched
    assert [trial.number for trial in tuned.trials] == list(range(8))
    for trial in tuned.trials:
        config = read_config(RunFolder(runs / trial.run).read_config())
        assert (config.lr, config.loss.negatives) == tuple(trial.values.values())
        assert len((runs / trial.run / "metrics.csv").read_text().splitlines()) == 1 + trial.epochs
    complete = [trial for trial in tuned.trials if trial.state == "complete"]
    assert {path.name for path in runs_below([runs])} == {trial.run for trial in complete}
    for trial in complete:
        assert RecordedRun(runs / trial.run).summary["valid"]["mrr"] == trial.value
    assert tuned.best is not None
    assert tuned.best.value == max(trial.value or 0 for trial in complete)


def test_the_test_split_is_never_scored(searched: tuple[Path, Tuned]) -> None:
    runs, tuned = searched
    assert not list(runs.glob("*/ranks/test.csv"))
    assert not list(runs.glob("*/scores/test.npy"))
    assert all("test" not in json.loads(p.read_text()) for p in runs.glob("*/summary.json"))
    assert tuned.best is not None
    assert "test" in evaluate(runs / tuned.best.run)  # who asks for it gets it


def test_the_best_configuration_is_offered_and_trains_to_the_same_figures(
    searched: tuple[Path, Tuned], store: Path, tmp_path: Path
) -> None:
    runs, tuned = searched
    assert tuned.best is not None
    assert rerun_of(runs / "best.yaml") is None  # it is of no run: it says no store
    config = read_config(read_file(runs / "best.yaml"))
    summary = train(store, config, run=tmp_path / "best")
    assert summary["valid"]["mrr"] == tuned.best.value
    assert "test" in summary
    words = shlex.split(tuned.next)
    assert words[:3] == ["drin-fs", "train", str(store)]
    assert words[words.index("--config") + 1] == f"{runs}/best.yaml"


def test_equal_seeds_make_equal_searches(
    searched: tuple[Path, Tuned], store: Path, tmp_path: Path
) -> None:
    again = tune(store, SPACE, runs=tmp_path, trials=8)
    assert essence(again) == essence(searched[1])
    other = tune(store, SPACE, runs=tmp_path / "other", trials=2, seed=1)
    assert essence(other) != essence(again)[:2]


def test_another_metric_decides(store: Path, tmp_path: Path) -> None:
    tuned = tune(store, SPACE, runs=tmp_path, trials=2, metric="hits@5")
    summary = RecordedRun(tmp_path / "trial-0000").summary
    assert tuned.trials[0].value == summary["valid"]["hits@5"] != summary["valid"]["mrr"]
    with pytest.raises(ConfigError, match="no figure 'hits@7'") as raised:
        tune(store, SPACE, runs=tmp_path / "other", metric="hits@7")
    assert "hits@1, hits@5" in raised.value.hint


def test_a_grid_tries_every_combination_once(store: Path, tmp_path: Path) -> None:
    space = {**SPACE, "search": {"lr": [0.1, 0.01, 0.001], "loss.negatives": ["batch", "row"]}}
    first = tune(store, space, runs=tmp_path, sampler="grid", trials=4)
    assert len(first.trials) == 4
    tuned = tune(store, space, runs=tmp_path, sampler="grid", pruner="none")
    assert len(tuned.trials) == 6
    assert len({tuple(trial.values.values()) for trial in tuned.trials}) == 6
    with pytest.raises(ConfigError, match="do not go together"):
        tune(store, space, runs=tmp_path)


# pruning and failing ------------------------------------------------------------------------------


def test_a_trial_that_falls_behind_is_pruned_and_says_why(store: Path, tmp_path: Path) -> None:
    space = {
        "defaults": {"model": "text", "epochs": 4, "batch_size": 16},
        "search": {"lr": [*[0.01 + 0.001 * i for i in range(6)], 1e-9]},
    }
    tuned = tune(store, space, runs=tmp_path, sampler="grid")
    assert [trial.state for trial in tuned.trials[:5]] == ["complete"] * 5
    last = tuned.trials[-1]
    assert (last.state, last.epochs) == ("pruned", 2)
    assert last.reason.startswith("by median after epoch 2, at 0.")
    assert not (tmp_path / last.run / "summary.json").exists()
    assert tuned.best is not None
    assert tuned.best.state == "complete"


def test_hyperband_prunes_too(store: Path, tmp_path: Path) -> None:
    space = {
        "defaults": {"model": "text", "epochs": 9, "batch_size": 16},
        "search": {"lr": [0.01, *[1e-9 * i for i in range(1, 9)]]},
    }
    tuned = tune(store, space, runs=tmp_path, sampler="grid", pruner="hyperband")
    assert {trial.state for trial in tuned.trials} == {"complete", "pruned"}
    none = tune(store, space, runs=tmp_path / "none", sampler="grid", pruner="none", trials=3)
    assert {trial.state for trial in none.trials} == {"complete"}


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException, *, at: tuple[int, ...]) -> None:
    """Let some of the trainings that follow fail, before their first epoch."""
    calls = iter(range(1000))

    def maybe(*arguments: Any, **options: Any) -> dict[str, Any]:
        if next(calls) in at:
            raise error
        return train(*arguments, **options)

    monkeypatch.setattr(tune_trial, "train", maybe)


def test_a_failed_trial_is_recorded_and_the_others_go_on(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = TrainingDiverged("the loss is nan", where="mentions m1, m2", hint="lower --lr")
    failing(monkeypatch, error, at=(1,))
    progress = Recording()
    tuned = tune(store, SPACE, runs=tmp_path, trials=3, progress=progress)
    assert [trial.state for trial in tuned.trials] == ["complete", "failed", "complete"]
    assert tuned.trials[1].reason == "the loss is nan (mentions m1, m2)"
    assert tuned.trials[1].value is None
    assert any("trial 1: failed (the loss is nan" in line for line in progress.lines)


def test_a_learning_rate_that_diverges_is_a_failed_trial(store: Path, tmp_path: Path) -> None:
    space = {**SPACE, "search": {"lr": [1e38, 0.01]}}
    tuned = tune(store, space, runs=tmp_path, sampler="grid")
    assert [trial.state for trial in tuned.trials] == ["failed", "complete"]
    assert "not finite" in tuned.trials[0].reason or "nan" in tuned.trials[0].reason


def test_a_search_without_any_success_stops(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, ValueError("no such\nthing"), at=tuple(range(20)))
    with pytest.raises(TuneError, match="the first 5 trials all failed") as raised:
        tune(store, SPACE, runs=tmp_path, trials=20)
    assert raised.value.what.endswith("the last because ValueError: no such")


def test_a_full_disk_stops_the_search_and_its_trial_is_repeated(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        failing(patch, WriteError("no space left"), at=(1,))
        with pytest.raises(WriteError, match="no space left"):
            tune(store, SPACE, runs=tmp_path, trials=3)
    assert (tmp_path / "best.yaml").is_file()
    tuned = tune(store, SPACE, runs=tmp_path, trials=3)
    assert [trial.state for trial in tuned.trials] == [
        "complete", "interrupted", "complete", "complete",
    ]  # fmt: skip
    assert tuned.trials[2].values == tuned.trials[1].values


# going on -----------------------------------------------------------------------------------------


def test_an_interrupted_search_becomes_the_one_that_was_not(
    searched: tuple[Path, Tuned], store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with interrupted_in_the_third_trial(monkeypatch):
        tune(store, SPACE, runs=tmp_path, trials=8)
    progress = Recording()
    tuned = tune(store, SPACE, runs=tmp_path, trials=8, progress=progress)
    assert progress.lines[:2] == [
        "going on after 2 trials",
        "interrupted, and continued as new trials: 2",
    ]
    assert essence(tuned) == essence(searched[1])
    interrupted = tuned.trials[2]
    assert (interrupted.state, interrupted.reason, interrupted.run) == (
        "interrupted", "interrupted", "",
    )  # fmt: skip
    assert not (tmp_path / "trial-0002").exists()  # its run goes on as that of trial 3
    resumed = RunFolder(tmp_path / "trial-0003").read_environment()["resumed"]
    assert [entry["after"] for entry in resumed] == ["epoch 1"]


def test_a_finished_search_has_nothing_left_and_can_be_made_longer(
    store: Path, tmp_path: Path
) -> None:
    tune(store, SPACE, runs=tmp_path, trials=2)
    progress = Recording()
    assert len(tune(store, SPACE, runs=tmp_path, trials=2, progress=progress).trials) == 2
    assert progress.lines[-1] == "2 trials are there already: nothing is left to try"
    assert len(tune(store, SPACE, runs=tmp_path, trials=3).trials) == 3


def test_no_trial_begins_after_the_time_is_up(store: Path, tmp_path: Path) -> None:
    progress = Recording()
    tuned = tune(store, SPACE, runs=tmp_path, trials=5, minutes=1e-9, progress=progress)
    assert (tuned.trials, tuned.best, tuned.next) == ((), None, "")
    assert "the time is up: no more trials are begun" in progress.lines


def test_another_search_or_store_in_the_folder_is_refused(store: Path, tmp_path: Path) -> None:
    tune(store, SPACE, runs=tmp_path, trials=1)
    other = {**SPACE, "search": {**SPACE["search"], "loss.negatives": ["batch"]}}
    with pytest.raises(ConfigError) as raised:
        tune(store, other, runs=tmp_path)
    assert "search.loss.negatives ['batch', 'row'] → ['batch']" in raised.value.what
    with pytest.raises(ConfigError, match="--metric mrr → hits@1"):
        tune(store, SPACE, runs=tmp_path, metric="hits@1")
    with pytest.raises(RunError, match="not the store"):
        tune(planted_store(tmp_path / "other.h5", seed=1), SPACE, runs=tmp_path)


def test_folders_of_other_things_are_refused(store: Path, tmp_path: Path) -> None:
    (tmp_path / "trial-0000").mkdir()
    with pytest.raises(ConfigError, match="holds trial-0000, and no search that it is of"):
        tune(store, SPACE, runs=tmp_path)
    with pytest.raises(ConfigError, match="this is a file, and a search is a folder"):
        tune(store, SPACE, runs=store)


def test_a_record_that_ends_in_half_a_line_is_gone_on_with(store: Path, tmp_path: Path) -> None:
    tune(store, SPACE, runs=tmp_path, trials=1)
    with (tmp_path / "study.log").open("ab") as file:
        file.write(b'{"op_code": 6, "wor')
    assert len(tune(store, SPACE, runs=tmp_path, trials=2).trials) == 2
    with (tmp_path / "study.log").open("ab") as file:
        file.write(b"no json\n{}\n")
    with pytest.raises(RunError, match="the record of the search is damaged"):
        tune(store, SPACE, runs=tmp_path, trials=3)


def test_one_search_at_a_time_is_in_a_folder(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def second(*arguments: Any, **options: Any) -> dict[str, Any]:
        with pytest.raises(RunLocked, match="another process is writing to this search"):
            tune(store, SPACE, runs=tmp_path)
        return train(*arguments, **options)

    monkeypatch.setattr(tune_trial, "train", second)
    assert len(tune(store, SPACE, runs=tmp_path, trials=1).trials) == 1


# several processes --------------------------------------------------------------------------------


def test_processes_share_the_trials_and_a_killed_one_costs_its_trial_alone(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = {**SPACE, "defaults": {**SPACE["defaults"], "epochs": 20}}
    file, runs = tmp_path / "space.json", tmp_path / "runs"
    file.write_text(json.dumps(space))  # JSON is YAML
    killed: list[int] = []

    def kill() -> None:
        lock = runs / "trial-0001" / ".lock"
        until = time.monotonic() + 120
        while not (lock.exists() and lock.read_text()) and time.monotonic() < until:
            time.sleep(0.01)
        killed.append(json.loads(lock.read_text())["process"])
        if killed != [os.getpid()]:
            os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    command = ["tune", str(store), str(file), "-o", str(runs), "--jobs", "2", "--trials", "3"]
    assert main([*command, "--pruner", "none", "--json"]) == 0
    killer.join()
    assert killed != [os.getpid()]
    trials = json.loads(capsys.readouterr().out)["trials"]
    assert [trial["state"] for trial in trials].count("complete") == 2
    assert trials[1]["state"] == "failed"
    assert trials[1]["reason"] == "its process ended (killed by signal 9)"
    values = [tuple(trial["values"].values()) for trial in trials]
    assert len(set(values)) == 3
    assert len(list(runs.glob("*/checkpoints"))) == 1


def test_an_error_of_a_process_ends_the_search(tmp_path: Path) -> None:
    work = Work(
        store=tmp_path / "absent.h5", runs=tmp_path, space=read_space(SPACE), metric="mrr",
        sampler="random", pruner="none", seed=0, threads=1,
    )  # fmt: skip
    with pytest.raises(TuneError, match="a process of the search failed"):  # there is no study
        run_in_processes(
            work, iter([0]), jobs=1, on_epoch=lambda number: None, on_end=lambda number, why: None
        )


# the command --------------------------------------------------------------------------------------


def result() -> Tuned:
    def trial(number: int, state: Any, value: float | None, reason: str = "") -> TrialLine:
        values = {"lr": 0.001234567 * (number + 1), "model.edges": ["tt", "ti"], "seed": number}
        return TrialLine(
            number=number, state=state, value=value, values=values, epochs=10, seconds=1234.5,
            reason=reason, run=f"trial-{number:04d}",
        )  # fmt: skip

    trials = (
        trial(0, "complete", 0.5), trial(1, "pruned", 0.25, "by median after epoch 2, at 0.2500"),
        trial(2, "complete", 0.75), trial(3, "failed", None, "the loss is nan \x1b[31m [red]"),
        trial(4, "interrupted", None, "interrupted"),
    )  # fmt: skip
    return Tuned(
        metric="mrr", runs="runs/search", store="wikimel.h5", trials=trials, best=trials[2],
        importances={"lr": 0.8, "model.edges": 0.2},
        next="drin-fs train wikimel.h5 --config runs/search/best.yaml --seeds 0,1,2 "
        "-o runs/search/best",
    )  # fmt: skip


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_shows_the_best_first_and_how_the_others_ended(width: int) -> None:
    console = Console(width=width, file=io.StringIO(), highlight=False, markup=False)
    console.print(tuned_view(result()))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[31m" not in text
    check_snapshot(f"tuned-{width}", text)


def test_the_command_searches_and_shows(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("defaults: {model: text, epochs: 1}\nsearch: {lr: [0.1, 0.01]}\n")
    command = ["tune", str(store), str(file), "-o", str(tmp_path / "runs"), "--sampler", "grid"]
    assert main(command) == 0
    captured = capsys.readouterr()
    assert "2 best of 2 trials (2 complete); figures in %, of the validation split" in captured.out
    assert "trial 1: mrr 0." in captured.err
    assert captured.out.splitlines()[-1].endswith(f"--seeds 0,1,2 -o {tmp_path / 'runs'}/best")
    assert main([*command, "--json"]) == 0
    tuned = json.loads(capsys.readouterr().out)
    assert tuned["best"]["run"] in ("trial-0000", "trial-0001")
    assert tuned["next"].startswith("drin-fs train ")


def test_without_optuna_the_extra_is_named(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("linker.tune")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.setitem(sys.modules, "optuna.study", None)
    assert main(["tune", str(store), "space.yaml", "-o", str(tmp_path / "runs")]) == 1
    assert capsys.readouterr().err == (
        "error: drin-fs tune needs optuna, which is not installed\n"
        '  next:  pip install "drin-fs[tune]"\n'
    )
