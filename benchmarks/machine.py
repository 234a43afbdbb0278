"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from benchmarks.timing import Act, in_turn, ratio
from featurestore import native
from linker.models.kernels import kernels_name

#: Versions that figures depend on.
_PACKAGES = (
    *("numpy", "torch", "h5py", "hdf5plugin", "lightning"),
    *("zarr", "lmdb", "pyarrow", "pylance", "tensorstore", "hidefix", "pyfive", "litdata"),
)


def describe() -> dict[str, Any]:
    """Processor, memory, accelerator and versions; no host name and no path."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gb": round(_memory() / 1e9, 1),
        "bfloat16": bfloat16_units(),
        "kernels": kernels(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def line(machine: dict[str, Any]) -> str:
    """The same for people, on one line."""
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']:.0f} GB"
        f", bfloat16 {machine['bfloat16']}, records {machine['kernels']['records']}"
        + (f", {machine['accelerator']}" if machine["accelerator"] else "")
        + f"; torch {machine['versions']['torch']}, numpy {machine['versions']['numpy']}"
    )


def kernels() -> dict[str, str]:
    """Who does what of ours is compiled where it can be."""
    found = native.bits()
    return {
        "records": found.name if found is not None else "hdf5plugin",
        "networks": kernels_name(),
    }


def bfloat16_units() -> str:
    """How this processor multiplies bfloat16: ``amx``, ``avx512``, or ``emulated``."""
    flags = _cpuinfo("flags").split()
    if "amx_bf16" in flags:
        return "amx"
    return "avx512" if "avx512_bf16" in flags else "emulated"


#: Rows and columns of the matrices that the units are tried on.
_TRIED = 2048


def bfloat16_gain() -> float:
    """How many times as fast as in float32 the processor multiplies matrices in bfloat16.

    The flags of a processor promise units; whether a virtual machine gives them shows here.
    """
    wide = torch.rand(_TRIED, _TRIED)
    short = wide.bfloat16()
    products: dict[str, Act] = {
        "float32": lambda _: torch.mm(wide, wide),
        "bfloat16": lambda _: torch.mm(short, short),
    }
    times = in_turn(products, rounds=3)
    return ratio(times["float32"], times["bfloat16"])


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(key: str) -> str:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return ""
    for text in path.read_text().splitlines():
        name, _, value = text.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def _memory() -> int:
    if not hasattr(os, "sysconf"):
        return 0
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
