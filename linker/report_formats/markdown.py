"""A table of runs in GitHub-flavoured Markdown (https://github.github.com/gfm, tables)."""

from __future__ import annotations

import re

from linker.report_formats.words import sentences
from linker.report_sheet import Block, Box, Layout, Sheet

#: What Markdown, its HTML, or GitHub's mathematics and names may take for their own within a line.
_SPECIAL = re.compile(r"[\\`*_\[\]<>|~$&#]|(?<!\w)@")


def markdown(layout: Layout) -> str:
    """A table a split, headed by a line, and the caption as a list."""
    parts = []
    for place, sheet in enumerate(layout.sheets):
        if place:
            parts.append(f"**{escaped(sheet.title)}**")
        for block in sheet.blocks:
            parts += [escaped(block.title), _table(sheet, block)]
    emphasis = "best of a column bold, second underlined"
    parts.append("\n".join(f"- {escaped(each)}" for each in sentences(layout, emphasis=emphasis)))
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Any text of one line, so that it is shown as it is, in a cell of a table as elsewhere."""
    return _SPECIAL.sub(r"\\\g<0>", text)


def _table(sheet: Sheet, block: Block) -> str:
    heads = [escaped(column.title) for column in sheet.columns]
    rules = ["---:" if column.number else "---" for column in sheet.columns]
    lines = [heads, rules, *([_cell(found) for found in row] for row in block.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(found: Box) -> str:
    first = escaped(found.text)
    if found.place == "best":
        first = f"**{first}**"
    elif found.place == "second":
        first = f"<u>{first}</u>"
    spread = f" ± {found.spread}" if found.spread else ""
    ends = [escaped("[{}, {}]".format(*found.ends))] if found.ends else []
    note = [escaped(found.note)] if found.note else []
    return "<br>".join([f"{first}{spread}{found.mark}", *ends, *note])
