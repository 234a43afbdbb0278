"""Finished runs: what their folders hold, scoring them again, comparing them, the commands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from cli.main import main
from featurestore.errors import ConfigError, StoreError, UnknownId, WriteError
from linker.atomic import replacing
from linker.config_text import read_config
from linker.evaluate import evaluate
from linker.ranks import Ranks
from linker.recorded import RecordedRun
from linker.report_rows import read_table
from linker.run_folder import RunError, RunFolder
from linker.train import train
from tests.runs_for_tests import (
    QUICK,
    QuickRun,
    read_csv,
)
from tests.stores_for_tests import planted_store

# what a run leaves behind -------------------------------------------------------------------------


def test_a_run_folder_holds_what_its_page_says(quick: QuickRun) -> None:
    run = quick.folder
    files = {str(p.relative_to(run)) for p in run.rglob("*") if p.is_file()}
    events = {name for name in files if name.startswith("tensorboard/events.out.tfevents")}
    assert len(events) == 1
    assert files - events == {
        "README.md",
        "config.yaml",
        "environment.json",
        "metrics.csv",
        "summary.json",
        "ranks/valid.csv",
        "ranks/test.csv",
        "scores/valid.npy",
        "scores/test.npy",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "checkpoints/best.safetensors",
    }
    assert json.loads((run / "summary.json").read_text()) == quick.summary


def test_the_recorded_configuration_says_what_the_store_decided(quick: QuickRun) -> None:
    written = yaml.safe_load((quick.folder / "config.yaml").read_text())
    assert written["model"]["edges"] == ["tt", "ti", "it", "ii"]
    assert read_config(written).epochs == 6


def test_the_environment_names_versions_device_and_store(quick: QuickRun) -> None:
    environment = json.loads((quick.folder / "environment.json").read_text())
    assert environment["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert environment["threads"] == torch.get_num_threads()
    assert environment["store"]["path"] == str(quick.store.resolve())
    assert environment["store"]["fingerprint"] == quick.summary["store"]["fingerprint"]


def test_the_summary_picks_the_best_epoch_of_the_history(quick: QuickRun) -> None:
    history = read_csv(quick.folder / "metrics.csv")
    merit = [(float(row["valid_hits@1"]), float(row["valid_mrr"])) for row in history]
    assert quick.summary["best_epoch"] == 1 + merit.index(max(merit))
    assert (quick.summary["valid"]["hits@1"], quick.summary["valid"]["mrr"]) == max(merit)
    assert [int(row["epoch"]) for row in history] == list(range(1, 7))


def test_every_figure_follows_from_the_recorded_ranks(quick: QuickRun) -> None:
    rows = read_csv(quick.folder / "ranks/test.csv")
    assert [row["mention"] for row in rows] == [f"m{i}" for i in range(136, 176)]
    ranks = [float(row["rank_expected"]) if row["rank_expected"] else np.inf for row in rows]
    assert np.mean(np.array(ranks) <= 1) == quick.summary["test"]["hits@1"]
    assert np.mean(1 / np.array(ranks)) == pytest.approx(quick.summary["test"]["mrr"])
    assert {row["retrieved"] for row in rows if not row["rank_optimistic"]} == {"0"}


def test_checkpoints_hold_tensors_and_plain_values_only(quick: QuickRun) -> None:
    checkpoints = quick.folder / "checkpoints"
    for name in ("best", "last"):
        torch.load(checkpoints / f"{name}.ckpt", weights_only=True)
    best = torch.load(checkpoints / "best.ckpt", weights_only=True)["state_dict"]
    weights = load_file(checkpoints / "best.safetensors")
    assert {f"network.{name}" for name in weights} == set(best)
    assert all(torch.equal(value, best[f"network.{name}"]) for name, value in weights.items())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_the_peak_of_anonymous_memory_is_recorded(quick: QuickRun) -> None:
    assert 50 < quick.summary["peak_rss_anon_mb"] < 4000


def test_a_folder_that_is_not_empty_is_refused(quick: QuickRun, tmp_path: Path) -> None:
    run = tmp_path / "run"
    config = read_config({**QUICK, "epochs": 1})
    train(quick.store, config, run=run)
    (run / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="the run folder is not empty") as raised:
        train(quick.store, config, run=run)
    assert "--resume" in raised.value.hint
    assert "--overwrite" in raised.value.hint
    train(quick.store, config, run=run, overwrite=True)
    assert (run / "notes.txt").read_text() == "mine"


def test_overwrite_spares_folders_that_are_no_runs(quick: QuickRun, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds no run"):
        train(quick.store, read_config(QUICK), run=tmp_path, overwrite=True)
    assert (tmp_path / "summary.json").exists()


def test_a_file_that_cannot_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "last.ckpt"
    target.write_text("old")

    def fail() -> None:
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(WriteError, match="the disk is full"):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


# scoring again ------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["valid", "test"])
def test_evaluate_repeats_the_figures_of_the_summary(quick: QuickRun, split: str) -> None:
    again = evaluate(quick.folder, split=split)
    assert again[split] == quick.summary[split]
    for key in ("model", "protocol", "tie_rule", "denominator", "seed", "edges", "store"):
        assert again[key] == quick.summary[key]


def test_evaluate_scores_under_other_conditions_and_says_so(
    quick: QuickRun, tmp_path: Path
) -> None:
    short = train(quick.store, read_config({**QUICK, "epochs": 1}), run=tmp_path / "run")
    paper = evaluate(tmp_path / "run", protocol="paper")
    assert paper["protocol"] == "paper"
    assert paper["test"]["mrr"] != short["test"]["mrr"]  # the gold slot is seen
    found = evaluate(tmp_path / "run", tie_rule="pessimistic", denominator="retrieved")
    assert (found["tie_rule"], found["denominator"]) == ("pessimistic", "retrieved")
    counts = found["test"]
    assert found["test"]["mrr"] == pytest.approx(
        short["test"]["mrr"] * counts["mentions"] / counts["retrieved"]
    )


def test_a_store_that_moved_is_found_by_its_fingerprint(quick: QuickRun, tmp_path: Path) -> None:
    moved = tmp_path / "moved.h5"
    moved.write_bytes((quick.store).read_bytes())
    assert evaluate(quick.folder, store=moved)["test"] == quick.summary["test"]


def test_another_store_is_refused_with_the_differences(quick: QuickRun, tmp_path: Path) -> None:
    other = planted_store(tmp_path / "other.h5", groups=11, pooled_text=True)
    with pytest.raises(RunError) as raised:
        evaluate(quick.folder, store=other)
    assert "entities 36 → 33; entities/text_pooled absent → float16[12]" in raised.value.what
    figures = evaluate(quick.folder, store=other, other_store=True)
    assert figures["store"]["path"] == str(other.resolve())


def test_evaluate_says_what_is_missing(quick: QuickRun, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such run folder"):
        evaluate(tmp_path / "none")
    with pytest.raises(UnknownId, match="no split 'dev'"):
        evaluate(quick.folder, split="dev")
    store = planted_store(tmp_path / "gone.h5")
    train(store, read_config({**QUICK, "epochs": 1}), run=tmp_path / "run")
    store.unlink()
    with pytest.raises(StoreError, match="the run's store cannot be opened") as raised:
        evaluate(tmp_path / "run")
    assert "--store PATH" in raised.value.hint


def test_weights_of_another_network_are_refused(quick: QuickRun, tmp_path: Path) -> None:
    train(quick.store, read_config({**QUICK, "epochs": 1}), run=tmp_path / "run")
    config = tmp_path / "run/config.yaml"
    config.write_text(config.read_text().replace("layers: 2", "layers: 1", 1))
    with pytest.raises(RunError, match=r"another network: graph\.0\.w_u\.bias is"):
        evaluate(tmp_path / "run")


# tables and commands ------------------------------------------------------------------------------


def test_a_report_refuses_to_compare_figures_of_different_conditions(
    quick: QuickRun, tmp_path: Path
) -> None:
    config = read_config({**QUICK, "epochs": 1, "metrics": {"tie_rule": "optimistic"}})
    train(quick.store, config, run=tmp_path / "optimistic")
    runs = [RecordedRun(quick.folder), RecordedRun(tmp_path / "optimistic")]
    with pytest.raises(
        ConfigError, match=r"tie_rule is expected in .*drin, optimistic in"
    ) as raised:
        read_table(runs)
    assert "--mixed" in raised.value.hint
    assert read_table(runs, mixed=True).differing == ("tie_rule",)


def test_the_commands_train_evaluate_and_report(
    quick: QuickRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tmp_path / "run")
    options = ["--epochs", "2", "--batch-size", "16", "--lr", "0.01", "--json"]
    assert main(["train", str(quick.store), "-o", run, *options]) == 0
    printed = capsys.readouterr()
    summary = json.loads(printed.out)
    assert summary == RunFolder(run).read_summary()
    epochs = [line for line in printed.err.splitlines() if line.startswith("epoch ")]
    assert [line.split("  ")[0] for line in epochs] == ["epoch 1/2", "epoch 2/2"]
    assert "Lightning" not in printed.err
    assert "GPU" not in printed.err

    assert main(["evaluate", run, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["test"] == summary["test"]

    assert main(["report", run]) == 0
    shown = capsys.readouterr().out
    assert "Protocol strict, ties expected, mentions all" in shown
    assert f"{100 * summary['test']['hits@1']:.1f}" in shown

    assert main(["train", str(quick.store), "-o", run]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["train", str(quick.store), "-o", run, "--resume", "--epochs", "3"]) == 0
    assert "tt ti it ii" in capsys.readouterr().out


def test_help_of_the_training_commands_loads_no_torch() -> None:
    program = (
        "import sys; from cli.main import main\n"
        "for name in ('train', 'evaluate', 'report'): main([name, '--help'])\n"
        "sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_ranks_survive_being_written(tmp_path: Path) -> None:
    ranks = Ranks(
        optimistic=np.array([1.0, np.inf]),
        pessimistic=np.array([4.0, np.inf]),
        retrieved=np.array([True, False]),
    )
    run = RunFolder(tmp_path / "run")
    run.start()
    run.write_ranks("test", ids=["a,1", "b"], ranks=ranks)
    assert [list(row.values()) for row in read_csv(run.ranks("test"))] == [
        ["a,1", "1", "1", "2.5", "4"],
        ["b", "0", "", "", ""],
    ]
