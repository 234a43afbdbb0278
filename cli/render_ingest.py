"""How an ingest, and a shard of one, are shown when they are done."""

from __future__ import annotations

import shlex
from typing import Any

from rich import box
from rich.table import Table

from cli.console import count, percent, plain_text, size
from featurestore.ingest_shard import ShardSummary


def summary_views(summary: dict[str, Any]) -> list[Any]:
    """What a person wants to know after an ingest."""
    total = sum(summary["mentions"].values())
    store = Table(box=None, show_header=False, pad_edge=False)
    store.add_column(style="bold")
    store.add_column(overflow="fold")
    store.add_row("store", plain_text(summary["store"]))
    store.add_row("size", size(summary["bytes"]))
    store.add_row("source", f"{summary['layout']} {summary['dataset']}")
    store.add_row(
        "rows",
        f"{count(total)} mentions × {summary['candidates']} candidates, "
        f"{count(summary['entities'])} entities",
    )
    dropped = sum(summary["dropped"].values())
    if dropped:
        store.add_row("dropped", f"{count(dropped)} mentions that are not in their sentence")
    for table, statuses in summary["pictures"].items():
        store.add_row(
            f"{table[:-1]} pictures" if table == "mentions" else "entity pictures",
            _pictures(statuses),
        )
    for name, number in summary["counts"].items():
        store.add_row(plain_text(name), count(number))
    if summary["float32_fields"]:
        store.add_row("kept float32", ", ".join(summary["float32_fields"]))
    for note in summary["notes"]:
        store.add_row("note", plain_text(note))
    return [store, "", _splits(summary), _stages(summary["seconds"])]


def _pictures(statuses: dict[str, int]) -> str:
    total = sum(statuses.values())
    return ", ".join(f"{count(n)} {name} ({percent(n, total)})" for name, n in statuses.items())


def _splits(summary: dict[str, Any]) -> Table:
    levels = next((list(r) for r in summary["recall"].values() if r), [])
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title="splits and candidate recall",
        title_justify="left",
    )
    table.add_column("split")
    for column in ("mentions", "dropped", *levels):
        table.add_column(column, justify="right")
    for split, mentions in summary["mentions"].items():
        found = summary["recall"][split]
        table.add_row(
            split,
            count(mentions),
            count(summary["dropped"].get(split, 0)),
            *(f"{100 * found[level]:.1f} %" if level in found else "–" for level in levels),
        )
    return table


def _stages(seconds: dict[str, float]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="time per stage", title_justify="left")
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    for stage, spent in seconds.items():
        table.add_row(plain_text(stage), f"{spent:,.1f}")
    table.add_row("total", f"{sum(seconds.values()):,.1f}", style="bold")
    return table


def shard_views(summary: ShardSummary) -> list[Any]:
    """What was done, and what is next."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("shard", f"{summary.shard} of {summary.of}, complete")
    table.add_row("kept in", plain_text(summary.folder))
    for name, (first, stop) in (("entities", summary.entities), ("mentions", summary.mentions)):
        table.add_row(name, f"rows {first:,} to {stop - 1:,}" if stop > first else "none")
    missing = ", ".join(map(str, summary.missing[:10]))
    more = f" and {len(summary.missing) - 10} more" if len(summary.missing) > 10 else ""
    step = f"drin-fs assemble {shlex.quote(summary.store)}"
    waits = f"; not complete yet: {missing}{more}" if summary.missing else ""
    table.add_row("next", plain_text(f"{step}{waits}"))
    return [table, "", _stages(summary.seconds)]
