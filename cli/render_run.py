"""What a run made of one mention, for people: its verdict, its columns among the candidates, edges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import clean, figure
from cli.render_parts import bar, grid, yielding

if TYPE_CHECKING:
    from featurestore.describe import EntityLine, MentionSummary
    from linker.edge_weights import EdgeWeights
    from linker.verdicts import MentionVerdict

#: Edge → the words of its column.
EDGES = {"tt": "text–text", "ti": "text–image", "it": "image–text", "ii": "image–image"}

_BAR = 5  # characters of a full bar

_EDGES_NOTE = (
    "Mention side first. Bars: share of the largest value of the column; none below 0. – = not read: "
    "off, or cannot reach the score any more."
)


def verdict_line(verdict: MentionVerdict, mention: MentionSummary) -> tuple[str, Text]:
    """``run drin`` and whether it is right, with the rank of the gold."""
    text = Text("right", "green") if verdict.right else Text("wrong", "bold red")
    if verdict.rank is not None:
        text.append(f": gold ranked {verdict.rank:g} of {verdict.candidates}")
    elif mention.answer < verdict.candidates:
        text.append(": the gold has no score")
    elif mention.answer < mention.retrieved:
        text.append(
            f": the gold is candidate {mention.answer + 1}, and it saw {verdict.candidates}"
        )
    else:
        text.append(": the gold was not among the candidates")
    if np.isfinite(verdict.margin):
        text.append(f", {_margin(verdict)}")
    first = "" if verdict.candidates == mention.retrieved else f"first {verdict.candidates}, "
    conditions = f"   {verdict.model}, {first}protocol {verdict.protocol}, ties {verdict.tie_rule}"
    return f"run {clean(verdict.name)}", text.append(clean(conditions), "dim")


def _margin(verdict: MentionVerdict) -> str:
    if verdict.rank is None:
        return f"the best {figure(verdict.margin)} above the second"
    if verdict.margin < 0:
        ahead = f"{figure(-verdict.margin)} above the next"
        return ahead if verdict.right else f"{ahead}, but beaten by one without a score"
    return f"{figure(verdict.margin)} below the best"


def verdict_columns(
    verdict: MentionVerdict,
) -> Iterator[tuple[str, Callable[[EntityLine], RenderableType]]]:
    """Head and cell of the columns with a run's scores and ranks."""

    def cell(values: np.ndarray, form: Callable[[float], str]) -> Callable[[EntityLine], str]:
        def of(line: EntityLine) -> str:
            value = float("nan") if line.rank is None else float(values[line.rank - 1])
            return form(value) if np.isfinite(value) else "–"

        return of

    yield "score", cell(verdict.scores, figure)
    yield f"by {clean(verdict.name)}", cell(verdict.ranks, lambda rank: f"{rank:g}")


def edges_view(edges: EdgeWeights, mention: MentionSummary) -> RenderableType:
    """A table a layer: one line a candidate of ``mention``, with the edges that the layer reads."""
    parts: list[RenderableType] = []
    for layer in range(1, edges.layers + 1):
        parts += [Text(), _layer(edges, mention, layer)]
    channels = " Mean over the channels of each edge." if edges.edge_kind == "vector" else ""
    return Group(*parts, Text(_EDGES_NOTE + channels, "dim"))


def _layer(edges: EdgeWeights, mention: MentionSummary, layer: int) -> Table:
    first = layer == 1 or edges.edge_update == "static"
    source = "from the store" if first else f"as layer {layer - 1} left them"
    title = f"Edges that layer {layer} of {edges.layers} reads, {source}"
    table = grid(title, "listed", "", right=("listed",))
    table.add_column("entity")
    for edge in edges.edges:
        table.add_column(EDGES[edge], no_wrap=True)
    tops = [_largest(edges.of(edge, layer=layer)) for edge in edges.edges]
    for line in mention.candidates:
        place = edges.place(line.rank)
        values = [
            np.nan if place is None else float(edges.of(edge, layer=layer)[place])
            for edge in edges.edges
        ]
        table.add_row(
            str(line.rank) if line.rank else "–",
            "★" if line.is_gold else " ",
            yielding(clean(line.title or line.id or "(empty place)")),
            *(_weight(value, top) for value, top in zip(values, tops, strict=True)),
            style="green" if line.is_gold else "",
        )
    return table


def _largest(values: np.ndarray) -> float:
    """The largest number of a column; 0 where there is none above it."""
    return float(np.max(values, initial=0.0, where=np.isfinite(values)))


def _weight(value: float, top: float) -> str:
    """``-0.247`` or `` 0.434 ████▎``."""
    if not np.isfinite(value):
        return f"{'–':>6}"
    return f"{value:6.3f} {bar(value / top if top else 0.0, _BAR)}".rstrip()
