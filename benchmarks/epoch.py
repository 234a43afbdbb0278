"""A whole DRIN epoch over the train split: loading and steps, validation left out."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import lightning.pytorch as pl
import numpy as np
import torch
from torch.profiler import ProfilerAction, ProfilerActivity, profile

from benchmarks import machine
from benchmarks.data import Workspace
from benchmarks.reference_run import BatchTimes, train_reference
from benchmarks.report import Cell, Report, Row, Target
from benchmarks.step import training_config
from benchmarks.timing import Times, finish, ratio
from featurestore.progress import Silent
from linker.allocator import keep_freed_memory
from linker.callbacks import PeakMemory, ReportProgress, StartEpoch
from linker.config import Precision
from linker.data import BatchLoader
from linker.job import Job, prepare_job
from linker.machine import autocast
from linker.trainer import make_trainer, quiet_lightning, reproducible

COLUMNS = ("seconds an epoch", "mentions/s", "× faster", "waiting s", "waiting %", "GPU busy %")
REFERENCE = "reference: .npy mapped into memory, direct step"
WORKERS = (0, 1, 2, 4)
#: On a GPU, which a batch keeps busy for milliseconds: fewer choices, more mentions.
GPU_WORKERS, GPU_MENTIONS = (0, 4), 4_096
PRECISIONS: tuple[Precision, ...] = ("32", "bf16-mixed")

#: Epochs of each of ours, quick and otherwise.
_QUICK_EPOCHS, _EPOCHS = 2, 3

#: What is said of an epoch without validation, and of more workers than there are cores.
_EXPECTED_WARNINGS = (".*no.*val_dataloader.*", r"This DataLoader will create [0-9]+ worker.*")


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one pass over the train split took."""

    seconds: float
    waiting: float  # of these, until the next batch was there
    recording: float = 0.0  # seconds that the first pass of the fit took more, on a GPU


class EpochClock(pl.Callback):
    """Times what stands between the two ends of an epoch, the start of a loader's workers included."""

    def __init__(self, batches: BatchLoader) -> None:
        self.seconds = self.waited = self.first_seconds = 0.0  # of the last epoch, and of the first
        self._batches = batches
        self._started = self._waited = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._started, self._waited = time.perf_counter(), self._batches.waited

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        finish(module.device)
        self.seconds = time.perf_counter() - self._started
        self.waited = self._batches.waited - self._waited
        self.first_seconds = self.first_seconds or self.seconds


