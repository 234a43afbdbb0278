"""Runs that lie below folders, and those of them that differ in their seed alone. Imports no torch.

groups = group_runs(RecordedRun(path) for path in runs_below(["runs/wikimel"]))
groups[0].name, [run.summary["seed"] for run in groups[0].runs]      # drin, [0, 1, 2]
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linker.recorded import RecordedRun
from linker.run_folder import RunError, RunFolder

#: Folders of single seeds, as ``drin-fs train --seeds`` and ``drin-fs grid`` name them.
SEED_FOLDER = re.compile(r"seed-(\d+)")

#: How people end the names of folders that differ in the seed: ``drin-0``, ``drin_seed1``.
_SEED_ENDING = re.compile(r"[-_. ]*(seed)?[-_. =]*\d+$")

#: Keys of a configuration that runs of one group may differ in: none changes what is learnt, but
#: for the seed.
OF_NO_GROUP = frozenset(
    {
        "seed",
        "device",
        "devices",
        "nodes",
        "workers",
        "cuda_graphs",
        "verify_reads",
        "checkpoint_minutes",
        "checkpoint_steps",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Runs of one configuration and store, by their seeds; ``name``: the folder that they lie in."""

    name: str
    runs: tuple[RecordedRun, ...]


def runs_below(paths: Sequence[str | os.PathLike[str]]) -> tuple[Path, ...]:
    """The finished runs that these folders are, or hold at any depth: each once.

    In the order of the paths; below a folder by name, numbers in names by their value.

    Raises:
        RunError: a folder neither is a run nor holds a finished one.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if RunFolder(path).config.is_file() or not path.is_dir():
            RunFolder(path).read_summary()  # says what is missing
            found[path] = None
            continue
        below = sorted((file.parent for file in path.rglob("summary.json")), key=_natural)
        if not below:
            raise RunError(
                "the folder is no run, and holds no finished one",
                where=str(path),
                hint="runs are made with: drin-fs train STORE -o RUN, or drin-fs grid GRID.yaml",
            )
        found.update(dict.fromkeys(below))
    return tuple(found)


def group_runs(runs: Iterable[RecordedRun]) -> tuple[Group, ...]:
    """Put together what differs in the seed alone, in the order of the first of each; by seed.

    Raises:
        RunError: the configuration of a run is damaged.
    """
    grouped: dict[str, list[RecordedRun]] = {}
    for run in runs:
        grouped.setdefault(_identity(run), []).append(run)
    groups = []
    for members in grouped.values():
        ordered = sorted(members, key=lambda run: run.summary["seed"] or 0)
        groups.append(Group(name=_name(ordered), runs=tuple(ordered)))
    return tuple(groups)


def _identity(run: RecordedRun) -> str:
    """Equal for runs that differ in their seed alone."""
    config = {
        key: value
        for key, value in RunFolder(run.path).read_config().items()
        if key not in OF_NO_GROUP and value is not None  # runs of earlier versions lack newer keys
    }
    rules = {key: run.summary.get(key) for key in ("protocol", "tie_rule", "denominator")}
    store = run.environment["store"]["fingerprint"]
    return repr([run.model, _ordered(config), _ordered(rules), store])


def _ordered(value: Any) -> Any:
    """Equal for equal values in whatever order their keys stand, of whatever types these are."""
    if isinstance(value, dict):
        return sorted((repr(key), _ordered(each)) for key, each in value.items())
    return [_ordered(each) for each in value] if isinstance(value, list) else repr(value)


def _name(runs: Sequence[RecordedRun]) -> str:
    """The folder of the first run, without that of its seed; ``drin`` of ``drin-0`` and ``drin-1``."""
    path = runs[0].path.resolve()
    if SEED_FOLDER.fullmatch(path.name):
        return path.parent.name
    names = {run.path.resolve().name for run in runs}
    stems = {_SEED_ENDING.sub("", name) for name in names}
    return stems.pop() or path.name if len(names) > 1 and len(stems) == 1 else path.name


def _natural(path: Path) -> list[list[Any]]:
    """``seed-2`` before ``seed-10``, and ``drin`` before ``drin-long``.

    Text and numbers alternate within a part, so that they compare.
    """
    return [
        [int(piece) if piece.isdigit() else piece for piece in re.split(r"(\d+)", part)]
        for part in path.parts
    ]
