"""YAML as configurations have it: plain values, a few kilobytes, no aliases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from featurestore.errors import ConfigError

#: Characters of a text, and levels of values in values. Chosen here: every option with its comment
#: takes 8,000, on three levels.
MOST_CHARACTERS = 50_000
MOST_LEVELS = 20

#: What PyYAML raises, beside its own errors, for a value that is not of the kind it looks like:
#: a date 2001-99-99, ``!!int x``, a number of 5,000 digits, a list as a key.
_VALUE_ERRORS = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


class _Loader(yaml.SafeLoader):
    """Makes no objects, and nothing that is larger than its text.

    Aliases could stand for a value that has more parts than memory holds, or for one in itself.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._level = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise _refused(
                f"*{event.anchor} stands for another value: write that value itself", event
            )
        if self._level == MOST_LEVELS:
            raise _refused(f"nested more than {MOST_LEVELS} levels", event)
        self._level += 1
        node = super().compose_node(parent, index)
        self._level -= 1
        return node


def _refused(problem: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


def _whole_number(loader: _Loader, node: yaml.ScalarNode) -> int:
    number = loader.construct_yaml_int(node)
    if abs(number) >= 2**63:
        raise ValueError("a number that needs more than 64 bits")
    return number


_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)


def read_value(text: str, *, where: str, numbered: bool = False) -> Any:
    """The value of a YAML text.

    Args:
        where: how messages name the text.
        numbered: append the number of the line to it.

    Raises:
        ConfigError: not YAML, too long, too deep, with aliases or tags of other than plain values.
    """
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(
            f"{len(text):,} characters, of {MOST_CHARACTERS:,} that are read",
            where=where,
            hint="give a configuration as drin-fs train --print-config prints it",
        )
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark and numbered else ""
        problem = getattr(error, "problem", None) or str(error).split("\n")[0]
        raise ConfigError(f"not YAML ({problem[:200]})", where=f"{where}{line}") from error
    except _VALUE_ERRORS as error:
        raise ConfigError(
            f"not YAML (a value that cannot be read: {str(error)[:200] or type(error).__name__})",
            where=where,
            hint="put quotes around what is to be a text",
        ) from error


def read_mapping(text: str, *, where: str) -> dict[str, Any]:
    """The mapping of a YAML text; an empty text is an empty mapping.

    Raises:
        ConfigError: as :func:`read_value`, or something else than a mapping with texts for keys.
    """
    values = read_value(text, where=where, numbered=True)
    if not isinstance(values, Mapping | None):
        raise ConfigError(
            "a configuration is a mapping of keys to values",
            where=where,
            hint="drin-fs train --print-config prints one",
        )
    return dict(values or {})


def read_file(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: unreadable, or as :func:`read_mapping`.
    """
    try:
        if path.is_file() and path.stat().st_size > 4 * MOST_CHARACTERS:
            raise ConfigError(
                f"a file of {path.stat().st_size:,} bytes is no configuration",
                where=str(path),
                hint="drin-fs train --print-config prints one",
            )
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the configuration ({error})", where=str(path)) from error
    return read_mapping(text, where=str(path))
