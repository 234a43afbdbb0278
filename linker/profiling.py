"""Where the time of a run goes, and what the store was asked for: ``drin-fs train --profile``.

Lightning tells its profiler of all that it does; :class:`Clock` adds the seconds up by parts. Without
``--profile`` there is none of it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.profilers import Profiler

from linker.batch import Batch
from linker.data import BatchLoader
from linker.module import METRICS
from linker.reading import ReadCost, total
from linker.tracing import Trace

#: The parts of a run, by what it is doing, in the order in which they are shown.
PARTS: Mapping[str, tuple[str, ...]] = {
    "training": ("waiting for data", "copying", "forward", "backward", "optimiser"),
    "validation": ("waiting for data", "copying", "forward", "metrics"),
    "run": ("encoding texts", "saving", "other"),
}

#: Lightning's names of its actions → what the run is doing, and the part. An action within another
#: counts for its own part alone; actions of neither are "other".
_ACTIONS: Mapping[str, tuple[str, str]] = {
    "[_TrainingEpochLoop].train_dataloader_next": ("training", "waiting for data"),
    "[Strategy]SingleDeviceStrategy.training_step": ("training", "forward"),
    "[Strategy]SingleDeviceStrategy.backward": ("training", "backward"),
    "[LightningModule]LinkerModule.optimizer_step": ("training", "optimiser"),
    "[Callback]AverageWeights.on_train_batch_end": ("training", "optimiser"),
    "[_EvaluationLoop].val_next": ("validation", "waiting for data"),
    "[Strategy]SingleDeviceStrategy.validation_step": ("validation", "forward"),
    METRICS: ("validation", "metrics"),
    "[LightningModule]LinkerModule.on_train_start": ("run", "encoding texts"),
    "[LightningModule]LinkerModule.on_validation_epoch_start": ("run", "encoding texts"),
    "[Callback]RecordEpochs.on_train_epoch_end": ("run", "saving"),
    "save_checkpoint": ("run", "saving"),
}

#: The same action in training and validation: it belongs to the batch that was asked for last.
_COPYING = "[Strategy]SingleDeviceStrategy.batch_to_device"


@dataclass(slots=True)
class _Running:
    """An action that has begun, and the seconds of it that actions within it took."""

    place: tuple[str, str]
    since: float
    within: float = 0.0
    mark: Any = None


class Clock(Profiler):
    """Adds up the seconds of every part; those of steps that are traced are left out.

    On a GPU a part ends when the GPU has done its work, which is slower than not asking: profile to
    learn where time goes, not how long a run takes.
    """

    def __init__(self, device: torch.device, trace: Trace) -> None:
        super().__init__()
        self.device = device
        self.trace = trace
        self.seconds = {doing: dict.fromkeys(parts, 0.0) for doing, parts in PARTS.items()}
        self._running: list[_Running] = []
        self._doing = "training"

    def start(self, action_name: str) -> None:
        place = self._place(action_name)
        if place is None:
            return
        if place[1] == "waiting for data":
            self._doing = place[0]
        self._running.append(
            _Running(place=place, since=self.now(), mark=self.trace.mark(": ".join(place)))
        )

    def stop(self, action_name: str) -> None:
        place = self._place(action_name)
        if place is None or not self._running:  # Lightning also stops what it has not started
            return
        ended = self._running.pop()
        if ended.mark is not None:
            ended.mark.__exit__(None, None, None)
        spent = self.now() - ended.since
        if self._running:
            self._running[-1].within += spent
        if not self.trace.recording:
            doing, part = ended.place
            self.seconds[doing][part] += spent - ended.within

    def _place(self, action: str) -> tuple[str, str] | None:
        action = action.replace("]DDPStrategy.", "]SingleDeviceStrategy.")  # of several processes
        return (self._doing, "copying") if action == _COPYING else _ACTIONS.get(action)

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


class Profile(pl.Callback):
    """Counts batches and what they read, and times the whole beside the clock of its parts.

    Args:
        trace: of some steps; it is told of them by this callback's place behind it.
    """

    def __init__(self, batches: BatchLoader, device: torch.device, trace: Trace) -> None:
        self.trace = trace
        self.clock = Clock(device, trace)
        self.batches = batches
        self.costs: list[ReadCost] = []
        self.validated = 0  # batches, while nothing was traced
        self.elapsed = 0.0
        self._began = 0.0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._began = self.clock.now()

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Batch, index: int
    ) -> None:
        self.costs.append(batch.cost)

    def on_validation_batch_start(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        batch: Batch,
        index: int,
        loader: int = 0,
    ) -> None:
        self.validated += not self.trace.recording

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.elapsed = self.clock.now() - self._began

    def as_json(self) -> dict[str, Any]:
        """Plain values, for ``RUN/profile.json``; ``timed``: training batches that were not traced."""
        read, seconds = total(self.costs), self.clock.seconds
        whole = self.elapsed - self.trace.seconds
        known = sum(spent for parts in seconds.values() for spent in parts.values())
        seconds["run"]["other"] += max(0.0, whole - known)
        return {
            "batches": len(self.costs),
            "timed": len(self.costs) - self.trace.steps,
            "validated": self.validated,
            "seconds": {
                doing: {part: round(spent, 4) for part, spent in parts.items()}
                for doing, parts in seconds.items()
            },
            "trace": self.trace.as_json(),
            "read": {
                "seconds": round(read.seconds, 4),
                "slots": read.slots,
                "distinct": read.distinct,
                "bytes": read.bytes,
                "disk_bytes": read.disk_bytes,
                "cached": round(read.cached, 4),
            },
        }
