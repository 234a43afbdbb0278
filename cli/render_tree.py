"""The tree of tables and fields, with as many columns as the terminal has room for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from cli.console import count, figure, size
from cli.render_parts import LAYOUT_STYLE, bar, grid, ratio, sparkline
from featurestore.summary import FieldSummary, StoreSummary, TableSummary

#: Columns that are left out where there is no room, in this order (chosen here: what can be looked up
#: with --field goes first).
_RANGE, _SIZES, _NORMS = "shortest … longest", ("chunk", "decoded", "share of file"), "norms"

_BAR = 10  # characters of a full bar

_LEGEND = (
    "record: a compressed chunk a row · view: derived from records, a row is one copy · "
    "column: plain values · text: UTF-8"
)


@dataclass(frozen=True)
class _Column:
    """One column of the tree: its head, and its cell for a field and for a whole table."""

    head: str
    of_field: Callable[[FieldSummary], RenderableType]
    of_table: Callable[[TableSummary], RenderableType] = lambda table: ""
    right: bool = False


class FieldTree:
    """Tables as branches, fields as leaves, sizes beside them; then what the store lacks."""

    def __init__(self, summary: StoreSummary) -> None:
        self._summary = summary

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        dropped: tuple[str, ...] = ()
        for less, between in (
            ((), " · "), ((_RANGE,), " · "), (_SIZES, " · "), ((), "·"), ((_NORMS,), " · ")
        ):  # fmt: skip
            dropped += less
            columns = [c for c in self._columns(between) if c.head not in dropped]
            tree = self._tree(columns)
            if _width(tree, console, options) <= options.max_width:
                break
        yield tree
        yield Text(_LEGEND, "dim")
        with_norms = any(column.head == _NORMS for column in columns)
        if with_norms and (legend := _norms_legend(self._summary)):
            yield Text(legend, "dim")
        for table in self._summary.tables:
            if table.absent:
                yield _absent(table)
        yield Text()

    def _tree(self, columns: list[_Column]) -> Table:
        heads = ["field", *(c.head for c in columns)]
        view = grid("", *heads, right=tuple(c.head for c in columns if c.right))
        for table in self._summary.tables:
            view.add_row(Text(f"/{table.name}", "bold"), *(c.of_table(table) for c in columns))
            for field in table.fields:
                branch = "└─ " if field is table.fields[-1] else "├─ "
                name = Text.assemble((branch, "dim"), (field.name, LAYOUT_STYLE[field.layout]))
                view.add_row(name, *(c.of_field(field) for c in columns))
            view.add_section()
        view.add_row("(other)", *(_other(c.head, self._summary) for c in columns), style="dim")
        return view

    def _columns(self, between: str) -> list[_Column]:
        """All columns; ``between``: what stands between a layout and a compression."""
        file_bytes = max(1, self._summary.file_bytes)

        def share(part: FieldSummary | TableSummary) -> Text:
            return _bar(part.stored_bytes / file_bytes)

        return [
            _Column("shape", lambda f: _shape(f.shape[1:]), _rows, right=True),
            _Column("dtype", lambda f: f.dtype),
            _Column("layout", lambda f: _layout(f, between)),
            _Column("chunk", lambda f: _shape(f.chunks or ()), right=True),
            _Column("size", _stored, _stored, right=True),
            _Column("decoded", _decoded, _decoded, right=True),
            _Column("ratio", _ratio, _ratio, right=True),
            _Column(_NORMS, _norms),
            _Column(_RANGE, _norm_range),
            _Column("share of file", share, share),
        ]


def _width(table: Table, console: Console, options: ConsoleOptions) -> int:
    """How many columns of a terminal a table takes when nothing of it is cut."""
    return console.measure(table, options=options.update(max_width=10_000)).maximum


def _rows(table: TableSummary) -> Text:
    return Text(f"{count(table.rows)} row" + ("" if table.rows == 1 else "s"), "bold")


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(count(length) for length in shape)


def _layout(field: FieldSummary, between: str) -> Text:
    style = LAYOUT_STYLE[field.layout]
    compressed = "" if field.compression == "none" else f"{between}{field.compression}"
    return Text(field.layout + compressed, style)


def _stored(part: FieldSummary | TableSummary) -> str:
    return size(part.stored_bytes)


def _decoded(part: FieldSummary | TableSummary) -> str:
    return size(part.logical_bytes)


def _ratio(part: FieldSummary | TableSummary) -> str:
    return ratio(part.logical_bytes, part.stored_bytes)


def _norms(field: FieldSummary) -> Text:
    return Text(sparkline(field.norms.histogram) if field.norms else "", "blue")


def _norm_range(field: FieldSummary) -> str:
    if field.norms is None or field.norms.histogram is None:
        return ""
    edges = field.norms.histogram.edges
    return f"{figure(edges[0])} … {figure(edges[-1])}"


def _norms_legend(summary: StoreSummary) -> str:
    """Of how many rows the norms are."""
    samples = [field.norms for table in summary.tables for field in table.fields if field.norms]
    sampled = [norms.rows for norms in samples if norms.rows < norms.of]
    if not samples:
        return ""
    text = "norms: how long (L2) the vectors are, from the shortest to the longest; "
    if not sampled:
        return text + "of all rows"
    least, most = count(min(sampled)), count(max(sampled))
    number = least if least == most else f"{least} to {most}"
    return text + f"of a sample of {number} rows a field (seed {samples[0].seed})"


def _other(head: str, summary: StoreSummary) -> RenderableType:
    """The line of what is no field: the index of ids and HDF5's own structure."""
    rest = summary.file_bytes - sum(table.stored_bytes for table in summary.tables)
    match head:
        case "layout":
            return "ids, HDF5"
        case "size":
            return size(rest)
        case "share of file":
            return _bar(rest / max(1, summary.file_bytes))
    return ""


def _bar(share: float) -> Text:
    """A bar drawn in eighths of a character, and the share in words."""
    return Text.assemble((f"{bar(share, _BAR):<{_BAR}}", "blue"), f" {100 * share:5.1f} %")


def _absent(table: TableSummary) -> Text:
    line = Text(f"not stored in /{table.name}: ", "dim")
    for place, (option, names) in enumerate(table.absent.items()):
        line.append("; " if place else "")
        line.append(", ".join(names))
        if option:
            line.append(f" (from {option})", "dim")
    return line
