"""The edges of a trained DRIN between a mention and one candidate: a small bar each, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cli.web.html import Html, Part, h
from cli.web.parts import bar

if TYPE_CHECKING:
    from linker.edge_weights import EdgeWeights

#: Edge → what it joins.
_WORDS = {
    "tt": "texts",
    "ti": "mention's text, entity's picture",
    "it": "mention's picture, entity's text",
    "ii": "pictures",
}


def edge_cell(edges: EdgeWeights, rank: int | None) -> Part:
    """A line an edge, a column a layer.

    Args:
        rank: place of the candidate in the order of retrieval, from 1; None for the gold slot.
    """
    place = edges.retrieved if rank is None else rank - 1
    if place >= edges.weights.shape[1]:
        return "–"
    lines = []
    for number, name in enumerate(edges.edges):
        values = edges.weights[:, place, number].tolist()
        if all(map(np.isnan, values)):
            continue
        bars = [h("span.layer", bar(value, 0, 1, f"{value:.2f}")) for value in values]
        lines.append(h("div", h("abbr", {"title": _WORDS[name]}, name), bars))
    return h("div", {"class": f"edge-bars layers-{min(edges.layers, 4)}"}, lines)


def edge_words(edges: EdgeWeights) -> Html:
    """What the cells show."""
    layers = "the layer reads" if edges.layers == 1 else f"layers 1 to {edges.layers} read"
    return h(
        "span",
        [[h("b", name), f" {_WORDS[name]} · "] for name in edges.edges],
        f"edges as {layers} them, 0 to 1; layer 1 reads what the store says.",
    )
