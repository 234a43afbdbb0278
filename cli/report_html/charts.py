"""Drawings as inline SVG: no script, no file; each says in words what it shows.

Lines differ in colour and in dashes, so that they can be told apart on paper without colour.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log10
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cli.console import count, percent
from cli.web.html import Html, Part, h, join
from featurestore.histogram import Histogram

#: Sides of a line chart in its own units, and the room for the labels (chosen here: they are readable
#: where 480 units are 400 pixels).
_WIDTH, _HEIGHT = 480, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 14, 12, 42

#: k and a share → the place in the drawing.
Place: TypeAlias = Callable[[int, float], tuple[float, float]]

#: Kinds of lines that the style tells apart.
_KINDS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """``shares``: (K,) float at k = 1, 2, … K, from 0 to 1. ``limit``: a bound rather than a result."""

    name: str
    shares: NDArray[np.float64]
    limit: bool = False


def line_chart(key: str, title: str, words: str, lines: Sequence[Line], axis: str) -> Html:
    """Shares over k, on a logarithmic axis: what happens at the first few is what matters.

    Args:
        key: an id, of this drawing alone.
        words: what the drawing shows, for who does not see it.
        axis: what k counts.
    """
    most = max(len(line.shares) for line in lines)
    least = min((float(np.nanmin(line.shares)) for line in lines), default=0.0)
    floor = min(int(10 * least) / 10, 0.9)

    def place(k: int, share: float) -> tuple[float, float]:
        along = log10(k) / log10(most) if most > 1 else 0.5
        up = (share - floor) / (1 - floor)
        return (
            _LEFT + along * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM),
        )

    drawn = [
        h(f"path.line.line-{_kind(number, line)}", {"d": _polyline(line.shares, place)})
        for number, line in enumerate(lines)
    ]
    frame = {"viewBox": f"0 0 {_WIDTH} {_HEIGHT}"}
    drawing = named("svg.chart", key, title, words, frame, _axes(most, floor, place, axis), drawn)
    legend = [
        h("li", _sample(_kind(number, line)), h("bdi", line.name))
        for number, line in enumerate(lines)
    ]
    return h("figure", drawing, h("figcaption", h("ul.legend", legend)))


def _kind(number: int, line: Line) -> str:
    return "limit" if line.limit else str(number % _KINDS)


def _polyline(shares: NDArray[np.float64], place: Place) -> str:
    points = [place(k, share) for k, share in enumerate(shares.tolist(), 1) if share == share]
    steps = [f"{'L' if at else 'M'}{x:.1f} {y:.1f}" for at, (x, y) in enumerate(points)]
    return "".join(steps) + ("h0" if len(points) == 1 else "")


def _axes(most: int, floor: float, place: Place, axis: str) -> list[Html]:
    """Grid lines and their numbers: shares on the left, k below."""
    parts = []
    for tenth in range(round(10 * floor), 11, 1 if floor >= 0.5 else 2):
        _, y = place(1, tenth / 10)
        parts += [
            h("path.rule", {"d": f"M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"}),
            h("text.tick.end", {"x": _LEFT - 7, "y": f"{y + 4:.1f}"}, f"{10 * tenth} %"),
        ]
    for k in sorted({k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if k < most} | {most}):
        x, _ = place(k, 1.0)
        near = k != most and most > 1 and log10(most / k) < 0.06 * log10(most)
        parts.append(h("path.rule", {"d": f"M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}"}))
        if not near:
            parts.append(h("text.tick.middle", {"x": f"{x:.1f}", "y": _HEIGHT - 24}, k))
    return [*parts, h("text.tick.middle", {"x": (_LEFT + _WIDTH) / 2, "y": _HEIGHT - 5}, axis)]


def _sample(kind: str) -> Html:
    """A piece of a line, for the legend."""
    line = h(f"path.line.line-{kind}", {"d": "M1 5H31"})
    return h("svg.sample", {"viewBox": "0 0 32 10", "aria-hidden": "true"}, line)


# bars -------------------------------------------------------------------------------------------


def stacked(name: str, parts: dict[str, int]) -> Html:
    """A bar cut by how many of each kind there are, and the same in words."""
    whole = sum(parts.values())
    left, pieces = 0.0, []
    for place, number in enumerate(parts.values()):
        width = 100 * number / max(whole, 1)
        sides = {"x": f"{left:.2f}", "width": f"{width:.2f}", "height": 8}
        pieces.append(h("rect", {"class": f"status-{place}"}, sides))
        left += width
    frame = {"viewBox": "0 0 100 8", "preserveAspectRatio": "none", "aria-hidden": "true"}
    words = [
        h(
            "li",
            h("i", {"class": f"key status-{place}"}),
            join(f"{kind} ", h("b", count(number)), f" {percent(number, whole)}"),
        )
        for place, (kind, number) in enumerate(parts.items())
        if number
    ]
    return h(
        "div.coverage",
        h("h3", name),
        h("svg.coverage-bar", frame, pieces),
        h("ul.legend", words or h("li", "none")),
    )


def share_bar(part: int, whole: int) -> Html:
    """A bar as long as a share, for a cell of a table that says the share too."""
    width = f"{100 * part / whole:.1f}" if whole else "0"
    frame = {"viewBox": "0 0 100 4", "preserveAspectRatio": "none", "aria-hidden": "true"}
    return h(
        "svg.bar",
        frame,
        h("rect.track", {"width": 100, "height": 4}),
        h("rect.fill", {"width": width, "height": 4}),
    )


def spark(found: Histogram, words: str) -> Html:
    """A histogram as small as a word."""
    most = max(found.counts, default=0)
    width = 64 / max(len(found.counts), 1)
    bars = [
        h(
            "rect.fill",
            {
                "x": f"{place * width:.1f}",
                "y": f"{18 - 17 * number / most:.1f}",
                "width": f"{max(width - 1, 1):.1f}",
                "height": f"{17 * number / most:.1f}",
            },
        )
        for place, number in enumerate(found.counts)
        if number
    ]
    frame = {"viewBox": "0 0 64 18", "role": "img", "aria-label": words}
    return h("svg.spark", frame, bars)


# names ------------------------------------------------------------------------------------------


def named(tag: str, key: str, title: str, words: str, frame: dict[str, str], *parts: Part) -> Html:
    """A drawing with a title and a description, which stand for it where it is not seen."""
    names = {"role": "img", "aria-labelledby": f"{key}-title {key}-words"}
    return h(
        tag,
        frame | names,
        h("title", {"id": f"{key}-title"}, title),
        h("desc", {"id": f"{key}-words"}, words),
        parts,
    )
