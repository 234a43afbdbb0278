"""The tiny ResNet: random convolutions, and batch norms that keep their answers apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import ConvNextImageProcessor, ResNetConfig, ResNetModel

from featurestore.encoders.tiny_weights import blank, put, save

# Test cards the batch norms are set with, and how far below its mean a last channel must be to stay
# silent (in standard deviations); chosen here.
_CARDS = 24
_LAST_SHIFT = -0.5


def write_resnet(folder: Path, rng: np.random.Generator, width: int) -> None:
    """Write the model and its image processor into ``folder``."""
    ConvNextImageProcessor(
        size={"shortest_edge": 224},
        crop_pct=0.875,
        resample=3,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    ).save_pretrained(folder)
    config = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[16, 32, width],
        depths=[1, 1, 1],
        layer_type="basic",
        downsample_in_first_stage=True,  # three stages then halve 56×56 down to 7×7
    )
    model = blank(ResNetModel, config)
    for name, weight in model.named_parameters():
        if name.endswith("convolution.weight"):
            fan_in = weight[0].numel()
            put(model, name, rng.standard_normal(weight.shape) * np.sqrt(2 / fan_in))
    _set_batch_norms(model, rng)
    save(model, folder)


def _set_batch_norms(model: ResNetModel, rng: np.random.Generator) -> None:
    """Give every batch norm the statistics of the test cards, in the order the network runs."""
    norms = {
        name: module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)
    }

    def measure(name: str, inputs: Tensor) -> None:
        # Rounded, so that the last bits of a sum do not decide about the bytes of the file.
        mean = torch.round(inputs.mean((0, 2, 3)), decimals=2)
        spread = torch.round(inputs.var((0, 2, 3), correction=0), decimals=2)
        put(model, f"{name}.running_mean", mean.numpy())
        put(model, f"{name}.running_var", spread.clamp(min=0.01).numpy())

    hooks = [
        norm.register_forward_pre_hook(lambda _, inputs, name=name: measure(name, inputs[0]))
        for name, norm in norms.items()
    ]
    with torch.no_grad():
        model.eval()(torch.from_numpy(_test_cards(rng)))
    for hook in hooks:
        hook.remove()
    put(model, f"{list(norms)[-1]}.bias", _LAST_SHIFT)


def _test_cards(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """(cards, 3, 224, 224) in [-1, 1]: a random colour with rectangles of other random colours."""
    cards = np.empty((_CARDS, 3, 224, 224), np.float32)
    for card in cards:
        card[:] = rng.uniform(-1, 1, (3, 1, 1))
        for _ in range(12):
            x, y = rng.integers(0, 200, 2)
            wide, high = rng.integers(12, 120, 2)
            card[:, y : y + high, x : x + wide] = rng.uniform(-1, 1, (3, 1, 1))
    return cards
