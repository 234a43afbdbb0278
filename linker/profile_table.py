"""The table of ``drin-fs train --profile``: a row a part of the run, and what was read below it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text


def profile_table(profile: Mapping[str, Any]) -> Group:
    """Where the time of a run went, of ``profile.json``: a table, and sentences about it."""
    return Group(_table(profile), Text(_reading(profile)), Text(_trace(profile)))


def _table(profile: Mapping[str, Any]) -> Table:
    seconds = profile["seconds"]
    whole = sum(spent for parts in seconds.values() for spent in parts.values())
    batches = {"training": profile["timed"], "validation": profile["validated"]}
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column("time of the run")
    for column in ("seconds", "%", "ms a batch"):
        grid.add_column(column, justify="right", no_wrap=True)
    for doing, parts in seconds.items():
        number = batches.get(doing)
        if number is not None:
            grid.add_row(doing, *_cells(sum(parts.values()), whole, number))
        for part, spent in parts.items():
            cells = _cells(spent, whole, number)
            if number is not None:
                grid.add_row(f"  {part}", *cells)
            elif cells[0] != "0.0":
                grid.add_row(part, *cells)
    return grid


def _cells(spent: float, whole: float, batches: int | None) -> tuple[str, str, str]:
    each = f"{1000 * spent / batches:.1f}" if batches else ""
    return f"{spent:.1f}", f"{100 * spent / whole if whole else 0:.1f}", each


def _reading(profile: Mapping[str, Any]) -> str:
    read = profile["read"]
    return (
        f"{profile['batches']:,} training batches read {read['distinct']:,} distinct entities for "
        f"{read['slots']:,} mention–candidate pairs: {read['bytes'] / 1e6:,.1f} MB in "
        f"{read['seconds']:.1f} s beside the steps, {100 * read['cached']:.0f} % of it from memory"
    )


def _trace(profile: Mapping[str, Any]) -> str:
    trace = profile["trace"]
    if trace is None:
        return "no trace: the run has too few steps"
    first, last = trace["steps"]
    left_out = profile["batches"] - profile["timed"]
    return (
        f"steps {first} to {last} in detail: {trace['path']} ({trace['bytes'] / 1e6:.1f} MB), to "
        f"open at https://ui.perfetto.dev or chrome://tracing; the {left_out} steps that were recorded "
        "are not in the table"
    )
