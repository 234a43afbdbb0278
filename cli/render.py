"""The overview of a store for people: what it holds, its fields, splits, pictures and origin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from cli.console import clean, count, percent, plain_text, size
from featurestore.summary import FieldSummary, SplitSummary, StoreSummary, TableSummary

#: Layout → colour, used wherever a field is named.
LAYOUT_STYLE = {"record": "magenta", "view": "cyan", "column": "green", "text": "yellow"}

#: From this width on, a table also shows chunks, logical size and the share of the file.
_WIDE = 112

_BAR = 10  # characters of a full bar


def overview(summary: StoreSummary) -> RenderableType:
    """Everything ``drin-fs inspect STORE`` shows."""
    parts: list[RenderableType] = [_header(summary), _FieldTables(summary), _splits(summary)]
    if any(table.pictures for table in summary.tables):
        parts.append(_pictures(summary))
    parts.append(_origin(summary))
    return Group(*parts)


def grid(title: str, *columns: str, right: tuple[str, ...] = ()) -> Table:
    """A light table: bold title on the left, a line under the head; columns in ``right`` align right."""
    table = Table(
        title=Text(title, "bold"), title_justify="left", box=SIMPLE_HEAD, pad_edge=False,
        header_style="dim", show_edge=False, padding=(0, 1),
    )  # fmt: skip
    for column in columns:
        justify = "right" if column in right else "left"
        table.add_column(column, justify=justify, no_wrap=True)
    return table


def facts(rows: Mapping[str, RenderableType]) -> Table:
    """Names on the left, values beside them, wrapped under themselves."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _header(summary: StoreSummary) -> RenderableType:
    stored = sum(table.stored_bytes for table in summary.tables)
    logical = sum(table.logical_bytes for table in summary.tables)
    mentions = next(table.rows for table in summary.tables if table.name == "mentions")
    entities = next(table.rows for table in summary.tables if table.name == "entities")
    title = Text.assemble(
        plain_text(summary.dataset, "bold"), "  ", plain_text(summary.path, "cyan")
    )
    line = Text(
        f"{count(mentions)} mentions · {count(entities)} entities · "
        f"{summary.candidates} candidates a mention"
    )
    bytes_line = Text(
        f"{size(summary.file_bytes)} on disk, {size(logical)} decoded ({_ratio(logical, stored)})"
    )
    return Group(title, line, bytes_line, Text())


class _FieldTables:
    """The tree of tables and fields; wider terminals get more columns."""

    def __init__(self, summary: StoreSummary) -> None:
        self._summary = summary

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= _WIDE
        yield _tree(self._summary, wide=wide)
        for table in self._summary.tables:
            if table.absent:
                yield _absent(table)
        yield Text()


def _tree(summary: StoreSummary, *, wide: bool) -> Table:
    columns = ["field", "shape", "dtype", "layout", "size", "ratio"]
    if wide:
        columns[4:] = ["chunk", "size", "decoded", "ratio", "share of file"]
    table = grid("", *columns, right=("shape", "chunk", "size", "decoded", "ratio"))
    table.title = None
    whole = max(1, summary.file_bytes)
    for part in summary.tables:
        last = part.fields[-1] if part.fields else None
        rows = f"{count(part.rows)} rows"
        numbers = [size(part.stored_bytes), _ratio(part.logical_bytes, part.stored_bytes)]
        if wide:
            numbers.insert(1, size(part.logical_bytes))
        head: list[RenderableType] = [Text(f"/{part.name}", "bold"), Text(rows, "bold"), "", ""]
        head += ["", *numbers] if wide else numbers
        if wide:
            head.append(_bar(part.stored_bytes / whole))
        table.add_row(*head)
        for field in part.fields:
            branch = "└─ " if field is last else "├─ "
            table.add_row(*_field_row(field, branch, whole, wide=wide))
        table.add_section()
    return table


def _field_row(
    field: FieldSummary, branch: str, whole: int, *, wide: bool
) -> Iterator[RenderableType]:
    style = LAYOUT_STYLE[field.layout]
    how = field.layout if field.compression == "none" else f"{field.layout} · {field.compression}"
    yield Text.assemble((branch, "dim"), (field.name, style))
    yield _shape(field.shape[1:]) if field.layout != "text" else ""
    yield field.dtype
    yield Text(how, style)
    if wide:
        yield _shape(field.chunks) if field.chunks else ""
    yield size(field.stored_bytes)
    if wide:
        yield size(field.logical_bytes)
    yield _ratio(field.logical_bytes, field.stored_bytes)
    if wide:
        yield _bar(field.stored_bytes / whole)


