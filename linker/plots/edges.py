"""The edges that a trained DRIN reads, over a split by group."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from linker.edge_summary import PARTS, EdgeGroup, EdgeSummary
from linker.plots.breakdown import Z
from linker.plots.plot import Plot
from linker.plots.style import COLOURS, FAINT, PAGE, canvas, drawable, only_grid

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

#: Inches of a line of groups.
_ROW = 0.155


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
    ys = _heights([title for title, _ in lines])
    low, high = _limits(lines, layer)
    room = _EDGE_OF_PANEL * (high - low)  # numbers of two panels must not touch
    all_ticks = MaxNLocator(4).tick_values(low, high)
    ticks = [tick for tick in map(float, all_ticks) if low + room <= tick <= high - room]
    for edge, words in enumerate(WORDS[name] for name in found.edges):
        axes = drawn.add_axes((left + edge * (width + gap), bottom, width, height))
        axes.set_title(words, fontweight="normal", fontsize=7.5)
        axes.set_ylim(ys[-1] + 0.5, -0.5)
        axes.set_xlim(low, high)
        axes.set_xticks(ticks)
        only_grid(axes, "x")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_yticks(ys, labels if edge == 0 else [""] * len(ys))
        if any(group.pairs[layer, edge].any() for _, group in lines):
            for y_line, (_, group) in zip(ys, lines, strict=True):
                _dots(axes, y_line, group, layer, edge)
        else:
            _not_read(axes)
    first = layer == 0 or found.edge_update == "static"
    words = "from the store" if first else f"as layer {layer} left them"
    drawn.text(
        0.015, bottom + height + 0.33 / drawn.get_figheight(), f"Layer {layer + 1}: edges {words}",
        fontsize=8, fontweight="bold", va="center",
    )  # fmt: skip


def _heights(titles: Sequence[str]) -> list[float]:
    """Where lines are, one apart, and a little more where another grouping begins."""
    steps = [1.45 if one != other else 1.0 for one, other in pairwise(titles)]
    return [0.0, *accumulate(steps)]


def _not_read(axes: Axes) -> None:
    axes.set_xticks([])
    axes.grid(False)
    axes.set_facecolor("#f6f7f9")
    axes.text(
        0.5, 0.5, "not read", transform=axes.transAxes, ha="center", va="center", color=FAINT,
        fontsize=7,
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
