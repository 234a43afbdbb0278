"""Which checkpoints of a search stay: those of the best trial, or of all.

A checkpoint is needed to go on with its trial, which an interrupted search does, and to score the trial's
weights. Once a trial came to its end, only the second is left. Everything else of a run stays: what was
found, and how.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeAlias

from optuna.study import Study

from featurestore.progress import Silent
from linker.folder_lock import RunLocked
from linker.run_folder import RunFolder
from linker.tune_result import Tuned
from linker.tune_study import KEEP

Keep: TypeAlias = Literal["best", "all"]


def settle_keep(study: Study, given: Keep | None) -> Keep:
    """What a search keeps: as it is told now, else as it was; a new one ``best``.

    Searches that were begun before this could be chosen kept all, and so go on.
    """
    recorded: Keep = study.user_attrs.get(KEEP, "all")
    if given is not None and given != recorded:
        study.set_user_attr(KEEP, given)
        return given
    return recorded


def remove_checkpoints(tuned: Tuned, runs: Path) -> tuple[int, int]:
    """Remove the checkpoints of the trials that ended and are not the best; (trials, bytes) of them.

    Of trials that run, or were interrupted, nothing is removed: they are continued. A run that somebody
    else writes to is left as it is.

    Raises:
        WriteError: they cannot be removed.
    """
    trials = size = 0
    for trial in tuned.trials:
        if not trial.run or trial is tuned.best:
            continue
        folder = RunFolder(runs / trial.run)
        if not folder.best.parent.is_dir():
            continue
        with suppress(RunLocked), folder.locked(progress=Silent()):
            trials, size = trials + 1, size + folder.remove_checkpoints()
    return trials, size
