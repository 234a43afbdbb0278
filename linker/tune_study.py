"""The study of a search on disk: ``RUNS/study.log``, which any number of processes append to.

A trial that was running when its process went away is *interrupted*: it counts for nothing, and is
queued once more with the same values. Its run is not lost: the new trial continues it.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from featurestore import Store
from featurestore.errors import ConfigError
from linker.run_folder import RunError
from linker.store_identity import check_same_store, store_identity
from linker.tune_space import Space

Sampler: TypeAlias = Literal["tpe", "random", "grid"]
Pruner: TypeAlias = Literal["median", "hyperband", "none"]

#: Attributes of trials: name of the run's folder, why it ended, its epochs and seconds; the number of
#: the interrupted trial that it repeats; its cell of a grid.
RUN, REASON, EPOCHS, SECONDS, REPEATS, CELL = (
    "run",
    "reason",
    "epochs",
    "seconds",
    "repeats",
    "cell",
)

#: Attribute of a study: which checkpoints stay.
KEEP = "keep"

INTERRUPTED = "interrupted"

_NAME, _FILE = "tune", "study.log"

#: Trials that are never pruned, and epochs that no trial is pruned after. Chosen here: Optuna's five,
#: and one epoch, because the first says little but how large the learning rate is.
_STARTUP_TRIALS, _WARMUP_EPOCHS = 5, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the processes of a search share. ``metric``: ``mrr`` or ``hits@k`` of the validation split.

    ``threads``: of each process; None = as they are.
    """

    store: Path
    runs: Path
    space: Space
    metric: str
    sampler: Sampler
    pruner: Pruner
    seed: int
    threads: int | None = None

    def study(self, *, ticket: int = 0) -> Study:
        """The study, with the sampler for the ``ticket``-th trial of it.

        Each trial has a random generator of its own, made of (seed, ticket): what one process draws
        is what an interrupted search draws when it goes on, and no two processes draw the same.
        """
        seed = int(np.random.SeedSequence([self.seed, ticket]).generate_state(1)[0])
        return optuna.load_study(
            study_name=_NAME,
            storage=_storage(self.runs),
            sampler=_sampler(self.sampler, seed),
            pruner=_pruner(self.pruner, epochs=self.space.largest("epochs")),
        )


def _sampler(name: Sampler, seed: int) -> BaseSampler:
    return TPESampler(seed=seed) if name == "tpe" else RandomSampler(seed=seed)


def _pruner(name: Pruner, *, epochs: int) -> BasePruner:
    if name == "median":
        return MedianPruner(n_startup_trials=_STARTUP_TRIALS, n_warmup_steps=1 + _WARMUP_EPOCHS)
    if name == "hyperband":
        return HyperbandPruner(min_resource=1, max_resource=epochs)
    return NopPruner()


def _storage(runs: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(runs / _FILE)))


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Without Optuna's line for each trial, and its warnings of what is new in it."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            yield
        finally:
            optuna.logging.set_verbosity(level)


def begin_study(work: Work, store: Store) -> Study:
    """Make the study, or go on with the one that is there. The caller alone writes to the folder.

    Raises:
        ConfigError: it searches another space, or by another figure; or the folder holds trials of
            none.
        RunError: it was begun on another store, or its file is damaged.
    """
    path = work.runs / _FILE
    if not path.is_file():
        _check_no_trials(work.runs)
    _end_with_a_line(path)
    for left in work.runs.glob(f"{_FILE}.lock*"):  # of a process that was killed while it wrote
        left.unlink(missing_ok=True)
    try:
        study = optuna.create_study(
            study_name=_NAME, storage=_storage(work.runs), direction="maximize", load_if_exists=True
        )
        recorded = study.user_attrs
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"the record of the search is damaged ({error})",
            where=str(path),
            hint="put the file back from a copy, or name another folder with -o",
        ) from error
    if "store" in recorded:
        _check_same(work, recorded, store)
    else:  # the store last: it says that the study is whole
        study.set_user_attr("space", dict(work.space.values))
        study.set_user_attr("metric", work.metric)
        study.set_user_attr("grid", work.sampler == "grid")
        study.set_user_attr(KEEP, "best")
        study.set_user_attr("store", store_identity(store))
    return study


def _check_no_trials(runs: Path) -> None:
    """Refuse to begin where trials, or a run, lie."""
    found = sorted(runs.glob("trial-*")) or sorted(runs.glob("config.yaml"))
    if found:
        raise ConfigError(
            f"the folder holds {found[0].name}, and no search that it is of",
            where=str(runs),
            hint="name another folder with -o",
        )


def _check_same(work: Work, recorded: Mapping[str, Any], store: Store) -> None:
    hint = "give the search that was begun, or name another folder with -o"
    check_same_store(recorded["store"], store, hint=hint)
    differences = work.space.differences(recorded["space"])
    if recorded["metric"] != work.metric:
        differences.insert(0, f"--metric {recorded['metric']} → {work.metric}")
    if recorded["grid"] != (work.sampler == "grid"):
        differences.insert(
            0, "a grid's cells and a sampler's trials do not go together (--sampler)"
        )
    if differences:
        raise ConfigError(
            f"the folder holds another search: {'; '.join(differences)}",
            where=str(work.runs),
            hint=hint,
        )


def _end_with_a_line(path: Path) -> None:
    """Cut off a last line that a stopped machine left half written: what follows it would be lost."""
    if not path.is_file():
        return
    with path.open("rb+") as file:
        text = file.read()
        if not text.endswith(b"\n"):
            file.truncate(text.rfind(b"\n") + 1)
            file.flush()
            os.fsync(file.fileno())


# trials -------------------------------------------------------------------------------------------


def is_interrupted(trial: FrozenTrial) -> bool:
    return trial.user_attrs.get(REASON) == INTERRUPTED


def counted(study: Study) -> int:
    """Trials that came to an end of their own: complete, pruned or failed."""
    return sum(t.state.is_finished() and not is_interrupted(t) for t in study.get_trials())


def mark_interrupted(study: Study, *, runs: Path) -> list[int]:
    """Mark the trials that nobody runs any more; nobody may run one. Their numbers."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for trial in running:
        end_trial(study, trial.number, runs=runs, reason=INTERRUPTED)
    return [trial.number for trial in running]


def end_trial(study: Study, number: int, *, runs: Path, reason: str) -> None:
    """Give a running trial up as failed, from outside of it."""
    storage = _storage(runs)
    trial = storage.get_trial_id_from_study_id_trial_number(
        storage.get_study_id_from_name(_NAME), number
    )
    storage.set_trial_user_attr(trial, REASON, reason)
    study.tell(number, state=TrialState.FAIL)


def queue_interrupted(study: Study) -> list[int]:
    """Queue each interrupted trial once more, unless that was done. Their numbers."""
    trials = study.get_trials(deepcopy=False)
    repeated = {t.user_attrs.get(REPEATS) for t in trials}
    waiting = [t for t in trials if is_interrupted(t) and t.number not in repeated and t.params]
    for trial in waiting:
        attributes = {k: trial.user_attrs[k] for k in (CELL,) if k in trial.user_attrs}
        study.enqueue_trial(trial.params, user_attrs={**attributes, REPEATS: trial.number})
    return [trial.number for trial in waiting]


def queue_cells(study: Study, cells: list[dict[str, Any]]) -> None:
    """Queue the cells of a grid that no trial has yet."""
    there = {
        t.user_attrs.get(CELL) for t in study.get_trials(deepcopy=False) if not is_interrupted(t)
    }
    for place, cell in enumerate(cells):
        if place not in there:
            study.enqueue_trial(cell, user_attrs={CELL: place})
