"""Configurations out of nested plain values, and back as YAML.

    config = read_config({"model": {"name": "drin", "layers": 3}, "epochs": 5})
    print(to_yaml(config))

What is wrong is said in the words of the command line.
"""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from featurestore.errors import ConfigError
from linker.config import AUTO, WITHOUT, ModelChoice, Section, TrainConfig, as_tuple
from linker.models import model_class
from linker.models.base import Model, ModelConfig

#: Options of ``drin-fs train`` for single keys; the others are set with ``--set key=value``.
FLAGS: Mapping[str, str] = {
    "model.name": "--model",
    "protocol": "--protocol",
    "candidates": "--candidates",
    "epochs": "--epochs",
    "batch_size": "--batch-size",
    "lr": "--lr",
    "schedule.kind": "--schedule",
    "schedule.warmup": "--warmup",
    "accumulate": "--accumulate",
    "clip": "--clip",
    "ema.decay": "--ema",
    "stopping.patience": "--patience",
    "seed": "--seed",
    "precision": "--precision",
    "device": "--device",
    "devices": "--devices",
    "nodes": "--nodes",
    "workers": "--workers",
    "verify_reads": "--verify-reads",
    "checkpoint_minutes": "--checkpoint-minutes",
    "text.source": "--text",
    "text.finetune": "--finetune",
    "text.entity": "--entity-text",
}


# reading ------------------------------------------------------------------------------------------


def read_config(values: Mapping[str, Any]) -> TrainConfig:
    """The configuration that nested plain values describe; what is left out has its default.

    Raises:
        ConfigError: an unknown key (names the nearest), or a value that cannot work (names the
            option of the command line).
    """
    sections = dict(values)
    model = sections.pop("model", {})
    if not isinstance(model, Mapping):
        model = {"name": model}
    choice = _model_choice(model)
    known = [
        *known_keys(TrainConfig),
        *(f"model.{key}" for key in known_keys(type(choice.options))),
    ]
    try:
        return TrainConfig.model_validate({**sections, "model": choice})
    except ValidationError as error:
        raise _config_error(error, prefix="", known=known) from error


def model_name(values: Mapping[str, Any]) -> str:
    """The model that nested plain values name, by default drin.

    Raises:
        ConfigError: there is no such model.
    """
    model = values.get("model", {})
    name = model.get("name", "drin") if isinstance(model, Mapping) else model
    _model_class(name)
    return name


def _model_class(name: object) -> tuple[type[Model[Any]], type[ModelConfig]]:
    if not isinstance(name, str):
        raise ConfigError(
            f"model is {_shown(name)}, not a name",
            where="model.name",
            hint="drin-fs train --model lists the models",
        )
    return model_class(name)


def _model_choice(values: Mapping[str, Any]) -> ModelChoice:
    options = dict(values)
    name = options.pop("name", "drin")
    network, options_class = _model_class(name)
    has_edges = bool(network.edge_fields)
    edges_from_store = has_edges and options.get("edges", AUTO) == AUTO
    if edges_from_store:
        options.pop("edges", None)
    without = as_tuple(options.pop(WITHOUT, ())) if has_edges else ()
    for key, field in options_class.model_fields.items():
        if key in options and get_origin(field.annotation) is tuple:
            options[key] = as_tuple(options[key])
    try:
        chosen = options_class.model_validate(options)
    except ValidationError as error:
        known = [f"model.{key}" for key in options_class.model_fields]
        raise _config_error(error, prefix="model.", known=known) from error
    if has_edges:
        chosen, without = _without_edges(network, chosen, without)
    return ModelChoice(
        name=name,
        options=chosen,
        edges_from_store=edges_from_store,
        without=without if edges_from_store else (),
    )


def _without_edges(
    network: type[Model[Any]], options: ModelConfig, without: Any
) -> tuple[ModelConfig, tuple[str, ...]]:
    """``options`` with these edges taken out of its ``edges``, and the edges by name."""
    edges = tuple(network.edge_fields)
    if not isinstance(without, tuple | list):
        without = (without,)
    unknown = [edge for edge in without if edge not in edges]
    if unknown:
        raise ConfigError(
            f"there is no edge {_shown(unknown[0])}",
            where=f"model.{WITHOUT}",
            hint=f"the edges are {', '.join(edges)}",
        )
    named: tuple[str, ...] = getattr(options, "edges", ())
    left = tuple(edge for edge in named if edge not in without)
    off = tuple(edge for edge in edges if edge in without)
    return options.model_copy(update={"edges": left}), off


