"""What a run runs on: versions, device, precision, threads, memory, and which store."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import Any

import torch

import featurestore
from featurestore import Store
from featurestore.errors import ConfigError, StoreError
from featurestore.summary import sentences_digest
from linker.config import Device, Precision
from linker.run_folder import RunError


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


def store_identity(store: Store) -> dict[str, Any]:
    """Which store: enough to find it again, and to say in what another one differs."""
    fields = {
        f"{table.name}/{field.name}": f"{field.dtype}{list(field.shape[1:])}"
        for table in (store.entities, store.mentions)
        for field in table.fields.values()
    }
    return {
        "path": str(store.path.resolve()),
        "fingerprint": store.fingerprint,
        "dataset": store.dataset,
        "entities": len(store.entities),
        "mentions": len(store.mentions),
        "splits": {name: len(rows) for name, rows in store.mentions.splits.items()},
        "sentences": {
            name: sentences_digest(store.mentions, rows)
            for name, rows in store.mentions.splits.items()
        },
        "fields": fields,
    }


def open_recorded_store(
    recorded: dict[str, Any],
    *,
    given: str | os.PathLike[str] | None,
    other_store: bool,
    verify_reads: bool = False,
) -> Store:
    """The store of a run: where it is ``given`` to be now, otherwise where it was.

    Args:
        recorded: the identity that the run recorded.
        other_store: allow a store that the run was not trained from.
        verify_reads: compare what is read with its checksums.

    Raises:
        StoreError: no readable store there.
        RunError: another store.
    """
    try:
        store = featurestore.open(given or recorded["path"], verify_reads=verify_reads)
    except StoreError as error:
        if given:
            raise
        raise StoreError(
            f"the run's store cannot be opened: {error.what}",
            where=recorded["path"],
            hint="say where it is now: --store PATH",
        ) from error
    try:
        if not other_store:
            check_same_store(recorded, store, hint="give the right --store, or --other-store")
    except RunError:
        store.close()
        raise
    return store


def check_same_store(recorded: dict[str, Any], store: Store, *, hint: str) -> None:
    """Compare a store with the identity that a run recorded.

    Raises:
        RunError: another fingerprint; says in what they differ.
    """
    if store.fingerprint != recorded["fingerprint"]:
        differences = _differences(recorded, store_identity(store))
        raise RunError(
            "this is not the store the run was trained from: " + "; ".join(differences),
            where=f"{store.path} (fingerprint {store.fingerprint}, the run's is "
            f"{recorded['fingerprint']})",
            hint=hint,
        )


def _differences(recorded: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """In words, what of two store identities is not the same; paths do not count."""
    lines = [
        f"{key} {recorded[key]} → {found[key]}"
        for key in ("dataset", "entities", "mentions")
        if recorded[key] != found[key]
    ]
    for key in ("splits", "fields"):
        old, new = recorded[key], found[key]
        lines += [
            f"{name} {old.get(name, 'absent')} → {new.get(name, 'absent')}"
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name)
        ]
    sentences = recorded.get("sentences", {})  # runs of earlier versions did not record it
    lines += [
        f"other sentences in {name}"
        for name, digest in found["sentences"].items()
        if sentences.get(name, digest) != digest
    ]
    return lines or ["same shapes, but other ids, encoders or options"]
