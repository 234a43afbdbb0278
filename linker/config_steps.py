"""How the weights follow from the gradients, and when a run ends: sections of a configuration.

All of it is off by default, as it is in the reference.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field, field_validator

from linker.config_section import Section

ScheduleKind: TypeAlias = Literal["constant", "cosine", "linear"]
ClipBy: TypeAlias = Literal["norm", "value"]


class ScheduleConfig(Section):
    """The learning rate over the updates of a run, as a factor of ``lr``."""

    kind: ScheduleKind = Field(
        default="constant",
        description="constant, or falling from lr to final by half a cosine (cosine) or in a straight "
        "line (linear), over all updates of the run after the warm-up. A run of another number of "
        "epochs has another schedule. Default: the reference's.",
    )
    warmup: float = Field(
        default=0,
        ge=0,
        allow_inf_nan=False,
        description="Updates over which the rate rises to lr in a straight line; below 1, the share "
        "of all updates of the run. Default: the reference's, none.",
    )
    final: float = Field(
        default=0,
        ge=0,
        le=1,
        description="Share of lr that cosine and linear end at. Default chosen here: 0, the usual one.",
    )

    @field_validator("warmup")
    @classmethod
    def _whole_updates(cls, warmup: float) -> float:
        if warmup >= 1 and warmup != int(warmup):
            raise ValueError(
                f"schedule.warmup is {warmup}: give a whole number of updates, or a share below 1"
            )
        return warmup

    @property
    def is_on(self) -> bool:
        return self.kind != "constant" or self.warmup > 0

    @property
    def depends_on_epochs(self) -> bool:
        """Whether a run of more epochs has another rate from its first updates on."""
        return self.kind != "constant" or 0 < self.warmup < 1


class StoppingConfig(Section):
    """When a run ends before its last epoch."""

    patience: int | None = Field(
        default=None,
        ge=1,
        description="End the run when the figure has not risen for so many epochs; null = train all "
        "epochs. Default: the reference's.",
    )
    min_delta: float = Field(
        default=0,
        ge=0,
        le=1,
        description="A rise of this or less counts as none; figures run from 0 to 1. Default chosen "
        "here: any rise counts.",
    )
    metric: str | None = Field(
        default=None,
        pattern=r"^(hits@[0-9]+|mrr)$",
        description="Validation figure that has to rise; null = that of metrics.select. Default "
        "chosen here: what picks the best epoch says when there will be no better one.",
    )


class EmaConfig(Section):
    """A moving average of the weights, which is what is validated, kept and tested."""

    decay: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Share of the average that stays at each update, such as 0.999; null = no average. "
        "With one, validation, best weights and test use the average, training the weights. It is "
        "one more copy of the network in memory. Default: the reference's.",
    )
    ramp: bool = Field(
        default=True,
        description="Let the share be (1 + n) / (10 + n) at update n while that is smaller, so that the "
        "first weights are soon forgotten. Default chosen here: without it the average of a short "
        "run is mostly its start.",
    )


def check_stopping_metric(stopping: StoppingConfig, ks: tuple[int, ...]) -> None:
    """Refuse a figure that is not reported.

    Raises:
        ValueError: ``metrics.ks`` lacks its k.
    """
    metric = stopping.metric
    if metric not in (None, "mrr") and int(str(metric).removeprefix("hits@")) not in ks:
        raise ValueError(
            f"stopping.metric is {metric}, but metrics.ks holds only {', '.join(map(str, ks))}; add "
            "that k, or name another figure"
        )