def _absent(table: TableSummary) -> Text:
    line = Text(f"not stored in /{table.name}: ", "dim")
    for place, (option, names) in enumerate(table.absent.items()):
        line.append("; " if place else "")
        line.append(", ".join(names))
        if option:
            line.append(f" (from {option})", "dim")
    return line


def _splits(summary: StoreSummary) -> Table:
    levels = sorted({k for split in summary.splits for k in split.recall})
    names = [f"recall@{k}" if k == levels[0] else f"@{k}" for k in levels]
    right = ("mentions", "rows", "retrieved", "gold unknown", *names)
    some_unknown = any(split.gold_unknown for split in summary.splits)
    columns = ["split", "mentions", "rows", "retrieved", *names]
    table = grid("Splits and candidate recall (%)", *columns, right=right)
    if some_unknown:
        table.add_column("gold not in table", justify="right")
    for split in summary.splits:
        row = _split_row(split, levels)
        if some_unknown:
            row.append(count(split.gold_unknown))
        table.add_row(*row)
    return table


def _split_row(split: SplitSummary, levels: list[int]) -> list[RenderableType]:
    rows = f"{count(split.first)} … {count(split.stop - 1)}" if split.mentions else "–"
    recall = [f"{100 * split.recall[k]:.1f}" if k in split.recall else "–" for k in levels]
    return [plain_text(split.name, "bold"), count(split.mentions), rows, count(split.retrieved), *recall]  # fmt: skip


def _pictures(summary: StoreSummary) -> RenderableType:
    statuses = list(dict.fromkeys(name for table in summary.tables for name in table.pictures))
    used = [s for s in statuses if any(table.pictures.get(s) for table in summary.tables)]
    table = grid("\nPictures", "", *used, right=tuple(used))
    for part in summary.tables:
        if part.pictures:
            cells = [_picture_cell(part.pictures.get(s, 0), part.rows, s) for s in used]
            table.add_row(part.name, *cells)
    return table


def _picture_cell(number: int, rows: int, status: str) -> Text:
    style = "" if status in ("ok", "unknown") or not number else "red"
    return Text(f"{count(number)}  {percent(number, rows):>7}", style)


def _origin(summary: StoreSummary) -> RenderableType:
    made = summary.provenance
    source, run = made.get("source") or {}, made.get("run") or {}
    versions = run.get("versions") or {}
    lines: dict[str, RenderableType] = {
        "made": plain_text(f"{summary.created} by drin-fs {versions.get('drin-fs', '?')}"),
        "source": plain_text(_words(source | {"path": run.get("source_path")})),
    }
    for name, encoder in (made.get("encoders") or {}).items():
        if encoder:
            lines[f"{clean(name)} encoder"] = _encoder(encoder)
    for name in ("options", "dropped", "counts"):
        if made.get(name):
            lines[name] = plain_text(_words(made[name]))
    for place, note in enumerate(made.get("notes") or ()):
        lines["notes" if not place else f"{'':{place}}"] = plain_text(note)
    lines["versions"] = plain_text(_words(versions))
    lines["format"] = plain_text(f"{summary.format_version}, fingerprint {summary.fingerprint}")
    return Group(Text("\nOrigin", "bold"), facts(lines))


def _encoder(encoder: Mapping[str, Any] | str) -> Text:
    """Name, then the revision on the hub or the hash of each local file, then the options."""
    if isinstance(encoder, str):
        return plain_text(encoder)
    text = plain_text(encoder.get("name", "?"), "bold")
    if encoder.get("revision"):
        text.append(clean(f" @ {encoder['revision']}"))
    for file, digest in (encoder.get("files") or {}).items():
        text.append(clean(f"\n{file} sha256 {digest}").replace(" ", "\n", 1), "dim")
    if encoder.get("options"):
        text.append(clean("\n" + _words(encoder["options"])), "dim")
    return text


def _words(values: Mapping[str, Any]) -> str:
    """``key value · key value`` of what is not ``None``."""
    return " · ".join(f"{key} {value}" for key, value in values.items() if value is not None)


def _shape(shape: tuple[int, ...] | None) -> str:
    return "×".join(count(length) for length in shape or ())


def _ratio(logical: int, stored: int) -> str:
    return f"{logical / stored:.2f}×" if stored else "–"


def _bar(share: float) -> Text:
    """A bar of eighths of a character, and the share in words."""
    eighths = round(share * _BAR * 8)
    bar = "█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]
    return Text.assemble((f"{bar:<{_BAR}}", "blue"), f" {100 * share:4.1f} %")
