"""A store in several files against one file: loading a DRIN batch, and a training epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import numpy as np

import featurestore
from benchmarks.bare_store import BareSizes, write_bare_store
from benchmarks.data import Workspace
from benchmarks.epoch import Epoch, one_epoch
from benchmarks.gather import batch_mentions, distinct_entities
from benchmarks.gather_run import FIELDS
from benchmarks.report import Cell, Report, Row, Target
from benchmarks.step import training_config
from benchmarks.timing import Times, in_turn, ratio
from featurestore import Store
from featurestore.repack import RepackOptions, repack
from linker.buffers import Buffers
from linker.job import Job, prepare_job

COLUMNS = ("ms a batch", "× of one file", "seconds an epoch", "× of one file, epoch")

#: Files that the entities stand in.
COUNTS = (1, 4, 16)

#: What several files may cost (chosen here: what the roadmap asks for).
BOUND = 1.10

#: Batches of an epoch, and epochs of each; gathers of each a round of the others.
_BATCHES, _EPOCHS, _GATHERS = 8, 5, 8


def measure(workspace: Workspace) -> Report:
    """The same rows from one file, from four and from sixteen, in turn."""
    paths = {count: _store(workspace, count) for count in COUNTS}
    with ExitStack() as stack:
        stores = {n: stack.enter_context(featurestore.open(path)) for n, path in paths.items()}
        drawn = batch_mentions(
            stores[1], batch=workspace.sizes.batch, batches=_GATHERS * workspace.sizes.rounds + 1
        )
        batches = [distinct_entities(stores[1], mentions) for mentions in drawn]
        gathers = in_turn(
            {str(count): _gather(store, batches) for count, store in stores.items()},
            rounds=_GATHERS * workspace.sizes.rounds,
        )
        jobs = {count: _job(workspace, store) for count, store in stores.items()}
        epochs = in_turn({str(count): _epoch(job) for count, job in jobs.items()}, rounds=_EPOCHS)
        rows = float(np.mean([len(batch) for batch in batches]))
    return Report(
        question="entities in several files against one",
        columns=COLUMNS,
        rows=[_row(count, gathers, epochs) for count in COUNTS],
        targets=[
            _target(what, count, times)
            for what, times in (("gathering a batch", gathers), ("a training epoch", epochs))
            for count in COUNTS[1:]
        ],
        conditions=[
            f"{workspace.sizes.entities:,} entities; a batch: {workspace.sizes.batch} mentions, "
            f"{rows:,.0f} distinct entities, {', '.join(FIELDS)} together, into memory used before; "
            f"median of {len(gathers['1'].seconds)} rounds, each form once a round, in turn",
            f"an epoch: {_BATCHES} batches of DRIN on the CPU, a thread reads; median of {_EPOCHS}",
            "×: the median over the rounds of the ratio to the time of one file in the same round",
        ],
    )


def _store(workspace: Workspace, count: int) -> Path:
    """A store in so many files of entities; the one file is the index's."""
    sizes = workspace.sizes
    one = workspace.folder / "shards-1.h5"
    if not one.exists():
        splits = {"train": _BATCHES * sizes.batch, "valid": sizes.batch, "test": sizes.batch}
        bare = BareSizes(
            entities=sizes.entities,
            splits=splits,
            candidates=sizes.candidates,
            text_width=sizes.text_width,
            image_width=sizes.image_width,
        )
        write_bare_store(one, bare, progress=workspace.progress)
    target = workspace.folder / f"shards-{count}.h5"
    if not target.exists():
        firsts = tuple(np.linspace(0, sizes.entities, count, endpoint=False, dtype=int).tolist())
        repack(one, target, options=RepackOptions(firsts=firsts), progress=workspace.progress)
    return target


def _gather(store: Store, batches: list[np.ndarray]) -> Callable[[int], object]:
    buffers = Buffers()
    return lambda turn: store.entities.gather_all(FIELDS, batches[turn], new=buffers.array)


def _job(workspace: Workspace, store: Store) -> Job:
    return prepare_job(store, training_config(workspace, device="cpu", workers=0, precision="32"))


def _epoch(job: Job) -> Callable[[int], Epoch]:
    return lambda turn: one_epoch(job)


def _row(count: int, gathers: Mapping[str, Times], epochs: Mapping[str, Times]) -> Row:
    name = str(count)
    cells: dict[str, Cell] = {
        COLUMNS[0]: 1e3 * median(gathers[name].seconds),
        COLUMNS[1]: ratio(gathers[name], gathers["1"]),
        COLUMNS[2]: epochs[name].median,
        COLUMNS[3]: ratio(epochs[name], epochs["1"]),
    }
    return Row(name="one file" if count == 1 else f"{count} shards", figures=cells, ours=True)


def _target(what: str, count: int, times: Mapping[str, Times]) -> Target:
    return Target(
        what=f"{what} from {count} shards against one file",
        bound=BOUND,
        measured=ratio(times[str(count)], times["1"]),
        at_least=False,
    )
