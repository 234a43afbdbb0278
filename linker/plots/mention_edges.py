"""The edges that a trained DRIN reads of one mention and its candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from featurestore.describe import MentionSummary
from linker.edge_weights import EdgeWeights
from linker.plots.edges import WORDS
from linker.plots.plot import Plot
from linker.plots.style import COLOURS, INK, PAGE, canvas, drawable

#: Inches of a line of candidates.
_CANDIDATE = 0.2


def mention_plot(weights: EdgeWeights, mention: MentionSummary, *, name: str = "edges") -> Plot:
    """A line a candidate of ``mention``, in its order; columns are the edges, layer by layer."""
    lines = [
        (line, place)
        for line in mention.candidates
        if (place := weights.retrieved if line.rank is None else line.rank - 1)
        < len(weights.scores)
    ]
    titles = [
        ("★ " if line.is_gold else "") + drawable(line.title or line.id or "(empty place)")
        for line, _ in lines
    ]
    left = 0.45 + 0.058 * max(map(len, titles), default=0)
    inches = _CANDIDATE * max(1, len(lines))
    height = inches + 0.82
    drawn = canvas(PAGE, height)
    columns = weights.layers + 0.25
    width = (0.985 - left / PAGE) / columns
    for layer in range(weights.layers):
        box = (left / PAGE + layer * width, 0.1 / height, width * 0.96, inches / height)
        axes = drawn.add_axes(box)
        values = np.array([weights.weights[layer, place] for _, place in lines])
        words = [edge if weights.layers > 2 else WORDS[edge] for edge in weights.edges]
        _cells(axes, values.reshape(len(lines), len(words)), words)
        static = weights.edge_update == "static"
        source = "from the store" if layer == 0 or static else f"after layer {layer}"
        axes.set_title(f"Layer {layer + 1}, {source}", pad=17, fontsize=7.5)
        axes.set_yticks(range(len(lines)), titles if layer == 0 else [""] * len(lines))
        if layer == 0:
            _mark_golds(axes, [line.is_gold for line, _ in lines])
    box = (
        left / PAGE + weights.layers * width, 0.1 / height, width * 0.24, inches / height
    )  # fmt: skip
    _scores(drawn.add_axes(box), [float(weights.scores[place]) for _, place in lines])
    drawn.text(
        0.015, 1 - 0.14 / height, drawable(mention.sentence, most=110), fontsize=8, va="center"
    )
    return Plot(
        name=name,
        title=f"Edges of mention {drawable(mention.id)}",
        figure=drawn,
        caption=(
            f"Edges that the layers of {weights.run} read of mention {mention.id} and "
            f"{len(lines)} of its candidates (★ the gold), mention side first; – = not read. Each layer "
            f"has its own scale of colours. Protocol {weights.protocol}."
        ),
        header=("listed", "entity", "title", "gold", "score", "layer", "edge", "weight", "std"),
        rows=tuple(
            (
                *(line.rank, line.id, line.title, int(line.is_gold)),
                *(float(weights.scores[place]), layer + 1, edge),
                *(float(v[layer, place, e]) for v in (weights.weights, weights.deviations)),
            )
            for line, place in lines
            for layer in range(weights.layers)
            for e, edge in enumerate(weights.edges)
            if np.isfinite(weights.weights[layer, place, e])
        ),
    )


def _cells(axes: Axes, values: np.ndarray, words: Sequence[str]) -> None:
    """Numbers on colours; dark letters on light cells."""
    finite = values[np.isfinite(values)]
    norm = Normalize(*((finite.min(), finite.max()) if len(finite) else (0, 1)))
    axes.set(xlim=(-0.5, len(words) - 0.5), ylim=(len(values) - 0.5, -0.5))
    for row, column in np.ndindex(values.shape):
        value = values[row, column]
        shade = (
            colormaps["Blues"](0.05 + 0.8 * float(norm(value))) if np.isfinite(value) else "white"
        )
        axes.add_patch(
            Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=shade, edgecolor="white")
        )
        dark = np.isfinite(value) and norm(value) > 0.6
        axes.text(
            column, row, _number(float(value)), ha="center", va="center",
            fontsize=6.5, color="white" if dark else INK,
        )  # fmt: skip
    axes.set_xticks(range(len(words)), words, fontsize=6)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, pad=2)
    axes.grid(False)
    axes.spines[:].set_visible(False)


def _number(value: float) -> str:
    return f"{value:.3f}".replace("-", "−") if np.isfinite(value) else "–"


def _mark_golds(axes: Axes, golds: Sequence[bool]) -> None:
    for label, is_gold in zip(axes.get_yticklabels(), golds, strict=True):
        if is_gold:
            label.set(fontweight="bold", color=COLOURS[2])


def _scores(axes: Axes, scores: Sequence[float]) -> None:
    axes.set_title("score", pad=17, fontsize=7.5)
    axes.set(ylim=(len(scores) - 0.5, -0.5), xlim=(0, 1), xticks=[], yticks=[])
    for row, score in enumerate(scores):
        axes.text(0.0, row, _number(score), va="center", fontsize=6.5)
    axes.spines[:].set_visible(False)
    axes.grid(False)
