"""hits@1 by what the store says of the mentions: topic, and whether there are pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from linker.epochs import deviation
from linker.mention_groups import Grouping
from linker.plots.labels import legend_beside
from linker.plots.naming import Named, conditions
from linker.plots.plot import Plot
from linker.plots.style import COLUMN, INK, PAGE, canvas, drawable, only_grid
from linker.ranks import Ranks
from linker.recorded import RecordedRun

#: Quantile of the normal distribution that a two-sided interval of 95 % ends at.
Z = 1.959963984540054

#: Inches of a bar, and between categories.
_BAR, _BETWEEN = 0.105, 0.13

#: Below so many mentions a category is written in grey: its interval is all one can say of it
#: (chosen here).
_FEW = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """hits@1 of a group in a category.

    ``mean`` and ``std`` (n - 1): over ``seeds`` runs. ``low``, ``high``: Wilson's interval of 95 % for a
    share of ``mentions``, which tells how much other mentions would change it, and not other seeds.
    NaN of no mentions.
    """

    mean: float
    std: float
    low: float
    high: float
    mentions: int
    seeds: int


def share(hits: Sequence[np.ndarray], chosen: np.ndarray) -> Share:
    """hits@1 (runs × (n,) bool; NaN = not counted) of the chosen mentions (n,) bool."""
    means = [float(np.nanmean(run[chosen])) for run in hits if np.isfinite(run[chosen]).any()]
    counted = int(np.isfinite(hits[0][chosen]).sum())
    mean = float(np.mean(means)) if means else float("nan")
    low, high = wilson(mean, counted)
    return Share(
        mean=mean, std=deviation(means), low=low, high=high, mentions=counted, seeds=len(hits)
    )


def wilson(mean: float, count: int) -> tuple[float, float]:
    """Wilson's score interval (1927) of 95 % for a share of ``count`` cases; NaN of none."""
    if not count:
        return float("nan"), float("nan")
    middle = (mean + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z / (1 + Z**2 / count) * np.sqrt(mean * (1 - mean) / count + Z**2 / (4 * count**2))
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


def hits_at_1(run: RecordedRun, ranks: Ranks) -> np.ndarray:
    """(n,) 1 where the gold is ranked first, else 0; NaN where the run's denominator leaves it out."""
    hits = (ranks.under(run.tie_rule) <= 1).astype(float)
    if run.summary["denominator"] == "retrieved":
        hits[~ranks.retrieved] = np.nan
    return hits


def breakdown_plot(
    name: str,
    title: str,
    groupings: Sequence[Grouping],
    ranks: dict[Named, list[tuple[RecordedRun, Ranks]]],
    split: str,
) -> Plot:
    """Bars of hits@1: a category a block, a group a bar, with n and an interval."""
    hits = {group: [hits_at_1(*each) for each in runs] for group, runs in ranks.items()}
    shares = {
        (grouping.title, category): {
            group: share(of, grouping.codes == place) for group, of in hits.items()
        }
        for grouping in groupings
        for place, category in enumerate(grouping.names)
    }
    block = _BAR * len(hits) + _BETWEEN
    heads = len(groupings) if len(groupings) > 1 else 0
    inches = block * len(shares) + 0.2 * heads
    right = 0.35 + 0.056 * max(len(group.shown) for group in hits)
    left = 0.15 + 0.058 * max(
        len(_words(c, next(iter(s.values())))) for (_, c), s in shares.items()
    )
    width, height = min(PAGE, max(COLUMN, left + right + 2.2)), inches + 0.68
    drawn = canvas(width, height)
    axes = drawn.add_axes(
        (left / width, 0.38 / height, 1 - (left + right) / width, inches / height)
    )
    _bars(axes, shares, heads=bool(heads), block=block)
    axes.set_title(title)
    axes.set_xlabel("hits@1, %")
    handles = [Rectangle((0, 0), 1, 1, **group.filling) for group in hits]
    legend_beside(axes, handles, [group.shown for group in hits])
    return Plot(
        name=name,
        title=title,
        figure=drawn,
        caption=(
            f"{title}: share of the mentions of a category whose gold is ranked first, mean over seeds; "
            "n mentions. Lines: Wilson's interval of 95 % for n mentions, which says how much other "
            "mentions would change the share, not other seeds. " + conditions(list(ranks), split)
        ),
        header=(
            *("grouping", "category", "group", "mentions"),
            *("hits@1", "std", "wilson_low", "wilson_high", "seeds"),
        ),
        rows=tuple(
            (
                *(grouping, category, group.name, each.mentions),
                *(each.mean, each.std, each.low, each.high, each.seeds),
            )
            for (grouping, category), found in shares.items()
            for group, each in found.items()
        ),
    )


def _words(category: str, found: Share) -> str:
    return f"{drawable(category)} (n = {found.mentions:,})"


def _bars(
    axes: Axes, shares: dict[tuple[str, str], dict[Named, Share]], *, heads: bool, block: float
) -> None:
    """Inches are the units of the vertical axis, which grows downwards."""
    y, before, ticks = 0.0, "", []
    for (grouping, category), found in shares.items():
        if heads and grouping != before:
            axes.text(
                -0.02, y + 0.13, drawable(grouping), transform=axes.get_yaxis_transform(),
                fontsize=7, fontweight="bold", ha="right", va="center",
            )  # fmt: skip
            y, before = y + 0.2, grouping
        first = next(iter(found.values()))
        ticks.append((y + block / 2, _words(category, first), first.mentions < _FEW))
        for place, (group, each) in enumerate(found.items()):
            if each.mentions:
                _bar(axes, y + _BETWEEN / 2 + _BAR * (place + 0.5), group, each)
        y += block
    axes.set_ylim(y, 0)
    axes.set_xlim(0, 1)
    axes.set_yticks([tick for tick, _, _ in ticks], [words for _, words, _ in ticks])
    for label, (_, _, few) in zip(axes.get_yticklabels(), ticks, strict=True):
        label.set_color("#8b949e" if few else INK)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xticks(np.arange(0, 1.01, 0.2), [f"{20 * tick}" for tick in range(6)])
    only_grid(axes, "x")


def _bar(axes: Axes, y: float, group: Named, each: Share) -> None:
    axes.barh(y, each.mean, height=_BAR * 0.9, **group.filling)
    axes.plot([each.low, each.high], [y, y], color=INK, linewidth=0.7, solid_capstyle="butt")
