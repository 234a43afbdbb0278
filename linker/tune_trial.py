"""One trial of a search: an ordinary run, watched after every epoch, never scored on the test split."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from optuna.study import Study
from optuna.trial import Trial, TrialState

from featurestore.errors import DrinFsError, StoreError, WriteError
from linker.callbacks import RecordEpochs
from linker.folder_lock import RunLocked
from linker.run_folder import RunFolder
from linker.train import train
from linker.tune_study import EPOCHS, REASON, REPEATS, RUN, SECONDS, Work

#: Told of each finished epoch, with the number of the trial.
OnEpoch = Callable[[int], None]

#: What goes wrong with the machine or the store and would with every other trial: the search stops.
_ENDS_ALL = (WriteError, StoreError, RunLocked)


class Pruned(Exception):
    """A trial is given up, because others are better; the text says why."""


class Watch(pl.Callback):
    """Reports the validation figure of every epoch to the trial, and ends the run that is pruned.

    Stands behind :class:`RecordEpochs`. Of a continued run the epochs before are reported first.

    Args:
        pruner: how the reason names what prunes.
    """

    def __init__(self, trial: Trial, *, metric: str, pruner: str, on_epoch: OnEpoch) -> None:
        self.trial = trial
        self.metric = metric
        self.pruner = pruner
        self.on_epoch = on_epoch
        self.reported = 0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._report(_recorder(trainer))

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        recorder = _recorder(trainer)
        self._report(recorder)
        last = self.reported == trainer.max_epochs
        if not last and self.trial.should_prune():
            value = recorder.history[-1][f"valid_{self.metric}"]
            raise Pruned(f"by {self.pruner} after epoch {self.reported}, at {value:.4f}")

    def _report(self, recorder: RecordEpochs) -> None:
        for epoch in recorder.history[self.reported :]:
            self.trial.report(epoch[f"valid_{self.metric}"], step=epoch["epoch"])
            self.reported += 1
            self.on_epoch(self.trial.number)


def _recorder(trainer: pl.Trainer) -> RecordEpochs:
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return next(each for each in callbacks if isinstance(each, RecordEpochs))


def run_trial(
    work: Work, study: Study, *, on_begin: Callable[[int], None], on_epoch: OnEpoch
) -> int:
    """Run the next trial of a study, queued or new, and record how it ended. Its number.

    A trial that fails is recorded with the reason, and is no error. Of one that is interrupted nothing
    is recorded here.

    Args:
        on_begin: told the number before training begins.

    Raises:
        WriteError, StoreError, RunLocked: what every trial would fail of.
    """
    trial = study.ask()
    on_begin(trial.number)
    chosen = {each.key: each.suggest(trial) for each in work.space.parameters}
    run = RunFolder(work.runs / f"trial-{trial.number:04d}")
    trial.set_user_attr(RUN, run.path.name)
    watch = Watch(trial, metric=work.metric, pruner=work.pruner, on_epoch=on_epoch)
    began = time.monotonic()
    try:
        summary = _train(work, chosen, run, watch)
    except Pruned as pruned:
        state, value, reason = TrialState.PRUNED, None, str(pruned)
    except _ENDS_ALL:
        raise
    except Exception as error:  # diverged, out of memory, options that do not go together, …
        state, value, reason = TrialState.FAIL, None, _reason(error)
    else:
        state, value, reason = TrialState.COMPLETE, summary["valid"][work.metric], ""
    trial.set_user_attr(REASON, reason)
    trial.set_user_attr(EPOCHS, watch.reported)
    trial.set_user_attr(SECONDS, round(time.monotonic() - began, 1))
    study.tell(trial, value, state=state)
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()  # what one trial could not hold, the next one may
    return trial.number


def _train(work: Work, chosen: dict[str, Any], run: RunFolder, watch: Watch) -> dict[str, Any]:
    """The summary of the trial's run, which goes on with that of the trial it repeats."""
    before = watch.trial.user_attrs.get(REPEATS)
    continued = before is not None and _take_over(work.runs / f"trial-{before:04d}", run.path)
    return train(
        work.store,
        work.space.config(chosen),
        run=run.path,
        resume=continued,
        score=("valid",),
        callbacks=[watch],
    )


def _take_over(old: Path, new: Path) -> bool:
    """Give a run that was interrupted the name of its continuation; whether there is one."""
    if not RunFolder(old).config.is_file():
        return False
    os.replace(old, new)
    return True


def _reason(error: Exception) -> str:
    """One line on why a trial failed."""
    if isinstance(error, DrinFsError):
        return f"{error.what} ({error.where})" if error.where else error.what
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
