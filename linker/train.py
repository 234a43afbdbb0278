"""Train one model from one store into one run folder.

    summary = train("wikimel.h5", read_config({"epochs": 5}), run="runs/first")

One fit, with the exact figures of the validation split after every epoch; then the best epoch's
weights are scored on the validation split and, once, on the test split.

A run that was stopped anywhere, by a signal, a full disk or a power cut, continues from its last
checkpoint to the very figures that it would have had: the order of mentions is a function of (seed,
epoch, step), and a checkpoint holds weights, optimiser, random generators and running sums.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import lightning.pytorch as pl

import featurestore
from featurestore.errors import DrinFsError
from featurestore.opening import refuse_remote
from featurestore.progress import Progress, Silent
from linker.allocator import keep_freed_memory
from linker.averaging import averaging_of
from linker.baseline import check_learns
from linker.callbacks import PeakMemory, RecordEpochs, ReportProgress, SaveWithinEpochs, StartEpoch
from linker.checkpoint import Place, load_weights, refuse_checkpoint
from linker.config import TrainConfig
from linker.config_text import to_yaml
from linker.continuing import place_to_continue, recorded_environment
from linker.data import BatchLoader, golds_outside_table
from linker.events import WriteEvents
from linker.job import Job, prepare_job
from linker.launch import check_devices, failing_together, join, rank_here, settle_processes
from linker.loggers import LoggerName, SendEpochs, check_loggers
from linker.model_card import write_card
from linker.module import LinkerModule
from linker.profiling import Profile
from linker.ranks import Ranks
from linker.rerun import Rerun
from linker.run_folder import RunFolder
from linker.schedules import check_warm_up
from linker.scoring import score_into
from linker.stopping import StopEarly
from linker.store_identity import store_identity
from linker.summary import conditions, figures, split_metrics, store_line
from linker.tracing import Trace
from linker.trainer import interruptible, make_trainer, quiet_lightning, reproducible


def train(
    store: str | os.PathLike[str],
    config: TrainConfig,
    *,
    run: str | os.PathLike[str],
    resume: bool = False,
    overwrite: bool = False,
    profile: bool = False,
    loggers: Sequence[LoggerName] = (),
    score: Sequence[str] = ("valid", "test"),
    callbacks: Sequence[pl.Callback] = (),
    rerun: Rerun | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train, or continue training, and return what ``RUN/summary.json`` then holds.

    Args:
        store: path of the store.
        run: the run folder; new or empty, unless ``resume`` or ``overwrite``.
        resume: continue from the last checkpoint, within an epoch or after one; only the keys of
            ``linker.continuing.MAY_CHANGE`` may differ, and the epochs only where the learning rate
            does not depend on them. Where none was written yet, start anew and say so.
        overwrite: replace a run that is there.
        profile: also measure where the time goes; written to ``RUN/profile.json``, and returned
            beside the summary as ``profile``. A few steps in detail: ``RUN/trace.json.gz``.
        loggers: also send options and figures to these, see ``linker.loggers``.
        score: splits that the best weights are scored on; a search leaves the test split out.
        callbacks: called after ours, so that ``RecordEpochs.history`` has the epoch that ended.
        rerun: the run that this one repeats: in what they differ is said.

    Raises:
        ConfigError: options that cannot work, a model with nothing to train, a folder that is not
            empty, a resumed run whose configuration is another, or a logger that is not installed.
        FieldMissing: the store lacks a field that the model reads.
        DataError: the store has no mentions to train on, or is not the one of the resumed run.
        RunError: the checkpoint to continue from is damaged, or of another network.
        RunLocked: another process is writing to the run folder.
        TrainingDiverged: a loss, score or weight is not finite; names the batch and the field at
            fault. What was saved before is kept.
        WriteError: the disk is full or fails; what was saved before is kept.
        LoggerFailed: a logger does not start.
    """
    config = settle_processes(config)
    is_first = rank_here(config) == 0
    progress = (progress or Silent()) if is_first else Silent()
    check_loggers(loggers)
    refuse_remote(store, "training reads every feature in every epoch")
    check_learns(config.model.name, store)
    folder = RunFolder(run)
    with featurestore.open(store, verify_reads=config.verify_reads) as opened:
        job = prepare_job(opened, config)
        check_devices(config, job.device)
        for split in ("train", "valid"):
            job.rows(split)
        check_warm_up(config, mentions=len(job.rows("train")))
        with folder.locked(progress=progress) if is_first else nullcontext():
            place = None
            if is_first:
                place = place_to_continue(job, folder, progress) if resume else None
                if place is None:
                    folder.start(overwrite=overwrite or (resume and folder.config.is_file()))
                folder.remove_unfinished()
                folder.write_config(to_yaml(job.config))  # first: it says that there is a run
            job = job.shared_by(join(config, job.device))
            with failing_together(job.processes):
                if is_first:
                    folder.write_environment(
                        recorded_environment(job, folder, place, progress, rerun)
                    )
                    _say_what_is_off(job, progress)
                place = job.processes.from_first(lambda: place)
                with (
                    reproducible(config.seed, job.device),
                    quiet_lightning(),
                    keep_freed_memory(),
                ):
                    work = _Run(
                        job, folder, progress, loggers=loggers, score=score, callbacks=callbacks
                    )
                    return work.complete(place, profiled=profile)


