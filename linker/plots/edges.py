"""The edges that a trained DRIN reads: over a split by group, and of one mention."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from featurestore.describe import MentionSummary
from linker.edge_summary import PARTS, EdgeGroup, EdgeSummary
from linker.edge_weights import EdgeWeights
from linker.plots.breakdown import Z
from linker.plots.plot import Plot
from linker.plots.style import COLOURS, FAINT, INK, PAGE, canvas, drawable, only_grid

#: Edge → its words.
WORDS = {"tt": "text–text", "ti": "text–image", "it": "image–text", "ii": "image–image"}

#: Kind of candidate → colour, marker and whether it is filled.
_LOOKS = {
    "gold": (COLOURS[0], "o", True),
    "others": (COLOURS[1], "s", False),
    "gold slot": (COLOURS[2], "D", False),
}

#: Share of a panel at both of its sides that has no numbers below it.
_EDGE_OF_PANEL = 0.09

#: Inches of a line of groups, and of a line of candidates.
_ROW, _CANDIDATE = 0.155, 0.2


def summary_plot(found: EdgeSummary, *, name: str = "edges") -> Plot:
    """A row of panels a layer, a panel an edge, a line a group: means with intervals."""
    lines = [(grouping.title, group) for grouping in found.groupings for group in grouping.groups]
    titles = list(dict.fromkeys(title for title, _ in lines))
    inches = _ROW * (len(lines) + 0.45 * len(titles))
    row = inches + 0.72
    height = row * found.layers + 0.3
    labels = [f"{_words(title, group)} ({group.mentions:,})" for title, group in lines]
    left = 0.15 + 0.052 * max(map(len, labels))
    drawn = canvas(PAGE, height)
    for layer in range(found.layers):
        bottom = (height - 0.3 - row * layer - 0.42 - inches) / height
        _layer(drawn, found, layer, lines, (left / PAGE, bottom, inches / height), labels)
    _legend(drawn, found, height)
    return Plot(
        name=name,
        title=f"Edges of {found.name}",
        figure=drawn,
        caption=_caption(found),
        header=(
            *("run", "grouping", "group", "mentions", "layer", "edge", "candidates"),
            *("mean", "std", "standard_error", "pairs", "pairs_of_mentions"),
        ),
        rows=tuple(
            (
                *(found.run, title, group.name, group.mentions, layer + 1, edge, part),
                *(float(v[layer, e, p]) for v in (group.means, group.deviations, group.errors)),
                *(int(group.pairs[layer, e, p]), int(group.sources[layer, e, p])),
            )
            for title, group in lines
            for layer in range(found.layers)
            for e, edge in enumerate(found.edges)
            for p, part in enumerate(PARTS)
            if group.pairs[layer, e, p]
        ),
    )


def _words(title: str, group: EdgeGroup) -> str:
    """``mention's picture: present``; topics, verdicts and all mentions speak for themselves."""
    own = drawable(group.name, most=24)
    return f"{title}: {own}" if title.endswith("picture") else own


def _caption(found: EdgeSummary) -> str:
    channels = (
        " Where an edge has a number a channel, their mean." if found.edge_kind == "vector" else ""
    )
    lacks = "".join(f" No {key.replace('_', ' ')}: {why}." for key, why in found.not_known.items())
    return (
        f"Edges that the layers of {found.run} read, {found.mentions:,} mentions of split {found.split}: "
        "means over mention–candidate pairs, of the gold and of the other retrieved candidates, with "
        "intervals of 95 % that count each mention as one draw; in brackets the mentions of a group. "
        "Edges of layer 1 are cosines from the store"
        + (
            "; those behind it are what the layer before made of them."
            if found.edge_update == "dynamic"
            else ", and static edges stay as they are."
        )
        + f" Right: gold ranked first (tie rule {found.tie_rule}); protocol {found.protocol}."
        + channels
        + lacks
    )


