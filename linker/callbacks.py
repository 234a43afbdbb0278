"""What happens beside the training steps: progress, the history of epochs, checkpoints, memory."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from featurestore.machine import anonymous_memory
from featurestore.progress import Progress, Stage
from linker.averaging import AverageWeights, kept_network
from linker.batch import Batch
from linker.checkpoint import PLACE, Place, save_weights
from linker.config import MetricsConfig
from linker.module import METRICS, LinkerModule, piece_of
from linker.processes import ALONE, Processes
from linker.requests import Requests
from linker.run_folder import RunFolder
from linker.summary import figures, split_metrics

#: A line of the history: plain numbers by column name.
Epoch = dict[str, Any]


class StartEpoch(pl.Callback):
    """Makes the order of an epoch and its random numbers (dropout) functions of (seed, epoch) alone.

    Of several processes each has random numbers of its own, as each has other mentions.

    A checkpoint within an epoch holds the states of torch's generators, of all processes; they are put
    back immediately before the batch that comes next. Where another number of processes continues, all
    but the first begin new ones, of (seed, epoch, step, process).
    """

    def __init__(self, *, seed: int, requests: Requests, processes: Processes = ALONE) -> None:
        self.seed = seed
        self.requests = requests
        self.processes = processes
        self._loaded: dict[str, Any] | None = None

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._loaded = None
        self.requests.set_epoch(trainer.current_epoch)
        self._seed(trainer.current_epoch)

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Batch, index: int
    ) -> None:
        if self._loaded is None:
            return
        rank, states = self.processes.rank, [self._loaded, *self._loaded.get(_OTHERS, ())]
        if rank == 0 or len(states) == self.processes.size:
            _set_generators(states[rank])
        else:
            self._seed(trainer.current_epoch, index)
        self._loaded = None

    def _seed(self, *words: int) -> None:
        """Seed torch with the configured seed, these, and the number of the process unless it is 0."""
        rank = self.processes.rank
        sequence = np.random.SeedSequence([self.seed, *words, *([rank] if rank else [])])
        torch.manual_seed(int(sequence.generate_state(1)[0]))

    # Lightning puts these into each checkpoint

    def state_dict(self) -> dict[str, Any]:
        own: dict[str, Any] = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_initialized():
            own["cuda"] = torch.cuda.get_rng_state()
        first, *others = self.processes.all_of(own)
        return {**first, _OTHERS: others} if others else first

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._loaded = state_dict


#: Where the state of the first process's generators has those of the others.
_OTHERS = "others"


def _set_generators(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(state["cuda"])


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
        self.stage.advance(piece_of(trainer.train_dataloader, index).total)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        index: int,
        loader: int = 0,
    ) -> None:
        self.stage.advance(piece_of(trainer.val_dataloaders, index).total)


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

    # Lightning puts these into each checkpoint

    def state_dict(self) -> dict[str, Any]:
        return {"bytes": self.bytes}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.bytes = state_dict["bytes"]


class RecordEpochs(pl.Callback):
    """After every epoch: the figures, the best weights, ``metrics.csv``, and ``last.ckpt``.

    Of several processes all keep the history, and the first one writes.

    The history is part of the checkpoints. ``last.ckpt`` is written last: a run that is stopped
    anywhere continues from a place up to which best weights and figures are on disk; what is there
    from beyond that place is written again, and is the same.
    """

    def __init__(
        self,
        *,
        folder: RunFolder,
        metrics: MetricsConfig,
        description: Mapping[str, Any],
        progress: Progress,
        averaging: AverageWeights | None = None,
        writes: bool = True,
    ) -> None:
        self.folder = folder
        self.writes = writes
        self.averaging = averaging
        self.metrics = metrics
        self.description = description
        self.progress = progress
        self.history: list[Epoch] = []
        self.finished: list[float] = []  # Unix time at which each epoch of the history was finished
        self.place = Place(epochs=0, batches=0)
        self.saved: Place | None = None  # where the last checkpoint continues
        self.training = False  # whether a fit has come so far: everything was restored
        self._seconds = 0.0  # of this epoch's training, before the last interruption
        self._started = self._trained = 0.0

    @property
    def best(self) -> Epoch:
        """The best epoch: by the selected figure, then by MRR, then the earlier one."""
        return max(self.history, key=self._merit)  # max() keeps the first of equals

    def _merit(self, epoch: Epoch) -> tuple[float, float]:
        return epoch[f"valid_{self.metrics.select}"], epoch["valid_mrr"]

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.history and self.writes:
            self.folder.write_metrics(self.history)

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.training = True
        self._started = time.perf_counter()

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._seconds, self._started = 0.0, time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        index: int,
    ) -> None:
        self.place = Place(epochs=len(self.history), batches=index + 1)

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._trained = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, LinkerModule)
        with trainer.profiler.profile(METRICS):  # type: ignore[attr-defined]
            epoch = self._finished_epoch(trainer.current_epoch + 1, module)
        self.history.append(epoch)
        self.finished.append(time.time())
        self.place = Place(epochs=len(self.history), batches=0)
        is_best = self.best is epoch
        if is_best:
            self._save_best(trainer, module, number=epoch["epoch"])
        if self.writes:
            self.folder.write_metrics(self.history)
        self.save(trainer)
        self.progress.note(self._line(epoch, trainer.max_epochs, is_best=is_best))

    def _save_best(self, trainer: pl.Trainer, module: LinkerModule, *, number: int) -> None:
        if self.writes:
            described = {**self.description, "epoch": number}
            network = kept_network(module, self.averaging)
            save_weights(network, self.folder.best_weights, description=described)
        trainer.save_checkpoint(self.folder.best)

    def _finished_epoch(self, number: int, module: LinkerModule) -> Epoch:
        valid = figures(split_metrics(module.ranks, self.metrics))
        seconds = self._seconds + self._trained - self._started
        return {
            "epoch": number,
            "train_loss": module.loss_sum / module.trained,
            **{f"valid_{name}": valid[name] for name in valid if name not in _COUNTS},
            "seconds": round(seconds, 3),
            "valid_seconds": round(time.perf_counter() - self._trained, 3),
            "mentions_per_s": round(module.trained / seconds, 1),
            "lr": module.rate,
        }

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
        return {
            "history": list(self.history),
            "finished": list(self.finished),
            "seconds": self._seconds + time.perf_counter() - self._started,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # earlier versions did not record the rate
        self.history = [{**epoch, "lr": epoch.get("lr")} for epoch in state_dict["history"]]
        self.finished = list(state_dict["finished"])
        self._seconds = float(state_dict["seconds"])

    def on_save_checkpoint(
        self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint[PLACE] = self.place._asdict()

    def on_load_checkpoint(
        self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.place = self.saved = Place(**checkpoint[PLACE])

    def save(self, trainer: pl.Trainer) -> None:
        """Write ``last.ckpt``."""
        trainer.save_checkpoint(self.folder.last)
        self.saved = self.place


class SaveWithinEpochs(pl.Callback):
    """Writes ``last.ckpt`` within epochs, after so many minutes or training steps since the last one.

    Not after the last batch of an epoch: validation follows, and then :class:`RecordEpochs` saves.
    Nor between the batches of one update, whose gradients no checkpoint holds: after the update.
    Stands behind it among the callbacks, so that it saves what that one has noted.

    Of several processes the clock of the first one counts, and it is asked every few steps.
    """

    def __init__(
        self,
        recorder: RecordEpochs,
        *,
        minutes: float | None,
        steps: int | None,
        processes: Processes = ALONE,
    ) -> None:
        self.recorder = recorder
        self.processes = processes
        self.minutes = minutes
        self.steps = steps
        self._since = 0.0
        self._steps = 0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._begin()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        index: int,
    ) -> None:
        self._steps += 1
        updated = (index + 1) % trainer.accumulate_grad_batches == 0
        if self._is_due() and updated and index + 1 < trainer.num_training_batches:
            self.recorder.save(trainer)
            self._begin()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._begin()

    def _begin(self) -> None:
        self._since, self._steps = time.monotonic(), 0

    def _is_due(self) -> bool:
        if self.steps is not None and self._steps >= self.steps:
            return True
        if self.minutes is None or (self.processes.several and self._steps % _ASKED):
            return False
        late = 60 * self.minutes
        return self.processes.from_first(lambda: time.monotonic() - self._since >= late)


#: Steps between two questions for the clock of the first process (chosen here: an answer is a message).
_ASKED = 16

#: Figures that are the same in every epoch.
_COUNTS = ("mentions", "retrieved")
