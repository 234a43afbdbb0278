"""Checkpoints and weights of a run: read as ``--resume``, evaluate and link do, never unpickled."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import save
from torch import nn
from xxhash import xxh3_128_hexdigest

from linker.checkpoint import CheckpointFiles, load_weights, read_checkpoint, save_weights
from tests.fuzz.generic import GENERIC
from tests.fuzz.kinds import OWNED, Case, Kind, Seed

LAST, BEST = "last.ckpt", "best.safetensors"


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2))


def _seeds(folder: Path) -> Sequence[Seed]:
    place = folder / "run"
    place.mkdir()
    network = _network()
    checkpoint = {
        "state_dict": network.state_dict(),
        "loops": {"fit_loop": {"epoch": 3}},
        "callbacks": {"RecordEpochs": {"history": [1.0, 2.0]}},
        "optimizer_states": [torch.optim.Adam(network.parameters()).state_dict()],
        "drin-fs": {"epochs": 1, "batches": 7},
    }
    CheckpointFiles().save_checkpoint(checkpoint, place / LAST)
    save_weights(network, place / BEST, description={"model": "drin"})
    return [Seed(place, (LAST,)), Seed(place, (BEST,))]


class _Payload:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, (OWNED,)


def pickled(rng: Random, data: bytes, other: bytes) -> bytes:
    """A checkpoint that runs code where pickles are believed, with the digest that fits."""
    file = io.BytesIO()
    chosen = rng.randrange(3)
    if chosen == 0:
        return pickle.dumps(_Payload())
    content = (
        {"state_dict": _Payload(), "epoch": 3}
        if chosen == 1
        else {"state_dict": {}, "x": nn.Linear(1, 1)}
    )
    torch.save(content, file)
    return _with_digest(file.getvalue())


def _with_digest(data: bytes) -> bytes:
    """A zip file with our comment."""
    comment = b"drin-fs xxh3_128 " + xxh3_128_hexdigest(data).encode()
    return data[:-2] + len(comment).to_bytes(2, "little") + comment


def member(rng: Random, data: bytes, other: bytes) -> bytes:
    """A member of the zip file changed, and the digest made to fit."""
    source = zipfile.ZipFile(io.BytesIO(data))
    file = io.BytesIO()
    names = source.namelist()
    chosen = rng.choice(names)
    with zipfile.ZipFile(file, "w") as target:
        for name in names:
            content = source.read(name)
            if name == chosen:
                content = rng.choice(GENERIC)(rng, content, data)
            target.writestr(name if rng.random() < 0.97 else f"../{name}", content)
    return _with_digest(file.getvalue())


def tensors(rng: Random, data: bytes, other: bytes) -> bytes:
    """Weights of other names, shapes and values, well-formed, with a digest that fits."""
    value = rng.choice([torch.zeros(0), torch.full((4, 6), float("nan")), torch.ones(4, 6).half()])
    names = rng.sample(
        ["0.weight", "0.bias", "1.weight", "1.bias", "2.weight"], rng.randrange(1, 5)
    )
    none = "0" * 32
    made = bytes(save(dict.fromkeys(names, value), metadata={"drin-fs": "{}", "xxh3_128": none}))
    return made.replace(none.encode(), xxh3_128_hexdigest(made).encode(), 1)


def _read(case: Case) -> None:
    read_checkpoint(case.source / LAST)
    load_weights(_network(), case.source / BEST)


KIND = Kind(
    name="checkpoints",
    about="checkpoints and weights of a run, malicious ones too",
    seeds=_seeds,
    mutators=(*GENERIC, *[pickled, member, tensors] * 3),
    read=_read,
)
