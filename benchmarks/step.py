"""One DRIN training step: forward, loss, backward, optimiser, on a batch that is already read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks import machine
from benchmarks.data import TINY, Workspace
from benchmarks.direct_drin import DirectDrin
from benchmarks.products import Products, products_of
from benchmarks.reference_loader import ReferenceBatch, ReferenceDataset, collated
from benchmarks.reference_run import LR, direct_step
from benchmarks.report import Cell, Report, Row, Target
from benchmarks.timing import Act, Times, finish, in_turn, ratio, timed
from linker.allocator import keep_freed_memory
from linker.batch import Batch
from linker.config import Precision, TrainConfig
from linker.config_text import read_config
from linker.job import Job, prepare_job
from linker.machine import autocast
from linker.module import LinkerModule
from linker.trainer import reproducible

DIRECT, OURS = "direct, float32", "drin-fs, float32"
BF16, COMPILED = "drin-fs, bf16-mixed", "drin-fs, float32, torch.compile"
#: On a GPU, without CUDA graphs.
PLAIN, PLAIN_BF16 = "drin-fs, float32, kernel by kernel", "drin-fs, bf16-mixed, kernel by kernel"
COLUMNS = ("ms a step", "× faster", "mentions/s", "compiling")

#: Rounds of each: what a step takes varies by a tenth from one to the next.
_ROUNDS = 9

#: Rounds of a contestant that emulates its arithmetic: it is slow, and is not what is aimed at.
_FEW = 1


@dataclass(frozen=True, kw_only=True)
class Contest:
    """The same mentions for all, on one device."""

    job: Job
    ours: Batch
    reference: ReferenceBatch

    @property
    def device(self) -> torch.device:
        return self.job.device


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one device took."""

    times: dict[str, Times]
    compiling: float | None  # seconds; None = torch.compile did not work here
    failure: str = ""  # why not
    products: Products | None = None  # of a step of ours; None = on a GPU


def measure(workspace: Workspace) -> Report:
    """All contestants on the processor, and on the GPU where there is one."""
    rows, targets, left_out = [], [], {}
    rounds = _rounds(workspace)
    distinct, bounds = 0, ""
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        with contest(workspace, device=device) as found:
            figures = _times(
                found,
                rounds=rounds,
                thorough=workspace.sizes.thorough,
                cache=workspace.place("compiled"),
            )
            distinct = len(found.ours.need("entity_text"))
        suffix = ", GPU" if device == "cuda" else ""
        rows += _rows(figures, mentions=len(found.ours), suffix=suffix)
        if figures.failure:
            left_out[COMPILED + suffix] = figures.failure
        if device == "cpu":
            targets = _targets(figures)
            bounds = _bounds(figures)
    return Report(
        question="one DRIN training step",
        columns=COLUMNS,
        rows=rows,
        targets=targets,
        conditions=[*_conditions(workspace, distinct), bounds],
        left_out=left_out,
    )


def _rounds(workspace: Workspace) -> int:
    sizes = workspace.sizes
    return max(_ROUNDS, sizes.rounds) if sizes != TINY else sizes.rounds


def training_config(workspace: Workspace, **changes: object) -> TrainConfig:
    """``drin-fs train`` with the gold slot, so that both sides see the same candidates."""
    return read_config(
        {"protocol": "paper", "batch_size": workspace.sizes.batch, "device": "cpu", **changes}
    )


@contextmanager
def contest(workspace: Workspace, *, device: str = "cpu") -> Iterator[Contest]:
    """The first mentions of the train split, read by both sides."""
    with workspace.store() as store:
        job = prepare_job(store, training_config(workspace, device=device))
        first = job.rows("train")[: workspace.sizes.batch]
        read = job.loader("train").reader[np.arange(first.start, first.stop)]
        dataset = ReferenceDataset(workspace.arrays, "train", in_memory=False)
        batch = collated(dataset, range(len(first)))
        yield Contest(
            job=job,
            ours=job.module().transfer_batch_to_device(read, job.device, 0),
            reference={key: value.to(job.device) for key, value in batch.items()},
        )


def _times(contest: Contest, *, rounds: int, thorough: bool, cache: Path) -> Figures:
    with reproducible(0, contest.device):
        acts: dict[str, Act] = {
            DIRECT: direct_act(contest),
            OURS: our_act(contest, contest.job.module(), precision="32"),
            BF16: our_act(contest, contest.job.module(), precision="bf16-mixed"),
        }
        if contest.device.type == "cuda":
            acts |= {
                PLAIN: _plain(contest, "32"),
                PLAIN_BF16: _plain(contest, "bf16-mixed"),
            }
        compiling, failure = None, "compiling takes a minute or more: without --quick"
        if thorough:
            act, compiling, failure = _compiled(contest, cache)
            if not failure:
                acts[COMPILED] = act
        few = contest.device.type == "cpu" and machine.bfloat16_units() == "emulated"
        fewer = {BF16: min(rounds, _FEW)} if few else {}
        around = {
            name: partial(_in_training, act, ours=name != DIRECT) for name, act in acts.items()
        }
        times = in_turn(acts, rounds=rounds, fewer=fewer, around=around)
        products = products_of(acts[OURS]) if contest.device.type == "cpu" else None
        return Figures(times=times, compiling=compiling, failure=failure, products=products)


