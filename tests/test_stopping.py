"""A run stops when its figure rises no more, by the rule of Lightning's EarlyStopping, and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.callbacks import EarlyStopping

from linker.config_text import read_config
from linker.report import run_table
from linker.stopping import epochs_without_rise
from linker.train import train
from tests.runs_for_tests import QUICK, QuickRun, Recording, read_csv, without_clock
from tests.terminal import shown

#: So small a rate that nothing is learnt from the second epoch on.
STILL: dict[str, Any] = {**QUICK, "model": {"name": "text"}, "lr": 1e-9, "epochs": 9}


@given(
    figures=st.lists(st.integers(0, 8).map(lambda eighth: eighth / 8), min_size=1, max_size=30),
    min_delta=st.sampled_from([0.0, 0.125, 0.25]),
)
def test_the_rule_is_lightnings(figures: list[float], min_delta: float) -> None:
    theirs = EarlyStopping("mrr", mode="max", min_delta=min_delta, patience=99)
    for number, figure in enumerate(figures, start=1):
        theirs._evaluate_stopping_criteria(torch.tensor(figure))
        ours = epochs_without_rise(figures[:number], min_delta=min_delta)
        assert ours == theirs.wait_count


@pytest.mark.parametrize("patience", [1, 3])
def test_a_run_without_a_rise_stops_and_says_why(
    quick: QuickRun, tmp_path: Path, patience: int
) -> None:
    progress = Recording()
    config = read_config({**STILL, "stopping": {"patience": patience}})
    summary = train(quick.store, config, run=tmp_path / "run", progress=progress)
    assert summary["epochs"] == len(read_csv(tmp_path / "run/metrics.csv")) == 1 + patience
    assert summary["best_epoch"] == 1
    waited = "an epoch" if patience == 1 else "3 epochs"
    why = f"after epoch {1 + patience} of 9: valid hits@1 had not risen for {waited}"
    assert summary["stopped"] == why
    assert f"stopped {why}" in progress.lines
    assert f"stopped {why}" in " ".join(shown(run_table(summary), width=80).split())


def test_another_figure_and_a_least_rise_can_be_asked_for(quick: QuickRun, tmp_path: Path) -> None:
    stopping = {"patience": 1, "min_delta": 0.9, "metric": "mrr"}  # nothing rises so much again
    config = read_config({**QUICK, "stopping": stopping})
    summary = train(quick.store, config, run=tmp_path / "run")
    assert summary["stopped"] == (
        "after epoch 2 of 6: valid mrr had not risen by more than 0.9 for an epoch"
    )
    assert summary["best_epoch"] == 2  # hits@1 rose all the same


def test_a_run_that_rises_is_the_run_without_stopping(quick: QuickRun, tmp_path: Path) -> None:
    config = read_config({**QUICK, "stopping": {"patience": 6}})
    summary = train(quick.store, config, run=tmp_path / "run")
    assert summary["stopped"] is None
    assert without_clock(summary) == without_clock(quick.summary)


def test_patience_that_ends_with_the_last_epoch_has_stopped_nothing(
    quick: QuickRun, tmp_path: Path
) -> None:
    config = read_config({**STILL, "epochs": 3, "stopping": {"patience": 2}})
    summary = train(quick.store, config, run=tmp_path / "run")
    assert (summary["epochs"], summary["stopped"]) == (3, None)
