"""Several processes train as one does: the same batches, losses and figures; and they end together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.errors import ConfigError, DataError
from featurestore.options import IngestOptions
from linker import bulletin
from linker.config_text import read_config
from linker.data import BatchReader
from linker.launch import rank_here, refuse_several, settle_processes
from linker.pieces import Share
from linker.recorded import RecordedRun
from linker.requests import Requests
from linker.run_folder import RunFolder
from linker.run_groups import group_runs
from linker.seeds import train_seeds
from linker.train import train
from tests.processes_for_tests import in_processes
from tests.runs_for_tests import CLOCK_OF_RUN, QUICK, QuickRun, Recording, figures_of, read_csv
from tests.stores_for_tests import planted_store

#: A last training batch of one mention, so that one of two processes has none of it.
SIZE = 19

#: Runs that are made by one process and by several: name → options.
RUNS: Mapping[str, dict[str, Any]] = {
    "drin": {"model": {"name": "drin"}, "loss": {"negatives": "batch"}},
    "melhi": {
        "model": {"name": "melhi"},
        "loss": {"negatives": "row"},
        "accumulate": 2,
        "clip": 0.05,
        "ema": {"decay": 0.9},
        "schedule": {"kind": "cosine", "warmup": 2},
        "stopping": {"patience": 1, "min_delta": 0.5},
        "epochs": 4,
    },
    "ghmfc": {"model": {"name": "ghmfc", "dropout": 0.0, "transformer_dropout": 0.0}, "epochs": 1},
}


def config_of(name: str, **changes: Any) -> dict[str, Any]:
    return {**QUICK, "epochs": 2, "batch_size": SIZE, **RUNS[name], **changes}


@pytest.fixture(scope="module")
def sample(folders: dict[str, Path], store_of: Callable[[Path, IngestOptions], Path]) -> Path:
    """A store with every feature."""
    return store_of(folders["wikimel"], IngestOptions())


@pytest.fixture(scope="module")
def runs(quick: QuickRun, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every run of ``RUNS`` by one process and by two, and one by three. Read it only."""
    folder = tmp_path_factory.mktemp("runs")
    stores = {name: sample if name == "ghmfc" else quick.store for name in RUNS}
    for name in RUNS:
        train(stores[name], read_config(config_of(name)), run=folder / f"{name}-1")

    def work(count: int, names: tuple[str, ...]) -> Callable[[int], None]:
        def trained(rank: int) -> None:
            for name in names:
                config = read_config(config_of(name, devices=count))
                train(stores[name], config, run=folder / f"{name}-{count}")

        return trained

    for count, names in ((2, tuple(RUNS)), (3, ("drin",))):
        said = folder / f"said-{count}"
        assert in_processes(count, work(count, names), said=said) == [0] * count, said.read_text()
    return folder


# which mentions ------------------------------------------------------------------------------------


@given(rows=st.integers(1, 90), size=st.integers(1, 20), processes=st.integers(1, 9))
def test_every_mention_is_read_once_and_in_the_order_of_one_process(
    rows: int, size: int, processes: int
) -> None:
    alone = list(Requests(rows=range(5, 5 + rows), batch_size=size, seed=3))
    shares = [
        Requests(
            rows=range(5, 5 + rows), batch_size=size, seed=3, share=Share(rank=rank, size=processes)
        )
        for rank in range(processes)
    ]
    read = [list(requests) for requests in shares]
    for step, batch in enumerate(alone):
        pieces = [requests.piece(step) for requests in shares]
        counted = [each[step][: piece.count] for each, piece in zip(read, pieces, strict=True)]
        assert np.array_equal(np.concatenate(counted), batch)
        counts = [piece.count for piece in pieces]
        assert max(counts) - min(counts) <= 1
        assert all(
            len(each[step]) == max(1, piece.count) for each, piece in zip(read, pieces, strict=True)
        )
    assert all(len(each) == len(alone) for each in read)


# the same as one process ----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "count"), [("drin", 2), ("drin", 3), ("melhi", 2), ("ghmfc", 2)])
def test_several_processes_make_the_run_of_one(runs: Path, name: str, count: int) -> None:
    alone, together = RunFolder(runs / f"{name}-1"), RunFolder(runs / f"{name}-{count}")
    wanted, found = figures_of(alone.metrics), figures_of(together.metrics)
    assert len(found) == len(wanted)
    for one, several in zip(wanted, found, strict=True):
        assert numbers(several) == pytest.approx(numbers(one), abs=1e-4)
    for key in ("epochs", "best_epoch", "stopped", "parameters"):
        assert together.read_summary()[key] == alone.read_summary()[key]
    for split in ("valid", "test"):
        ranks = [read_csv(folder.ranks(split)) for folder in (alone, together)]
        assert ranks[0] == ranks[1]
        scores = [np.load(folder.scores(split)) for folder in (alone, together)]
        assert np.allclose(*scores, atol=1e-4)


