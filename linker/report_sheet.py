"""A table of runs laid out: columns, rows and words, for whatever format. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from featurestore.visible import clean
from linker.report_caption import MARKS, caption
from linker.report_rows import Cell, Comparison, Place, Row, RunsTable
from linker.report_words import figure_text, header, shown_value
from linker.statistics import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """What stands in a row's column.

    spread: what follows ± behind the text. mark: behind it, raised. ends: of an interval, below it.
    note: below that.
    """

    text: str
    spread: str = ""
    mark: str = ""
    place: Place | None = None
    ends: tuple[str, str] | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """``number``: set to the right, and never broken."""

    title: str
    number: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The rows of one split."""

    title: str
    rows: tuple[tuple[Box, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """``title``: what the numbers are; ``key``: a word for anchors and labels."""

    key: str
    title: str
    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The sheets of a table of runs, and the sentences about them: all texts are safe to print.

    emphasised: the best and the second of a column are set off, which a format explains in its words.
    """

    sheets: tuple[Sheet, ...]
    caption: tuple[str, ...]
    emphasised: bool


def layout(table: RunsTable, *, intervals: bool = False) -> Layout:
    """Figures; with a baseline their differences; on demand their intervals."""
    sheets = [_sheet(table, "figures", "Figures", _figure)]
    if table.tested and table.tested.comparisons:
        baseline = clean(str(table.tested.baseline))
        title = f"Differences from {baseline}: points, interval, corrected p"
        sheets.append(_sheet(table, "differences", title, _difference))
    if table.tested and intervals:
        sheets.append(_sheet(table, "intervals", "Intervals of the figures", _interval))
    return Layout(
        sheets=tuple(sheets),
        caption=tuple(map(clean, caption(table))),
        emphasised=any(
            cell.place for r in table.rows for cells in r.cells.values() for cell in cells.values()
        ),
    )


def marked(comparison: Comparison | None) -> str:
    """The mark of a comparison, if it has one."""
    if comparison is None:
        return ""
    return next((mark for mark, limit in MARKS if comparison.corrected < limit), "")


def _sheet(table: RunsTable, key: str, title: str, box: Callable[[str, Cell], Box | None]) -> Sheet:
    """One box a row and figure; rows and figures without any are left out."""
    boxes = {
        (row.name, split, name): found
        for row in table.rows
        for split, cells in row.cells.items()
        for name, cell in cells.items()
        if (found := box(name, cell))
    }
    figures = [f for f in table.figures if any(name == f for _, _, name in boxes)]
    about = _about(table) if key == "figures" else _about(table)[:1]
    blocks = []
    for split in table.splits:
        rows = [r for r in table.on(split) if any((r.name, split, f) in boxes for f in figures)]
        lines = [
            (
                *(Box(text=text(row)) for _, text in about),
                *(boxes.get((row.name, split, f), Box(text="–")) for f in figures),
            )
            for row in rows
        ]
        if rows:
            blocks.append(Block(title=split, rows=tuple(lines)))
    columns = [column for column, _ in about]
    columns += [Column(title=header(name), number=True) for name in figures]
    return Sheet(key=key, title=title, columns=tuple(columns), blocks=tuple(blocks))


def _about(table: RunsTable) -> list[tuple[Column, Callable[[Row], str]]]:
    """The columns that say what a row is."""
    rows = table.rows
    title = "model" if table.by == "model" else "run"
    found: list[tuple[Column, Callable[[Row], str]]] = [
        (Column(title=title, number=False), lambda row: clean(row.name))
    ]
    if table.by == "run" or any(row.model != row.name for row in rows if table.by == "cell"):
        found.append((Column(title="model", number=False), lambda row: clean(row.model)))
    found += _condition_columns(table)
    if table.by == "run":
        found.append((Column(title="seed", number=True), lambda row: _seed(row.seeds)))
    elif len({len(row.seeds) for row in rows}) > 1:
        found.append((Column(title="n", number=True), lambda row: str(len(row.seeds))))
    return found


def _condition_columns(table: RunsTable) -> Iterator[tuple[Column, Callable[[Row], str]]]:
    """A column for each condition that rows do not share; stores of one name show fingerprints."""
    texts: dict[str, tuple[str, Callable[[Row], str]]] = {
        "protocol": ("protocol", lambda row: clean(row.conditions.protocol)),
        "first_stage": ("first stage", lambda row: clean(row.conditions.first_stage) or "–"),
        "tie_rule": ("ties", lambda row: clean(row.conditions.tie_rule)),
        "denominator": ("mentions", lambda row: clean(row.conditions.denominator)),
        "dataset": ("dataset", lambda row: clean(row.conditions.dataset)),
        "fingerprint": ("store", lambda row: clean(row.conditions.store)),
        "candidates": ("candidates", lambda row: _count(row.conditions.candidates)),
    }
    stores = {(row.conditions.store, row.conditions.fingerprint) for row in table.rows}
    prints = {fingerprint for _, fingerprint in stores}
    if not len({store for store, _ in stores}) == len(stores) == len(prints):
        texts["fingerprint"] = ("fingerprint", lambda row: clean(row.conditions.fingerprint[:8]))
    for key in table.differing:
        title, text = texts[key]
        yield Column(title=title, number=key == "candidates"), text


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _seed(seeds: Sequence[int | None]) -> str:
    return "–" if seeds[0] is None else str(seeds[0])


def _figure(name: str, cell: Cell) -> Box:
    return Box(
        text=figure_text(name, cell.mean),
        spread="" if cell.std is None else figure_text(name, cell.std),
        mark=marked(cell.comparison),
        place=cell.place,
    )


def _difference(name: str, cell: Cell) -> Box | None:
    found = cell.comparison
    if found is None:
        return None
    return Box(
        text=_signed(shown_value(name, found.difference), plus="+"),
        ends=_ends(name, found.interval),
        note=f"p {p_text(found.corrected)}",
        mark=marked(found),
    )


def _interval(name: str, cell: Cell) -> Box | None:
    if cell.interval is None:
        return None
    return Box(text=figure_text(name, cell.mean), ends=_ends(name, cell.interval))


def _ends(name: str, interval: Interval) -> tuple[str, str]:
    return _signed(shown_value(name, interval.low)), _signed(shown_value(name, interval.high))


def _signed(value: float, *, plus: str = "") -> str:
    """``+1.2``, ``−1.2`` with a minus, and ``0.0``."""
    rounded = round(value, 1)
    sign = "−" if rounded < 0 else plus if rounded > 0 else ""
    return f"{sign}{abs(rounded):.1f}"


def p_text(p: float) -> str:
    """``0.031``, ``<0.001``, ``1``."""
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.9995 else "1"
