"""Checkpoints: tensors and plain values only, so that loading one never runs code from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from linker.run_folder import RunError, replacing


def save_weights(network: nn.Module, path: Path, *, description: Mapping[str, Any]) -> None:
    """Write the weights of a network as safetensors; ``description`` goes into the header as JSON."""
    weights = {name: value.contiguous().cpu() for name, value in network.state_dict().items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(weights, metadata={"drin-fs": json.dumps(description)}))


def load_weights(network: nn.Module, path: Path) -> None:
    """Fill a network with the weights of a file.

    Raises:
        RunError: no such file, a damaged one, or one of another network.
    """
    if not path.is_file():
        raise RunError(
            "the run has no best weights: no epoch was finished, or the file was removed",
            where=str(path),
            hint="train it, or continue it with --resume",
        )
    try:
        weights = load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise RunError(f"damaged weights ({error})", where=str(path)) from error
    _check_names(network, weights, path)
    network.load_state_dict(weights)


def _check_names(network: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if wanted != found:
        differing = sorted(set(wanted.items()) ^ set(found.items()))
        name = differing[0][0]
        raise RunError(
            f"the weights are of another network: {name} is {found.get(name, 'absent')} in the "
            f"file and {wanted.get(name, 'absent')} in the network",
            where=str(path),
            hint="the configuration of the run, or the widths of the store, were changed",
        )


def finished_epochs(path: Path) -> int:
    """How many epochs were finished when a checkpoint of ours was written.

    Raises:
        RunError: damaged, or holding more than tensors and plain values.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return int(checkpoint["epoch"]) + 1
    except Exception as error:  # torch names no class for what a damaged file does to it
        first_line = str(error).partition("\n")[0]
        raise RunError(
            f"not a readable checkpoint ({first_line})",
            where=str(path),
            hint="start the run again with --overwrite",
        ) from error