def measure(workspace: Workspace) -> Report:
    """The reference and ours, with several numbers of workers; on a GPU, on it."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        workspace = workspace.with_mentions(GPU_MENTIONS)
    sizes = workspace.sizes
    epochs = _EPOCHS if sizes.thorough else _QUICK_EPOCHS
    with workspace.store() as store:
        jobs = {
            _name(workers, precision): prepare_job(
                store,
                training_config(workspace, device=device, workers=workers, precision=precision),
            )
            for precision in _precisions(device)
            for workers in (GPU_WORKERS if device == "cuda" else WORKERS)
        }
        mentions = len(jobs[_name(0, "32")].rows("train"))
        reference = train_reference(
            workspace.arrays,
            batches=1 + epochs,
            batch_size=sizes.batch,
            in_memory=False,
            device=torch.device(device),
        )
        passes = _in_turn(jobs, reference, mentions=mentions, epochs=epochs)
        on_gpu = jobs if device == "cuda" else {}
        busy = {
            name: gpu_seconds(job) / _times(passes[name]).median for name, job in on_gpu.items()
        }
    rows = [_row(name, passes, mentions=mentions, busy=busy.get(name)) for name in passes]
    return Report(
        question="a whole DRIN epoch, validation left out",
        columns=COLUMNS if busy else COLUMNS[:-1],
        rows=rows,
        targets=_targets(passes, busy),
        conditions=_conditions(workspace, passes, mentions, epochs),
    )


def _precisions(device: str) -> tuple[Precision, ...]:
    """Those that the device has units for."""
    emulated = device == "cpu" and machine.bfloat16_units() == "emulated"
    return PRECISIONS[:1] if emulated else PRECISIONS


def _name(workers: int, precision: str) -> str:
    reading = "a thread reads" if workers == 0 else f"{workers} workers"
    return f"drin-fs, {'float32' if precision == '32' else precision}, {reading}"


def _in_turn(
    jobs: Mapping[str, Job], reference: Iterator[BatchTimes], *, mentions: int, epochs: int
) -> dict[str, list[Epoch]]:
    """A batch of the reference and an epoch of each of ours, again and again, after a first turn.

    In that one the reference touches its pages for the first time; one of ours is enough for ours.
    """
    taken: dict[str, list[Epoch]] = {REFERENCE: [], **{name: [] for name in jobs}}
    next(reference)
    one_epoch(next(iter(jobs.values())))
    for _ in range(epochs):
        taken[REFERENCE].append(scaled(next(reference), mentions=mentions))
        for name, job in jobs.items():
            taken[name].append(one_epoch(job))
    return taken


def one_epoch(job: Job, *callbacks: pl.Callback) -> Epoch:
    """An epoch with fresh weights, through the classes that ``drin-fs train`` goes through.

    On a GPU the second one: the first records CUDA graphs. On a processor it begins with the memory
    that a step before it has left, as every epoch but the first.
    """
    batches = job.loader("train", shuffled=True)
    clock = EpochClock(batches)
    epochs = 2 if job.device.type == "cuda" else 1
    with (
        reproducible(job.config.seed, job.device),
        quiet_lightning(),
        keep_freed_memory(),
        warnings.catch_warnings(),
    ):
        if job.device.type == "cpu":
            _one_step(job)
        for expected in _EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", expected)
        trainer = make_trainer(
            device=job.device,
            precision=job.config.precision,
            epochs=epochs,
            callbacks=[
                StartEpoch(seed=job.config.seed, requests=batches.requests),
                ReportProgress(Silent()),
                PeakMemory(),
                clock,
                *callbacks,
            ],
        )
        trainer.fit(job.module().train(), train_dataloaders=batches)
    recording = max(0.0, clock.first_seconds - clock.seconds)
    return Epoch(seconds=clock.seconds, waiting=clock.waited, recording=recording)


def _one_step(job: Job) -> None:
    rows = job.rows("train")[: job.config.batch_size]
    module = job.module().train()
    read = job.loader("train").reader[np.arange(rows.start, rows.stop)]
    batch = module.transfer_batch_to_device(read, job.device, 0)
    with autocast(job.device, job.config.precision):
        loss = module.training_step(batch, 0)
    loss.backward()


def gpu_seconds(job: Job) -> float:
    """How long the GPU computes in an epoch; copies to it do not count."""
    computing: list[float] = []

    def add_up(profiler: profile) -> None:
        computing.extend(
            event.self_device_time_total / 1e6
            for event in profiler.key_averages()
            if not event.key.startswith(("Memcpy", "Memset"))
        )

    activities = [ProfilerActivity.CUDA]
    with profile(activities=activities, schedule=_second_epoch, on_trace_ready=add_up) as profiler:
        one_epoch(job, EndOfEpoch(profiler))
    return sum(computing)


def _second_epoch(step: int) -> ProfilerAction:
    """What a profiler does in each epoch of a fit of two."""
    return ProfilerAction.RECORD_AND_SAVE if step == 1 else ProfilerAction.NONE


class EndOfEpoch(pl.Callback):
    """Tells a profiler that an epoch is over."""

    def __init__(self, profiler: profile) -> None:
        self.profiler = profiler

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        finish(module.device)
        self.profiler.step()


def scaled(batch: BatchTimes, *, mentions: int) -> Epoch:
    """The epoch that a batch stands for, by the number of mentions."""
    batches = mentions / batch.mentions
    return Epoch(seconds=(batch.loading + batch.step) * batches, waiting=batch.loading * batches)


def _times(passes: Sequence[Epoch]) -> Times:
    return Times(tuple(epoch.seconds for epoch in passes))


def _row(
    name: str, passes: Mapping[str, Sequence[Epoch]], *, mentions: int, busy: float | None
) -> Row:
    times = _times(passes[name])
    waiting = median(epoch.waiting for epoch in passes[name])
    cells: dict[str, Cell] = {
        "seconds an epoch": times.median,
        "mentions/s": mentions / times.median,
        "× faster": ratio(_times(passes[REFERENCE]), times),
        "waiting s": waiting,
        "waiting %": 100 * median(e.waiting / e.seconds for e in passes[name]),
        "GPU busy %": None if busy is None else 100 * busy,
    }
    return Row(name=name, figures=cells, ours=name != REFERENCE)


def _targets(passes: Mapping[str, Sequence[Epoch]], busy: Mapping[str, float]) -> list[Target]:
    threaded = [name for precision in PRECISIONS if (name := _name(0, precision)) in passes]
    fastest = min(threaded, key=lambda name: _times(passes[name]).median)
    only_float32 = len(threaded) == 1
    targets = [
        Target(
            what="an epoch against the reference's",
            bound=10.0,
            measured=ratio(_times(passes[REFERENCE]), _times(passes[fastest])),
            why="in float32: this processor has no bfloat16 units" if only_float32 else fastest,
        )
    ]
    if busy:
        best = max(busy, key=lambda name: busy[name])
        targets.append(
            Target(
                what=f"time that the GPU computes ({best})",
                bound=90.0,
                measured=100 * busy[best],
                unit="%",
            )
        )
    return targets


def _conditions(
    workspace: Workspace, passes: Mapping[str, Sequence[Epoch]], mentions: int, epochs: int
) -> list[str]:
    sizes = workspace.sizes
    recording = max(epoch.recording for name in passes for epoch in passes[name])
    graphs = f"; before it, recording CUDA graphs took {recording:.1f} s at most"
    return [
        sizes.words,
        f"{mentions:,} mentions of the train split in batches of {sizes.batch}, gold slot included "
        "(protocol paper)",
        f"ours: medians of {epochs} epochs in turn, files in the page cache, "
        f"{torch.get_num_threads()} threads{graphs if recording else ''}",
        f"reference: {epochs} batches, each between epochs of ours, scaled to an epoch",
        "waiting: the training process has no batch to go on with",
    ]
