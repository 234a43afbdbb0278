"""The file that describes a grid: models × options × seeds, each combination a cell with a name.

    store: wikimel.h5                 # relative to where the command is run
    output: runs/wikimel              # default of -o
    seeds: [0, 1, 2]
    defaults: {epochs: 2}             # keys of every cell, as --config and --set take them
    cells:
      drin: {}
      text-edges: {model.edges: [tt]}
      ghmfc: {model: {name: ghmfc, heads: 4}}
      bert: {model: bert}             # nothing to learn: scored once
    matrix:                           # every cell with every combination of these values
      lr: [0.001, 0.0003]             # drin-lr=0.001, drin-lr=0.0003, …

A cell may have ``store``, ``seeds``, ``preset``, ``ablate`` and a ``matrix`` of its own, each of which
counts instead of the grid's. A matrix may multiply these as well, ``matrix`` and ``seeds`` aside.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featurestore.errors import ConfigError
from linker.ablations import ablated
from linker.config import TrainConfig
from linker.config_layers import merged, nested
from linker.config_text import model_name, nearest, read_config
from linker.grid_names import check_names, multiplied
from linker.models import model_class
from linker.presets import preset
from linker.seeds import checked_seeds, parse_seeds
from linker.yaml_text import read_file, read_mapping

Values = dict[str, Any]

#: Keys of a cell that are none of a configuration.
_OF_CELLS = ("store", "seeds", "preset", "ablate", "matrix")

#: Keys of the file.
_OF_GRIDS = (*_OF_CELLS, "output", "defaults", "cells")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One configuration and store, under some seeds; none for a model that does not learn."""

    name: str
    store: Path
    seeds: tuple[int, ...]
    values: Values  # of the configuration, the seed aside

    def config(self, seed: int) -> TrainConfig:
        """The configuration under one seed."""
        return read_config({**self.values, "seed": seed})

    @property
    def learns(self) -> bool:
        return model_class(model_name(self.values))[0].learns


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Cells in their order; ``text``: the file as it was read."""

    cells: tuple[Cell, ...]
    output: Path | None
    text: str


def read_grid(path: str | os.PathLike[str], *, store: str | os.PathLike[str] | None = None) -> Grid:
    """The grid that a file describes; every configuration in it is checked, no store is opened.

    Args:
        store: instead of the file's ``store``; cells with one of their own keep it.

    Raises:
        ConfigError: not such a file, an unknown key (names the nearest) or value, cells without a
            store, or two of one name.
    """
    path = Path(path)
    values = read_file(path)
    return grid_of(values, where=str(path), text=path.read_text(encoding="utf-8"), store=store)


def parse_grid(text: str, *, where: str) -> Grid:
    """The grid that a text describes, as :func:`read_grid` reads it of a file."""
    return grid_of(read_mapping(text, where=where), where=where, text=text)


def grid_of(
    values: Mapping[str, Any],
    *,
    where: str,
    text: str,
    store: str | os.PathLike[str] | None = None,
) -> Grid:
    """The grid that plain values describe.

    Raises:
        ConfigError: as :func:`read_grid`.
    """
    _check_keys(values, where)
    given = {key: values[key] for key in _OF_CELLS if values.get(key) is not None}
    if store is not None:
        given["store"] = os.fspath(store)
    defaults = _mapping(values.get("defaults"), f"{where}: defaults")
    named = _mapping(values.get("cells"), f"{where}: cells")
    if not named and not given.get("matrix"):
        raise ConfigError(
            "the grid has no cells", where=where, hint="for example cells: {drin: {}, text: {…}}"
        )
    cells: list[Cell] = []
    for name, own in named.items() or [("", {})]:
        place = f"{where}: cell {name}" if name else where
        own = {**given, **_mapping(own, place)}
        matrix = _mapping(own.pop("matrix", None), f"{place}: matrix")
        for full_name, combination in multiplied(name, matrix, where=f"{place}: matrix"):
            cells.append(
                _cell(full_name, {**own, **combination}, defaults, f"{where}: cell {full_name}")
            )
    check_names([cell.name for cell in cells], where=where)
    output = values.get("output")
    return Grid(cells=tuple(cells), output=_path(output, f"{where}: output"), text=text)


def _cell(name: str, own: Values, defaults: Mapping[str, Any], where: str) -> Cell:
    """One cell; ``own``: the grid's keys, the cell's and the matrix's, the later ones won."""
    special = {key: own[key] for key in _OF_CELLS if own.get(key) is not None}
    keys = {key: value for key, value in own.items() if key not in _OF_CELLS}
    store = _path(special.get("store"), where)
    if store is None:
        raise ConfigError("no store is named", where=where, hint="store: FILE.h5, or --store")
    try:
        values = preset(_text(special["preset"], where)) if "preset" in special else {}
        for layer in (defaults, keys):
            values = merged(values, _nested(layer))
        if "seed" in values:
            raise ConfigError("a grid has seeds", where="seed", hint="write seeds: [0, 1, 2]")
        if "ablate" in special:
            model = model_name(values)
            off = ablated(model, _names(special["ablate"], where))
            values = merged(values, {"model": {"name": model, **off}})
        cell = Cell(
            name=name, store=store, seeds=_seeds(special.get("seeds", [0]), where), values=values
        )
        cell.config(0)
    except ConfigError as error:
        place = error.where if error.where.startswith(where) else f"{where}, {error.where}"
        raise ConfigError(error.what, where=place, hint=error.hint) from error
    return cell


def _nested(layer: Mapping[str, Any]) -> Values:
    """Keys with dots as sections, and a model that is a name alone as one with a name."""
    values: Values = {}
    for key, value in layer.items():
        if key == "model" and isinstance(value, str):
            value = {"name": value}
        values = merged(values, nested(key, value))
    return values


def _check_keys(values: Mapping[str, Any], where: str) -> None:
    for key in values:
        if key not in _OF_GRIDS:
            near = nearest(str(key), list(_OF_GRIDS))
            hint = f"did you mean {near}?" if near else f"keys: {', '.join(_OF_GRIDS)}"
            more = "; keys of a configuration stand below defaults or in a cell"
            raise ConfigError(f"unknown key {key} of a grid", where=where, hint=hint + more)


def _mapping(value: object, where: str) -> Values:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError("this is no mapping of keys to values", where=where)
    for key in value:
        if not isinstance(key, str):
            raise ConfigError(
                f"the key {key!r} is no text", where=where, hint="put it into quotation marks"
            )
    return dict(value)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{value!r} is no name", where=where)
    return value


def _path(value: object, where: str) -> Path | None:
    return None if value is None else Path(_text(value, where))


def _names(value: object, where: str) -> str:
    """Names with commas between, or a list of them."""
    if isinstance(value, list):
        return ",".join(_text(name, where) for name in value)
    return _text(value, where)


def _seeds(value: object, where: str) -> tuple[int, ...]:
    if isinstance(value, str):
        return parse_seeds(value, where=where)
    seeds: list[int] = []
    for seed in value if isinstance(value, list) else [value]:
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise ConfigError(f"{seed!r} is no seed", where=where, hint="write seeds: [0, 1, 2]")
        seeds.append(seed)
    return checked_seeds(seeds, where=where)
