"""Checkpoints of a search: the best trial's stay, and those of a trial that is to be continued."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")

import optuna

import linker.tune as tune_module
from cli.main import main
from featurestore.progress import Silent
from linker.evaluate import evaluate
from linker.run_folder import RunError, RunFolder
from linker.tune import tune
from linker.tune_keep import remove_checkpoints, settle_keep
from linker.tune_result import Tuned
from linker.tune_study import KEEP
from tests.runs_for_tests import Recording
from tests.stores_for_tests import planted_store
from tests.tunes_for_tests import interrupted_in_the_third_trial

SPACE: dict[str, Any] = {
    "defaults": {"model": "text", "epochs": 2, "batch_size": 16},
    "search": {"lr": [0.01, 0.1, 1e-6, 0.003]},
}
TRIALS = 4


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted_store(tmp_path_factory.mktemp("keep") / "planted.h5")


@pytest.fixture(scope="module")
def whole(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tuned]:
    """A finished search as it is by default. Read it only."""
    runs = tmp_path_factory.mktemp("whole") / "runs"
    return runs, search(store, runs)


def search(store: Path, runs: Path, **options: Any) -> Tuned:
    return tune(store, SPACE, runs=runs, sampler="grid", pruner="none", **options)


def found(tuned: Tuned) -> list[tuple[Any, ...]]:
    ended = (trial for trial in tuned.trials if trial.state != "interrupted")
    return [(trial.values, trial.value, trial.state) for trial in ended]


def with_checkpoints(runs: Path) -> list[str]:
    return sorted(path.parent.name for path in runs.glob("trial-*/checkpoints"))


def test_the_best_trial_keeps_its_checkpoints_and_all_keep_their_results(
    whole: tuple[Path, Tuned],
) -> None:
    runs, tuned = whole
    assert tuned.best is not None
    assert with_checkpoints(runs) == [tuned.best.run]
    best = RunFolder(runs / tuned.best.run)
    assert best.best_weights.is_file()
    assert best.last.is_file()
    assert evaluate(best.path, split="valid")["valid"]["mrr"] == tuned.best.value
    for trial in tuned.trials:
        run = RunFolder(runs / trial.run)
        kept = (run.config, run.environment, run.metrics, run.summary, run.card, run.ranks("valid"))
        assert all(path.is_file() for path in kept)
        assert run.read_summary()["valid"]["mrr"] == trial.value
    other = next(trial for trial in tuned.trials if trial is not tuned.best)
    with pytest.raises(RunError, match="no best weights"):
        evaluate(runs / other.run)


def test_all_are_kept_where_that_is_asked_and_removed_when_it_no_longer_is(
    store: Path, tmp_path: Path, whole: tuple[Path, Tuned]
) -> None:
    tuned = search(store, tmp_path, keep="all")
    assert found(tuned) == found(whole[1])
    assert len(with_checkpoints(tmp_path)) == TRIALS
    size = sum(path.stat().st_size for path in tmp_path.glob("trial-*/checkpoints/*"))
    search(store, tmp_path)  # as it was begun
    assert len(with_checkpoints(tmp_path)) == TRIALS
    progress = Recording()
    search(store, tmp_path, keep="best", progress=progress)
    assert tuned.best is not None
    assert with_checkpoints(tmp_path) == [tuned.best.run]
    size -= sum(path.stat().st_size for path in tmp_path.glob("trial-*/checkpoints/*"))
    assert (
        f"removed the checkpoints of 3 trials that are not the best, {size:,} bytes (--keep all "
        "keeps those to come)" in progress.lines
    )


def test_what_a_search_keeps_is_recorded() -> None:
    study = optuna.create_study()
    assert settle_keep(study, None) == "all"  # begun before it could be chosen
    assert settle_keep(study, "best") == "best"
    assert settle_keep(study, None) == "best"
    assert study.user_attrs[KEEP] == "best"


def test_a_trial_that_was_interrupted_keeps_what_it_is_continued_from(
    whole: tuple[Path, Tuned], store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with interrupted_in_the_third_trial(monkeypatch):
        search(store, tmp_path)
    assert len(with_checkpoints(tmp_path)) == 2  # the best of two, and what is to be continued
    assert RunFolder(tmp_path / "trial-0002").last.is_file()
    search(store, tmp_path, trials=2)  # nothing is left to try: it stays
    assert RunFolder(tmp_path / "trial-0002").last.is_file()
    tuned = search(store, tmp_path)
    resumed = RunFolder(tmp_path / "trial-0004").read_environment()["resumed"]
    assert [entry["after"] for entry in resumed] == ["epoch 1"]
    assert sorted(found(tuned), key=str) == sorted(found(whole[1]), key=str)
    assert tuned.best is not None
    assert with_checkpoints(tmp_path) == [tuned.best.run]
    same_values = {str(trial.values): trial for trial in whole[1].trials}
    for trial in [trial for trial in tuned.trials if trial.state != "interrupted"]:
        same = same_values[str(trial.values)]
        for name in ("ranks/valid.csv", "config.yaml"):
            ours, theirs = tmp_path / trial.run / name, whole[0] / same.run / name
            assert ours.read_bytes() == theirs.read_bytes()


def test_a_search_that_dies_before_it_removes_does_so_when_it_goes_on(
    whole: tuple[Path, Tuned], store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(100))

    def dying(tuned: Tuned, runs: Path) -> tuple[int, int]:
        if next(calls) == 2:  # the second trial is over; the first call was before any
            raise KeyboardInterrupt
        return remove_checkpoints(tuned, runs)

    with monkeypatch.context() as patch:
        patch.setattr(tune_module, "remove_checkpoints", dying)
        with pytest.raises(KeyboardInterrupt):
            search(store, tmp_path)
    assert len(with_checkpoints(tmp_path)) == 2
    progress = Recording()
    tuned = search(store, tmp_path, progress=progress)
    assert any(line.startswith("removed the checkpoints of 1 trials") for line in progress.lines)
    assert found(tuned) == found(whole[1])
    assert tuned.best is not None
    assert with_checkpoints(tmp_path) == [tuned.best.run]


def test_a_run_that_somebody_writes_to_is_left_alone(store: Path, tmp_path: Path) -> None:
    tuned = search(store, tmp_path, keep="all", trials=2)
    (other,) = [trial for trial in tuned.trials if trial is not tuned.best]
    with RunFolder(tmp_path / other.run).locked(progress=Silent()):
        assert remove_checkpoints(tuned, tmp_path) == (0, 0)
        assert len(with_checkpoints(tmp_path)) == 2
    assert remove_checkpoints(tuned, tmp_path)[0] == 1


def test_the_command_keeps_what_it_is_told(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, runs = tmp_path / "space.yaml", tmp_path / "runs"
    file.write_text("defaults: {model: text, epochs: 1}\nsearch: {lr: [0.1, 0.01]}\n")
    command = ["tune", str(store), str(file), "-o", str(runs), "--sampler", "grid", "--json"]
    assert main([*command, "--keep", "all"]) == 0
    assert len(with_checkpoints(runs)) == 2
    assert main([*command, "--keep", "best"]) == 0
    assert len(with_checkpoints(runs)) == 1
    assert "removed the checkpoints of 1 trials" in capsys.readouterr().err
    assert main([*command, "--keep", "some"]) == 2