@contextmanager
def _in_training(act: Act, *, ours: bool) -> Iterator[None]:
    """After a step that is not counted, with the memory that it left; ours keeps it, as drin-fs train."""
    with keep_freed_memory() if ours else nullcontext():
        act(0)
        yield


def _plain(contest: Contest, precision: Precision) -> Act:
    """Our step without CUDA graphs."""
    module = contest.job.module()
    module.graphs_of = None
    return our_act(contest, module, precision=precision)


def _compiled(contest: Contest, cache: Path) -> tuple[Act, float | None, str]:
    """The step through ``torch.compile``, the seconds of its first call, or why it did not work.

    Args:
        cache: an empty folder for what is compiled, so that it is compiled now.
    """
    module = contest.job.module()
    module.graphs_of = None
    act = our_act(contest, module, precision="32")
    if contest.device.type == "cpu" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        return act, None, "no C++ compiler"
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
    module.network.compile(dynamic=True)
    try:
        return act, timed(act), ""
    except Exception as error:  # whatever a compiler, or torch's use of it, runs into
        return act, None, f"torch.compile failed: {type(error).__name__}"


def direct_act(contest: Contest) -> Act:
    """One step of the direct implementation."""
    paths = contest.job.match
    network = DirectDrin(text_width=paths.text_width or 0, image_width=paths.image_width or 0)
    network.to(contest.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=LR)

    def act(turn: int) -> None:
        direct_step(network, optimizer, contest.reference)
        finish(contest.device)

    return act


def our_act(contest: Contest, module: LinkerModule, *, precision: Precision) -> Act:
    """One step as Lightning's trainer makes it of ours: the module's own step and optimiser."""
    module.to(contest.device).train()
    optimizer = module.configure_optimizers()

    def act(turn: int) -> None:
        optimizer.zero_grad()
        with autocast(contest.device, precision):
            loss = module.training_step(contest.ours, turn)
        loss.backward()
        optimizer.step()
        finish(contest.device)

    return act


def _rows(figures: Figures, *, mentions: int, suffix: str) -> list[Row]:
    rows = []
    for name, times in figures.times.items():
        cells: dict[str, Cell] = {
            "ms a step": times.median * 1e3,
            "× faster": ratio(figures.times[DIRECT], times),
            "mentions/s": mentions / times.median,
        }
        if name == COMPILED and figures.compiling is not None:
            gain = figures.times[OURS].median - times.median
            cells["compiling"] = _worth(figures.compiling, gain)
        rows.append(Row(name=name + suffix, figures=cells, ours=name != DIRECT))
    return rows


def _worth(compiling: float, gain: float) -> str:
    """What compiling costs in seconds, and when a gain (seconds a step) has paid for it."""
    if gain <= 0:
        return f"{compiling:.0f} s, no gain"
    return f"{compiling:.0f} s, paid back after {compiling / gain:,.0f} steps"


def _targets(figures: Figures) -> list[Target]:
    times = figures.times
    emulated = machine.bfloat16_units() == "emulated"
    return [
        Target(
            what="float32 step against the direct one",
            bound=2.5,
            measured=ratio(times[DIRECT], times[OURS]),
        ),
        Target(
            what="bf16-mixed step against the direct float32 one",
            bound=6.0,
            measured=None if emulated else ratio(times[DIRECT], times[BF16]),
            why="this processor has no bfloat16 units and emulates them" if emulated else "",
        ),
    ]


def _bounds(figures: Figures) -> str:
    """How much faster than the direct step its products alone let ours be."""
    assert figures.products is not None
    direct = figures.times[DIRECT].median
    bounds = []
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        least = figures.products.seconds(dtype)
        bounds.append(f"{1e3 * least:.0f} ms in {name} (at most {direct / least:.1f} × faster)")
    return (
        f"the {figures.products.operations / 1e9:.0f} billion operations of the products of our step, "
        f"at the speed of one of 2,048 rows and columns: {', '.join(bounds)}"
    )


def _conditions(workspace: Workspace, distinct: int) -> list[str]:
    sizes = workspace.sizes
    gain = machine.bfloat16_gain()
    lines = [
        sizes.words,
        f"matrix products of the processor in bfloat16: {gain:.1f} times as fast as in float32",
        f"{sizes.batch} mentions × {sizes.candidates + 1} candidates, gold slot included (protocol "
        f"paper); {distinct:,} distinct entities",
        f"medians of {_rounds(workspace)} rounds in turn, each a step after one that does not count, "
        f"{torch.get_num_threads()} threads, deterministic algorithms as in drin-fs train",
        "torch.compile: dynamic shapes, because the number of distinct entities differs by batch",
    ]
    return lines
