"""A run that continues: is it the same run, where does it go on, and is the machine as it was?"""

from __future__ import annotations

from typing import Any

from featurestore.errors import ConfigError
from featurestore.progress import Progress
from linker.checkpoint import Place, read_place
from linker.config_text import read_config
from linker.environment_diff import environment_notes, with_history
from linker.job import Job
from linker.machine import environment
from linker.rerun import Rerun
from linker.run_folder import RunFolder
from linker.schedules import check_same_length
from linker.store_identity import check_same_store

#: Keys in which a run may differ from its continuation: they do not change what an epoch learns.
MAY_CHANGE = frozenset(
    {"epochs", "stopping", "device", "devices", "nodes", "workers", "verify_reads"}
    | {"checkpoint_minutes", "checkpoint_steps"}
)


def place_to_continue(job: Job, folder: RunFolder, progress: Progress) -> Place | None:
    """Where the run stopped; None, and a line that says so, where it is to begin anew.

    Raises:
        ConfigError: the run was started with other options, or has more epochs behind it.
        RunError: another store, or a damaged file.
    """
    if folder.config.is_file() or folder.last.is_file():
        _check_same_run(job, folder)
    if not folder.last.is_file():
        progress.note(
            f"nothing to resume in {folder.path}: no checkpoint was written yet; "
            "starting from the beginning"
        )
        return None
    place = read_place(folder.last)
    if job.config.epochs < place.epochs:
        raise ConfigError(
            f"the run has already finished {place.epochs} epochs",
            where=f"--epochs {job.config.epochs}",
            hint=f"give --epochs {place.epochs} or more",
        )
    progress.note(f"continuing after {place}")
    return place


def _check_same_run(job: Job, folder: RunFolder) -> None:
    """Refuse to continue a run with another store or other options than it was started with."""
    if folder.environment.is_file() or folder.last.is_file():
        recorded = folder.read_environment()
        check_same_store(
            recorded["store"], job.store, hint="continue with the store the run was started with"
        )
        job.check_same_encoder(recorded)
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
    check_same_length(job.config, epochs=old["epochs"])


def recorded_environment(
    job: Job, folder: RunFolder, place: Place | None, progress: Progress, rerun: Rerun | None
) -> dict[str, Any]:
    """What is recorded of this machine; a run that is continued says what is not as it was.

    Args:
        place: where it is continued; None = it begins.
        rerun: the run that this one repeats.
    """
    now = environment(job.device, job.store, processes=job.processes.size) | job.encoder_identity()
    for note in () if rerun is None else rerun.notes(job.config, now):
        progress.note(note)
    if place is None:
        return now
    recorded = folder.read_environment()
    for note in environment_notes(recorded, now):
        progress.note(note)
    return with_history(recorded, now, after=str(place))
