"""A run once more from its ``config.yaml``: the same bytes, and what differs is said."""

from __future__ import annotations

import filecmp
import json
import shutil
from pathlib import Path

import pytest

from cli.main import main
from featurestore.errors import StoreError
from linker.config_text import read_config
from linker.rerun import rerun_of
from linker.run_folder import RunError, RunFolder
from linker.train import train
from tests.runs_for_tests import QUICK, QuickRun, figures_of, without_clock
from tests.stores_for_tests import planted_store

SAME_BYTES = (
    "config.yaml", "checkpoints/best.safetensors", "ranks/valid.csv", "ranks/test.csv",
    "scores/valid.npy", "scores/test.npy",
)  # fmt: skip


def assert_equal_runs(first: Path, second: Path) -> None:
    different = [n for n in SAME_BYTES if not filecmp.cmp(first / n, second / n, shallow=False)]
    assert different == []
    assert figures_of(first / "metrics.csv") == figures_of(second / "metrics.csv")
    summaries = [without_clock(RunFolder(run).read_summary()) for run in (first, second)]
    assert summaries[0] == summaries[1]


def test_a_configuration_alone_makes_the_run_again_to_the_byte(
    quick: QuickRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(quick.folder, tmp_path / "drin"))
    assert main(["train", "--config", str(run / "config.yaml")]) == 0
    assert f"{run} once more, unchanged" in capsys.readouterr().err
    assert_equal_runs(run, tmp_path / "drin-again")
    assert main(["train", "--config", str(run / "config.yaml"), "--epochs", "1"]) == 0
    assert f"as {run}, but epochs 6 → 1" in capsys.readouterr().err
    assert (tmp_path / "drin-again-2" / "summary.json").is_file()


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"name": "drin", "without": ["ti"]}, "order": "local", "order_block": 4},
        {"model": {"name": "jmel"}, "loss": {"negatives": "row"}},
        {"model": "text", "protocol": "paper", "lr": 1e-5, "metrics": {"select": "mrr"}},
    ],
)
def test_what_a_store_decided_is_the_same_again(
    changes: dict[str, object], quick: QuickRun, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    train(quick.store, read_config({**QUICK, "epochs": 2, **changes}), run=first)
    rerun = rerun_of(first / "config.yaml")
    assert rerun is not None
    train(rerun.store_path(), rerun.config, run=rerun.new_folder(), rerun=rerun)
    assert_equal_runs(first, tmp_path / "first-again")


def test_another_store_at_the_place_of_the_run_is_refused(tmp_path: Path) -> None:
    store = planted_store(tmp_path / "s.h5")
    train(store, read_config({**QUICK, "epochs": 1, "model": "text"}), run=tmp_path / "run")
    rerun = rerun_of(tmp_path / "run/config.yaml")
    assert rerun is not None
    store.unlink()
    with pytest.raises(StoreError, match="the run's store cannot be opened"):
        rerun.store_path()
    planted_store(store, seed=1)
    with pytest.raises(RunError, match="not the store the run was trained from"):
        rerun.store_path()


def test_another_store_that_is_named_is_taken_and_said(
    quick: QuickRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = planted_store(tmp_path / "other.h5", seed=1)
    config = quick.folder / "config.yaml"
    arguments = ["train", str(store), "--config", str(config), "--epochs", "1"]
    assert main([*arguments, "-o", str(tmp_path / "run")]) == 0
    assert f"WARNING: another store than {quick.folder}'s: " in capsys.readouterr().err
    environment = RunFolder(tmp_path / "run").read_environment()
    assert environment["store"]["path"] == str(store)


def test_the_environment_is_compared(
    quick: QuickRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(quick.folder, tmp_path / "drin"))
    environment = json.loads((run / "environment.json").read_text())
    environment["threads"] = 99
    (run / "environment.json").write_text(json.dumps(environment))
    assert main(["train", "--config", str(run / "config.yaml"), "--epochs", "1"]) == 0
    assert f"last digits from {run}'s: threads 99 → " in capsys.readouterr().err


def test_a_configuration_of_no_run_still_needs_a_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("mine.yaml", "config.yaml"):
        (tmp_path / name).write_text("epochs: 1\n")
        assert rerun_of(tmp_path / name) is None
        assert main(["train", "--config", str(tmp_path / name)]) == 2
        assert "Missing argument 'STORE'" in capsys.readouterr().err
