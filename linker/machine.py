"""What a run runs on: versions, device, precision, threads, memory, and which store."""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from xxhash import xxh3_64

import featurestore
from featurestore import Store
from featurestore.errors import ConfigError
from linker.config import Device, Precision
from linker.models.kernels import kernels_name
from linker.store_identity import store_identity

#: How cuBLAS gives the same numbers each time, where the user says nothing else.
CUBLAS_WORKSPACE = ":4096:8"


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


def environment(device: torch.device, store: Store, *, processes: int = 1) -> dict[str, Any]:
    """Everything outside the configuration that may change a figure, as plain values.

    Args:
        processes: that train together; ``threads`` are those of each.
    """
    return {
        "versions": {
            "drin-fs": featurestore.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "lightning", "numpy", "h5py")},
        },
        "code": code_digest(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "processes": processes,
        "settings": _settings(device),
        "store": store_identity(store),
    }


def _settings(device: torch.device) -> dict[str, Any]:
    """What was set outside of drin-fs, or is there or not, that decides how numbers are rounded."""
    settings: dict[str, Any] = {"float32_matmul": torch.get_float32_matmul_precision()}
    if device.type == "cpu":
        settings["kernels"] = kernels_name()
    if device.type == "cuda":
        settings["cudnn_tf32"] = torch.backends.cudnn.allow_tf32
        settings["cublas_workspace"] = os.environ.get("CUBLAS_WORKSPACE_CONFIG", CUBLAS_WORKSPACE)
    return settings


@cache
def code_digest() -> str:
    """XXH3-64 (hex) over the source files that train and read, in the order of their names.

    Tells a changed checkout from the release it says it is. Chosen here in place of git's commit: that
    needs a repository and a program, and does not see what was not committed.
    """
    digest = xxh3_64()
    for package in (Path(featurestore.__file__).parent, Path(__file__).parent):
        for path in sorted(p for p in package.rglob("*") if p.suffix in (".py", ".c", ".h")):
            digest.update(path.relative_to(package.parent).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def device_name(device: torch.device) -> str:
    """``cpu``, or ``cuda (NVIDIA …)``."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return device.type