def numbers(line: dict[str, str]) -> dict[str, float]:
    """A line of ``metrics.csv``; figures that do not exist are left out."""
    return {name: float(value) for name, value in line.items() if value}


def test_a_run_of_several_ends_early_as_one_does(runs: Path) -> None:
    assert RunFolder(runs / "melhi-2").read_summary()["stopped"]


def test_their_runs_are_one_experiment(runs: Path) -> None:
    found = [RecordedRun(runs / f"drin-{count}") for count in (1, 2, 3)]
    (group,) = group_runs(found)
    assert len(group.runs) == 3
    assert [RunFolder(run.path).read_environment()["processes"] for run in found] == [1, 2, 3]


def test_the_first_process_alone_prints(runs: Path) -> None:
    assert (runs / "said-2").read_text() == ""


def test_seeds_are_trained_one_after_the_other_and_once(quick: QuickRun, tmp_path: Path) -> None:
    configs = {
        seed: read_config({**QUICK, "epochs": 1, "model": "text", "devices": 2, "seed": seed})
        for seed in (0, 1)
    }

    def work(rank: int) -> None:
        for _ in range(2):
            train_seeds(quick.store, configs, run=tmp_path / "seeds", progress=Recording())

    said = tmp_path / "said"
    assert in_processes(2, work, said=said) == [0, 0], said.read_text()
    assert len(list(tmp_path.glob("seeds/*/summary.json"))) == 2


# the end --------------------------------------------------------------------------------------------


def resumed(run: Path, store: Path, config: dict[str, Any], **options: Any) -> list[dict[str, str]]:
    train(store, read_config(config), run=run, resume=True, **options)
    return figures_of(RunFolder(run).metrics)


def test_an_error_of_one_ends_all_and_says_whose_it_was(
    quick: QuickRun, runs: Path, tmp_path: Path
) -> None:
    config = config_of("drin", devices=2)

    def work(rank: int) -> None:
        read, batches = BatchReader.__getitem__, iter(range(100))

        def reading(self: BatchReader, rows: np.ndarray) -> Any:
            if rank == 1 and next(batches) == 12:  # in the second epoch
                raise DataError("a page of the store is damaged", where="here", hint="do that")
            return read(self, rows)

        BatchReader.__getitem__ = reading  # type: ignore[method-assign]
        train(quick.store, read_config(config), run=tmp_path / "run")

    said = tmp_path / "said"
    assert in_processes(2, work, said=said) == [3, 0]
    told = said.read_text()
    assert "ProcessFailed: process 1: a page of the store is damaged" in told
    assert "next:  do that" in told
    assert not (tmp_path / "run/.lock").exists()
    figures = resumed(tmp_path / "run", quick.store, {**config, "devices": 1})
    for one, several in zip(figures_of(runs / "drin-1/metrics.csv"), figures, strict=True):
        assert float(several["train_loss"]) == pytest.approx(float(one["train_loss"]), abs=1e-4)


def test_a_process_that_is_killed_ends_all(quick: QuickRun, tmp_path: Path) -> None:
    def work(rank: int) -> None:
        read, batches = BatchReader.__getitem__, iter(range(100))

        def reading(self: BatchReader, rows: np.ndarray) -> Any:
            if rank == 1 and next(batches) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return read(self, rows)

        BatchReader.__getitem__ = reading  # type: ignore[method-assign]
        train(quick.store, read_config(config_of("drin", devices=2)), run=tmp_path / "run")

    said = tmp_path / "said"
    assert in_processes(2, work, said=said) == [1, -signal.SIGKILL]
    assert "another process of the training has gone without a word" in said.read_text()


def test_a_process_that_waits_in_vain_is_ended(
    quick: QuickRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulletin, "_LOOK", 0.1)
    monkeypatch.setattr(bulletin, "_GRACE", 0.2)

    def work(rank: int) -> None:
        def reading(self: BatchReader, rows: np.ndarray) -> Any:
            if rank == 1:
                raise DataError("a page of the store is damaged", hint="do that")
            time.sleep(100)

        BatchReader.__getitem__ = reading  # type: ignore[method-assign]
        train(quick.store, read_config(config_of("drin", devices=2)), run=tmp_path / "run")

    said = tmp_path / "said"
    assert in_processes(2, work, said=said) == [3, 0]
    told = said.read_text()
    assert "error: process 1: a page of the store is damaged\n  next: do that\n" in told


