"""The edges of DRIN between a mention and one candidate: a small bar each, of a run layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cli.web.html import Html, Part, h
from cli.web.parts import bar
from featurestore.static_edges import EDGES

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
    place = edges.place(rank)
    if place is None:
        return "–"
    return _lines(edges.edges, edges.weights[:, place], edges.layers)


def static_cell(edges: Mapping[str, float | None]) -> Part:
    """The edges that the store has of one candidate, a line each."""
    values = [np.nan if value is None else value for value in edges.values()]
    return _lines(list(edges), np.array([values]), 1)


def _lines(names: Sequence[str], weights: np.ndarray, layers: int) -> Html:
    """A line an edge, a bar a layer; weights (L, 4)."""
    lines = []
    for name, values in zip(names, weights.T.tolist(), strict=True):
        if not all(map(np.isnan, values)):
            bars = [h("span.layer", bar(value, 0, 1, f"{value:.2f}")) for value in values]
            lines.append(h("div", h("abbr", {"title": _WORDS[name]}, name), bars))
    return h("div", {"class": f"edge-bars layers-{min(layers, 4)}"}, lines)


def edge_words(edges: EdgeWeights) -> Html:
    """What the cells show."""
    layers = "the layer reads" if edges.layers == 1 else f"layers 1 to {edges.layers} read"
    return _words(f"edges as {layers} them, 0 to 1; layer 1 reads what the store says.")


def static_words() -> Html:
    """What they show of a store alone."""
    return _words("the edges of DRIN before any layer: cosines, 0 to 1.")


def _words(end: str) -> Html:
    return h("span", [[h("b", name), f" {_WORDS[name]} · "] for name in EDGES], end)
