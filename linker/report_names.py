"""What the rows of a table are called: each otherwise, and as short as that allows."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from linker.run_groups import SEED_FOLDER, Group

#: What is one row of a table.
By: TypeAlias = Literal["cell", "model", "run"]


def unique_names(groups: Sequence[Group], by: By) -> list[str]:
    """The names of the groups; those of one name get as much of their folder as tells them apart.

    Single runs are called by their path, below the folder that all of them lie in.
    """
    paths = [group.runs[0].path for group in groups]
    if by == "run":
        folder = common_folder(paths)
        return [os.path.relpath(path, folder) if folder else str(path) for path in paths]
    names = [group.name for group in groups]
    cells = [_cell_folder(path) for path in paths]
    folders = [
        path.resolve() if times > 1 else cell
        for path, cell, times in zip(paths, cells, map(cells.count, cells), strict=True)
    ]
    for parts in range(2, 2 + max(len(each.parts) for each in folders)):
        twice = {name for name, times in Counter(names).items() if times > 1}
        for place, cell in enumerate(folders):
            if names[place] in twice:
                names[place] = _longer(groups[place].name, cell, parts, by)
    return names


def common_folder(paths: Sequence[Path | str]) -> str:
    """The deepest folder that all of several runs lie in; empty where there is none, or one run."""
    folders = {os.path.dirname(os.path.normpath(path)) for path in paths}
    if len(paths) < 2 or len({os.path.isabs(folder) for folder in folders}) > 1:
        return ""
    common = os.path.commonpath(folders)
    return "" if common == os.sep else common


def _cell_folder(path: Path) -> Path:
    path = path.resolve()
    return path.parent if SEED_FOLDER.fullmatch(path.name) else path


def _longer(name: str, folder: Path, parts: int, by: By) -> str:
    """``a/text``, or ``drin in runs/a`` of models."""
    if by == "model":
        return f"{name} in {Path(*folder.parts[-parts + 1 :])}"
    return str(Path(*folder.parts[-parts:]))
