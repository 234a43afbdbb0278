"""Markdown out of values of any origin: a text stays that text, wherever it comes from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

#: What has a meaning somewhere in Markdown, or in the HTML that may stand in it.
_MEANT = re.compile(r"([\\`*_{}\[\]<>#!|~&@$]|(?<=www)\.|:(?=//))")

#: What makes a line an item of a list, or the one above it a heading.
_BEGINS = re.compile(r"^(\d*)([-+=.)])(?=\s|[-=]|$)")

#: Characters of a text that are shown (chosen here: names of stores and encoders have fewer).
_LONGEST = 300


def plain(value: object) -> str:
    """A value on one line: what cannot be shown becomes a space, what is too long is cut."""
    text = "".join(c if c.isprintable() else " " for c in str(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def escaped(value: object) -> str:
    """A value as running text: nothing in it is a link, a tag, a heading or emphasis."""
    text = _MEANT.sub(r"\\\1", plain(value).strip())
    return _BEGINS.sub(r"\1\\\2", text)


def code(value: object) -> str:
    """A value as code within a line; in a table as well."""
    text = plain(value).replace("`", "'").replace("|", "\\|").strip()
    return f"`{text}`" if text else "–"


def block(lines: Iterable[str], *, language: str) -> str:
    """Lines of code; none of them ends the block."""
    return "\n".join([f"~~~{language}", *(plain(line).replace("~~~", "") for line in lines), "~~~"])


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = False) -> str:
    """A table of cells that are Markdown already; ``numbers``: all but the first column to the right."""
    rest = "---:" if numbers else "---"
    rule = ["---", *[rest] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
