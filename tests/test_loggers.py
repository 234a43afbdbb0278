"""--logger: what is sent, once each, where a run stopped, and what happens when sending fails."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from lightning.pytorch.loggers import Logger

from cli.main import EXTRAS, main
from featurestore.errors import ConfigError
from linker import loggers
from linker.config_text import read_config
from linker.loggers import LOGGERS, LoggerFailed
from linker.run_folder import RunFolder
from linker.train import train
from tests.runs_for_tests import QUICK, QuickRun, Recording, read_csv, without_clock
from tests.test_resume import stopped

SHORT: dict[str, Any] = {**QUICK, "model": {"name": "text"}, "epochs": 3}


class FakeLogger(Logger):
    """Keeps what it is given; fails from some call on."""

    made: list[FakeLogger]

    def __init__(self, run: str, fails_at: int | None) -> None:
        super().__init__()
        self.run, self.fails_at = run, fails_at
        self.options: dict[str, Any] = {}
        self.sent: list[tuple[int | None, dict[str, float]]] = []
        self.status = ""

    @property
    def name(self) -> str:
        return "fake"

    @property
    def version(self) -> str:
        return self.run

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if self.fails_at is not None and len(self.sent) >= self.fails_at:
            raise ConnectionError("the server is gone\nand more lines")
        self.sent.append((step, metrics))

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        self.options = params

    def finalize(self, status: str) -> None:
        self.status = status


class Fakes:
    """Stands for both packages."""

    def __init__(self) -> None:
        self.made: list[FakeLogger] = []
        self.fails_at: int | None = None
        self.starts = True

    def make(self, folder: RunFolder, state: dict[str, Any]) -> Logger:
        if not self.starts:
            raise PermissionError("api_key not configured")
        state["id"] = state["id"] or f"run-{len(self.made)}"
        self.made.append(FakeLogger(state["id"], self.fails_at))
        return self.made[-1]


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Fakes:
    fakes = Fakes()
    for name in LOGGERS:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
        monkeypatch.setitem(loggers._MAKERS, name, fakes.make)  # type: ignore[index]
    return fakes


def test_options_epochs_and_the_best_weights_are_sent(
    quick: QuickRun, tmp_path: Path, fakes: Fakes
) -> None:
    config = read_config(SHORT)
    plain = train(quick.store, config, run=tmp_path / "plain")
    assert fakes.made == []
    run = tmp_path / "run"
    summary = train(quick.store, config, run=run, loggers=("wandb", "mlflow", "wandb"))
    assert without_clock(summary) == without_clock(plain)
    assert len(fakes.made) == 2
    history = read_csv(run / "metrics.csv")
    for logger in fakes.made:
        assert logger.options["lr"] == 0.01
        assert logger.options["model"]["name"] == "text"
        assert [step for step, _ in logger.sent] == [1, 2, 3, 3]
        for row, (_, figures) in zip(history, logger.sent, strict=False):
            assert figures["train/loss"] == float(row["train_loss"])
            assert figures["valid/hits_at_1"] == float(row["valid_hits@1"])
            assert figures["lr"] == 0.01
        last = logger.sent[-1][1]
        assert last["test/mrr"] == summary["test"]["mrr"]
        assert last["best/hits_at_20"] == summary["valid"]["hits@20"]
        assert logger.status == "success"
    states = json.loads((run / "loggers.json").read_text())
    assert states == {name: {"id": f"run-{i}", "epochs": 3} for i, name in enumerate(LOGGERS)}


def test_a_continued_run_sends_each_epoch_once_under_its_id(
    quick: QuickRun, tmp_path: Path, fakes: Fakes
) -> None:
    run = tmp_path / "run"
    stopped(quick.store, SHORT, run=run, after=136 + 50, loggers=("wandb",))
    assert fakes.made[0].status == "failed"
    train(quick.store, read_config(SHORT), run=run, resume=True, loggers=("wandb", "mlflow"))
    first, second, other = fakes.made
    assert first.run == second.run != other.run
    assert [step for step, _ in first.sent + second.sent] == [1, 2, 3, 3]
    assert [step for step, _ in other.sent] == [1, 2, 3, 3]  # asked for later: all of it
    train(quick.store, read_config(SHORT), run=run, overwrite=True, loggers=("wandb",))
    assert fakes.made[-1].run not in (first.run, other.run)
    assert "mlflow" not in json.loads((run / "loggers.json").read_text())


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"wandb": 3}', '{"wandb": {"id": "a"}}'])
def test_a_damaged_record_of_what_was_sent_begins_anew(
    quick: QuickRun, tmp_path: Path, fakes: Fakes, content: str
) -> None:
    run = tmp_path / "run"
    train(quick.store, read_config(SHORT), run=run)
    (run / "loggers.json").write_text(content)
    train(quick.store, read_config(SHORT), run=run, resume=True, loggers=("wandb",))
    assert [step for step, _ in fakes.made[0].sent] == [1, 2, 3, 3]


@pytest.mark.parametrize("fails_at", [0, 2, 3])
def test_a_server_that_goes_away_does_not_end_the_run(
    quick: QuickRun, tmp_path: Path, fakes: Fakes, fails_at: int
) -> None:
    fakes.fails_at = fails_at
    progress = Recording()
    config = read_config(SHORT)
    train(quick.store, config, run=tmp_path / "run", loggers=("mlflow",), progress=progress)
    warnings = [line for line in progress.lines if line.startswith("WARNING")]
    assert warnings == ["WARNING: mlflow takes no more figures: the server is gone"]
    if fails_at:
        states = json.loads((tmp_path / "run/loggers.json").read_text())
        assert states["mlflow"]["epochs"] == fails_at


def test_a_logger_that_does_not_start_says_what_to_do(
    quick: QuickRun, tmp_path: Path, fakes: Fakes
) -> None:
    fakes.starts = False
    with pytest.raises(LoggerFailed, match="wandb does not start: api_key not") as raised:
        train(quick.store, read_config(SHORT), run=tmp_path / "run", loggers=("wandb",))
    assert "WANDB_MODE=offline" in raised.value.hint


@pytest.mark.parametrize("name", LOGGERS)
def test_a_package_that_is_not_installed_names_the_extra(
    quick: QuickRun,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]
    run = tmp_path / "run"
    assert main(["train", str(quick.store), "-o", str(run), "--logger", name]) == 2
    said = capsys.readouterr().err
    assert f"--logger {name} needs {name}, which is not installed" in said
    assert f'pip install "drin-fs[{name}]"' in said
    assert name in EXTRAS
    assert not run.exists()


def test_an_unknown_logger_lists_those_there_are(quick: QuickRun, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no logger 'comet'") as raised:
        train(quick.store, read_config(SHORT), run=tmp_path / "run", loggers=("comet",))  # type: ignore[arg-type]
    assert raised.value.hint == "loggers: wandb, mlflow"


@pytest.mark.filterwarnings("ignore")  # of packages below MLflow
def test_mlflow_keeps_a_run_in_its_folder(
    quick: QuickRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = tmp_path / "text/seed-0"
    summary = train(quick.store, read_config(SHORT), run=run, loggers=("mlflow",))
    client = tracking.MlflowClient(f"sqlite:///{run}/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("drin-fs")
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.run_name, found.info.status) == ("text/seed-0", "FINISHED")
    assert found.data.params["model/name"] == "text"
    assert found.data.metrics["test/mrr"] == summary["test"]["mrr"]


@pytest.mark.filterwarnings("ignore")
def test_wandb_keeps_a_run_in_its_folder(
    quick: QuickRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = tmp_path / "run"
    train(quick.store, read_config(SHORT), run=run, loggers=("wandb",))
    number = json.loads((run / "loggers.json").read_text())["wandb"]["id"]
    assert list((run / "wandb").glob(f"offline-run-*-{number}"))
