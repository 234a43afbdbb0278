"""Setting a network's weights one by one, and saving it the way ``from_pretrained`` reads."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

ModelT = TypeVar("ModelT", bound=PreTrainedModel)


def save(model: PreTrainedModel, folder: Path) -> None:
    """Configuration and weights as ``save_pretrained`` writes them, without its progress bars."""
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    weights = {name: weight.contiguous() for name, weight in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def blank(model: type[ModelT], config: PreTrainedConfig) -> ModelT:
    """A model of zeros, its norms' scales 1; the caller's random numbers are neither used nor moved."""
    with torch.random.fork_rng(devices=[]):
        built = model(config)
    for name, weight in built.named_parameters():
        is_scale = "norm" in name.lower() and name.endswith("weight")
        nn.init.constant_(weight, 1.0 if is_scale else 0.0)
    return built


def put(model: nn.Module, name: str, value: npt.ArrayLike) -> None:
    """Set one weight or statistic, by its name in the model; ``value`` is spread to its shape."""
    with torch.no_grad():
        model.state_dict()[name].copy_(torch.from_numpy(np.asarray(value, np.float32)))


def shape_of(model: nn.Module, name: str) -> tuple[int, ...]:
    """The shape of one weight, by its name in the model."""
    return tuple(model.get_parameter(name).shape)


def orthogonal(rng: np.random.Generator, size: int) -> npt.NDArray[np.float64]:
    """(size, size): a random turn."""
    return np.linalg.qr(rng.standard_normal((size, size)))[0]
