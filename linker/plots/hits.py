"""hits@k against k, from the ranks that runs recorded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from linker.epochs import deviation
from linker.plots.labels import LINE_HEIGHT, legend_beside
from linker.plots.naming import Named, conditions
from linker.plots.plot import Plot
from linker.plots.style import COLUMN, FAINT, band_alpha, canvas, drawable, log_ticks, percents
from linker.ranks import Ranks
from linker.recorded import RecordedRun
from linker.report_words import ALL_ENTITIES

#: k up to which each counts; beyond them so many, evenly on a logarithmic axis (chosen here: no eye
#: tells more apart).
_EVERY, _SOME = 1000, 300


@dataclass(frozen=True, slots=True, kw_only=True)
class HitsCurve:
    """hits@k of a group, (N,) arrays over ``ks``: mean and deviation (n - 1) over ``seeds`` runs.

    ``ceiling``: share of the counted mentions whose gold was retrieved, which no run can exceed.
    """

    ks: NDArray[np.int64]
    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    seeds: int
    ceiling: float


def hits_curve(runs: Sequence[tuple[RecordedRun, Ranks]]) -> HitsCurve:
    """hits@k of the runs of a group, under their own tie rule and denominator."""
    ks = _ks(max(_most(run, ranks) for run, ranks in runs))
    shares, ceilings = [], []
    for run, ranks in runs:
        places = ranks.under(run.tie_rule)
        if run.summary["denominator"] == "retrieved":
            places = places[ranks.retrieved]
        places = np.sort(places)
        shares.append(np.searchsorted(places, ks, side="right") / max(1, len(places)))
        ceilings.append(np.count_nonzero(ranks.retrieved) / max(1, len(places)))
    columns = np.array(shares)
    return HitsCurve(
        ks=ks,
        means=columns.mean(axis=0),
        deviations=np.array([deviation(column) for column in columns.T]),
        seeds=len(runs),
        ceiling=float(np.mean(ceilings)),
    )


def hits_plot(ranks: dict[Named, list[tuple[RecordedRun, Ranks]]], split: str) -> Plot | None:
    """hits@k of each group with the recall of the candidates; None without ranks."""
    if not ranks:
        return None
    curves = {group: hits_curve(runs) for group, runs in ranks.items()}
    ordered = sorted(curves, key=lambda group: -curves[group].means[0])
    names = [f"{group.shown}  {100 * curves[group].means[0]:.1f}" for group in ordered]
    right = 0.5 + 0.056 * max(map(len, names))
    width, height = max(COLUMN, 2.2 + right), max(2.2, LINE_HEIGHT * (len(curves) + 1) + 0.75)
    drawn = canvas(width, height)
    axes = drawn.add_axes(
        (0.4 / width, 0.4 / height, 1 - (0.45 + right) / width, 1 - 0.66 / height)
    )
    handles = [_line(axes, group, curves[group], band_alpha(len(curves))) for group in ordered]
    most = max(2, *(int(each.ks[-1]) for each in curves.values()))
    axes.set_xscale("log")
    axes.set_xlim(1, most)
    log_ticks(axes.xaxis, 1, most)
    axes.set_xlabel("k")
    axes.set_title(f"hits@k on {drawable(split)}, %")
    percents(axes.yaxis)
    for line, words in _ceilings(axes, list(curves.values())):
        handles.append(line)
        names.append(words)
    axes.set_ylim(top=min(1.01, axes.get_ylim()[1]))
    legend_beside(axes, handles, names)
    return Plot(
        name="hits",
        title="hits@k",
        figure=drawn,
        caption=(
            "Share of mentions whose gold is ranked k or better: mean over seeds, with a band of one "
            "standard deviation (n − 1); the number behind a name is hits@1. Dashed: recall of the "
            "candidates, the share whose gold is among them, which no ranking can exceed. "
            + conditions(list(ranks), split)
        ),
        header=("group", "k", "mean", "std", "seeds", "candidate_recall"),
        rows=tuple(
            (group.name, int(k), float(mean), float(std), each.seeds, each.ceiling)
            for group, each in curves.items()
            for k, mean, std in zip(each.ks, each.means, each.deviations, strict=True)
        ),
    )


def _line(axes: Axes, group: Named, each: HitsCurve, alpha: float) -> Line2D:
    low, high = each.means - each.deviations, each.means + each.deviations
    axes.fill_between(each.ks, low, high, color=group.colour, alpha=alpha, linewidth=0)
    return axes.plot(each.ks, each.means, color=group.colour, linestyle=group.dash)[0]


def _ceilings(axes: Axes, curves: Sequence[HitsCurve]) -> Iterator[tuple[Line2D, str]]:
    """A line for each recall that some candidates have, where it is not everything."""
    for ceiling in sorted({round(each.ceiling, 4) for each in curves if each.ceiling < 1}):
        style: Any = {"color": FAINT, "linewidth": 0.8, "linestyle": (0, (4, 2)), "zorder": 1}
        yield axes.axhline(ceiling, **style), f"recall  {100 * ceiling:.1f}"


def _ks(most: int) -> NDArray[np.int64]:
    if most <= _EVERY:
        return np.arange(1, most + 1, dtype=np.int64)
    return np.unique(np.geomspace(1, most, _SOME).round().astype(np.int64))


def _most(run: RecordedRun, ranks: Ranks) -> int:
    """How many entities are ranked: all under full-kb and two-stage, else the candidates of a mention."""
    finite = ranks.pessimistic[np.isfinite(ranks.pessimistic)]
    worst = int(finite.max()) if len(finite) else 1
    if run.protocol in ALL_ENTITIES:
        return max(worst, int(run.summary.get("entities", 0)))
    shape = re.search(r"\[(\d{1,9})\]", _field(run, "mentions/candidates"))
    return max(worst, int(shape[1]) if shape else 0)


def _field(run: RecordedRun, path: str) -> str:
    fields: dict[str, Any] = run.environment["store"]["fields"]
    return str(fields.get(path, ""))
