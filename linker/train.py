"""Train one model from one store into one run folder.

    summary = train("wikimel.h5", read_config({"epochs": 5}), run="runs/first")

One fit, with the exact figures of the validation split after every epoch; then the best epoch's
weights are scored on the validation split and, once, on the test split.
"""

from __future__ import annotations

import os
from typing import Any

import featurestore
from featurestore.errors import ConfigError
from featurestore.progress import Progress, Silent
from linker.baseline import check_learns
from linker.callbacks import PeakMemory, RecordEpochs, ReportProgress, StartEpoch, WriteEvents
from linker.checkpoint import finished_epochs, load_weights
from linker.config import TrainConfig
from linker.config_text import read_config, to_yaml
from linker.data import BatchLoader, golds_outside_table
from linker.job import Job, prepare_job
from linker.machine import check_same_store, environment, store_identity
from linker.metrics import Ranks
from linker.module import LinkerModule
from linker.profiling import Profile
from linker.run_folder import RunFolder
from linker.summary import conditions, figures, split_metrics, store_line
from linker.trainer import interruptible, make_trainer, quiet_lightning, reproducible

#: Keys in which a run may differ from its continuation: they do not change what an epoch learns.
MAY_CHANGE = frozenset({"epochs", "device", "workers"})


def train(
    store: str | os.PathLike[str],
    config: TrainConfig,
    *,
    run: str | os.PathLike[str],
    resume: bool = False,
    overwrite: bool = False,
    profile: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train, or continue training, and return what ``RUN/summary.json`` then holds.

    Args:
        store: path of the store.
        run: the run folder; new or empty, unless ``resume`` or ``overwrite``.
        resume: continue after the last finished epoch; only ``MAY_CHANGE`` keys may differ.
        overwrite: replace a run that is there.
        profile: also measure where the time goes; written to ``RUN/profile.json``, and returned
            beside the summary as ``profile``.

    Raises:
        ConfigError: options that cannot work, a model with nothing to train, a folder that is not
            empty, or a resumed run whose configuration is another.
        FieldMissing: the store lacks a field that the model reads.
        DataError: the store has no mentions to train on, or is not the one of the resumed run.
        TrainingDiverged: a loss or score is not a number.
    """
    progress = progress or Silent()
    check_learns(config.model.name, store)
    folder = RunFolder(run)
    with featurestore.open(store) as opened:
        job = prepare_job(opened, config)
        for split in ("train", "valid"):
            job.rows(split)
        folder.start(resume=resume, overwrite=overwrite)
        if resume:
            _check_same_run(job, folder)
        _say_what_is_off(job, progress)
        folder.write_environment(environment(job.device, opened) | job.encoder_identity())
        folder.write_config(to_yaml(job.config))
        with reproducible(config.seed, job.device), quiet_lightning():
            return _Run(job, folder, progress).complete(resume=resume, profiled=profile)


class _Run:
    """One training run, from the first epoch to the summary."""

    def __init__(self, job: Job, folder: RunFolder, progress: Progress) -> None:
        self.job = job
        self.folder = folder
        self.progress = progress
        self.module: LinkerModule = job.module()
        self.memory = PeakMemory()
        self.recorder = RecordEpochs(
            folder=folder,
            metrics=job.config.metrics,
            description=conditions(job.config, job.match),
            progress=progress,
        )

    def complete(self, *, resume: bool, profiled: bool) -> dict[str, Any]:
        """Fit, score the best weights, and write ranks, summary and profile."""
        batches = self.job.loader("train", shuffled=True)
        profile = Profile(batches, self.job.device) if profiled else None
        try:
            self._fit(batches, profile, resume=resume)
        except KeyboardInterrupt:
            self.progress.note(self._where_it_stopped())
            raise
        load_weights(self.module.network, self.folder.best_weights)
        scored = {split: self._score(split) for split in ("valid", "test") if self._has(split)}
        summary = self._summary(scored)
        self.folder.write_summary(summary)
        if profile is None:
            return summary
        measured = profile.as_json()
        self.folder.write_profile(measured)
        return {**summary, "profile": measured}

    def _fit(self, batches: BatchLoader, profile: Profile | None, *, resume: bool) -> None:
        job, epochs = self.job, self.job.config.epochs
        done = finished_epochs(self.folder.last) if resume else 0
        total = (epochs - done) * (len(job.rows("train")) + len(job.rows("valid")))
        with self.progress.stage("training", total, "mentions") as stage:
            trainer = make_trainer(
                device=job.device,
                precision=job.config.precision,
                epochs=epochs,
                callbacks=[
                    StartEpoch(seed=job.config.seed, requests=batches.requests),
                    ReportProgress(stage),
                    self.memory,
                    self.recorder,
                    WriteEvents(folder=self.folder.tensorboard, recorder=self.recorder),
                    *([] if profile is None else [profile]),
                ],
            )
            self.module.train()
            with interruptible():
                trainer.fit(
                    self.module,
                    train_dataloaders=batches,
                    val_dataloaders=job.loader("valid"),
                    ckpt_path=self.folder.last if resume else None,
                    weights_only=True,
                )

    def _where_it_stopped(self) -> str:
        done = len(self.recorder.history)
        if not done:
            return "stopped before the first epoch was finished"
        return f"stopped after epoch {done}; continue with --resume -o {self.folder.path}"

    def _has(self, split: str) -> bool:
        if self.job.store.mentions.splits.get(split):
            return True
        self.progress.note(f"the store has no mentions in a split {split!r}: it is not scored")
        return False

    def _score(self, split: str) -> Ranks:
        ranks = self.job.score(self.module, split)
        ids = self.job.store.mentions.ids(self.job.rows(split))
        self.folder.write_ranks(split, ids=ids, ranks=ranks)
        return ranks

    def _summary(self, scored: dict[str, Ranks]) -> dict[str, Any]:
        config, history = self.job.config, self.recorder.history
        peak = self.memory.bytes
        splits = {
            split: figures(split_metrics(ranks, config.metrics)) for split, ranks in scored.items()
        }
        return {
            **conditions(config, self.job.match),
            **splits,
            "epochs": len(history),
            "best_epoch": self.recorder.best["epoch"],
            "parameters": sum(p.numel() for p in self.module.parameters() if p.requires_grad),
            "train_seconds_per_epoch": round(sum(e["seconds"] for e in history) / len(history), 3),
            "peak_rss_anon_mb": None if peak is None else round(peak / 1e6, 1),
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


def _check_same_run(job: Job, folder: RunFolder) -> None:
    """Refuse to continue a run with another store or other options than it was started with."""
    recorded = folder.read_environment()["store"]
    check_same_store(recorded, job.store, hint="continue with the store the run was started with")
    job.check_same_encoder(folder.read_environment())
    # read, and not as written: keys that are newer than the run have their defaults
    old = read_config(folder.read_config()).model_dump(mode="json")
    new = job.config.model_dump(mode="json")
    differing = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    forbidden = [key for key in differing if key not in MAY_CHANGE]
    if forbidden:
        changes = ", ".join(f"{key} {old.get(key)} → {new.get(key)}" for key in forbidden)
        raise ConfigError(
            f"the run was started with other options: {changes}",
            where=str(folder.config),
            hint=f"leave them out; --resume may change only {', '.join(sorted(MAY_CHANGE))}",
        )
    done = finished_epochs(folder.last)
    if job.config.epochs < done:
        raise ConfigError(
            f"the run has already finished {done} epochs",
            where=f"--epochs {job.config.epochs}",
            hint=f"give --epochs {done} or more",
        )


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
