"""Learning curves: the loss, and the validation figure that picks the best epoch, by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from linker.epochs import Curve, curve, read_epochs
from linker.plots.labels import LINE_HEIGHT, Label, label_ends
from linker.plots.naming import Named, conditions
from linker.plots.plot import Plot
from linker.plots.style import PAGE, band_alpha, canvas, percents
from linker.run_folder import RunFolder

#: Epochs up to which each is marked by a point (chosen here: more would run together).
_MARKED = 12

#: Inches to the left of a panel, for its numbers.
_LEFT = 0.42


def learning_plot(groups: Sequence[Named]) -> Plot | None:
    """Loss and validation by epoch: mean over seeds, band of a standard deviation; None without epochs.

    The validation figure is the one that picked the best epoch, or MRR where runs differ in it.

    Raises:
        RunError: a file is damaged.
    """
    recorded = {
        group: epochs
        for group in groups
        if (epochs := [*filter(None, map(read_epochs, group.runs))])
    }
    if not recorded:
        return None
    figure = _figure([run for group in recorded for run in group.runs])
    columns = dict.fromkeys(
        name
        for runs in recorded.values()
        for each in runs
        for name in each
        if name == "train_loss" or (name.startswith("valid_") and name != "valid_seconds")
    )
    curves = {
        group: {name: curve(runs, name) for name in columns} for group, runs in recorded.items()
    }
    drawn = canvas(PAGE, max(2.3, LINE_HEIGHT * len(curves) + 0.8))
    width, height = drawn.get_figwidth(), drawn.get_figheight()
    top, bottom = 1 - 0.28 / height, 0.42 / height
    right = 0.2 + 0.056 * max(len(group.shown) for group in curves)
    panel = (width - right - 2 * _LEFT) / 2
    loss, valid = (
        drawn.add_axes((left / width, bottom, panel / width, top - bottom))
        for left in (_LEFT, 2 * _LEFT + panel)
    )
    _panel(loss, {group: found["train_loss"] for group, found in curves.items()}, names=False)
    loss.set_title("Training loss")
    _panel(valid, {group: found[f"valid_{figure}"] for group, found in curves.items()}, names=True)
    valid.set_title(f"Validation {_words(figure)}, %")
    percents(valid.yaxis)
    return Plot(
        name="learning",
        title="Learning curves",
        figure=drawn,
        caption=(
            "Learning curves: mean over seeds; the band is one standard deviation (n − 1) of the seeds "
            "that reached the epoch, and the line is faint where some had ended before. "
            + conditions(list(recorded), "valid")
        ),
        header=("group", "figure", "epoch", "mean", "std", "seeds"),
        rows=tuple(_rows(curves)),
    )


def _figure(runs: Sequence[Any]) -> str:
    """The figure that picked the best epoch of all runs; MRR where there is none."""
    found = {
        str((RunFolder(run.path).read_config().get("metrics") or {}).get("select", "mrr"))
        for run in runs
    }
    return found.pop() if len(found) == 1 else "mrr"


def _words(figure: str) -> str:
    return "MRR" if figure == "mrr" else figure


def _panel(axes: Axes, curves: dict[Named, Curve], *, names: bool) -> None:
    longest = max((int(each.epochs[-1]) for each in curves.values() if len(each.epochs)), default=1)
    labels = []
    for group, each in curves.items():
        if not len(each.epochs):
            continue
        _line(axes, group, each, alpha=band_alpha(len(curves)), marked=longest <= _MARKED)
        labels.append(
            Label(
                x=float(each.epochs[-1]),
                y=float(each.means[-1]),
                text=group.shown,
                colour=group.colour,
            )
        )
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
    room = max(0.02 * (longest - 1), 0.4 if longest == 1 else 0.0)
    axes.set_xlim(1 - room, longest + room)
    if names:
        label_ends(axes, labels)


def _line(axes: Axes, group: Named, each: Curve, *, alpha: float, marked: bool) -> None:
    whole = each.seeds == each.seeds.max()
    style: dict[str, Any] = {"color": group.colour, "linestyle": group.dash}
    if marked:
        style |= {"marker": group.marker, "markersize": 2.8}
    axes.plot(each.epochs, np.where(whole, each.means, np.nan), **style)
    rest = ~whole | np.append(~whole[1:], False)  # from the last epoch that all reached
    if not whole.all():
        axes.plot(each.epochs, np.where(rest, each.means, np.nan), alpha=0.45, **style)
    low, high = each.means - each.deviations, each.means + each.deviations
    axes.fill_between(each.epochs, low, high, color=group.colour, alpha=alpha, linewidth=0)


def _rows(curves: dict[Named, dict[str, Curve]]) -> list[tuple[Any, ...]]:
    return [
        (group.name, each.figure, int(epoch), float(mean), float(std), int(seeds))
        for group, figures in curves.items()
        for each in figures.values()
        for epoch, mean, std, seeds in zip(
            each.epochs, each.means, each.deviations, each.seeds, strict=True
        )
    ]
