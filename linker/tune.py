"""Search for the options under which a model does best on the validation split.

    tuned = tune("wikimel.h5", Path("space.yaml"), runs="runs/search", trials=40, jobs=2)
    tuned.best.values           # {"lr": 0.0031, "model.layers": 3}

Every trial is an ordinary run, ``RUNS/trial-0007``. The test split is not scored while searching, so
that nothing is chosen by it: train the best configuration, with several seeds, and it is. The search
goes on where it stopped, to ``trials`` in total.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from optuna.study import Study

import featurestore
from featurestore.errors import ConfigError
from featurestore.progress import Progress, Silent, Stage
from linker.atomic import write_text
from linker.config import TrainConfig
from linker.folder_lock import alone_in
from linker.job import prepare_job
from linker.launch import refuse_several
from linker.run_folder import RunFolder
from linker.tune_jobs import TuneError, run_here, run_in_processes
from linker.tune_keep import Keep, remove_checkpoints, settle_keep
from linker.tune_result import Tuned, read_tuned, trial_line
from linker.tune_space import Space, read_space
from linker.tune_study import (
    Pruner,
    Sampler,
    Work,
    begin_study,
    counted,
    end_trial,
    mark_interrupted,
    queue_cells,
    queue_interrupted,
    quiet_optuna,
)

#: Trials of a search that is not told how many (chosen here: twice what the sampler tries at random
#: before it begins to learn).
TRIALS = 20

#: Trials that fail before any succeeds after which the search stops (chosen here).
_HOPELESS = 5


def tune(
    store: str | os.PathLike[str],
    space: Path | Mapping[str, Any],
    *,
    runs: str | os.PathLike[str],
    trials: int | None = None,
    minutes: float | None = None,
    jobs: int = 1,
    sampler: Sampler = "tpe",
    pruner: Pruner = "median",
    metric: str = "mrr",
    seed: int = 0,
    keep: Keep | None = None,
    progress: Progress | None = None,
) -> Tuned:
    """Run trials until there are ``trials`` in total, and return all of them, the best first.

    Args:
        store: path of the store.
        space: a YAML file, or the same as plain values; see :mod:`linker.tune_space`.
        runs: folder of the trials; one with trials of the same search is gone on with.
        trials: complete, pruned and failed ones together; None = 20, and all cells of a grid.
        minutes: begin no trial after so many; one that runs is not stopped.
        jobs: processes; the machine's threads are divided among them, which changes the last digits.
        sampler: ``tpe`` learns from the trials before; ``grid`` tries every combination.
        pruner: ends trials that fall behind, judged after every epoch.
        metric: ``mrr`` or ``hits@k``, of the validation split and the epoch whose weights are kept.
        keep: ``best``: checkpoints of a trial that ended are removed, but for the best trial's; ``all``:
            none are. None = as the search was begun, a new one ``best``.
        seed: of the sampler. With one job, equal seeds make equal searches.

    Raises:
        ConfigError: a space that cannot work, or a folder that holds another search.
        FieldMissing: the store lacks a field that the model reads.
        RunError: the folder's search was begun on another store, or its record is damaged.
        RunLocked: another process searches in this folder.
        TuneError: no trial succeeds.
        WriteError: the disk is full or fails; the search can be gone on with.
    """
    progress = progress or Silent()
    read = read_space(space)
    _check_metric(metric, read)
    refuse_several(read.first(), command="tune")
    cells = read.cells() if sampler == "grid" else []
    total = trials if trials is not None else len(cells) or TRIALS
    if cells:
        total = min(total, len(cells))
    work = Work(
        store=Path(store),
        runs=Path(runs),
        space=read,
        metric=metric,
        sampler=sampler,
        pruner=pruner,
        seed=seed,
        threads=None if jobs == 1 else max(1, torch.get_num_threads() // jobs),
    )
    lock = work.runs / ".tune.lock"
    with alone_in(work.runs, lock=lock, work="search", progress=progress), quiet_optuna():
        with featurestore.open(store) as opened:
            job = prepare_job(opened, read.first())
            for split in ("train", "valid"):
                job.rows(split)
            study = begin_study(work, opened)
        _say_what_goes_on(study, work, progress)
        queue_cells(study, cells)
        kept = settle_keep(study, keep)
        search = _Search(work, study, total=total, minutes=minutes, keep=kept, progress=progress)
        search.tidy(read_tuned(study, work), tell=True)
        try:
            search.run(jobs)
        finally:
            mark_interrupted(study, runs=work.runs)
            tuned = read_tuned(study, work)
            _write_best(tuned, work)
    return tuned


class _Search:
    """Deals out trials, and says how each ended."""

    def __init__(
        self,
        work: Work,
        study: Study,
        *,
        total: int,
        minutes: float | None,
        keep: Keep,
        progress: Progress,
    ) -> None:
        self.work = work
        self.study = study
        self.keep = keep
        self.progress = progress
        self.begin = counted(study)
        self.total = total
        self.until = None if minutes is None else time.monotonic() + 60 * minutes
        self.epochs = int(work.space.largest("epochs"))
        self.seen: dict[int, int] = {}  # trial → epochs that the stage was told of

    def run(self, jobs: int) -> None:
        left = max(0, self.total - self.begin)
        if not left:
            self.progress.note(f"{self.begin} trials are there already: nothing is left to try")
            return
        with self.progress.stage("trials", left * self.epochs, "epochs") as stage:
            self.stage: Stage = stage
            if jobs == 1:
                run_here(self.work, self._tickets(), on_epoch=self._epoch, on_end=self._end)
            else:
                run_in_processes(
                    self.work,
                    self._tickets(),
                    jobs=min(jobs, left),
                    on_epoch=self._epoch,
                    on_end=self._end,
                )

    def _tickets(self) -> Iterator[int]:
        for ticket in range(self.begin, self.total):
            if self.until is not None and time.monotonic() >= self.until:
                self.progress.note("the time is up: no more trials are begun")
                return
            yield ticket

    def _epoch(self, number: int) -> None:
        self.seen[number] = self.seen.get(number, 0) + 1
        self.stage.advance(1)

    def _end(self, number: int, death: str) -> None:
        """A trial came to its end, or to that of its process (``death``)."""
        if death:
            end_trial(self.study, number, runs=self.work.runs, reason=death)
        self.stage.advance(max(0, self.epochs - self.seen.get(number, 0)))
        tuned = read_tuned(self.study, self.work)
        self.progress.note(trial_line(tuned, number))
        self.tidy(tuned)
        ended = [each for each in tuned.trials if each.state != "interrupted"]
        if len(ended) >= _HOPELESS and all(each.state == "failed" for each in ended):
            raise TuneError(
                f"the first {len(ended)} trials all failed, the last because {ended[-1].reason}",
                where=str(self.work.runs),
                hint="mend that, or the space, and search in another folder",
            )

    def tidy(self, tuned: Tuned, *, tell: bool = False) -> None:
        """Remove the checkpoints that are not to stay."""
        if self.keep == "all":
            return
        trials, size = remove_checkpoints(tuned, self.work.runs)
        if trials and tell:
            self.progress.note(
                f"removed the checkpoints of {trials} trials that are not the best, {size:,} bytes "
                "(--keep all keeps those to come)"
            )


def _check_metric(metric: str, space: Space) -> None:
    config: TrainConfig = space.first()
    known = ["mrr", *(f"hits@{k}" for k in config.metrics.ks)]
    if metric not in known:
        raise ConfigError(
            f"no figure {metric!r}",
            where="--metric",
            hint=f"figures: {', '.join(known)}; others by metrics.ks under defaults",
        )


def _say_what_goes_on(study: Study, work: Work, progress: Progress) -> None:
    """Mark and queue what was interrupted, and say so."""
    mark_interrupted(study, runs=work.runs)
    repeated = queue_interrupted(study)
    if done := counted(study):
        progress.note(f"going on after {done} trials")
    if repeated:
        told = ", ".join(map(str, repeated))
        progress.note(f"interrupted, and continued as new trials: {told}")


def _write_best(tuned: Tuned, work: Work) -> None:
    """``RUNS/best.yaml``: the configuration of the best trial, as its run has it."""
    if tuned.best is None:
        return
    text = RunFolder(work.runs / tuned.best.run).config.read_text(encoding="utf-8")
    count = sum(trial.state != "interrupted" for trial in tuned.trials)
    head = f"# The best of {count} trials: {tuned.best.run}, by {work.metric} of the validation split.\n"
    write_text(work.runs / "best.yaml", head + text)