def test_the_process_whose_mentions_are_at_fault_names_them(tmp_path: Path) -> None:
    store = planted_store(tmp_path / "nan.h5", nan_similarity=30)

    def work(rank: int) -> None:
        train(store, read_config(config_of("drin", devices=2)), run=tmp_path / "run")

    said = tmp_path / "said"
    assert in_processes(2, work, said=said)[0] == 1
    assert "of mention m30 is not finite" in said.read_text()


def test_a_terminated_run_with_dropout_resumes_to_the_bit(sample: Path, tmp_path: Path) -> None:
    config = config_of("ghmfc", model={"name": "ghmfc"}, devices=2, checkpoint_steps=1)
    config |= {"epochs": 1, "batch_size": 8}

    class Ending(Recording):
        """Sends what a scheduler sends, after some mentions."""

        def advance(self, amount: int) -> None:
            super().advance(amount)
            if self.done >= 20:
                os.kill(os.getpid(), signal.SIGTERM)

    def begin(rank: int) -> None:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        train(sample, read_config(config), run=tmp_path / "whole")
        train(sample, read_config(config), run=tmp_path / "run", progress=Ending())

    def go_on(rank: int) -> None:
        resumed(tmp_path / "run", sample, config)

    said = tmp_path / "said"
    assert in_processes(2, begin, said=said) == [130, 0], said.read_text()
    assert in_processes(2, go_on, said=said) == [0, 0], said.read_text()
    assert figures_of(tmp_path / "run/metrics.csv") == figures_of(tmp_path / "whole/metrics.csv")
    summaries = [RunFolder(tmp_path / name).read_summary() for name in ("run", "whole")]
    for key in CLOCK_OF_RUN:
        for summary in summaries:
            del summary[key]
    assert summaries[0] == summaries[1]


def test_ctrl_c_ends_all_that_the_command_has_started(quick: QuickRun, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "cli", "train", str(quick.store), "-o", str(run)]
    command += ["--devices", "2", "--epochs", "1000", "--batch-size", str(SIZE)]
    said = tmp_path / "said"
    with said.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    until = time.monotonic() + 120
    while "epoch 2/" not in said.read_text() and time.monotonic() < until:
        assert process.poll() is None, said.read_text()
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGINT)
    assert process.wait(90) == 130, said.read_text()
    told = said.read_text()
    assert "continue with --resume" in told
    assert told.count("epoch 1/1000") == 1
    assert told.count("interrupted") == 1
    assert children
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < until + 90
        time.sleep(0.05)


# how many -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "environment", "message"),
    [
        ({"devices": 2, "batch_size": 1}, {}, "a batch of 1 mentions"),
        ({"devices": 2, "cuda_graphs": True}, {}, "CUDA graphs are for one process"),
        ({"nodes": 2}, {}, "started on this one alone\n.*--nodes 2\n.*torchrun or srun"),
        ({"devices": 2}, {"SLURM_NTASKS": "3"}, "Slurm has 3 tasks"),
        (
            {"devices": 3},
            {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "4"},
            "torchrun has started 2 processes on each of 2 machines",
        ),
        ({"devices": 0}, {}, "greater than or equal to 1\n.*\n.*--devices"),
    ],
)
def test_numbers_that_cannot_work_are_explained(
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    environment: dict[str, str],
    message: str,
) -> None:
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(ConfigError, match=message):
        settle_processes(read_config(options))


def test_what_torchrun_has_started_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    started = {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "4"}
    for key, value in {**started, "RANK": "3", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(key, value)
    settled = settle_processes(read_config({}))
    assert (settled.devices, settled.nodes, rank_here(settled)) == (2, 2, 3)


def test_the_tasks_of_srun_are_taken_where_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slurm = {"NTASKS": "4", "NTASKS_PER_NODE": "2", "PROCID": "2", "LOCALID": "0", "NODEID": "1"}
    for key, value in slurm.items():
        monkeypatch.setenv(f"SLURM_{key}", value)
    monkeypatch.setenv("SLURM_JOB_NAME", "training")
    assert rank_here(settle_processes(read_config({}))) == 0  # of as many single runs
    assert rank_here(settle_processes(read_config({"devices": 2, "nodes": 2}))) == 2


def test_what_makes_several_runs_is_of_one_process_each() -> None:
    with pytest.raises(ConfigError, match="drin-fs grid makes runs of one process each"):
        refuse_several(read_config({"devices": 2}), command="grid")
