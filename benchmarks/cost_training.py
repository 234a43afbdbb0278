"""What a mention costs in training, in scoring, and in ranking all entities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

import featurestore
from benchmarks import machine
from benchmarks.bare_store import BareSizes, write_bare_store
from benchmarks.cost_encoders import Taken
from benchmarks.cost_keys import Cost
from benchmarks.memory import peak_memory
from benchmarks.steps import core_seconds
from featurestore import Store
from featurestore.progress import Progress, Silent
from linker.batch import Batch
from linker.config import Precision
from linker.config_text import read_config
from linker.full_kb import rank_all_entities
from linker.job import Job, prepare_job
from linker.machine import autocast
from linker.trainer import quiet_lightning, reproducible


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Of the store, and how often a step is taken."""

    entities: int = 20_000
    batch: int = 64
    candidates: int = 100
    ranked: int = 3_000  # entities that DRIN ranks
    text_width: int = 768
    image_width: int = 2048
    rounds: int = 3


TINY = Sizes(entities=60, batch=4, candidates=5, ranked=40, text_width=32, image_width=32, rounds=1)

#: Edges that no embeddings of CLIP are needed for; the bare store has none.
_EDGES = ["tt", "ii"]


def training_costs(folder: Path, sizes: Sizes, progress: Progress) -> Iterator[Taken]:
    path = _store(folder / "training.h5", sizes, sizes.entities, progress)
    with featurestore.open(path) as store, reproducible(0, torch.device("cpu")):
        yield from _steps(store, sizes)
        yield _evaluation(store, sizes)
        text = {"model": "text"}
        yield _ranking(Cost.FULL_KB_TEXT, store, text, sizes)
    yield _memory(path, folder / "run", sizes)
    path.unlink()
    path = _store(folder / "ranked.h5", sizes, sizes.ranked, progress)
    with featurestore.open(path) as store, reproducible(0, torch.device("cpu")):
        drin = {"model": {"name": "drin", "edges": _EDGES}}
        yield _ranking(Cost.FULL_KB_DRIN, store, drin, sizes)
    path.unlink()


def _store(path: Path, sizes: Sizes, entities: int, progress: Progress) -> Path:
    splits = {"train": 2 * sizes.batch, "valid": sizes.batch, "test": sizes.batch}
    bare = BareSizes(
        entities=entities,
        splits=splits,
        candidates=sizes.candidates,
        text_width=sizes.text_width,
        image_width=sizes.image_width,
    )
    return write_bare_store(path, bare, progress=progress)


def _job(store: Store, sizes: Sizes, **changes: Any) -> Job:
    return prepare_job(store, read_config({"batch_size": sizes.batch, "device": "cpu", **changes}))


def _steps(store: Store, sizes: Sizes) -> Iterator[Taken]:
    """Reading a batch, and the step on it in both precisions."""
    job = _job(store, sizes, model="drin")
    reader, rows = job.loader("train").reader, np.arange(sizes.batch)
    reader[rows]
    taken = [core_seconds(lambda: reader[rows]) for _ in range(3 * sizes.rounds)]
    yield Taken(
        cost=Cost.READ_BATCH,
        seconds=median(taken) / sizes.batch,
        of=f"batches of {sizes.batch}, in the page cache",
    )
    precisions: dict[Cost, Precision] = {Cost.TRAIN: "32", Cost.TRAIN_BF16: "bf16-mixed"}
    for cost, precision in precisions.items():
        step = _step(job, reader[rows], precision)
        step()
        taken = [core_seconds(step) for _ in range(sizes.rounds)]
        units = "" if precision == "32" else f", bfloat16 {machine.bfloat16_units()}"
        yield Taken(
            cost=cost,
            seconds=median(taken) / sizes.batch,
            of=f"batches of {sizes.batch}{units}",
        )


def _step(job: Job, batch: Batch, precision: Precision) -> Callable[[], None]:
    """Forward, loss, backward and optimiser on one batch."""
    module = job.module()
    module.train()
    optimizer = module.configure_optimizers()

    def act() -> None:
        optimizer.zero_grad()
        with autocast(job.device, precision):
            loss = module.training_step(batch, 0)
        loss.backward()
        optimizer.step()

    return act


def _evaluation(store: Store, sizes: Sizes) -> Taken:
    """Reading and scoring, as every epoch does it with its valid split."""
    job = _job(store, sizes, model="drin")
    module = job.module()
    with quiet_lightning():
        job.score(module, "valid")
        taken = [core_seconds(lambda: job.score(module, "valid")) for _ in range(sizes.rounds)]
    return Taken(
        cost=Cost.EVALUATE,
        seconds=median(taken) / sizes.batch,
        of=f"{sizes.batch} mentions, reading included",
    )


def _ranking(cost: Cost, store: Store, changes: dict[str, Any], sizes: Sizes) -> Taken:
    job = _job(store, sizes, **changes)
    network = job.match.build()
    spent = core_seconds(lambda: rank_all_entities(job, network, "test", progress=Silent()))
    pairs = sizes.batch * len(store.entities)
    return Taken(
        cost=cost,
        seconds=spent / pairs,
        of=f"{sizes.batch} mentions, {len(store.entities):,} entities",
    )


def _memory(store: Path, run: Path, sizes: Sizes) -> Taken:
    """The most that ``drin-fs train`` holds, an epoch long."""
    command = ["-m", "cli", "train", str(store), "--model", "drin", "--epochs", "1"]
    command += ["--batch-size", str(sizes.batch), "--device", "cpu", "-o", str(run)]
    peak = peak_memory(command)
    return Taken(cost=Cost.TRAINING, size=peak or None, of="anonymous, drin-fs train, an epoch")
