"""What a run runs on: versions, device, precision, threads, memory, and which store."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

import torch

import featurestore
from featurestore import Store
from featurestore.errors import ConfigError
from linker.config import Device, Precision
from linker.store_identity import store_identity


def resolve_device(device: Device, precision: Precision) -> torch.device:
    """The device to compute on.

    Raises:
        ConfigError: there is no such device here, or it cannot do the precision.
    """
    has_cuda = torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise ConfigError(
            "torch finds no CUDA device", where="--device cuda", hint="use --device auto or cpu"
        )
    kind = "cuda" if has_cuda and device != "cpu" else "cpu"
    if kind == "cpu" and precision == "16-mixed":
        raise ConfigError(
            "16-mixed needs a GPU, and this run is on the CPU",
            where="--precision 16-mixed with --device " + device,
            hint="use --precision 32 or bf16-mixed",
        )
    return torch.device(kind)


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The block in which a network scores with a precision, as Lightning's trainer lets it."""
    low = torch.float16 if precision == "16-mixed" else torch.bfloat16
    return torch.autocast(device.type, low, enabled=precision != "32")


def environment(device: torch.device, store: Store) -> dict[str, Any]:
    """Everything outside the configuration that may change a figure, as plain values."""
    return {
        "versions": {
            "drin-fs": featurestore.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "lightning", "numpy", "h5py")},
        },
        "platform": f"{platform.system()} {platform.machine()}",
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "store": store_identity(store),
    }


def device_name(device: torch.device) -> str:
    """``cpu``, or ``cuda (NVIDIA …)``."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return device.type
