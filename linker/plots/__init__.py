"""Plots of runs as PNG and SVG, each with its numbers as CSV and a caption. Needs matplotlib.

groups = group_runs(map(RecordedRun, runs_below(["runs"])))
write_plots(groups, "plots")        # learning.png, hits.svg, coverage.csv, …

Reads what the runs recorded; topics and pictures are looked up in the store that they were made from.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from featurestore.errors import DrinFsError
from featurestore.progress import Progress, Silent
from linker.mention_groups import GOLD_PICTURE, MENTION_PICTURE, TOPIC, mention_groupings
from linker.plots.breakdown import breakdown_plot
from linker.plots.cost import cost_plot
from linker.plots.hits import hits_plot
from linker.plots.learning import learning_plot
from linker.plots.naming import Named, named
from linker.plots.plot import Plot
from linker.plots.style import drawable, styled
from linker.ranks import Ranks
from linker.recorded import NotRecorded, RecordedRun
from linker.report_conditions import check_comparable
from linker.run_groups import Group
from linker.store_identity import open_recorded_store

if TYPE_CHECKING:
    from featurestore import Store

#: Plot → its title, and the groupings that it shows.
_BREAKDOWNS = {
    "topics": ("hits@1 by topic", (TOPIC,)),
    "coverage": ("hits@1 by pictures", (MENTION_PICTURE, GOLD_PICTURE)),
}

_Ranks = dict[Named, list[tuple[RecordedRun, Ranks]]]


def write_plots(
    groups: Sequence[Group],
    folder: str | os.PathLike[str],
    *,
    store: str | os.PathLike[str] | None = None,
    split: str = "test",
    edges: bool = False,
    mixed: bool = False,
    progress: Progress | None = None,
) -> tuple[Path, ...]:
    """Write each plot that the runs have numbers for, and say which are left out and why.

    Files of the same names are replaced.

    Args:
        store: where the store of the runs is now; by default where it was.
        split: whose ranks and figures are drawn; learning curves are of ``valid``.
        edges: also what the edges of each DRIN run are, which takes a pass of its network over the
            split, and torch.
        mixed: allow runs under different conditions in one plot.

    Returns:
        The files: of each plot ``.png``, ``.svg``, ``.csv`` and ``.txt``.

    Raises:
        ConfigError: the runs are not comparable, and ``mixed`` is false.
        RunError: a record of a run is damaged, or ``store`` is not the one of the runs.
        StoreError: ``store`` cannot be read.
        WriteError: the folder cannot be written.
    """
    progress = progress or Silent()
    _refuse_mixtures(groups, mixed=mixed)
    parts = named(groups)
    written: list[Path] = []
    with styled():
        ranks = _ranks(parts, split, progress)
        for plot in _plots(parts, ranks, store=store, split=split, progress=progress):
            written += plot.write(Path(folder))
        for plot in _edge_plots(parts, store, split, progress) if edges else ():
            written += plot.write(Path(folder))
    return tuple(written)


def _refuse_mixtures(groups: Sequence[Group], *, mixed: bool) -> None:
    """What the table refuses is refused here."""
    if not mixed:
        check_comparable([run for group in groups for run in group.runs])


def _plots(
    groups: Sequence[Named],
    ranks: _Ranks,
    *,
    store: str | os.PathLike[str] | None,
    split: str,
    progress: Progress,
) -> Iterator[Plot]:
    for name, why, plot in (
        ("learning", "no run recorded epochs", learning_plot(groups)),
        ("hits", f"no run recorded ranks of split {split!r}", hits_plot(ranks, split)),
        ("cost", f"no trained run has figures of split {split!r}", cost_plot(groups, split)),
    ):
        if plot is None:
            progress.note(f"no plot {name}: {why}")
        else:
            yield plot
    if ranks:
        yield from _breakdowns(ranks, store, split, progress)
    else:
        progress.note(f"no plots {' and '.join(_BREAKDOWNS)}: no run recorded ranks")


def _ranks(groups: Sequence[Named], split: str, progress: Progress) -> _Ranks:
    """The ranks of the runs that recorded them."""
    found: _Ranks = {}
    for group in groups:
        for run in group.runs:
            try:
                found.setdefault(group, []).append((run, run.ranks(split)))
            except NotRecorded as error:
                progress.note(f"left out of plots of ranks: {run.path}: {error.what}")
    return {group: runs for group, runs in found.items() if runs}


def _breakdowns(
    ranks: _Ranks, given: str | os.PathLike[str] | None, split: str, progress: Progress
) -> Iterator[Plot]:
    """By topic and pictures, of the runs of one store: that of the first."""
    runs = [run for members in ranks.values() for run, _ in members]
    prints = [run.environment["store"]["fingerprint"] for run in runs]
    same: _Ranks = {
        group: members
        for group, pairs in ranks.items()
        if (members := [p for p in pairs if p[0].environment["store"]["fingerprint"] == prints[0]])
    }
    if len(set(prints)) > 1:
        progress.note(
            f"plots by topic and pictures are of the runs of {runs[0].path}'s store alone"
        )
    with _store_of(runs[0], given, progress, plots=" and ".join(_BREAKDOWNS)) as store:
        if store is None:
            return
        known = mention_groupings(store, split)
        for name, (title, keys) in _BREAKDOWNS.items():
            groupings = [each for each in known.groupings if each.key in keys]
            for key in keys:
                if key in known.not_known:
                    progress.note(f"no plot {name} by {key}: {known.not_known[key]}")
            if groupings:
                yield breakdown_plot(name, title, groupings, same, split)


@contextmanager
def _store_of(
    run: RecordedRun,
    given: str | os.PathLike[str] | None,
    progress: Progress,
    *,
    plots: str,
) -> Iterator[Store | None]:
    """The store of a run; None, and why, where it is not where it was. A given one must be right."""
    try:
        store = open_recorded_store(run.environment["store"], given=given, other_store=False)
    except DrinFsError as error:
        if given is not None:
            raise
        progress.note(f"no plots {plots}: {error.what}; say where the store is: --store PATH")
        yield None
        return
    with store:
        yield store


def _edge_plots(
    groups: Sequence[Named],
    given: str | os.PathLike[str] | None,
    split: str,
    progress: Progress,
) -> Iterator[Plot]:
    """A plot of edges for the first seed of each group whose model has them."""
    from linker.explain import has_edges, summarise_edges  # imports torch
    from linker.plots.edges import summary_plot

    some = [group for group in groups if has_edges(group.runs[0])]
    if not some:
        progress.note("no plots of edges: edges are those of runs of drin")
    for group in some:
        with _store_of(group.runs[0], given, progress, plots=f"of edges of {group.name}") as store:
            if store is not None:
                found = summarise_edges(group.runs[0], store, split=split, progress=progress)
                name = "edges" if len(some) == 1 else f"edges-{_file_name(group.name)}"
                yield summary_plot(found, name=name)


def _file_name(name: str) -> str:
    """A name of a group as part of a file's: what means something to a file system is a dash."""
    safe = "".join(c if c.isalnum() or c in "._-" else "-" for c in drawable(name, most=60))
    return safe.strip(".") or "group"
