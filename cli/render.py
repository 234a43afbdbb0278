"""The overview of a store for people: what it holds, its fields, splits, pictures and origin."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import clean, count, percent, plain_text, size
from cli.render_parts import facts, grid, ratio
from cli.render_tree import FieldTree
from featurestore.summary import SplitSummary, StoreSummary


def overview(summary: StoreSummary) -> RenderableType:
    """Everything ``drin-fs inspect STORE`` shows."""
    parts: list[RenderableType] = [_header(summary), FieldTree(summary), _splits(summary)]
    if any(table.pictures for table in summary.tables):
        parts.append(_pictures(summary))
    parts.append(_origin(summary))
    return Group(*parts)


def _header(summary: StoreSummary) -> RenderableType:
    stored = sum(table.stored_bytes for table in summary.tables)
    logical = sum(table.logical_bytes for table in summary.tables)
    rows = {table.name: count(table.rows) for table in summary.tables}
    return Group(
        Text.assemble(plain_text(summary.dataset, "bold"), "  ", plain_text(summary.path, "cyan")),
        Text(
            f"{rows['mentions']} mentions · {rows['entities']} entities · "
            f"{summary.candidates} candidates a mention"
        ),
        Text(
            f"{size(summary.file_bytes)} on disk{_files(summary)} · fields {size(stored)}, "
            f"decoded {size(logical)} ({ratio(logical, stored)})"
        ),
        Text(),
    )


def _files(summary: StoreSummary) -> str:
    return f" in {summary.shards + 1} files" if summary.shards else ""


def _splits(summary: StoreSummary) -> Table:
    levels = sorted({k for split in summary.splits for k in split.recall})
    recalls = ["recall" + f"@{k}" if k == levels[0] else f"@{k}" for k in levels]
    numbers = ["mentions", "rows", "retrieved", *recalls, "gold not in table"]
    if not any(split.gold_unknown for split in summary.splits):
        numbers.pop()
    table = grid("Splits, and candidate recall in %", "split", *numbers, right=numbers)
    for split in summary.splits:
        cells = _split_cells(split, levels)
        table.add_row(plain_text(split.name, "bold"), *cells[: len(numbers)])
    return table


def _split_cells(split: SplitSummary, levels: list[int]) -> list[str]:
    return [
        count(split.mentions),
        f"{count(split.first)} … {count(split.stop - 1)}" if split.mentions else "–",
        count(split.retrieved),
        *(f"{100 * split.recall[k]:.1f}" if k in split.recall else "–" for k in levels),
        count(split.gold_unknown),
    ]


def _pictures(summary: StoreSummary) -> RenderableType:
    statuses = list(dict.fromkeys(name for table in summary.tables for name in table.pictures))
    used = [s for s in statuses if any(table.pictures.get(s) for table in summary.tables)]
    view = grid("\nPictures", "table", *used, right=used)
    for table in summary.tables:
        if table.pictures:
            cells = (_picture_cell(table.pictures.get(s, 0), table.rows, s) for s in used)
            view.add_row(Text(table.name, "bold"), *cells)
    return view


def _picture_cell(number: int, rows: int, status: str) -> Text:
    style = "" if status in ("ok", "unknown") or not number else "red"
    return Text(f"{count(number)} {percent(number, rows):>8}", style)


def _origin(summary: StoreSummary) -> RenderableType:
    """How the store was made, as far as its provenance says."""
    made = summary.provenance
    source, run = made.get("source") or {}, made.get("run") or {}
    versions = run.get("versions") or {}
    lines: list[tuple[str, RenderableType]] = [
        (
            "made",
            plain_text(f"{_moment(summary.created)} by drin-fs {versions.get('drin-fs', '?')}"),
        ),
        ("source", plain_text(_words({"path": run.get("source_path")} | source))),
    ]
    encoders = made.get("encoders") or {}
    lines += [(f"encoder {clean(name)}", _encoder(e)) for name, e in encoders.items() if e]
    for name in ("options", "dropped", "counts"):
        if made.get(name):
            lines.append((name, plain_text(_words(made[name]))))
    lines += [("note", plain_text(note)) for note in made.get("notes") or ()]
    lines += [
        ("versions", plain_text(_words(versions))),
        ("format", plain_text(summary.format_version)),
        ("fingerprint", plain_text(summary.fingerprint)),
    ]
    return Group(Text("\nOrigin", "bold"), facts(lines))


def _moment(created: str) -> str:
    """``2026-01-31 12:00:00 UTC`` of an ISO 8601 time; anything else as it is."""
    try:
        return f"{datetime.fromisoformat(created):%Y-%m-%d %H:%M:%S %Z}"
    except ValueError:
        return created


def _encoder(encoder: Mapping[str, Any] | str) -> Text:
    """Name; its revision on the hub, or the beginnings of its files' hashes; its options."""
    if isinstance(encoder, str):
        return plain_text(encoder)
    text = plain_text(encoder.get("name", "?"), "bold")
    if encoder.get("revision"):
        text.append(clean(f" @ {encoder['revision']}"))
    files = {file: f"{digest[:12]}…" for file, digest in (encoder.get("files") or {}).items()}
    for label, details in (("sha256: ", files), ("", encoder.get("options") or {})):
        if details:
            text.append("\n").append(label + clean(_words(details)), "dim")
    return text


def _words(values: Mapping[str, Any]) -> str:
    """``key value · key value`` of what is not ``None``."""
    return " · ".join(f"{key} {value}" for key, value in values.items() if value is not None)
