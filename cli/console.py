"""Where commands print: data on stdout, everything else on stderr; strings of a store stay harmless.

A store's texts come from anywhere. They are shown as they are, never as terminal commands or rich
markup: pass them through :func:`plain_text`, which gives a ``Text``.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from featurestore.visible import clean

#: Width of what is not shown on a terminal: lines in a file or a pipe are never cut or wrapped.
_UNBOUNDED = 100_000

#: What JSON may hold but a terminal may obey: DEL, C1 controls, direction overrides.
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def stdout() -> Console:
    """The console for data. Colours only on a terminal, and none with NO_COLOR."""
    console = Console(highlight=False, emoji=False, markup=False)
    return console if console.is_terminal else _unbounded(stderr=False)


def stderr() -> Console:
    """The console for progress, notes and errors."""
    console = Console(highlight=False, emoji=False, markup=False, stderr=True)
    return console if console.is_terminal else _unbounded(stderr=True)


def _unbounded(*, stderr: bool) -> Console:
    return Console(highlight=False, emoji=False, markup=False, stderr=stderr, width=_UNBOUNDED)


def show(*views: RenderableType) -> None:
    """Print views on stdout; without a terminal as plain lines that end where their text ends."""
    console = stdout()
    if console.is_terminal:
        console.print(*views, sep="\n")
        return
    sys.stdout.write(plain_lines(*views))


def plain_lines(*views: RenderableType) -> str:
    """What :func:`show` prints without a terminal."""
    console = _unbounded(stderr=False)
    with console.capture() as captured:
        console.print(*views, sep="\n")
    return "".join(line.rstrip() + "\n" for line in captured.get().splitlines())


def show_json(value: Any) -> None:
    """Print a dataclass, dict or list as JSON on stdout."""
    sys.stdout.write(_json_text(value, indent=2) + "\n")


def show_json_line(value: Any) -> None:
    """Print it as one line, of many."""
    sys.stdout.write(_json_text(value, indent=None) + "\n")


def _json_text(value: Any, *, indent: int | None) -> str:
    text = json.dumps(_jsonable(value), ensure_ascii=False, indent=indent, allow_nan=False)
    return _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _jsonable(value: Any) -> Any:
    """JSON knows no dataclasses, NumPy numbers, or NaN: that becomes ``null``."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy, which this module does without
        return _jsonable(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def plain_text(value: object, style: str = "") -> Text:
    """A string of unknown origin, ready to print; what is appended to it has its own style."""
    return Text.assemble((clean(str(value)), style))


# numbers for people -----------------------------------------------------------------------------


def count(number: int) -> str:
    """``18,880``"""
    return f"{number:,}"


def size(number: int) -> str:
    """Bytes in decimal units with three figures: ``1.27 GB``."""
    amount = float(number)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 999.5 or unit == "TB":
            break
        amount /= 1000
    if unit == "B":
        return f"{number} B"
    decimals = 2 if amount < 9.995 else 1 if amount < 99.95 else 0
    return f"{amount:.{decimals}f} {unit}"


def percent(part: int, whole: int) -> str:
    """``97.1 %``; ``–`` of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else "–"


def figure(value: float | None) -> str:
    """A number in at most eight characters: ``0.454``, ``-2.8e-05``; ``–`` for none."""
    if value is None:
        return "–"
    small = value == 0 or 1e-3 <= abs(value) < 1e4
    return f"{value:.3f}" if small else f"{value:.1e}"
