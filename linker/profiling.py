"""Where the time of training goes, and what the store was asked for: ``drin-fs train --profile``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch

from linker.batch import Batch
from linker.data import BatchLoader
from linker.reading import ReadCost, total

#: The parts of a training step, in their order: each lasts until the next begins.
PARTS = ("waiting for data", "forward", "backward", "optimiser")


class Profile(pl.Callback):
    """Adds up the seconds of every part of the training steps, and the costs of their batches.

    On a GPU a part ends when the GPU has done its work, which is slower than not asking: profile to
    learn where time goes, not how long a run takes.
    """

    def __init__(self, batches: BatchLoader, device: torch.device) -> None:
        self.batches = batches
        self.device = device
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.costs: list[ReadCost] = []
        self.steps = 0
        self.elapsed = 0.0
        self._since = self._epoch_began = self._waited = 0.0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """A run that is resumed within an epoch does not start that epoch."""
        self.on_train_epoch_start(trainer, module)

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._waited = self.batches.waited
        self._epoch_began = time.perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Batch, index: int
    ) -> None:
        self.costs.append(batch.cost)
        self.steps += 1
        self._since = self._now()

    def on_before_backward(
        self, trainer: pl.Trainer, module: pl.LightningModule, loss: torch.Tensor
    ) -> None:
        self._ends("forward")

    def on_after_backward(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._ends("backward")

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        index: int,
    ) -> None:
        self._ends("optimiser")

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.seconds["waiting for data"] += self.batches.waited - self._waited
        self.elapsed += self._now() - self._epoch_began

    def _ends(self, part: str) -> None:
        now = self._now()
        self.seconds[part] += now - self._since
        self._since = now

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def as_json(self) -> Mapping[str, Any]:
        """Plain values, for ``RUN/profile.json``."""
        read = total(self.costs)
        other = max(0.0, self.elapsed - sum(self.seconds.values()))
        parts = {**self.seconds, "other": other}
        return {
            "batches": self.steps,
            "seconds": {name: round(spent, 4) for name, spent in parts.items()},
            "read": {
                "seconds": round(read.seconds, 4),
                "slots": read.slots,
                "distinct": read.distinct,
                "bytes": read.bytes,
                "disk_bytes": read.disk_bytes,
                "cached": round(read.cached, 4),
            },
        }
