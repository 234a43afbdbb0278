"""A table of runs on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from linker.report_formats.words import sentences
from linker.report_sheet import Block, Box, Layout, Sheet

_STYLES = {"best": "bold", "second": "underline"}

#: Characters that a column of texts keeps before ± gets lines of its own (chosen here: fewer cannot
#: be read well).
_NARROWEST = 8

#: Between two columns, and around the table.
_GAP, _EDGES = 2, 2


def terminal(layout: Layout, *, styled: bool = True) -> RenderableType:
    """Tables below each other, one a split, and the caption. ``styled``: bold can be seen there."""
    parts: list[RenderableType] = []
    for place, sheet in enumerate(layout.sheets):
        if place:
            parts += [Text(sheet.title)]
        parts += [_Fitting(sheet, block) for block in sheet.blocks]
    emphasis = "best of a column bold, second underlined" if styled else ""
    words = " ".join(sentences(layout, emphasis=emphasis))
    return Group(*parts, Padding(Text(words, "italic"), (0, 0, 1, 0)))


@dataclass(frozen=True, slots=True)
class _Fitting:
    """The rows of a block, so that no figure is cut: texts are folded, then ± goes below."""

    sheet: Sheet
    block: Block

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        places = range(len(self.sheet.columns))
        texts = [place for place in places if not self.sheet.columns[place].number]
        wanted = [self._width(place, below=False) for place in texts]
        for below in (False, True):
            numbers = sum(self._width(p, below=below) for p in places if p not in texts)
            room = options.max_width - numbers - _GAP * (len(places) - 1) - _EDGES
            if room >= sum(min(width, _NARROWEST) for width in wanted):
                break
        widths = dict(zip(texts, _shared(wanted, room), strict=True))
        yield _table(self.sheet, self.block, widths, below=below)

    def _width(self, place: int, *, below: bool) -> int:
        """What a column needs that is not folded."""
        cells = [_cell(row[place], below=below) for row in self.block.rows]
        lines = [line for cell in cells for line in cell.plain.split("\n")]
        return max(map(cell_len, (self.sheet.columns[place].title, *lines)))


def _shared(wanted: Sequence[int], room: int) -> list[int]:
    """Widths of at least 1 that fit: the widest give way."""
    widths = list(wanted)
    while sum(widths) > max(room, len(widths)):
        widths[widths.index(max(widths))] -= 1
    return widths


def _table(sheet: Sheet, block: Block, widths: Mapping[int, int], *, below: bool) -> Table:
    grid = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title=Text(block.title),
        title_justify="left",
    )
    for place, column in enumerate(sheet.columns):
        if column.number:
            grid.add_column(column.title, justify="right", no_wrap=True)
        else:
            grid.add_column(column.title, overflow="fold", width=widths[place])
    for row in block.rows:
        grid.add_row(*(_cell(found, below=below) for found in row))
    return grid


def _cell(found: Box, *, below: bool) -> Text:
    text = Text()
    text.append(found.text, _STYLES.get(found.place or "", ""))
    if found.spread and not below:
        text.append(f"±{found.spread}")
    text.append(found.mark)
    if found.spread and below:
        text.append(f"\n±{found.spread}", "dim")
    if found.ends:
        text.append("\n{}…{}".format(*found.ends), "dim")
    if found.note:
        text.append(f"\n{found.note}", "dim")
    return text
