"""The figures of docs/studies/: means with a point for every seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: 8 inches at this resolution are 1600 pixels: sharp where a page shows them 800 wide.
_WIDTH, _DPI = 8.0, 200

_INK, _FAINT, _GRID = "#1f2328", "#59636e", "#d0d7de"
_COLOURS = ("#1f6feb", "#cf222e", "#1a7f37", "#bc6c00", "#8250df", "#6e7781")

#: Inches of a line of cells, and of a letter of their names.
_LINE, _LETTER = 0.38, 0.075

#: Values of each seed, in %.
Values = Sequence[float]


@contextmanager
def _axes(path: Path, *, inches: float, left: float, right: float = 0.3) -> Iterator[Axes]:
    """Axes on white, saved when the block ends well."""
    figure = Figure(figsize=(_WIDTH, inches + 0.7), dpi=_DPI, facecolor="white")
    height = inches + 0.7
    axes = figure.add_axes(
        (left / _WIDTH, 0.55 / height, 1 - (left + right) / _WIDTH, inches / height)
    )
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    axes.tick_params(colors=_FAINT, labelcolor=_INK, length=0, labelsize=9)
    axes.grid(color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    yield axes
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _left(names: Sequence[str]) -> float:
    return 0.3 + _LETTER * max(map(len, names))


def _points(
    axes: Axes,
    values: Values,
    y: float,
    colour: str,
    *,
    thick: float = 2.5,
    label: str | None = None,
) -> None:
    """The mean as a bar across the line, and the seeds as points."""
    axes.plot(values, [y] * len(values), "o", color=colour, alpha=0.45, markersize=5, mew=0)
    axes.plot([mean(values)], [y], "|", color=colour, markersize=14, mew=thick, label=label)


def draw_groups(cells: Mapping[str, Values], path: Path) -> None:
    """hits@1 of each cell, one below the other."""
    names = list(cells)
    with _axes(path, inches=_LINE * len(names), left=_left(names)) as axes:
        for place, values in enumerate(cells.values()):
            _points(axes, values, -place, _COLOURS[0])
            axes.annotate(
                f"{mean(values):.1f}", (mean(values), -place), (0, 9), textcoords="offset points",
                ha="center", fontsize=7, color=_INK,
            )  # fmt: skip
        axes.set_yticks([-place for place in range(len(names))], names)
        axes.set_ylim(0.4 - len(names), 0.75)
        axes.margins(x=0.06)
        axes.set_xlabel("hits@1, % of test mentions: a point a seed, and their mean", color=_FAINT)


def draw_pairs(cells: Mapping[str, Mapping[str, Values]], path: Path) -> None:
    """hits@1 of each cell under two protocols."""
    names = list(cells)
    with _axes(path, inches=1.3 * _LINE * len(names), left=_left(names)) as axes:
        for place, scored in enumerate(cells.values()):
            means = {name: mean(values) for name, values in scored.items()}
            axes.plot([*means.values()], [-place, -place], "-", color=_GRID, linewidth=3, zorder=1)
            for name, colour, thick in (("strict", _COLOURS[0], 6.0), ("paper", _COLOURS[1], 2.0)):
                label = f"scored {name}" if place == 0 else None  # where they are equal, both show
                _points(axes, scored[name], -place, colour, thick=thick, label=label)
        axes.set_yticks([-place for place in range(len(names))], names)
        axes.set_ylim(0.5 - len(names), 0.6)
        axes.margins(x=0.06)
        axes.set_xlabel("hits@1, % of test mentions: a point a seed, and their mean", color=_FAINT)
        axes.legend(frameon=False, fontsize=8, loc="center", labelspacing=1.4)


def _look(line: str, lines: Mapping[str, object]) -> tuple[str, str]:
    """Colour and style: a model has one colour, and dots where it was trained on other lists."""
    model = line.partition(",")[0]
    names = [name for name in lines if "," not in name]
    return _COLOURS[names.index(model) % len(_COLOURS)], "-" if line == model else ":"


def draw_lines(
    models: Mapping[str, Mapping[int, Values]], ceiling: Mapping[int, float], path: Path
) -> None:
    """hits@1 of each model against the length of its lists, and the share whose gold is in them."""
    with _axes(path, inches=3.4, left=0.6, right=1.9) as axes:
        every = sorted(ceiling)
        axes.plot(
            every, [ceiling[length] for length in every], "--", color=_FAINT, linewidth=1,
            label="gold among them",
        )  # fmt: skip
        for model, lengths in models.items():
            colour, style = _look(model, models)
            known = sorted(lengths)
            axes.plot(
                known,
                [mean(lengths[k]) for k in known],
                style,
                color=colour,
                linewidth=1.6,
                label=model,
            )
            for length in known:
                axes.plot(
                    [length] * len(lengths[length]), lengths[length], "o", color=colour,
                    alpha=0.45, markersize=4, mew=0,
                )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xticks(every, [str(length) for length in every], minor=False)
        axes.minorticks_off()
        axes.set_xlabel("candidates of each mention", color=_FAINT)
        axes.set_ylabel("hits@1, % of test mentions", color=_FAINT)
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
