"""A moving average of the weights: ``ema`` of a configuration."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn

from linker.config_steps import EmaConfig
from linker.module import LinkerModule


def decay_at(update: int, *, decay: float, ramp: bool) -> float:
    """The share of the average that stays at an update, counted from 1."""
    return min(decay, (1 + update) / (10 + update)) if ramp else decay


class AverageWeights(WeightAveraging):
    """Lightning's averaging, with the decay of TensorFlow's ``ExponentialMovingAverage``.

    The average is a copy of the weights after the first update. From then on, after update n + 1,

        average ← d average + (1 - d) weights        d = decay, or min(decay, (1 + n) / (10 + n))

    Lightning puts the average into the network while it validates, and both into checkpoints; its
    ``state_dict`` is the average. Buffers are those of the network.

    Args:
        device: of the network; Lightning's module is not there yet when the average is made.
    """

    def __init__(self, config: EmaConfig, *, device: torch.device) -> None:
        assert config.decay is not None
        self.decay, self.ramp = config.decay, config.ramp
        super().__init__(device=device, use_buffers=False, multi_avg_fn=self._average)

    @property
    def network(self) -> nn.Module:
        """The network with the averaged weights."""
        assert self._average_model is not None
        module = self._average_model.module
        assert isinstance(module, LinkerModule)
        return module.network

    def _average(self, averages: Any, weights: Any, averaged: Tensor | int) -> None:
        decay = decay_at(int(averaged), decay=self.decay, ramp=self.ramp)
        torch._foreach_lerp_(averages, weights, 1 - decay)


def averaging_of(config: EmaConfig, device: torch.device) -> AverageWeights | None:
    """The average that a configuration asks for."""
    return None if config.decay is None else AverageWeights(config, device=device)


def kept_network(module: pl.LightningModule, averaging: AverageWeights | None) -> nn.Module:
    """The network whose weights are validated, and kept when they are the best."""
    assert isinstance(module, LinkerModule)
    return module.network if averaging is None else averaging.network