class _Run:
    """One training run, from the first epoch to the summary."""

    def __init__(
        self,
        job: Job,
        folder: RunFolder,
        progress: Progress,
        *,
        loggers: Sequence[LoggerName],
        score: Sequence[str],
        callbacks: Sequence[pl.Callback],
    ) -> None:
        self.job = job
        self.is_first = job.processes.is_first
        self.score = score
        self.callbacks = callbacks
        self.folder = folder
        self.progress = progress
        self.module: LinkerModule = job.module(to_train=True)
        self.memory = PeakMemory()
        self.averaging = averaging_of(job.config.ema, job.device)
        self.recorder = RecordEpochs(
            folder=folder,
            metrics=job.config.metrics,
            description=conditions(job.config, job.match),
            progress=progress,
            averaging=self.averaging,
            writes=self.is_first,
        )
        self.stopping = StopEarly(self.recorder, job.config)
        self.sender = SendEpochs(
            loggers if self.is_first else (),
            folder=folder,
            recorder=self.recorder,
            options=job.config.model_dump(mode="json"),
            progress=progress,
        )

    def complete(self, place: Place | None, *, profiled: bool) -> dict[str, Any]:
        """Fit, score the best weights, and write ranks, summary and profile.

        Args:
            place: where ``last.ckpt`` continues; None = from the beginning.
        """
        batches = self.job.loader("train", shuffled=True)
        trace = Trace(self.folder.trace, self.job.device)
        profiled = profiled and self.is_first
        profile = Profile(batches, self.job.device, trace) if profiled else None
        try:
            summary = self._fit_and_score(batches, profile, place)
            self.sender.finish(summary)
        finally:
            self.sender.close("failed")
        if self.is_first:
            self.folder.write_summary(summary)
            write_card(self.folder, self.job.store, progress=self.progress)
        if profile is None:
            return summary
        measured = profile.as_json()
        self.folder.write_profile(measured)
        return {**summary, "profile": measured}

    def _fit_and_score(
        self, batches: BatchLoader, profile: Profile | None, place: Place | None
    ) -> dict[str, Any]:
        try:
            self._fit(batches, profile, place)
        except KeyboardInterrupt:
            self.progress.note(self._where_it_stopped())
            raise
        if self.stopping.reason:
            self.progress.note(f"stopped {self.stopping.reason}")
        load_weights(self.module.network, self.folder.best_weights)
        scored = {
            split: score_into(self.folder, self.job, self.module, split)
            for split in self.score
            if self._has(split)
        }
        return self._summary(scored)

    def _fit(self, batches: BatchLoader, profile: Profile | None, place: Place | None) -> None:
        job, config = self.job, self.job.config
        with self.progress.stage("training", self._mentions_left(place), "mentions") as stage:
            trainer = make_trainer(
                device=job.device,
                precision=config.precision,
                epochs=config.epochs,
                accumulate=config.accumulate,
                clip=config.clip,
                clip_by=config.clip_by,
                processes=job.processes,
                profiler=None if profile is None else profile.clock,
                callbacks=[
                    StartEpoch(
                        seed=config.seed, requests=batches.requests, processes=job.processes
                    ),
                    ReportProgress(stage),
                    self.memory,
                    *([] if self.averaging is None else [self.averaging]),
                    self.recorder,
                    self.stopping,
                    SaveWithinEpochs(
                        self.recorder,
                        minutes=config.checkpoint_minutes,
                        steps=config.checkpoint_steps,
                        processes=job.processes,
                    ),
                    *self._telling(),
                    *([] if profile is None else [profile.trace, profile]),
                    *self.callbacks,
                ],
            )
            self.module.train()
            with interruptible(), self._restoring(place):
                trainer.fit(
                    self.module,
                    train_dataloaders=batches,
                    val_dataloaders=job.loader("valid"),
                    ckpt_path=None if place is None else self.folder.last,
                    weights_only=True,
                )

    def _telling(self) -> list[pl.Callback]:
        """What tells others of the run, in the first process."""
        events = WriteEvents(folder=self.folder.tensorboard, recorder=self.recorder)
        return [events, self.sender] if self.is_first else []

    def _mentions_left(self, place: Place | None) -> int:
        """Mentions that are still to be trained or validated with."""
        trained, validated = len(self.job.rows("train")), len(self.job.rows("valid"))
        epochs, batches = place or (0, 0)
        done = min(batches * self.job.config.batch_size, trained)
        return (self.job.config.epochs - epochs) * (trained + validated) - done

    @contextmanager
    def _restoring(self, place: Place | None) -> Iterator[None]:
        """Before training has begun, what goes wrong is the fault of the checkpoint."""
        try:
            yield
        except DrinFsError:
            raise
        except Exception as error:  # Lightning and torch name no class for a state that misfits
            if place is None or self.recorder.training:
                raise
            refuse_checkpoint(self.folder.last, f"it does not fit the run: {error!r}", error)

    def _where_it_stopped(self) -> str:
        place = self.recorder.saved
        if place is None:
            return "stopped before the first checkpoint: --resume will start from the beginning"
        return f"stopped after {place}; continue with --resume -o {self.folder.path}"

    def _has(self, split: str) -> bool:
        if self.job.store.mentions.splits.get(split):
            return True
        self.progress.note(f"the store has no mentions in a split {split!r}: it is not scored")
        return False

    def _summary(self, scored: dict[str, Ranks]) -> dict[str, Any]:
        config, history = self.job.config, self.recorder.history
        peaks = [peak for peak in self.job.processes.all_of(self.memory.bytes) if peak]
        splits = {
            split: figures(split_metrics(ranks, config.metrics)) for split, ranks in scored.items()
        }
        return {
            **conditions(config, self.job.match),
            **splits,
            "epochs": len(history),
            "best_epoch": self.recorder.best["epoch"],
            "stopped": self.stopping.reason,
            "parameters": sum(p.numel() for p in self.module.parameters() if p.requires_grad),
            "train_seconds_per_epoch": round(sum(e["seconds"] for e in history) / len(history), 3),
            "peak_rss_anon_mb": round(max(peaks) / 1e6, 1) if peaks else None,
            "empty_gold_slots": self._empty_gold_slots(),
            "store": store_line(store_identity(self.job.store)),
        }

    def _empty_gold_slots(self) -> dict[str, int] | None:
        """Split → mentions whose gold is no entity of the store; None where there are no slots."""
        if self.job.config.protocol == "strict":
            return None
        store = self.job.store
        return {
            name: golds_outside_table(store, rows) for name, rows in store.mentions.splits.items()
        }


def _say_what_is_off(job: Job, progress: Progress) -> None:
    for note in job.online.notes if job.online is not None else ():
        progress.note(note)
    for edge, reason in job.match.edges_off.items() if job.match.edges_chosen else ():
        progress.note(f"WARNING: edge {edge} of {job.match.name} is off: {reason}")
    outside = golds_outside_table(job.store, job.rows("train"))
    if outside and job.config.protocol == "paper":
        progress.note(
            f"{outside} training mentions have a gold that the store does not hold: "
            "their gold slot is an entity without features"
        )
