"""Runs that were stopped anywhere continue to the figures of a run that was not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

import featurestore
from cli.main import main
from featurestore.errors import ConfigError
from linker.checkpoint import Place, read_place
from linker.config_text import read_config
from linker.job import prepare_job
from linker.run_folder import RunError, RunFolder
from linker.train import train
from tests.kills_training import events_of
from tests.runs_for_tests import QUICK, QuickRun, Recording, figures_of, read_csv, without_clock

#: Dropout, so that a wrong random number anywhere shows; 6 batches an epoch.
CONFIG: dict[str, Any] = {
    "model": {
        "name": "drin",
        "mention_text": "transformer",
        "transformer_layers": 1,
        "transformer_heads": 2,
        "transformer_feedforward": 8,
    },
    **QUICK,
    "epochs": 3,
}

#: All that has a state of its own between updates, at once; 3 updates an epoch, the last of 1 batch
#: of 16 (the batches are of 20), and an end before the last epoch.
EVERYTHING: dict[str, Any] = {
    **CONFIG,
    "epochs": 6,
    "batch_size": 20,
    "lr": 0.05,
    "schedule": {"kind": "cosine", "warmup": 2, "final": 0.1},
    "accumulate": 2,
    "clip": 0.05,
    "ema": {"decay": 0.9},
    "stopping": {"patience": 2, "metric": "mrr"},
}

#: Mentions trained and validated in an epoch.
EPOCH = 96 + 40


@pytest.fixture(scope="module")
def whole(quick: QuickRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unbroken run of ``CONFIG``, which saved after epochs alone."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(quick.store, read_config(CONFIG), run=run)
    return run


def stopped(store: Path, config: dict[str, Any], *, run: Path, after: int, **how: Any) -> Recording:
    """Train until so many mentions were trained or validated, and interrupt."""
    progress = Recording(interrupt_after=after)
    with pytest.raises(KeyboardInterrupt):
        train(store, read_config(config), run=run, progress=progress, **how)
    return progress


def assert_same_run(one: Path, two: Path) -> None:
    summaries = [without_clock(RunFolder(run).read_summary()) for run in (one, two)]
    assert summaries[0] == summaries[1]
    assert figures_of(one / "metrics.csv") == figures_of(two / "metrics.csv")
    assert events_of(one) == events_of(two)
    for split in ("valid", "test"):
        assert (one / f"ranks/{split}.csv").read_text() == (two / f"ranks/{split}.csv").read_text()
    weights = [load_file(RunFolder(run).best_weights) for run in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.parametrize(
    ("steps", "after", "place"),
    [
        (1, 16, None),  # the first batch: interrupted before it could be saved
        (1, 33, Place(0, 2)),
        (4, EPOCH + 81, Place(1, 4)),
        (1, EPOCH + 96, Place(1, 5)),  # the last batch of an epoch is saved after validation
        (2, EPOCH + 110, Place(1, 4)),  # in validation
        (None, 2 * EPOCH + 50, Place(2, 0)),
    ],
)
def test_a_run_that_is_stopped_anywhere_resumes_to_the_same_figures(
    quick: QuickRun, whole: Path, tmp_path: Path, steps: int | None, after: int, place: Place | None
) -> None:
    run, config = tmp_path / "run", {**CONFIG, "checkpoint_steps": steps}
    said = stopped(quick.store, config, run=run, after=after).lines[-1]
    progress = Recording()
    if place is None:
        assert said == "stopped before the first checkpoint: --resume will start from the beginning"
    else:
        assert said == f"stopped after {place}; continue with --resume -o {run}"
        assert read_place(run / "checkpoints/last.ckpt") == place
    train(quick.store, read_config(config), run=run, resume=True, progress=progress)
    if place is None:
        assert "no checkpoint was written yet; starting from the beginning" in progress.lines[0]
    else:
        assert progress.lines[0] == f"continuing after {place}"
    epochs, batches = place or (0, 0)
    assert progress.done == progress.total == (3 - epochs) * EPOCH - 16 * batches
    assert_same_run(run, whole)


@pytest.fixture(scope="module")
def everything(quick: QuickRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unbroken run of ``EVERYTHING``; it ends early, and not with its best epoch."""
    run = tmp_path_factory.mktemp("everything") / "run"
    train(quick.store, read_config(EVERYTHING), run=run)
    summary = RunFolder(run).read_summary()
    assert summary["best_epoch"] < summary["epochs"] == 3
    return run


