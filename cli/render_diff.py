"""What ``drin-fs diff`` prints."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import clean, count, figure, percent, plain_text
from cli.render_parts import LAYOUT_STYLE, facts, grid
from featurestore.diff import StoreDiff
from featurestore.diff_rows import RowsDifference
from featurestore.diff_values import ValueDifference, ValueExample

#: Characters of a text that an example shows.
_SHOWN = 60


def diff_view(found: StoreDiff) -> list[RenderableType]:
    """Which stores, the verdict, then a part for each kind of difference."""
    names = facts([("A", plain_text(found.a, "cyan")), ("B", plain_text(found.b, "cyan"))])
    verdict = Text("the same", "bold green") if found.same else Text("they differ", "bold red")
    told = f"{found.by_checksum} of them by equal checksums alone"
    looked = Text(f"{found.compared} fields compared, {told}", "dim")
    return [names, Text.assemble("\n", verdict), looked, *_parts(found)]


def _parts(found: StoreDiff) -> Iterator[RenderableType]:
    if any(rows.differs for rows in found.rows):
        yield _rows(found.rows)
    if found.fields:
        table = grid("\nFields", "field", "differs in", "A", "B")
        for field in found.fields:
            table.add_row(
                clean(field.path), field.what, clean(field.a) or "–", clean(field.b) or "–"
            )
        yield table
    if found.values:
        yield _values(found.values)
        yield from (_examples(value) for value in found.values if value.examples)
    for title, lines in (
        ("Splits", found.splits),
        ("Made of other things, or otherwise", found.origin),
        ("Made elsewhere (makes no difference)", found.made),
    ):
        if lines:
            yield Group(Text(f"\n{title}", "bold"), *(plain_text(f"  {line}") for line in lines))


def _rows(tables: tuple[RowsDifference, ...]) -> RenderableType:
    numbers = ["A", "B", "only in A", "only in B", "moved", "other split"]
    view = grid("\nRows, by id", "table", *numbers, right=numbers)
    lines: list[tuple[str, RenderableType]] = []
    for rows in tables:
        cells = (rows.a, rows.b, rows.only_a, rows.only_b, rows.moved, rows.other_split)
        view.add_row(Text(rows.table, "bold"), *map(count, cells))
        for name, ids in (
            ("only in A", rows.only_a_ids),
            ("only in B", rows.only_b_ids),
            ("moved", rows.moved_ids),
            ("other split", rows.other_split_ids),
        ):
            if ids:
                lines.append(
                    (f"{rows.table} {name}", plain_text(f"e.g. {', '.join(ids)}", "green"))
                )
    return Group(view, facts(lines)) if lines else view


def _values(values: tuple[ValueDifference, ...]) -> Table:
    numbers = ["rows", "differ", "share", "max |A−B|", "mean |A−B|"]
    table = grid("\nValues of rows that both have", "field", *numbers, "first", right=numbers)
    for value in values:
        table.add_row(
            plain_text(value.path, LAYOUT_STYLE[value.layout]),
            count(value.compared),
            count(value.differ),
            percent(value.differ, value.compared),
            figure(value.maximum),
            figure(value.mean),
            plain_text(value.examples[0].id),
        )
    return table


def _examples(value: ValueDifference) -> RenderableType:
    """The first rows of a text or a plain column: A, then B."""
    shown = [example for example in value.examples if (example.a, example.b) != (None, None)]
    lines: list[RenderableType] = [Text(f"\n{value.path}", "bold")] if shown else []
    for example in shown:
        lines.append(facts([(f"  {clean(example.id)}", _both(example))]))
    return Group(*lines)


def _both(example: ValueExample) -> Text:
    start = _first_difference(str(example.a), str(example.b))
    return Text.assemble(
        ("A ", "dim"), plain_text(_cut(example.a, start), "red"), "\n",
        ("B ", "dim"), plain_text(_cut(example.b, start), "green"),
    )  # fmt: skip


def _first_difference(a: str, b: str) -> int:
    same = (place for place, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
    return next(same, min(len(a), len(b)))


def _cut(value: object, start: int) -> str:
    """A part of a text around the first character that differs."""
    if value is None:
        return "–"
    text = str(value)
    first = max(0, start - _SHOWN // 3)
    part = text[first : first + _SHOWN]
    return f"{'…' if first else ''}{part}{'…' if first + _SHOWN < len(text) else ''}"
