"""The edges of a trained DRIN between a mention and one candidate: a small bar each, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cli.web.html import Html, Part, h
from cli.web.parts import bar

if TYPE_CHECKING:
    from linker.explain import EdgeWeights

#: Edge → what it joins.
_WORDS = {
    "tt": "the texts of both",
    "ti": "the mention's text and the entity's picture",
    "it": "the mention's picture and the entity's text",
    "ii": "the pictures of both",
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
        lines.append(h("div", h("abbr", {"title": _WORDS.get(name)}, name), bars))
    return h("div", {"class": f"edge-bars layers-{min(edges.layers, 4)}"}, lines)


def edge_words(edges: EdgeWeights) -> Html:
    """What the cells show."""
    names: list[Part] = [[h("b", name), f" {_WORDS.get(name, name)}, "] for name in edges.edges]
    return h(
        "span",
        "Edges as each layer reads them, from 0 to 1: ",
        names,
        f"layers 1 to {edges.layers} from left to right; the first reads what the store says.",
    )
