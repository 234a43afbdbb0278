"""The ablations of DRIN as one grid: the whole model, and the same with one thing taken away each.

    plan = ablation_grid("wikimel.h5", seeds=(0, 1, 2), settings={"epochs": 2})
    run_grid(plan.grid, output="runs/ablations")

=================  ==================================================================================
cell               what it is
=================  ==================================================================================
whole              the model as it is otherwise asked for
without-tt … ii    one type of edge is off
static-edges       layers do not update the edges
vector-edges       one number an edge and channel
layers-1, -2, -3   so many graph layers (the whole model has one of these numbers)
text-only          the edge between the two texts alone: no picture reaches the score
picture-only       the model ``image``, which reads no text. DRIN cannot do without: its score compares
                   the two text vertices, and pictures reach them along edges from and to texts
=================  ==================================================================================
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

import featurestore
from featurestore import Store
from featurestore.errors import ConfigError, DrinFsError
from linker.ablations import EDGES
from linker.config import AUTO
from linker.config_layers import merged
from linker.config_text import read_config
from linker.grid_file import Grid, grid_of
from linker.job import Job, prepare_job

Values = dict[str, Any]

#: The cell that the others are compared with.
WHOLE = "whole"

#: Numbers of graph layers that are compared.
LAYERS = (1, 2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """One row: what is taken away, as a sentence, and the keys of the grid's cell that do it."""

    name: str
    what: str
    keys: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationGrid:
    """``left_out``: name of an ablation → why this store has no such row."""

    grid: Grid
    rows: tuple[Ablation, ...]
    left_out: Mapping[str, str]


#: The rows in their order, the whole model first.
ABLATIONS = (
    Ablation(name=WHOLE, what="the whole model", keys={}),
    *(
        Ablation(name=f"without-{edge}", what=f"without the edges {edge}", keys={"ablate": edge})
        for edge in EDGES
    ),
    Ablation(name="static-edges", what="edges are not updated", keys={"ablate": "static"}),
    Ablation(name="vector-edges", what="a number an edge and channel", keys={"ablate": "vector"}),
    *(
        Ablation(
            name=f"layers-{count}",
            what=f"{count} graph layer{'s' * (count > 1)}",
            keys={"model.layers": count},
        )
        for count in LAYERS
    ),
    Ablation(name="text-only", what="the edges tt alone: no picture", keys={"ablate": "ti,it,ii"}),
    Ablation(name="picture-only", what="the model image: no text", keys={"model": "image"}),
)


def ablation_grid(
    store: str | os.PathLike[str],
    *,
    seeds: Sequence[int],
    settings: Mapping[str, Any] | None = None,
) -> AblationGrid:
    """The grid of all ablations that a store can serve; nothing is trained.

    Args:
        settings: nested values of a configuration that all rows share; of another model than drin
            there are no ablations.

    Raises:
        ConfigError: unknown settings, or another model.
        StoreError, FieldMissing: the store cannot be read, or does not serve the whole model.
    """
    defaults: Values = merged({"model": {"name": "drin", "edges": AUTO}}, settings or {})
    if defaults["model"]["name"] != "drin":
        raise ConfigError(
            f"ablations take parts of drin away, and the model is {defaults['model']['name']}",
            where="model.name",
            hint="leave it out",
        )
    defaults.pop("seed", None)
    read_config(defaults)
    cells: dict[str, Mapping[str, Any]] = {}
    left_out: dict[str, str] = {}
    seen: dict[str, str] = {}
    with featurestore.open(store) as opened:
        for row in ABLATIONS:
            reason = _why_not(
                row, opened, _grid({row.name: row.keys}, store, seeds, defaults), seen
            )
            if reason:
                left_out[row.name] = reason
            elif row.name == WHOLE or row.name in seen.values():
                cells[row.name] = row.keys
    rows = tuple(row for row in ABLATIONS if row.name in cells)
    return AblationGrid(grid=_grid(cells, store, seeds, defaults), rows=rows, left_out=left_out)


def _grid(
    cells: Mapping[str, Mapping[str, Any]],
    store: str | os.PathLike[str],
    seeds: Sequence[int],
    defaults: Values,
) -> Grid:
    """The grid, with the file that would describe it."""
    values = {
        "store": os.fspath(store),
        "seeds": list(seeds),
        "defaults": defaults,
        "cells": {name: dict(keys) for name, keys in cells.items()},
    }
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return grid_of(values, where="ablations", text=text)


def _why_not(row: Ablation, store: Store, grid: Grid, seen: dict[str, str]) -> str:
    """Why a row is left out: the store cannot serve it, or it is the same as an earlier one.

    That the whole model has its number of layers is no reason worth a line.

    Raises:
        DrinFsError: the store cannot serve the whole model.
    """
    cell = grid.cells[0]
    try:
        job = prepare_job(store, cell.config(0))
    except DrinFsError as error:
        if row.name == WHOLE:
            raise
        return error.what
    off = _edges_off(row, job)
    if off:
        return off
    same = seen.setdefault(repr(job.config.model_dump(mode="json")), row.name)
    if same == row.name or (same == WHOLE and row.name.startswith("layers-")):
        return ""
    return f"the same as {same} on this store"


def _edges_off(row: Ablation, job: Job) -> str:
    """Why the edge that a row takes away is off in any case; empty where it is not."""
    edge = row.name.removeprefix("without-")
    return job.match.edges_off.get(edge, "") if edge != row.name else ""
