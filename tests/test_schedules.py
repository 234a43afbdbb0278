"""The learning rate of every update is that of the formula."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import LambdaLR

from featurestore.errors import ConfigError
from linker.config_steps import ScheduleConfig, ScheduleKind
from linker.config_text import read_config
from linker.schedules import factor_of, updates_of_run
from linker.train import train
from tests.runs_for_tests import QUICK, QuickRun, read_csv

KINDS: tuple[ScheduleKind, ...] = ("constant", "linear", "cosine")


def test_a_cosine_by_hand() -> None:
    factor = factor_of(ScheduleConfig(kind="cosine", warmup=2, final=0.2), 6)
    expected = [
        1 / 3,
        2 / 3,
        1.0,
        0.2 + 0.8 * (1 + math.cos(math.pi / 4)) / 2,
        0.2 + 0.8 * 0.5,
        0.2 + 0.8 * (1 + math.cos(math.pi * 3 / 4)) / 2,
    ]
    assert [factor(update) for update in range(6)] == pytest.approx(expected)


def test_a_line_by_hand() -> None:
    factor = factor_of(ScheduleConfig(kind="linear", warmup=0.2), 5)
    assert [factor(update) for update in range(5)] == pytest.approx([0.5, 1, 0.75, 0.5, 0.25])


@given(
    kind=st.sampled_from(KINDS),
    updates=st.integers(1, 300),
    warmup=st.floats(0, 0.99),
    final=st.floats(0, 1),
)
def test_a_schedule_rises_to_the_full_rate_once_and_falls_no_lower_than_its_end(
    kind: ScheduleKind, updates: int, warmup: float, final: float
) -> None:
    schedule = ScheduleConfig(kind=kind, warmup=warmup, final=final)
    factor = factor_of(schedule, updates)
    rates = [factor(update) for update in range(updates)]
    top = round(warmup * updates)
    rising, falling = rates[: top + 1], rates[top:]
    assert all(0 < low < high <= 1 for low, high in pairwise(rising))
    assert all(low <= high for high, low in pairwise(falling))
    if falling:
        assert falling[0] == 1
        assert falling[-1] >= (1 if kind == "constant" else final)


@pytest.mark.parametrize("kind", KINDS)
def test_a_scheduler_that_is_loaded_goes_on(kind: ScheduleKind) -> None:
    schedule = ScheduleConfig(kind=kind, warmup=3, final=0.1)

    def rates(steps: int, state: dict[str, Any] | None = None) -> tuple[list[Any], dict[str, Any]]:
        weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
        groups = [{"params": [weights[0]]}, {"params": [weights[1]], "lr": 1e-5}]
        adam = torch.optim.Adam(groups, lr=0.01)
        scheduler = LambdaLR(adam, factor_of(schedule, 9))
        if state is not None:
            adam.load_state_dict(state["adam"])
            scheduler.load_state_dict(state["scheduler"])
        found = []
        for _ in range(steps):
            found.append([group["lr"] for group in adam.param_groups])
            adam.step()
            scheduler.step()
        return found, {"adam": adam.state_dict(), "scheduler": scheduler.state_dict()}

    whole, _ = rates(9)
    first, state = rates(4)
    second, _ = rates(5, state)
    assert first + second == whole
    factor = factor_of(schedule, 9)
    assert whole == [[0.01 * factor(t), 1e-5 * factor(t)] for t in range(9)]


def test_the_rate_of_a_run_is_written_beside_its_figures(quick: QuickRun, tmp_path: Path) -> None:
    config = read_config(
        {
            **QUICK,
            "epochs": 3,
            "accumulate": 4,  # 6 batches an epoch: 2 updates
            "model": {"name": "text"},
            "schedule": {"kind": "cosine", "warmup": 1},
        }
    )
    updates = updates_of_run(config, mentions=96)
    assert updates == 6
    train(quick.store, config, run=tmp_path / "run")
    factor = factor_of(config.schedule, updates)
    rates = [float(row["lr"]) for row in read_csv(tmp_path / "run/metrics.csv")]
    assert rates == pytest.approx([0.01 * factor(update) for update in (1, 3, 5)], rel=1e-12)
    assert {row["lr"] for row in read_csv(quick.folder / "metrics.csv")} == {"0.01"}


def test_a_warm_up_longer_than_the_run_is_refused_before_anything_is_made(
    quick: QuickRun, tmp_path: Path
) -> None:
    config = read_config({**QUICK, "epochs": 2, "schedule": {"warmup": 12}})
    with pytest.raises(
        ConfigError, match="the run has 12 updates, and 12 of them would be warm-up"
    ):
        train(quick.store, config, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()
