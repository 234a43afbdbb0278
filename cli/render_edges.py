"""The edges of a run over a split, for people: a table a layer, a line a group."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import clean, count, percent
from cli.render_parts import grid, yielding
from cli.render_run import EDGES
from linker.edge_summary import EdgeGroup, EdgeSummary

_NOTE = (
    "Mention side first: means over mention–candidate pairs of n mentions; other = retrieved candidates "
    "that are not the gold, slot = the gold slot of protocol paper. – = not read: off, or cannot reach "
    "the score any more. Intervals: --json, --plot."
)


#: Place of a kind of candidates in the arrays, and its word.
_PARTS = ((0, "gold"), (1, "other"), (2, "slot"))


def summary_view(found: EdgeSummary) -> RenderableType:
    """What the layers of a run read, over a split."""
    head = Text.assemble(
        (f"edges of {clean(found.name)}", "bold"),
        f"   {count(found.mentions)} mentions of {clean(found.split)}, "
        f"{percent(found.right, found.mentions)} right; protocol {clean(found.protocol)}",
    )
    parts: list[RenderableType] = [head]
    for layer in range(found.layers):
        parts += [Text(), _layer(found, layer)]
    notes = [_NOTE]
    if found.edge_kind == "vector":
        notes.append("Mean over the channels of each edge.")
    notes += [f"No {key.replace('_', ' ')}: {clean(why)}." for key, why in found.not_known.items()]
    return Group(*parts, Text(" ".join(notes), "dim"))


def _layer(found: EdgeSummary, layer: int) -> Table:
    first = layer == 0 or found.edge_update == "static"
    source = "from the store" if first else f"as layer {layer} left them"
    title = f"Edges that layer {layer + 1} of {found.layers} reads, {source}"
    table = grid(title, "", "n", "", *map(EDGES.__getitem__, found.edges))
    for column in (table.columns[1], *table.columns[3:]):
        column.justify = "right"
    for grouping in found.groupings:
        alone = len(grouping.groups) == 1 and grouping.key == "all"
        if not alone:
            table.add_row(Text(clean(grouping.title), "dim"))
        for group in grouping.groups:
            name = clean(group.name) if alone else f"  {clean(group.name)}"
            for number, (part, words) in enumerate(_PARTS):
                if group.pairs[:, :, part].any():
                    cells = _cells(group, layer, part)
                    head = (yielding(name), count(group.mentions)) if not number else ("", "")
                    table.add_row(*head, words, *cells)
    return table


def _cells(group: EdgeGroup, layer: int, part: int) -> Iterator[str]:
    for mean in group.means[layer, :, part].tolist():
        yield f"{mean:.3f}" if np.isfinite(mean) else "–"
