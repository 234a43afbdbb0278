"""How plots look: one style, colours that colour-blind people can tell apart, and text as it is.

No setting of matplotlib stays changed: :func:`styled` ends with the settings it began with, and no
backend is chosen, since figures are made without pyplot and written by Agg and SVG directly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Literal

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

#: Inches: a column, and both columns, of a page of two (those of the ACM and ACL templates).
COLUMN, PAGE = 3.33, 7.0

#: Dots an inch of PNG files (chosen here: 1400 pixels across a page, sharp on a screen twice as fine).
DPI = 200

INK, FAINT, LINE = "#1f2328", "#59636e", "#e3e6ea"

#: Okabe and Ito's colours (2008) without their yellow, which is too light for lines on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")

#: Beyond seven groups colours begin again, with another dash and marker.
DASHES: tuple[str | tuple[int, tuple[float, ...]], ...] = ("-", (0, (4, 1.5)), (0, (1, 1)))
MARKERS = ("o", "s", "D", "^", "v", "P", "X")

_HATCHES = ("", "//////", "......")

#: Fonts in the order in which one is looked for that has a character; those that are not installed
#: do no harm.
_FONTS = (
    "DejaVu Sans",
    "Noto Sans",
    *(f"Noto Sans CJK {place}" for place in ("SC", "JP", "TC", "KR")),
    *("Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "IPAGothic"),
    *("Droid Sans Fallback", "Hiragino Sans", "PingFang SC", "Microsoft YaHei", "MS Gothic"),
    *("Malgun Gothic", "Arial Unicode MS", "Noto Sans Arabic", "Noto Sans Hebrew"),
)

_STYLE: dict[str, Any] = {
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#9aa3ad",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.5,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "text.color": INK,
    "text.parse_math": False,  # a name may hold $ and _
    "text.usetex": False,
    "legend.frameon": False,
    "savefig.dpi": DPI,
    "figure.dpi": DPI,
    "svg.fonttype": "path",  # looks the same without the fonts
    "svg.hashsalt": "drin-fs",  # the same ids every time
}


@contextmanager
def styled() -> Iterator[None]:
    """Figures that are made and written in the block have the style of this module."""
    with mpl.rc_context():
        mpl.rcdefaults()  # a matplotlibrc of the user would change what is measured and written
        settings: Any = {**_STYLE, "font.family": list(_installed())}
        mpl.rcParams.update(settings)
        yield


def canvas(width: float, height: float) -> Figure:
    """An empty white figure; sizes in inches."""
    return Figure(figsize=(width, height), facecolor="white")


def colour(place: int) -> str:
    """The colour of the group at a place."""
    return COLOURS[place % len(COLOURS)]


def dash(place: int) -> str | tuple[int, tuple[float, ...]]:
    """How the line of the group at a place is dashed."""
    return DASHES[place // len(COLOURS) % len(DASHES)]


def marker(place: int) -> str:
    """The marker of the group at a place."""
    return MARKERS[(place + place // len(COLOURS)) % len(MARKERS)]


def filling(place: int) -> dict[str, Any]:
    """How the bars of the group at a place are filled: light, so that lines show on them."""
    light = (*to_rgb(colour(place)), 0.6)
    hatch = _HATCHES[place // len(COLOURS) % len(_HATCHES)]
    return {"facecolor": light, "hatch": hatch, "edgecolor": "white", "linewidth": 0}


def band_alpha(groups: int) -> float:
    """How much a band covers: less where there are many."""
    return min(0.18, 0.75 / max(1, groups))


# text ---------------------------------------------------------------------------------------------


def drawable(text: str, *, most: int = 28) -> str:
    """The text as it can be drawn: in one line, long ones cut in their middle.

    What no installed font has, or nobody could see, is written out: ``\\u6a21``.
    """
    shown = "".join(map(_visible, text)) or "(no name)"
    if len(shown) <= most:
        return shown
    head = (most - 1) * 2 // 3
    return f"{shown[:head]}…{shown[len(shown) - (most - 1 - head) :]}"


def _visible(character: str) -> str:
    if character.isspace():
        return " "
    if character.isprintable() and any(ord(character) in has for has in _characters()):
        return character
    return character.encode("unicode_escape").decode()


@lru_cache(1)
def _installed() -> tuple[str, ...]:
    names = {font.name for font in font_manager.fontManager.ttflist}
    return tuple(name for name in _FONTS if name in names) or ("sans-serif",)


@lru_cache(1)
def _characters() -> tuple[frozenset[int], ...]:
    """The characters that each of the fonts has."""
    paths = [font_manager.findfont(name) for name in _installed()]
    return tuple(frozenset(font_manager.get_font(path).get_charmap()) for path in paths)


# axes ---------------------------------------------------------------------------------------------


def plain_numbers(*axes: Axis) -> None:
    """0.1, 10, 1,000 in place of powers of ten, which would be read as formulas."""
    for axis in axes:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}"))
        axis.set_minor_locator(NullLocator())


def percents(axis: Axis) -> None:
    """Shares as numbers of percent, without the sign: the label of the axis has it."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.6g}"))


#: Values of a logarithmic axis that are written, in each power of ten.
_WRITTEN = (1, 2, 5)


def log_ticks(axis: Axis, low: float, high: float, *, steps: Sequence[int] = _WRITTEN) -> None:
    """Ticks at 1, 2, 5, 10, … between two values above 0; only at 1, 10, … where these are many."""
    exponents = range(-9, 13)
    ticks = [step * 10.0**power for power in exponents for step in steps]
    inside = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
    if len(inside) > 9 and len(steps) > 1:
        log_ticks(axis, low, high, steps=(1,))
        return
    axis.set_ticks(inside or [low, high])
    plain_numbers(axis)


def only_grid(axes: Axes, which: Literal["x", "y"]) -> None:
    """Lines of one axis alone."""
    axes.grid(False)
    axes.grid(True, axis=which)
