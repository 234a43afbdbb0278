"""Sizes of files on the command line: a number of bytes, or one with a unit."""

from __future__ import annotations

import re
from typing import Any

import rich_click as click

#: Units → bytes; without regard to case.
UNITS = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)},
}

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE | re.ASCII)


class FileSize(click.ParamType):
    """``50GB`` or ``47 GiB`` → bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = _SIZE.fullmatch(value)
        if found is None or found[2].lower() not in UNITS:
            self.fail(f"{value!r} is no size; write 50GB, 800MB or 47GiB", param, ctx)
        size = int(float(found[1]) * UNITS[found[2].lower()])
        if size < 1:
            self.fail("a size is at least one byte", param, ctx)
        return size
