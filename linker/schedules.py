"""The learning rate of each update, as a factor of the configured one.

With T updates in the run, w of them warm-up, and ``final`` f, the factor of update t = 0 … T-1 is

    (t + 1) / (w + 1)                          t < w
    1                                          t ≥ w, constant
    f + (1 - f) (1 - p)                        t ≥ w, linear     p = (t - w) / (T - w)
    f + (1 - f) (1 + cos πp) / 2               t ≥ w, cosine

so update w has the full rate, and the last one still more than f. The factor is a function of t
alone: a run that is continued has the rates of one that was not stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import assert_never

from featurestore.errors import ConfigError
from linker.config import TrainConfig
from linker.config_steps import ScheduleConfig


def updates_of_run(config: TrainConfig, *, mentions: int) -> int:
    """T: an epoch ends with an update of what is left, however few batches that are."""
    batches = math.ceil(mentions / config.batch_size)
    return math.ceil(batches / config.accumulate) * config.epochs


def check_warm_up(config: TrainConfig, *, mentions: int) -> None:
    """Refuse a warm-up that is longer than the run, before anything is made of it.

    Raises:
        ConfigError: as :func:`warmup_updates`.
    """
    warmup_updates(config.schedule, updates_of_run(config, mentions=mentions))


def check_same_length(config: TrainConfig, *, epochs: int) -> None:
    """Refuse to continue a run of so many epochs with others, where the rate depends on them.

    Raises:
        ConfigError: names the epochs that it was started with.
    """
    if config.epochs != epochs and config.schedule.depends_on_epochs:
        raise ConfigError(
            f"the learning rate of the run follows a schedule over its {epochs} epochs: with "
            f"{config.epochs} it would have been another one from the start",
            where=f"--epochs {config.epochs}",
            hint=f"continue with --epochs {epochs}, or train a new run; a run of "
            "schedule.kind=constant can be made longer",
        )


def warmup_updates(schedule: ScheduleConfig, updates: int) -> int:
    """w, out of T.

    Raises:
        ConfigError: the run would end before the warm-up does.
    """
    if schedule.warmup < 1:
        return round(schedule.warmup * updates)
    if schedule.warmup >= updates:
        raise ConfigError(
            f"the run has {updates:,} updates, and {schedule.warmup:,.0f} of them would be warm-up",
            where=f"--warmup {schedule.warmup:g}",
            hint="give fewer, or a share of the run such as 0.1",
        )
    return int(schedule.warmup)


def factor_of(schedule: ScheduleConfig, updates: int) -> Callable[[int], float]:
    """t → the factor of update t, of T.

    Raises:
        ConfigError: as :func:`warmup_updates`.
    """
    warmup, final = warmup_updates(schedule, updates), schedule.final

    def factor(update: int) -> float:
        if update < warmup:
            return (update + 1) / (warmup + 1)
        if schedule.kind == "constant":
            return 1.0
        done = min(1.0, (update - warmup) / (updates - warmup))  # asked for after the last one too
        if schedule.kind == "linear":
            return final + (1 - final) * (1 - done)
        if schedule.kind == "cosine":
            return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2
        assert_never(schedule.kind)

    return factor