@pytest.mark.parametrize(
    ("after", "place"),
    [
        (21, None),  # between the batches of the first update
        (60, Place(0, 2)),  # warming up
        (EPOCH + 61, Place(1, 2)),  # within an update: back to the one before
        (EPOCH + 81, Place(1, 4)),
        (EPOCH + 110, Place(1, 4)),  # in validation, with the average in the place of the weights
        (2 * EPOCH + 50, Place(2, 2)),
    ],
)
def test_a_run_with_every_state_there_is_resumes_to_the_same_figures(
    quick: QuickRun, everything: Path, tmp_path: Path, after: int, place: Place | None
) -> None:
    run, config = tmp_path / "run", {**EVERYTHING, "checkpoint_steps": 1}
    stopped(quick.store, config, run=run, after=after)
    last = run / "checkpoints/last.ckpt"
    assert (read_place(last) if last.exists() else None) == place
    train(quick.store, read_config(config), run=run, resume=True)
    assert_same_run(run, everything)
    for name in ("last", "best"):
        states = [
            torch.load(folder / f"checkpoints/{name}.ckpt", weights_only=True)
            for folder in (run, everything)
        ]
        for key in ("state_dict", "current_model_state"):
            assert all(
                torch.equal(value, states[1][key][name]) for name, value in states[0][key].items()
            )
        assert states[0]["lr_schedulers"] == states[1]["lr_schedulers"]


def test_a_run_that_stopped_early_does_not_go_on_when_it_is_resumed(
    quick: QuickRun, everything: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(everything, tmp_path / "run"))
    (run / "summary.json").unlink()  # killed while it scored
    progress = Recording()
    train(quick.store, read_config(EVERYTHING), run=run, resume=True, progress=progress)
    assert_same_run(run, everything)
    assert progress.done == 0


def test_a_run_that_stopped_early_goes_on_with_more_patience(
    quick: QuickRun, everything: Path, tmp_path: Path
) -> None:
    patient = {**EVERYTHING, "stopping": {"patience": None}}
    train(quick.store, read_config(patient), run=tmp_path / "whole")
    run = Path(shutil.copytree(everything, tmp_path / "run"))
    train(quick.store, read_config(patient), run=run, resume=True)
    assert_same_run(run, tmp_path / "whole")


@pytest.mark.parametrize(
    ("schedule", "allowed"),
    [
        ({"kind": "constant"}, True),
        ({"kind": "constant", "warmup": 3}, True),
        ({"kind": "constant", "warmup": 0.5}, False),
        ({"kind": "linear"}, False),
    ],
)
def test_only_a_run_whose_rate_does_not_depend_on_its_length_is_made_longer(
    quick: QuickRun, tmp_path: Path, schedule: dict[str, Any], allowed: bool
) -> None:
    config = {**QUICK, "model": {"name": "text"}, "schedule": schedule}
    train(quick.store, read_config({**config, "epochs": 1}), run=tmp_path / "run")
    longer = read_config({**config, "epochs": 2})
    if allowed:
        train(quick.store, longer, run=tmp_path / "run", resume=True)
        train(quick.store, longer, run=tmp_path / "whole")
        assert_same_run(tmp_path / "run", tmp_path / "whole")
    else:
        with pytest.raises(ConfigError, match="a schedule over its 1 epochs: with 2") as raised:
            train(quick.store, longer, run=tmp_path / "run", resume=True)
        assert "continue with --epochs 1, or train a new run" in raised.value.hint


def test_a_run_can_be_stopped_again_and_again(quick: QuickRun, whole: Path, tmp_path: Path) -> None:
    run, config = tmp_path / "run", {**CONFIG, "checkpoint_steps": 1}
    stopped(quick.store, config, run=run, after=40)
    stopped(quick.store, config, run=run, after=EPOCH, resume=True)
    stopped(quick.store, config, run=run, after=50, resume=True)
    train(quick.store, read_config(config), run=run, resume=True)
    assert_same_run(run, whole)
    assert [row["epoch"] for row in read_csv(run / "metrics.csv")] == ["1", "2", "3"]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("workers", [(0, 2), (2, 1)])
