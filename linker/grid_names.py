"""Names of a grid's cells: readable, safe as names of folders, and each of one cell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

from featurestore.errors import ConfigError
from linker.run_groups import SEED_FOLDER

#: A name that every file system takes, and no shell reads anything into.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,118}[A-Za-z0-9+]|[A-Za-z0-9]")
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")

#: What else lies in the folder of a grid.
_TAKEN = ("logs", "grid.json", "grid.yaml")

#: Cells of one matrix (chosen here: more are a slip of the keyboard).
_MOST_CELLS = 10_000

#: Keys whose values say by themselves what they are.
_BARE = ("model", "model.name", "preset")


def multiplied(
    name: str, matrix: Mapping[str, Any], *, where: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every combination of a matrix's values, with the name of its cell: ``drin-layers=1-lr=0.01``.

    Args:
        name: of the cell that is multiplied; empty for one without a name.

    Raises:
        ConfigError: values that are no list, or too many combinations.
    """
    for key, values in matrix.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(
                f"{key} has no list of values", where=where, hint=f"for example {key}: [1, 2]"
            )
        if key == "seeds":
            raise ConfigError(
                "seeds are multiplied without a matrix",
                where=where,
                hint="write seeds: [0, 1, 2] beside it",
            )
    count = prod(len(values) for values in matrix.values())
    if count > _MOST_CELLS:
        raise ConfigError(
            f"{count:,} combinations, of {_MOST_CELLS:,} at most", where=where, hint="take some out"
        )
    labels = _labels(tuple(matrix))
    for values in product(*matrix.values()):
        parts = [_part(labels[key], key, value) for key, value in zip(matrix, values, strict=True)]
        yield "-".join(filter(None, [name, *parts])), dict(zip(matrix, values, strict=True))


def _labels(keys: Sequence[str]) -> dict[str, str]:
    """The last part of each key; the whole key where two share it."""
    leaves = [key.rpartition(".")[2] for key in keys]
    return {
        key: key if leaves.count(leaf) > 1 else leaf for key, leaf in zip(keys, leaves, strict=True)
    }


def _part(label: str, key: str, value: object) -> str:
    words = _words(value, stem=key == "store")
    bare = key in _BARE and value is not None
    return words if bare else f"{_UNSAFE.sub('_', label)}={words}"


def _words(value: object, *, stem: bool = False) -> str:
    """A value as a part of a name."""
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "+".join(map(_words, value))
    if isinstance(value, Mapping):
        parts = [
            _words(inner) if key == "name" else f"{_UNSAFE.sub('_', str(key))}={_words(inner)}"
            for key, inner in value.items()
        ]
        return "-".join(parts)
    text = str(value)
    if stem:
        text = text.replace("\\", "/").rpartition("/")[2].removesuffix(".h5")
    return _UNSAFE.sub("_", text.replace(",", "+"))


def check_names(names: Sequence[str], *, where: str) -> None:
    """Refuse what cannot be a folder, and two cells in one folder.

    Raises:
        ConfigError: names them.
    """
    folders: dict[str, str] = {}
    for name in names:
        if not _NAME.fullmatch(name) or name in _TAKEN or SEED_FOLDER.fullmatch(name):
            raise ConfigError(
                f"{name[:200]!r} is no name of a cell",
                where=where,
                hint="letters, digits and . _ + = - up to 120, a letter or digit first and last; "
                f"not {', '.join(_TAKEN)} or seed-N",
            )
        other = folders.get(name.casefold())
        folders[name.casefold()] = name
        if other is not None:
            raise ConfigError(
                f"two cells are named {name}"
                if other == name
                else f"cells {other} and {name} would lie in one folder where case does not count",
                where=where,
                hint="give cells with values that read alike in names a name each below cells:",
            )
