"""In what two configurations differ, key by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from linker.config import TrainConfig


def config_differences(old: TrainConfig, new: TrainConfig) -> dict[str, tuple[Any, Any]]:
    """Key with dots → its value in either; None where one has no such key. By name."""
    before, after = flattened(old.model_dump(mode="json")), flattened(new.model_dump(mode="json"))
    return {
        key: (before.get(key), after.get(key))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    }


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by keys with dots; ``{a: {b: 1}}`` is ``{"a.b": 1}``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
