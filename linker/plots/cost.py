"""What a figure costs: seconds of training against the figures of the split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from linker.epochs import deviation, read_epochs
from linker.plots.labels import Label, label_points
from linker.plots.naming import Named, conditions
from linker.plots.plot import Plot
from linker.plots.style import PAGE, canvas, drawable, log_ticks, percents
from linker.recorded import RecordedRun

#: The figures that are drawn, where runs have them.
FIGURES = ("mrr", "hits@1")

_Point: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Means and deviations (n - 1) over the seeds of a group.

    ``seconds``: of training, all epochs of a run, validation not among them; NaN of what was not
    trained. ``parameters`` that learn and ``memory_mb`` (peak of anonymous memory), NaN where not
    recorded. ``figures``: name → mean and deviation of the split.
    """

    seconds: float
    seconds_std: float
    parameters: float
    memory_mb: float
    figures: dict[str, tuple[float, float]]
    seeds: int


def cost(runs: Sequence[RecordedRun], split: str) -> Cost:
    """What the runs of a group took, and got.

    Raises:
        RunError: a file is damaged.
    """
    epochs = [read_epochs(run) for run in runs]
    seconds = [float(np.nansum(each["seconds"])) for each in epochs if "seconds" in each]
    figures = {}
    for name in FIGURES:
        values = [_number(run.summary.get(split, {}).get(name)) for run in runs]
        values = [value for value in values if np.isfinite(value)]
        if values:
            figures[name] = float(np.mean(values)), deviation(values)
    return Cost(
        seconds=float(np.mean(seconds)) if seconds else float("nan"),
        seconds_std=deviation(seconds),
        parameters=_mean(runs, "parameters"),
        memory_mb=_mean(runs, "peak_rss_anon_mb"),
        figures=figures,
        seeds=len(runs),
    )


def cost_plot(groups: Sequence[Named], split: str) -> Plot | None:
    """Figures against seconds of training; None where nothing was trained."""
    costs = {group: found for group in groups if (found := cost(group.runs, split)).figures}
    trained = {group: each for group, each in costs.items() if each.seconds > 0}
    names = [name for name in FIGURES if any(name in each.figures for each in trained.values())]
    if not names:
        return None
    panel, height = PAGE / 2, 2.7
    width = panel * len(names)
    drawn = canvas(width, height)
    for place, name in enumerate(names):
        left, inches = panel * place + 0.36, panel - 0.46
        axes = drawn.add_axes((left / width, 0.42 / height, inches / width, 1 - 0.68 / height))
        _panel(axes, costs, name)
        words = "MRR" if name == "mrr" else name
        axes.set_title(f"{words} on {drawable(split)}, %")
    return Plot(
        name="cost",
        title="Cost against accuracy",
        figure=drawn,
        caption=(
            "Seconds of training, all epochs and no validation, against figures: means over seeds, with "
            "lines of one standard deviation (n − 1) both ways; below a name: how many parameters learn, "
            "and peak memory, not counting pages of the store. Dashed: what needs no training. "
            + conditions(list(costs), split)
        ),
        header=(
            *("group", "seconds", "seconds_std", "parameters", "peak_rss_anon_mb", "seeds"),
            *(column for name in FIGURES for column in (name, f"{name}_std")),
        ),
        rows=tuple(
            (
                *(group.name, each.seconds, each.seconds_std),
                *(each.parameters, each.memory_mb, each.seeds),
                *(v for name in FIGURES for v in each.figures.get(name, (float("nan"),) * 2)),
            )
            for group, each in costs.items()
        ),
    )


def _panel(axes: Axes, costs: dict[Named, Cost], name: str) -> None:
    labels, seconds, untrained = [], [], []
    for group, each in costs.items():
        if name not in each.figures:
            continue
        mean, std = each.figures[name]
        if not each.seconds > 0:
            untrained.append((mean, group))
            continue
        style: Any = {"color": group.colour, "markersize": 5, "elinewidth": 0.9}
        axes.errorbar(
            each.seconds,
            mean,
            xerr=_bar(each.seconds_std),
            yerr=_bar(std),
            fmt=group.marker,
            **style,
        )
        spread = each.seconds_std if np.isfinite(each.seconds_std) else 0.0
        seconds += [max(each.seconds - spread, each.seconds / 2), each.seconds + spread]
        labels.append(
            Label(
                x=each.seconds,
                y=mean,
                text=group.shown,
                colour=group.colour,
                below=_below(each),
            )
        )
    low, high = min(seconds) / 1.7, max(seconds) * 1.7
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    log_ticks(axes.xaxis, low, high)
    axes.set_xlabel("seconds of training (log axis)")
    axes.margins(y=0.22)
    percents(axes.yaxis)
    for mean, group in untrained:
        axes.axhline(mean, color=group.colour, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
        labels.append(
            Label(x=low * (high / low) ** 0.01, y=mean, text=group.shown, colour=group.colour)
        )
    axes.autoscale_view(scalex=False)
    axes.set_yticks([tick for tick in axes.get_yticks() if -0.001 < tick < 1.001])
    lines = [((low, mean), (high, mean)) for mean, _ in untrained]
    lines += _error_bars(costs, name)
    label_points(axes, labels, taken=[_thick(axes, *ends) for ends in lines])


def _error_bars(costs: dict[Named, Cost], name: str) -> Iterator[tuple[_Point, _Point]]:
    """Where the lines of deviations begin and end."""
    for each in costs.values():
        if name in each.figures and each.seconds > 0:
            mean, std = each.figures[name]
            y, x = float(np.nan_to_num(std)), float(np.nan_to_num(each.seconds_std))
            yield (each.seconds, mean - y), (each.seconds, mean + y)
            yield (max(each.seconds - x, 1e-9), mean), (each.seconds + x, mean)


def _thick(axes: Axes, one: _Point, other: _Point) -> Bbox:
    """A line as a rectangle in pixels that names keep off."""
    (x0, y0), (x1, y1) = axes.transData.transform(np.array([one, other])).tolist()
    return Bbox.from_extents(x0 - 2, y0 - 2, x1 + 2, y1 + 2)


def _below(each: Cost) -> str:
    parts = []
    if np.isfinite(each.parameters):
        parts.append(_short(each.parameters))
    if np.isfinite(each.memory_mb):
        parts.append(f"{each.memory_mb / 1000:.2g} GB")
    return " · ".join(parts)


def _short(number: float) -> str:
    """``905 k``"""
    for unit, word in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= unit:
            return f"{number / unit:.3g}{word}"
    return f"{number:.0f}"


def _bar(std: float) -> float | None:
    return std if np.isfinite(std) else None


def _mean(runs: Sequence[RecordedRun], key: str) -> float:
    values = [_number(run.summary.get(key)) for run in runs]
    values = [value for value in values if np.isfinite(value)]
    return float(np.mean(values)) if values else float("nan")


def _number(value: object) -> float:
    """A number of a summary; NaN for anything else."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else float("nan")  # type: ignore[arg-type]