def known_keys(section: type[BaseModel]) -> Iterator[str]:
    """All keys of a section with dots between the levels."""
    for key, field in section.model_fields.items():
        if _is_section(field):
            yield from (f"{key}.{inner}" for inner in known_keys(field.annotation))  # type: ignore[arg-type]
        else:
            yield key


def _is_section(field: FieldInfo) -> bool:
    kind = field.annotation
    return isinstance(kind, type) and issubclass(kind, Section) and kind is not ModelChoice


def _config_error(error: ValidationError, *, prefix: str, known: list[str]) -> ConfigError:
    """The first thing wrong, in the words of the command line."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"] if not isinstance(part, int)]
    key = prefix + ".".join(place)
    option = FLAGS.get(key, f"--set {key}=…")
    if first["type"] == "extra_forbidden":
        near = nearest(key, known)
        hint = f"did you mean {near}?" if near else f"keys: {', '.join(known)}"
        return ConfigError(f"unknown key {key}", where="configuration", hint=hint)
    message = first["msg"].removeprefix("Value error, ")
    if not place or first["type"] == "value_error":
        return ConfigError(message, where=key or "configuration")
    return ConfigError(
        f"{key} is {_shown(first['input'])}: {message[:1].lower()}{message[1:]}",
        where="configuration",
        hint=f"change it with {option}",
    )


def _shown(value: object) -> str:
    """A value for a message, of which a hostile one is long."""
    try:
        text = repr(value)
    except ValueError:  # more digits than Python prints
        return "a number of too many digits"
    return text if len(text) <= 200 else f"{text[:200]}…"


def nearest(key: str, known: list[str]) -> str | None:
    """The known key most like ``key``; the level it stands on may be wrong."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.7)
    if near:
        return near[0]
    leaves = {full.rpartition(".")[2]: full for full in reversed(known)}
    near = difflib.get_close_matches(key.rpartition(".")[2], leaves, n=1, cutoff=0.7)
    return leaves[near[0]] if near else None


# writing ------------------------------------------------------------------------------------------


def to_yaml(config: TrainConfig, *, notes: Mapping[str, str] | None = None) -> str:
    """The configuration as YAML, each key with its description; :func:`read_config` reads it back.

    Args:
        notes: key with dots → what is said of its value behind the description.
    """
    values = config.model_dump(mode="json")
    return "".join(_yaml_lines(config, values, indent="", prefix="", notes=notes or {}))


def _yaml_lines(
    section: BaseModel,
    values: Mapping[str, Any],
    *,
    indent: str,
    prefix: str,
    notes: Mapping[str, str],
) -> Iterator[str]:
    fields = type(section).model_fields
    for key, value in values.items():
        description = fields[key].description or ""
        if prefix + key in notes:
            description = f"{description} {notes[prefix + key]}"
        for line in textwrap.wrap(description, 98 - len(indent)):
            yield f"{indent}# {line}\n"
        inner = getattr(section, key)
        if isinstance(inner, ModelChoice):
            yield f"{indent}{key}:\n{indent}  name: {inner.name}\n"
            options = {k: v for k, v in value.items() if k not in ("name", WITHOUT)}
            yield from _yaml_lines(
                inner.options, options, indent=f"{indent}  ", prefix=f"{prefix}{key}.", notes=notes
            )
            if inner.without:
                yield f"{indent}  # Edges that are off even where the store serves them.\n"
                yield f"{indent}  {WITHOUT}: [{', '.join(inner.without)}]\n"
        elif isinstance(inner, BaseModel):
            yield f"{indent}{key}:\n"
            yield from _yaml_lines(
                inner, value, indent=f"{indent}  ", prefix=f"{prefix}{key}.", notes=notes
            )
        else:
            text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
            yield f"{indent}{key}: {text.splitlines()[0]}\n"  # a scalar ends with a line of "..."
