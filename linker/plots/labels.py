"""Names that stand at what they name, and neither on each other nor on the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

#: Inches from one line of names to the next, and points from the end of a line to its name.
LINE_HEIGHT, _GAP = 0.125, 5

#: Times that each name beside a point looks for a better place, and points from which on a line leads
#: to it.
_PASSES, _FAR = 3, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A name at a point of the data."""

    x: float
    y: float
    text: str
    colour: str
    below: str = ""  # a second line, in grey


def spread(wanted: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Places between two, as near to the wanted ones as can be, ``gap`` apart and in their order.

    Where there is no room for the gap it becomes smaller.
    """
    if not wanted:
        return []
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    order = np.argsort(np.asarray(wanted), kind="stable")
    steps = gap * np.arange(len(wanted))
    # with the gaps taken out, the nearest places in order are an isotonic regression
    flat = _isotonic(np.asarray(wanted, float)[order] - steps)
    flat = np.clip(flat, low, high - steps[-1])
    places = np.empty(len(wanted))
    places[order] = flat + steps
    return [float(place) for place in places]


def _isotonic(values: np.ndarray) -> np.ndarray:
    """The nearest ascending values in least squares, by pooling neighbours that are out of order."""
    pools: list[tuple[float, int]] = []
    for value in values.tolist():
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (one, n), (other, m) = pools[-2:]
            pools[-2:] = [((one * n + other * m) / (n + m), n + m)]
    return np.concatenate([np.full(count, mean) for mean, count in pools])


def label_ends(axes: Axes, labels: Sequence[Label]) -> None:
    """Write names to the right of the axes, beside the ends of their lines.

    Call it when the limits of the axes are final. A thin line leads from each end to its name.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    box = axes.get_position()
    width, height = box.width * figure.get_figwidth(), box.height * figure.get_figheight()
    to_axes = axes.transAxes.inverted()
    ends = [to_axes.transform(axes.transData.transform((each.x, each.y))) for each in labels]
    places = spread([float(y) for _, y in ends], gap=LINE_HEIGHT / height, low=0.0, high=1.0)
    beside = 1 + _GAP / 72 / width
    for each, (x, y), place in zip(labels, ends, places, strict=True):
        axes.annotate(
            each.text, (beside, place), xytext=(2, 0), xycoords="axes fraction",
            textcoords="offset points", color=each.colour, fontsize=7, va="center",
            annotation_clip=False,
        )  # fmt: skip
        axes.plot(
            [float(x), beside], [float(y), place], color=each.colour, linewidth=0.5, alpha=0.6,
            transform=axes.transAxes, clip_on=False, scalex=False, scaley=False,
        )  # fmt: skip


def legend_beside(axes: Axes, handles: Sequence[Artist], names: Sequence[str]) -> None:
    """A legend to the right of the axes, from their top, with names as they are."""
    places = [str(place) for place in range(len(names))]  # what begins with _ would be left out
    legend = axes.legend(
        handles, places, loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0,
        handlelength=1.7, labelspacing=0.35, borderpad=0.2, handletextpad=0.6,
    )  # fmt: skip
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)


def label_points(axes: Axes, labels: Sequence[Label], *, taken: Sequence[Bbox] = ()) -> None:
    """Write names beside points, each where it covers least of the others, of points and of ``taken``.

    Args:
        taken: rectangles in pixels that hold data, such as error bars.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    renderer = FigureCanvasAgg(figure).get_renderer()
    scale = figure.dpi / 72
    points = [_pixels(axes, each) for each in labels]
    blocked = [*taken, *(_around(point, 4 * scale) for point in points)]
    frame = axes.get_window_extent(renderer)
    texts = [
        axes.annotate(
            f"{each.text}\n{each.below}" if each.below else each.text,
            (each.x, each.y), xytext=(0, 0), textcoords="offset points", color=each.colour,
            fontsize=6.5, linespacing=1.15, annotation_clip=False,
        )
        for each in labels
    ]  # fmt: skip
    sizes = [text.get_window_extent(renderer) for text in texts]
    boxes: list[Bbox | None] = [None] * len(texts)
    for _ in range(_PASSES):
        for place, (size, point) in enumerate(zip(sizes, points, strict=True)):
            others = [box for number, box in enumerate(boxes) if box and number != place]
            boxes[place] = min(
                _around_point(point, size, scale),
                key=lambda box: _cost(box, [*blocked, *others], frame, point),
            )
    for text, box, each, (x, y) in zip(texts, boxes, labels, points, strict=True):
        assert box is not None
        text.set_position(((box.x0 - x) / scale, (box.y0 - y) / scale))
        nearest = np.clip((x, y), box.min, box.max)
        if np.hypot(*(nearest - (x, y))) > _FAR * scale:
            ends = axes.transData.inverted().transform(np.array([(x, y), nearest]))
            axes.plot(*ends.T, color=each.colour, linewidth=0.5, scalex=False, scaley=False)


def _pixels(axes: Axes, label: Label) -> tuple[float, float]:
    pixels = axes.transData.transform((label.x, label.y))
    return float(pixels[0]), float(pixels[1])


def _around(point: tuple[float, float], half: float) -> Bbox:
    x, y = point
    return Bbox.from_extents(x - half, y - half, x + half, y + half)


def _around_point(point: tuple[float, float], size: Bbox, scale: float) -> list[Bbox]:
    """Places for a text of a size, in pixels."""
    return [
        Bbox.from_bounds(point[0] + across * scale, point[1] + up * scale, size.width, size.height)
        for across, up in _offsets(size.width / scale, size.height / scale)
    ]


def _offsets(width: float, height: float) -> list[tuple[float, float]]:
    """Lower left corners of the text, in points from its point: near ones first."""
    found: list[tuple[float, float]] = []
    for away in (6.0, 12.0, 20.0, 30.0):
        for across in (away, -width - away, -width / 2):
            for up in (-height / 2, away, -height - away):
                if across != -width / 2 or up != -height / 2:
                    found.append((across, up))
    return found


def _cost(
    box: Bbox, blocked: Sequence[Bbox], frame: Bbox, point: tuple[float, float]
) -> tuple[float, float]:
    """How much of others a text covers, and of it stands outside; then how far its point is away."""
    covered = 0.0
    for other in blocked:
        common = Bbox.intersection(box, other)
        if common is not None:
            covered += common.width * common.height
    inside = Bbox.intersection(box, frame)
    shown = 0.0 if inside is None else inside.width * inside.height
    nearest = np.clip(point, box.min, box.max)
    away = float(np.hypot(*(nearest - point)))
    return round(covered + 2 * (box.width * box.height - shown)), away