def _layer(
    drawn: Figure,
    found: EdgeSummary,
    layer: int,
    lines: Sequence[tuple[str, EdgeGroup]],
    place: tuple[float, float, float],
    labels: Sequence[str],
) -> None:
    left, bottom, height = place
    gap = 0.012
    width = (0.985 - left - gap * (len(found.edges) - 1)) / len(found.edges)
    ys, y, before = [], 0.0, None
    for title, _ in lines:
        y += 0.45 if before is not None and title != before else 0.0
        before = title
        ys.append(y)
        y += 1
    low, high = _limits(lines, layer)
    room = _EDGE_OF_PANEL * (high - low)  # numbers of two panels must not touch
    all_ticks = MaxNLocator(4).tick_values(low, high)
    ticks = [tick for tick in all_ticks.tolist() if low + room <= tick <= high - room]
    for edge, words in enumerate(WORDS[name] for name in found.edges):
        axes = drawn.add_axes((left + edge * (width + gap), bottom, width, height))
        axes.set_title(words, fontweight="normal", fontsize=7.5)
        axes.set_ylim(y - 0.5, -0.5)
        axes.set_xlim(low, high)
        axes.set_xticks(ticks)
        only_grid(axes, "x")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_yticks(ys, labels if edge == 0 else [""] * len(ys))
        if not any(group.pairs[layer, edge].any() for _, group in lines):
            axes.set_xticks([])
            axes.grid(False)
            axes.set_facecolor("#f6f7f9")
            axes.text(
                0.5, 0.5, "not read", transform=axes.transAxes, ha="center", va="center",
                color=FAINT, fontsize=7,
            )  # fmt: skip
            continue
        for y_line, (_, group) in zip(ys, lines, strict=True):
            _dots(axes, y_line, group, layer, edge)
    first = layer == 0 or found.edge_update == "static"
    words = "from the store" if first else f"as layer {layer} left them"
    drawn.text(
        0.015, bottom + height + 0.33 / drawn.get_figheight(), f"Layer {layer + 1}: edges {words}",
        fontsize=8, fontweight="bold", va="center",
    )  # fmt: skip


def _dots(axes: Axes, y: float, group: EdgeGroup, layer: int, edge: int) -> None:
    for part, name in enumerate(PARTS):
        if not group.pairs[layer, edge, part]:
            continue
        colour, marker, filled = _LOOKS[name]
        mean, error = group.means[layer, edge, part], group.errors[layer, edge, part]
        if np.isfinite(error):
            axes.plot([mean - Z * error, mean + Z * error], [y, y], color=colour, linewidth=0.8)
        face = colour if filled else "white"
        axes.plot(
            mean, y, marker, color=colour, markerfacecolor=face, markersize=3.4, markeredgewidth=0.9
        )


def _limits(lines: Sequence[tuple[str, EdgeGroup]], layer: int) -> tuple[float, float]:
    """Limits that all panels of a layer share."""
    ends: list[float] = []
    for _, group in lines:
        errors = np.nan_to_num(group.errors[layer]) * Z
        for values in (group.means[layer] - errors, group.means[layer] + errors):
            ends += values[np.isfinite(values)].tolist()
    if not ends:
        return 0.0, 1.0
    low, high = min(ends), max(ends)
    room = 0.06 * (high - low) or 0.05
    return low - room, high + room


def _legend(drawn: Figure, found: EdgeSummary, height: float) -> None:
    handles = []
    for name in PARTS[: 3 if found.protocol == "paper" else 2]:
        colour, marker, filled = _LOOKS[name]
        words = {"gold": "gold", "others": "other candidates", "gold slot": "gold slot"}[name]
        handles.append(
            Line2D(
                [], [], color=colour, marker=marker, linewidth=0.8, label=words, markersize=3.4,
                markerfacecolor=colour if filled else "white",
            )
        )  # fmt: skip
    drawn.legend(
        handles=handles, loc="upper right", bbox_to_anchor=(0.99, 1 - 0.03 / height), ncols=3,
        borderaxespad=0, columnspacing=1.2, handlelength=1.6,
    )  # fmt: skip


# one mention --------------------------------------------------------------------------------------


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
