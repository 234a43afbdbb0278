"""What a grid is going to run: every run with its folder, checked before the first one starts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, TypeAlias

import torch

import featurestore
from featurestore import Store
from featurestore.errors import ConfigError, DrinFsError, StoreError
from linker.config import TrainConfig
from linker.config_text import nearest
from linker.grid_file import Cell, Grid
from linker.job import Job, prepare_job
from linker.launch import refuse_several
from linker.run_condition import MAY_DIFFER, condition_of
from linker.run_folder import RunFolder
from linker.seeds import seed_folder

#: What is to be done for a run. ``impossible``: it cannot run, or its folder holds something else.
Action: TypeAlias = Literal["train", "continue", "replace", "score", "keep", "impossible"]

#: The splits that an untrained model is scored on.
_SPLITS = ("valid", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """One run of a grid: a cell under one seed.

    ``seed``: None for a model that does not learn. ``config``: as it was asked for. ``reason``: why
    it is impossible. ``splits``: those that an untrained model is scored on.
    """

    cell: str
    seed: int | None
    config: TrainConfig
    store: Path
    folder: Path
    log: Path
    action: Action
    reason: str = ""
    splits: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """``drin seed 0``."""
        return self.cell if self.seed is None else f"{self.cell} seed {self.seed}"

    @property
    def learns(self) -> bool:
        """Whether there is something to train."""
        return self.seed is not None

    @property
    def epochs(self) -> int | None:
        return self.config.epochs if self.learns else None


def plan_grid(
    grid: Grid,
    *,
    output: str | os.PathLike[str],
    only: Sequence[str] = (),
    overwrite: bool = False,
) -> tuple[PlannedRun, ...]:
    """Open the stores, match every cell with its own, and look into the folders; writes nothing.

    Args:
        output: the folder of the runs.
        only: names of cells, or patterns with ``*``; empty = all.
        overwrite: replace what is in the way: runs of another configuration or store, and what was
            begun. What is finished and the same is kept all the same.

    Raises:
        ConfigError: no such cell, a folder that is a run itself, or two cells that are one
            configuration of one store.
        StoreError: a store cannot be read.
    """
    output = Path(output)
    _check_output(output)
    cells = chosen_cells(grid, only)
    with ExitStack() as opened:
        stores = _open_stores(cells, opened)
        runs: list[PlannedRun] = []
        same: dict[str, str] = {}
        for cell in cells:
            job = _prepared(cell, stores[cell.store])
            if isinstance(job, Job):
                _check_distinct(cell, job, same)
            runs += _runs_of(cell, job, stores[cell.store], output, overwrite)
    return tuple(runs)


def _check_output(output: Path) -> None:
    if RunFolder(output).config.is_file() or output.is_file():
        kind = "a file" if output.is_file() else "a run itself"
        raise ConfigError(
            f"this is {kind}, and a grid has a folder of its own",
            where=str(output),
            hint="name another folder with -o",
        )


def chosen_cells(grid: Grid, only: Sequence[str]) -> tuple[Cell, ...]:
    """The cells of these names, in the grid's order.

    Raises:
        ConfigError: a name or pattern that fits none; names the nearest.
    """
    names = [cell.name for cell in grid.cells]
    for pattern in only:
        if not any(fnmatchcase(name, pattern) for name in names):
            near = nearest(pattern, names)
            listed = f"cells: {', '.join(names[:20])}{', …' if len(names) > 20 else ''}"
            raise ConfigError(
                f"the grid has no cell {pattern!r}",
                where="--only",
                hint=f"did you mean {near}?" if near else listed,
            )
    return tuple(
        cell
        for cell in grid.cells
        if not only or any(fnmatchcase(cell.name, pattern) for pattern in only)
    )


def _open_stores(cells: Sequence[Cell], opened: ExitStack) -> dict[Path, Store]:
    stores: dict[Path, Store] = {}
    for cell in cells:
        if cell.store not in stores:
            try:
                stores[cell.store] = opened.enter_context(featurestore.open(cell.store))
            except StoreError as error:
                raise StoreError(
                    f"the store of cell {cell.name} cannot be opened: {error.what}",
                    where=error.where,
                    hint=error.hint,
                ) from error
    return stores


def _prepared(cell: Cell, store: Store) -> Job | DrinFsError:
    """The cell's job, with the seed 0; or why there can be none."""
    try:
        config = cell.config(0)
        refuse_several(config, command="grid")
        job = prepare_job(store, config)
        for split in ("train", "valid") if cell.learns else _scored(store):
            job.rows(split)
        with torch.device("meta"):  # the options fit the widths; takes no memory
            job.match.build()
    except DrinFsError as error:
        return error
    return job


def _scored(store: Store) -> tuple[str, ...]:
    """The splits that there are; ``test``, which is missed then, where there are none."""
    splits = store.mentions.splits
    return tuple(split for split in _SPLITS if splits.get(split)) or ("test",)


def _check_distinct(cell: Cell, job: Job, same: dict[str, str]) -> None:
    """Reports put runs of one configuration together, so two such cells would count as one."""
    values = job.config.model_dump(mode="json")
    kept = {key: value for key, value in values.items() if key not in {*MAY_DIFFER, "seed"}}
    key = json.dumps([kept, job.store.fingerprint], sort_keys=True)
    other = same.setdefault(key, cell.name)
    if other != cell.name:
        raise ConfigError(
            f"cells {other} and {cell.name} are the same: equal options on an equal store",
            where=str(cell.store),
            hint="take one of them out of the grid",
        )


def _runs_of(
    cell: Cell, job: Job | DrinFsError, store: Store, output: Path, overwrite: bool
) -> Iterator[PlannedRun]:
    """The runs of one cell, one a seed."""
    for seed in cell.seeds if cell.learns else (None,):
        folder = output / cell.name if seed is None else seed_folder(output / cell.name, seed)
        label = cell.name if seed is None else f"{cell.name}.seed-{seed}"
        run = PlannedRun(
            cell=cell.name,
            seed=seed,
            config=cell.config(seed or 0),
            store=cell.store,
            folder=folder,
            log=output / "logs" / f"{label}.txt",
            action="impossible",
            splits=() if cell.learns else _scored(store),
        )
        if isinstance(job, DrinFsError):
            yield replace(run, reason="; ".join(filter(None, [job.what, job.hint])))
        else:
            settled = job.config.model_copy(update={"seed": run.config.seed})
            yield _against_folder(run, settled, store.fingerprint, overwrite)


def _against_folder(
    run: PlannedRun, settled: TrainConfig, fingerprint: str, overwrite: bool
) -> PlannedRun:
    """Settle what is to be done by what the folder holds."""
    parent = RunFolder(run.folder.parent)
    if run.learns and parent.config.is_file():
        return replace(run, reason=f"{parent.path} is a run itself; remove it, or rename the cell")
    found = condition_of(RunFolder(run.folder), settled, fingerprint=fingerprint)
    if found.kind == "finished":
        return replace(run, action="keep")
    if found.kind in ("other", "damaged") and not overwrite:
        return replace(run, reason=f"{found.reason}; replace it with --overwrite")
    if not run.learns:
        return replace(run, action="score")
    if found.kind == "absent":
        return replace(run, action="train")
    return replace(run, action="replace" if overwrite else "continue")
