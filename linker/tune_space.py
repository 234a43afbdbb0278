"""What a search varies: a file with ``defaults`` and ``search``, checked before the first trial.

    defaults: {model: drin, epochs: 10}
    search:
      lr: {low: 1e-4, high: 1e-2, log: true}
      model.layers: {low: 1, high: 4}
      loss.negatives: [batch, row]

Keys are those of ``drin-fs train --print-config``, with dots between the levels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self, get_args

from optuna.trial import Trial
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from featurestore.errors import ConfigError
from linker.config import TrainConfig
from linker.config_diff import flattened
from linker.config_layers import MODEL_NAME, merged, nested
from linker.config_text import model_name, read_config
from linker.models import model_class
from linker.run_groups import OF_NO_GROUP
from linker.yaml_text import read_file

#: Beginnings of keys that a search may not vary, and why.
_FIXED: Mapping[str, str] = {
    "seed": "the best of several seeds is luck; train the best configuration with --seeds instead",
    "protocol": "validation figures under different protocols cannot be compared",
    "metrics.": "it changes how figures are counted, and not what is learned",
    **dict.fromkeys(sorted(OF_NO_GROUP - {"seed"}), "it does not change what is learned"),
}

#: Cells that a grid may have (chosen here: with a minute a cell, a week).
MOST_CELLS = 10_000


class Range(BaseModel):
    """Numbers from ``low`` to ``high``, both included."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    low: float
    high: float
    log: bool = False
    step: float | None = Field(default=None, gt=0)
    whole: bool | None = Field(default=None, alias="int")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is more than high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs a low above 0, and it is {self.low:g}")
        if self.log and self.step is not None:
            raise ValueError("log and step do not go together")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One key, and the values it may take: a range or choices."""

    key: str
    range: Range | None = None
    whole: bool = False
    choices: tuple[Any, ...] = ()

    def suggest(self, trial: Trial) -> Any:
        """The value of the key in a trial, as the study's sampler chooses it."""
        if self.range is None:
            return self.choices[trial.suggest_categorical(self.key, range(len(self.choices)))]
        low, high, step = self.range.low, self.range.high, self.range.step
        if self.whole:
            return trial.suggest_int(
                self.key, int(low), int(high), step=int(step or 1), log=self.range.log
            )
        return trial.suggest_float(self.key, low, high, step=step, log=self.range.log)

    def value(self, internal: Any) -> Any:
        """The value of the key, for one as Optuna records it: of choices, their place."""
        return internal if self.range is not None else self.choices[internal]

    def ends(self) -> tuple[Any, ...]:
        """The values to check: the ends of a range, or all choices."""
        if self.range is None:
            return self.choices
        kind = int if self.whole else float
        return (kind(self.range.low), kind(self.range.high))

    def cells(self) -> tuple[Any, ...] | None:
        """All values, as Optuna records them; None where they cannot be counted."""
        if self.range is None:
            return tuple(range(len(self.choices)))
        step = self.range.step or (1 if self.whole and not self.range.log else None)
        if step is None:
            return (self.range.low,) if self.range.low == self.range.high else None
        count = min(
            math.floor((self.range.high - self.range.low) / step + 1e-9) + 1, MOST_CELLS + 1
        )
        values = (self.range.low + place * step for place in range(count))
        return tuple(int(value) if self.whole else value for value in values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """``defaults``: what all trials share. ``values``: the file's content, to compare it by."""

    defaults: Mapping[str, Any]
    parameters: tuple[Parameter, ...]
    values: Mapping[str, Any]
    where: str

    def config(self, chosen: Mapping[str, Any]) -> TrainConfig:
        """The configuration with these values of the keys.

        Raises:
            ConfigError: they do not go together.
        """
        values: dict[str, Any] = dict(self.defaults)
        for key in sorted(chosen, key=lambda key: key != MODEL_NAME):  # its options come after it
            values = merged(values, nested(key, chosen[key]))
        return read_config(values)

    def largest(self, key: str) -> Any:
        """The largest value that a key may have, searched or not."""
        parameter = next((each for each in self.parameters if each.key == key), None)
        return max(parameter.ends()) if parameter else getattr(self.first(), key)

    def first(self) -> TrainConfig:
        """A configuration of the space: the first value of every key."""
        return self.config({each.key: each.ends()[0] for each in self.parameters})

    def cells(self) -> list[dict[str, Any]]:
        """All combinations, as Optuna records them, the last key varying first.

        Raises:
            ConfigError: a range without steps, or more than ``MOST_CELLS``.
        """
        axes: list[tuple[Any, ...]] = []
        for each in self.parameters:
            cells = each.cells()
            if cells is None:
                _refuse(
                    f"{each.key} has no end of values", self.where, "give it a step, or choices"
                )
            axes.append(cells)
        number = math.prod(map(len, axes))
        if number > MOST_CELLS:
            _refuse(f"a grid of {number:,} cells", self.where, "leave values out, or --sampler tpe")
        keys = [each.key for each in self.parameters]
        return [dict(zip(keys, cell, strict=True)) for cell in itertools.product(*axes)]

    def differences(self, recorded: Mapping[str, Any]) -> list[str]:
        """In words, what of a recorded space is not in this one."""
        old, new = flattened(recorded), flattened(self.values)
        return [
            f"{key} {old.get(key, 'absent')} → {new.get(key, 'absent')}"
            for key in sorted(old.keys() | new.keys())
            if old.get(key) != new.get(key)
        ]


def read_space(source: Path | Mapping[str, Any]) -> Space:
    """The space of a YAML file, or of the same as plain values.

    Raises:
        ConfigError: an unknown key (names the nearest), a range or choice that cannot work, a key that
            is not to be searched, or a model that has nothing to learn.
    """
    where = str(source) if isinstance(source, Path) else "space"
    values = read_file(source) if isinstance(source, Path) else dict(source)
    unknown = values.keys() - {"defaults", "search"}
    if unknown:
        _refuse(f"unknown key {min(unknown)}", where, "a space has the keys defaults and search")
    defaults, search = values.get("defaults") or {}, values.get("search") or {}
    if not isinstance(defaults, Mapping) or not isinstance(search, Mapping):
        _refuse("defaults and search are mappings of keys to values", where, _EXAMPLE)
    if not search:
        _refuse("nothing to search", where, _EXAMPLE)
    defaults = {**defaults, "model": _model(defaults)}
    parameters = tuple(
        _parameter(MODEL_NAME if key == "model" else key, given, defaults, f"{where}, search.{key}")
        for key, given in search.items()
    )
    space = Space(
        defaults=defaults,
        parameters=parameters,
        values={"defaults": dict(defaults), "search": dict(search)},
        where=where,
    )
    _check(space)
    return space


_EXAMPLE = (
    "for example search: {lr: {low: 1e-4, high: 1e-2, log: true}, loss.negatives: [batch, row]}"
)


def _model(defaults: Mapping[str, Any]) -> Any:
    """The section ``model`` of the defaults, also where only a name is given."""
    model = defaults.get("model", {})
    return model if isinstance(model, Mapping) else {"name": model_name(defaults)}


def _parameter(key: Any, given: Any, defaults: Mapping[str, Any], where: str) -> Parameter:
    if not isinstance(key, str):
        _refuse(f"{key!r} is no key", where, "drin-fs train --print-config prints the keys")
    for start, reason in _FIXED.items():
        if key == start or (start.endswith(".") and key.startswith(start)):
            _refuse(f"{key} is not to be searched: {reason}", where, "give it under defaults")
    if isinstance(given, list) and given:
        return Parameter(key=key, choices=tuple(given))
    if not isinstance(given, Mapping):
        _refuse(f"{key} has neither a range nor choices", where, _EXAMPLE)
    try:
        found = Range.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        _refuse(f"{place}: {message}" if place else message, where, _EXAMPLE)
    whole = _is_whole(key, defaults) if found.whole is None else found.whole
    parts = (found.low, found.high, found.step or 1.0)
    if whole and any(part != int(part) for part in parts):
        _refuse(f"{key} takes whole numbers only", where, "give whole low, high and step")
    return Parameter(key=key, range=found, whole=whole)


def _is_whole(key: str, defaults: Mapping[str, Any]) -> bool:
    """Whether a key takes whole numbers; not where there is no such key, which is found later."""
    section: type[BaseModel] = TrainConfig
    *levels, leaf = key.split(".")
    if levels == ["model"]:
        section = model_class(model_name(defaults))[1]
    else:
        for level in levels:
            inner = section.model_fields.get(level)
            if inner is None or not isinstance(inner.annotation, type):
                return False
            section = inner.annotation
    field = section.model_fields.get(leaf) if issubclass(section, BaseModel) else None
    kinds = () if field is None else (field.annotation, *get_args(field.annotation))
    return int in kinds and float not in kinds


def _check(space: Space) -> None:
    """Try every end and choice of every key, the others at their first."""
    first = {each.key: each.ends()[0] for each in space.parameters}
    for key, value in _tried(space):
        try:
            config = space.config({**first, key: value})
        except ConfigError as error:
            raise ConfigError(
                error.what, where=f"{space.where}, search.{key}", hint=error.hint
            ) from error
        if not model_class(config.model.name)[0].learns:
            _refuse(f"model {config.model.name} has nothing to learn", space.where, "name another")


def _tried(space: Space) -> Iterator[tuple[str, Any]]:
    for each in space.parameters:
        for value in each.ends():
            yield each.key, value


def _refuse(what: str, where: str, hint: str) -> NoReturn:
    raise ConfigError(what, where=where, hint=hint)