def test_processes_that_read_do_not_change_where_a_run_goes_on(
    quick: QuickRun, tmp_path: Path, workers: tuple[int, int]
) -> None:
    config = {**CONFIG, "epochs": 2, "order": "local", "checkpoint_steps": 1}
    train(quick.store, read_config(config), run=tmp_path / "whole")
    stopped(quick.store, {**config, "workers": workers[0]}, run=tmp_path / "run", after=EPOCH + 40)
    resumed = read_config({**config, "workers": workers[1]})
    train(quick.store, resumed, run=tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_checkpoint_is_saved_when_the_last_one_is_old(quick: QuickRun, tmp_path: Path) -> None:
    config = {**CONFIG, "checkpoint_minutes": 1e-9}
    stopped(quick.store, config, run=tmp_path / "run", after=60)
    assert read_place(tmp_path / "run/checkpoints/last.ckpt") == Place(0, 3)
    stopped(quick.store, CONFIG, run=tmp_path / "other", after=60)
    assert not (tmp_path / "other/checkpoints/last.ckpt").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"checkpoint_minutes": 0}, "greater than 0\n.*\n.*change it with --checkpoint-minutes"),
        ({"checkpoint_steps": 0}, "checkpoint_steps.*greater than or equal to 1"),
    ],
)
def test_an_interval_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_config({**CONFIG, **options})


@pytest.mark.parametrize("left", ["nothing", "empty folders", "its options", "old figures"])
def test_a_run_that_was_killed_before_its_first_checkpoint_starts_over(
    quick: QuickRun, tmp_path: Path, left: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    options = ["--epochs", "1", "--batch-size", "16", "--lr", "0.01"]
    if left != "nothing":
        (run / "checkpoints").mkdir(parents=True)
        (run / "ranks").mkdir()
        (run / ".config.yaml.part").touch()
    if left in ("its options", "old figures"):
        config = {**QUICK, "epochs": 1}
        with featurestore.open(quick.store) as store:
            settled = prepare_job(store, read_config(config)).config
        (run / "config.yaml").write_text(yaml.safe_dump(settled.model_dump(mode="json")))
        options = []  # they stand in the run
    if left == "old figures":
        (run / "metrics.csv").write_text("epoch\n1\n")
        (run / "tensorboard").mkdir()
        (run / "tensorboard/events.out.tfevents.1").touch()
    assert main(["train", str(quick.store), "-o", str(run), "--resume", *options]) == 0
    said = capsys.readouterr().err
    assert f"nothing to resume in {run}: no checkpoint was written yet; starting from" in said
    assert figures_of(run / "metrics.csv") == figures_of(quick.folder / "metrics.csv")[:1]
    assert len(list((run / "tensorboard").iterdir())) == 1
    assert not list(run.rglob(".*"))


def test_a_checkpoint_without_its_options_is_not_continued(quick: QuickRun, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(quick.store, read_config({**QUICK, "epochs": 1}), run=run)
    (run / "config.yaml").unlink()
    with pytest.raises(RunError, match="the folder holds no run"):
        train(quick.store, read_config({**QUICK, "epochs": 2}), run=run, resume=True)


def test_resume_leaves_a_folder_alone_that_is_no_run(quick: QuickRun, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="the run folder is not empty"):
        train(quick.store, read_config(QUICK), run=tmp_path, resume=True)
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_a_replaced_run_cannot_be_continued_by_mistake(
    quick: QuickRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    train(quick.store, read_config({**QUICK, "epochs": 1}), run=run)
    removed: list[str] = []
    unlink = Path.unlink

    def killed(path: Path, missing_ok: bool = False) -> None:
        if path.name == "metrics.csv":
            raise KeyboardInterrupt
        removed.append(path.name)
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            train(quick.store, read_config({**QUICK, "epochs": 2}), run=run, overwrite=True)
    assert removed[0] == "last.ckpt"
    assert (run / "config.yaml").exists()
    train(quick.store, read_config({**QUICK, "epochs": 1}), run=run, overwrite=True)
    assert figures_of(run / "metrics.csv") == figures_of(quick.folder / "metrics.csv")[:1]


def test_runs_that_are_killed_resume_to_the_same_figures() -> None:
    """The short form of ``python -m tests.kills_training --kills 50``, and with ``--everything``."""
    code = (
        "from tests.kills_training import run_kills\n"
        "run_kills(2, seed=0)\n"
        "run_kills(1, seed=1, everything=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "    2  runs killed" in done.stdout
    assert "    1  runs killed" in done.stdout
