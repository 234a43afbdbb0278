"""A run once more: from its ``config.yaml`` alone, on the store that lies recorded beside it.

    rerun = rerun_of("runs/drin/config.yaml")
    train(rerun.store_path(), rerun.config, run=rerun.new_folder(), rerun=rerun)

On the same device, with as many threads and the same versions of everything, the second run has the
figures and the weights of the first, to the bit. What is not the same is said before it begins.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from linker.config import TrainConfig
from linker.config_diff import config_differences
from linker.config_text import read_config
from linker.environment_diff import environment_notes
from linker.run_folder import RunFolder
from linker.store_identity import open_recorded_store, store_differences


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """The run that is made again: its folder, configuration and environment."""

    folder: Path
    config: TrainConfig
    environment: Mapping[str, Any]

    def store_path(self) -> Path:
        """Where the run's store was, and still is.

        Raises:
            StoreError: it is not there.
            RunError: another store is; says in what it differs.
        """
        open_recorded_store(self.environment["store"], given=None, other_store=False).close()
        return Path(self.environment["store"]["path"])

    def new_folder(self) -> Path:
        """A folder beside the run's for another one: ``drin-again``, or with the first free number."""
        run = self.folder.resolve()
        names = (f"{run.name}-again{'' if n == 1 else f'-{n}'}" for n in count(1))
        name = next(name for name in names if not (run.parent / name).exists())
        return self.folder.parent / name if self.folder.name else run.parent / name

    def notes(self, config: TrainConfig, environment: Mapping[str, Any]) -> tuple[str, ...]:
        """In what a new run differs from this one, a line each; the first says which run it is.

        Args:
            config: of the new run, with what is left to the store filled in.
            environment: of the new run, as ``environment.json`` has it.
        """
        changed = config_differences(self.config, config)
        told = ", ".join(f"{key} {old} → {new}" for key, (old, new) in changed.items())
        first = f"as {self.folder}, but {told}" if told else f"{self.folder} once more, unchanged"
        whose = f"{self.folder}'s"
        recorded, found = self.environment["store"], environment["store"]
        lines = [first]
        if recorded["fingerprint"] != found["fingerprint"]:
            differences = "; ".join(store_differences(recorded, found))
            lines.append(f"WARNING: another store than {whose}: {differences}")
        encoders = [each.get("text_encoder") for each in (self.environment, environment)]
        if encoders[0] != encoders[1] and all(encoders):
            lines.append(f"WARNING: the text encoder inside training is not {whose}")
        return (*lines, *environment_notes(self.environment, environment, whose=whose))


def rerun_of(file: str | os.PathLike[str]) -> Rerun | None:
    """The run whose ``config.yaml`` a file is; None for any other file.

    Raises:
        ConfigError, RunError: the run's configuration or environment is damaged.
    """
    folder = RunFolder(Path(file).parent)
    if Path(file).name != folder.config.name or not folder.environment.is_file():
        return None
    return Rerun(
        folder=folder.path,
        config=read_config(folder.read_config()),
        environment=folder.read_environment(),
    )
