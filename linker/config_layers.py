"""Where a configuration comes from: preset < file < ``--set`` < flags, the later ones win."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from featurestore.errors import ConfigError
from linker.ablations import ablated
from linker.config import TrainConfig
from linker.config_text import model_name, read_config
from linker.presets import preset, preset_sources
from linker.yaml_text import read_file, read_value

Values = dict[str, Any]

MODEL_NAME = "model.name"


def layered_config(
    *,
    start: Mapping[str, Any] | None = None,
    preset_name: str | None = None,
    file: Path | None = None,
    settings: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    ablate: str | None = None,
) -> TrainConfig:
    """One configuration out of all layers.

    A layer that names another model than the layers below drops their model options. The model of
    ``--model`` is named before ``--set`` is read, so that the two may stand together.

    Args:
        start: values below all layers: those of a run that is resumed.
        settings: ``a.b=value`` each.
        flags: key with dots → value; None = not given.
        ablate: names of ablations with commas between, over all layers.

    Raises:
        ConfigError: an unknown preset, key or value, or an unreadable file.
    """
    values = layered_values(
        start=start, preset_name=preset_name, file=file, settings=settings, flags=flags
    )
    if ablate is not None:
        name = model_name(values)
        values = merged(values, {"model": {"name": name, **ablated(name, ablate)}})
    return read_config(values)


def layered_values(
    *,
    start: Mapping[str, Any] | None = None,
    preset_name: str | None = None,
    file: Path | None = None,
    settings: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> Values:
    """The layers laid over each other, as :func:`layered_config` does, not read yet.

    Raises:
        ConfigError: an unknown preset, or an unreadable file or setting.
    """
    values: Values = dict(start or {})
    if preset_name:
        values = merged(values, preset(preset_name))
    if file:
        values = merged(values, read_file(file))
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    if MODEL_NAME in given:
        values = merged(values, nested(MODEL_NAME, given[MODEL_NAME]))
    for setting in settings:
        values = merged(values, parse_setting(setting))
    for key, value in given.items():
        values = merged(values, nested(key, value))
    return values


def preset_notes(name: str, config: TrainConfig) -> dict[str, str]:
    """Key with dots → where the preset's value comes from, of the values that ``config`` has kept.

    Raises:
        ConfigError: no such preset.
    """
    kept = layered_config(preset_name=name).model_dump(mode="json")
    values = config.model_dump(mode="json")
    if values["model"]["name"] != kept["model"]["name"]:
        kept["model"] = {}
    of_preset, of_config = dict(_flat(kept)), dict(_flat(values))
    return {
        key: f"Preset: {source}."
        for key, source in preset_sources(name).items()
        if (key, of_config.get(key)) in of_preset.items()
    }


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Key with dots, and value, of all that is no section."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}.{inner}", of_it) for inner, of_it in _flat(value))
        else:
            yield key, value


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Values:
    """``above`` over ``below``, section by section."""
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        if isinstance(under, Mapping) and isinstance(value, Mapping):
            result[key] = dict(value) if _other_model(under, value) else merged(under, value)
        else:
            result[key] = value
    return result


def _other_model(below: Mapping[str, Any], above: Mapping[str, Any]) -> bool:
    """Whether both name a model, and not the same: the options below belong to the other."""
    return "name" in below and "name" in above and below["name"] != above["name"]


def nested(key: str, value: Any) -> Values:
    """``a.b`` and a value as ``{a: {b: value}}``."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def parse_setting(text: str) -> Values:
    """``a.b=value``: the value is YAML; with commas in it a list.

    Raises:
        ConfigError: no key, or not YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(
            f"--set {text!r} is not of the form key=value",
            where="--set",
            hint="for example --set model.layers=3, or --set model.edges=tt,ti,it",
        )
    if "," in value and value.strip()[:1] not in ("[", "{"):
        value = f"[{value}]"
    return nested(key.strip(), read_value(value, where=f"--set {key.strip()}"))
