"""What happens beside the training steps: progress, the history of epochs, checkpoints, memory."""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from featurestore.machine import anonymous_memory
from featurestore.progress import Progress, Stage
from linker.batch import Batch
from linker.checkpoint import save_weights
from linker.config import MetricsConfig
from linker.module import LinkerModule
from linker.requests import Requests
from linker.run_folder import RunFolder, replacing
from linker.summary import figures, split_metrics

#: A line of the history: plain numbers by column name.
Epoch = dict[str, Any]


class StartEpoch(pl.Callback):
    """Makes the order of an epoch and its random numbers (dropout) functions of (seed, epoch) alone.

    So a resumed run repeats them without the state of a generator being saved.
    """

    def __init__(self, *, seed: int, requests: Requests) -> None:
        self.seed = seed
        self.requests = requests

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.requests.set_epoch(trainer.current_epoch)
        sequence = np.random.SeedSequence([self.seed, trainer.current_epoch])
        torch.manual_seed(int(sequence.generate_state(1)[0]))


class ReportProgress(pl.Callback):
    """Tells a stage of every batch trained or validated."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        index: int,
    ) -> None:
        self.stage.advance(len(batch))

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        index: int,
        loader: int = 0,
    ) -> None:
        self.stage.advance(len(batch))


class PeakMemory(pl.Callback):
    """The largest anonymous memory seen, sampled around every backward pass."""

    def __init__(self) -> None:
        self.bytes: int | None = None

    def on_before_backward(
        self, trainer: pl.Trainer, module: pl.LightningModule, loss: torch.Tensor
    ) -> None:
        self._sample()

    def on_after_backward(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._sample()

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._sample()

    def _sample(self) -> None:
        now = anonymous_memory()
        if now is not None:
            self.bytes = max(self.bytes or 0, now)


class RecordEpochs(pl.Callback):
    """After every epoch: the figures, the best weights, ``metrics.csv``, and ``last.ckpt``.

    The history is part of the checkpoints. ``last.ckpt`` is written last: a run that is stopped
    anywhere continues from an epoch whose best weights and figures are on disk.
    """

    def __init__(
        self,
        *,
        folder: RunFolder,
        metrics: MetricsConfig,
        description: Mapping[str, Any],
        progress: Progress,
    ) -> None:
        self.folder = folder
        self.metrics = metrics
        self.description = description
        self.progress = progress
        self.history: list[Epoch] = []
        self._started = self._trained = 0.0

    @property
    def best(self) -> Epoch:
        """The best epoch: by the selected figure, then by MRR, then the earlier one."""
        return max(self.history, key=self._merit)  # max() keeps the first of equals

    def _merit(self, epoch: Epoch) -> tuple[float, float]:
        return epoch[f"valid_{self.metrics.select}"], epoch["valid_mrr"]

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._started = time.perf_counter()

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._trained = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, LinkerModule)
        epoch = self._finished_epoch(trainer.current_epoch + 1, module)
        self.history.append(epoch)
        is_best = self.best is epoch
        if is_best:
            described = {**self.description, "epoch": epoch["epoch"]}
            save_weights(module.network, self.folder.best_weights, description=described)
            self._save(trainer, self.folder.best)
        self.folder.write_metrics(self.history)
        self._save(trainer, self.folder.last)
        self.progress.note(self._line(epoch, trainer.max_epochs, is_best=is_best))

    def _finished_epoch(self, number: int, module: LinkerModule) -> Epoch:
        valid = figures(split_metrics(module.ranks, self.metrics))
        seconds = self._trained - self._started
        return {
            "epoch": number,
            "train_loss": module.loss_sum / module.trained,
            **{f"valid_{name}": valid[name] for name in valid if name not in _COUNTS},
            "seconds": round(seconds, 3),
            "valid_seconds": round(time.perf_counter() - self._trained, 3),
            "mentions_per_s": round(module.trained / seconds, 1),
        }

    def _save(self, trainer: pl.Trainer, path: Path) -> None:
        with replacing(path) as temporary:
            trainer.save_checkpoint(temporary)

    def _line(self, epoch: Epoch, epochs: int | None, *, is_best: bool) -> str:
        names = dict.fromkeys((self.metrics.select, "mrr"))
        shown = "  ".join(f"{name} {epoch[f'valid_{name}']:.4f}" for name in names)
        mark = "  best" if is_best else ""
        return (
            f"epoch {epoch['epoch']}/{epochs}  loss {epoch['train_loss']:.4f}  valid: {shown}  "
            f"{epoch['mentions_per_s']:,.0f} mentions/s{mark}"
        )

    # Lightning puts these into each checkpoint

    def state_dict(self) -> dict[str, Any]:
        return {"history": list(self.history)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = list(state_dict["history"])


class WriteEvents(pl.Callback):
    """The figures of every epoch as TensorBoard events; nothing where tensorboard is not installed."""

    def __init__(self, *, folder: Path, recorder: RecordEpochs) -> None:
        self.folder = folder
        self.recorder = recorder
        self._writer: Any = None

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder))

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self._writer is None:
            return
        epoch = self.recorder.history[-1]
        for name, value in epoch.items():
            if name != "epoch" and value is not None:
                self._writer.add_scalar(name.replace("_", "/", 1), value, epoch["epoch"])
        self._writer.flush()

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


#: Figures that are the same in every epoch.
_COUNTS = ("mentions", "retrieved")
