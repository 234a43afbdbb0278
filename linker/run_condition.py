"""What a folder holds of a run that one is about to make: nothing, a part, all of it, or another run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from featurestore.errors import DrinFsError
from linker.config import TrainConfig
from linker.config_text import read_config
from linker.run_folder import RunFolder
from linker.run_groups import OF_NO_GROUP

#: ``other``: a run with other options or of another store. ``damaged``: nobody can tell.
Kind: TypeAlias = Literal["absent", "begun", "finished", "other", "damaged"]

#: Keys in which a run may differ and still be the same: they decide nothing of the result.
MAY_DIFFER = OF_NO_GROUP - {"seed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """``reason``: of ``other`` and ``damaged``, what is in the way."""

    kind: Kind
    reason: str = ""


def condition_of(folder: RunFolder, config: TrainConfig, *, fingerprint: str) -> Condition:
    """Compare a run folder with a run.

    Args:
        config: of the run, with what is left to the store filled in (``Job.config``).
        fingerprint: of the run's store.
    """
    if not folder.config.is_file():
        return Condition(kind="absent")
    try:
        differences = _differences(read_config(folder.read_config()), config)
        if differences:
            return Condition(
                kind="other",
                reason=f"the folder holds a run with other options: {', '.join(differences)}",
            )
        if folder.environment.is_file():
            recorded = folder.read_environment()["store"]
            if recorded["fingerprint"] != fingerprint:
                return Condition(
                    kind="other",
                    reason=f"the folder holds a run of another store: {recorded['path']} "
                    f"(fingerprint {recorded['fingerprint']})",
                )
        if not folder.summary.is_file():
            return Condition(kind="begun")
        folder.read_summary()
    except DrinFsError as error:
        return Condition(kind="damaged", reason=error.what)
    return Condition(kind="finished")


def _differences(there: TrainConfig, wanted: TrainConfig) -> list[str]:
    """``key there → wanted`` for every key that decides the result."""
    old, new = there.model_dump(mode="json"), wanted.model_dump(mode="json")
    pairs = [
        (key, old.get(key), new.get(key))
        for key in sorted(old.keys() | new.keys())
        if key not in MAY_DIFFER and old.get(key) != new.get(key)
    ]
    return [line for key, before, after in pairs for line in _told(key, before, after)]


def _told(key: str, before: object, after: object) -> list[str]:
    """A section by its own keys, anything else whole."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            line
            for inner in sorted(before.keys() | after.keys())
            if before.get(inner) != after.get(inner)
            for line in _told(f"{key}.{inner}", before.get(inner), after.get(inner))
        ]
    return [f"{key} {before} → {after}"]
