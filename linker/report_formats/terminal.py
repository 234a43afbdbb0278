"""A table of runs on a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from linker.report_formats.words import sentences
from linker.report_sheet import Block, Box, Layout, Sheet

_STYLES = {"best": "bold", "second": "underline"}

#: Characters that a column of texts keeps at least (chosen here: fewer cannot be read).
_NARROWEST = 8


def terminal(layout: Layout, *, styled: bool = True) -> RenderableType:
    """Tables below each other, one a split, and the caption. ``styled``: bold can be seen there."""
    parts: list[RenderableType] = []
    for place, sheet in enumerate(layout.sheets):
        if place:
            parts += [Text(sheet.title)]
        parts += [_table(sheet, block) for block in sheet.blocks]
    emphasis = "best of a column bold, second underlined" if styled else ""
    words = " ".join(sentences(layout, emphasis=emphasis))
    return Group(*parts, Padding(Text(words, "italic"), (0, 0, 1, 0)))


def _table(sheet: Sheet, block: Block) -> Table:
    grid = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title=Text(block.title),
        title_justify="left",
    )
    for column in sheet.columns:
        if column.number:
            grid.add_column(column.title, justify="right", no_wrap=True)
        else:
            grid.add_column(column.title, overflow="fold", min_width=_NARROWEST)
    for row in block.rows:
        grid.add_row(*map(_cell, row))
    return grid


def _cell(found: Box) -> Text:
    text = Text()
    text.append(found.text, _STYLES.get(found.place or "", ""))
    if found.spread:
        text.append(f"±{found.spread}")
    text.append(found.mark)
    if found.ends:
        text.append("\n{}…{}".format(*found.ends), "dim")
    if found.note:
        text.append(f"\n{found.note}", "dim")
    return text
