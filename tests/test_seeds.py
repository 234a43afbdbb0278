"""``drin-fs train --seeds``: runs that lie together, what is kept, continued, refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from linker.recorded import RecordedRun
from linker.run_condition import condition_of
from linker.run_folder import RunFolder
from linker.run_groups import group_runs, runs_below
from tests.grids_for_tests import outcome
from tests.stores_for_tests import planted_store

QUICK = ["--epochs", "2", "--batch-size", "16", "--model", "text"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted_store(tmp_path_factory.mktemp("seeds") / "planted.h5")


def test_seeds_are_runs_of_one_group_and_those_of_their_own_commands(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", str(store), "-o", str(tmp_path / "runs"), *QUICK]
    assert main([*command, "--seeds", "0,3"]) == 0
    captured = capsys.readouterr()
    assert "2 seeds (0, 3)" in captured.out
    (group,) = group_runs(RecordedRun(path) for path in runs_below([tmp_path / "runs"]))
    assert (group.name, [run.summary["seed"] for run in group.runs]) == ("runs", [0, 3])
    assert main(["train", str(store), "-o", str(tmp_path / "alone"), *QUICK, "--seed", "3"]) == 0
    assert outcome(tmp_path / "runs" / "seed-3") == outcome(tmp_path / "alone")


def test_finished_seeds_are_kept_and_a_list_can_grow(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", str(store), "-o", str(tmp_path), *QUICK, "--json"]
    assert main([*command, "--seeds", "0"]) == 0
    before = (tmp_path / "seed-0" / "summary.json").stat().st_mtime_ns
    capsys.readouterr()
    assert main([*command, "--seeds", "0-1"]) == 0
    captured = capsys.readouterr()
    assert "seed 0: finished before" in captured.err
    assert (tmp_path / "seed-0" / "summary.json").stat().st_mtime_ns == before
    summaries = json.loads(captured.out)
    assert list(summaries) == [str(tmp_path / "seed-0"), str(tmp_path / "seed-1")]
    assert [summary["seed"] for summary in summaries.values()] == [0, 1]
    assert main([*command, "--seeds", "0", "--overwrite"]) == 0
    assert (tmp_path / "seed-0" / "summary.json").stat().st_mtime_ns != before


def test_other_options_are_refused_and_more_epochs_continue_every_seed(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(store), "-o", str(tmp_path), *QUICK, "--seeds", "0"]) == 0
    command = ["train", str(store), "-o", str(tmp_path), "--seeds", "0,1"]
    assert main([*command, *QUICK, "--lr", "0.1"]) == 2
    assert "the run folder is not empty" in capsys.readouterr().err
    # the model is not said again: --resume takes it from what was begun, for seed 1 too
    assert main([*command, "--resume", "--epochs", "3"]) == 0
    for seed in (0, 1):
        summary = RunFolder(tmp_path / f"seed-{seed}").read_summary()
        assert (summary["model"], summary["epochs"], summary["seed"]) == ("text", 3, seed)
    assert main([*command, "--resume", "--epochs", "3"]) == 0
    assert "seed 1: finished before" in capsys.readouterr().err


@pytest.mark.parametrize("more", [["--seed", "1"], ["--set", "seed=1"]])
def test_one_seed_and_several_is_a_usage_error(
    store: Path, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(store), "--seeds", "0,1", *more]) == 2
    assert "--seeds makes a run with each" in capsys.readouterr().err


def test_what_is_no_list_or_does_not_learn_is_refused(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(store), "--seeds", "a"]) == 2
    assert "'a' is no seed" in capsys.readouterr().err
    command = ["train", str(store), "-o", str(tmp_path / "r"), "--seeds", "0", "--model", "bert"]
    assert main(command) == 2
    assert "model bert has no weights" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_a_folder_that_is_a_run_has_no_seeds_in_it(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RunFolder(tmp_path).write_config("seed: 1\n")
    assert main(["train", str(store), "-o", str(tmp_path), *QUICK, "--seeds", "0"]) == 2
    assert "the folder is a run itself" in capsys.readouterr().err


def test_the_configuration_of_several_seeds_is_that_of_the_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["train", "--seeds", "4,5", "--print-config"]) == 0
    assert "\nseed: 4\n" in capsys.readouterr().out


def test_a_folder_tells_which_options_are_others(store: Path, tmp_path: Path) -> None:
    import featurestore
    from linker.config_text import read_config, to_yaml
    from linker.job import prepare_job

    values = {"model": "text", "epochs": 2}
    with featurestore.open(store) as opened:
        config = prepare_job(opened, read_config(values)).config
        folder = RunFolder(tmp_path / "run")
        assert condition_of(folder, config, fingerprint="f").kind == "absent"
        folder.path.mkdir()
        other = read_config({**values, "loss": {"margin": 0.5}, "workers": 2, "seed": 1})
        folder.write_config(to_yaml(prepare_job(opened, other).config))
        found = condition_of(folder, config, fingerprint="f")
    assert (found.kind, found.reason) == (
        "other",
        "the folder holds a run with other options: loss.margin 0.5 → 0.25, seed 1 → 0",
    )


def test_every_seed_is_sent_to_the_loggers(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: dict[int, Any] = {}

    def instead(store: Any, config: Any, *, loggers: Any, **others: Any) -> dict[str, Any]:
        sent[config.seed] = loggers
        return {}

    monkeypatch.setattr("linker.seeds.train", instead)
    command = ["train", str(store), "-o", str(tmp_path / "runs"), *QUICK, "--json"]
    assert main([*command, "--seeds", "0,3", "--logger", "wandb"]) == 0
    assert sent == {0: ("wandb",), 3: ("wandb",)}
