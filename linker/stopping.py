"""The end of a run whose validation figure rises no more."""

from __future__ import annotations

from collections.abc import Iterable

import lightning.pytorch as pl

from linker.callbacks import RecordEpochs
from linker.config import TrainConfig
from linker.config_steps import StoppingConfig


def epochs_without_rise(figures: Iterable[float], *, min_delta: float) -> int:
    """How many epochs ago the figure was last more than ``min_delta`` above its best before.

    The rule of Lightning's ``EarlyStopping``; a figure of each epoch, the first one is a rise.
    """
    best, waited = float("-inf"), 0
    for figure in figures:
        if figure - min_delta > best:
            best, waited = figure, 0
        else:
            waited += 1
    return waited


class StopEarly(pl.Callback):
    """Tells Lightning to stop when ``stopping.patience`` epochs brought no rise.

    It has no state: what it decides follows from the history of the recorder, which checkpoints hold.
    So a run that was stopped in whatever way ends where it would have ended, and one that has ended
    does not go on.

    Args:
        recorder: has the history; stands before this among the callbacks.
    """

    def __init__(self, recorder: RecordEpochs, config: TrainConfig) -> None:
        self.recorder = recorder
        self.stopping: StoppingConfig = config.stopping
        self.epochs = config.epochs
        self.metric = config.stopping.metric or config.metrics.select

    @property
    def reason(self) -> str | None:
        """Why the run ended before its last epoch; None where it did not."""
        if not self._is_over() or len(self.recorder.history) >= self.epochs:
            return None
        by = f" by more than {self.stopping.min_delta:g}" if self.stopping.min_delta else ""
        waited = "an epoch" if self.stopping.patience == 1 else f"{self.stopping.patience} epochs"
        return (
            f"after epoch {len(self.recorder.history)} of {self.epochs}: "
            f"valid {self.metric} had not risen{by} for {waited}"
        )

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self._is_over()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self._is_over()

    def _is_over(self) -> bool:
        if self.stopping.patience is None:
            return False
        figures = (epoch[f"valid_{self.metric}"] for epoch in self.recorder.history)
        waited = epochs_without_rise(figures, min_delta=self.stopping.min_delta)
        return waited >= self.stopping.patience
