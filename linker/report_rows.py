"""A table of runs as data: rows, figures over seeds, and what they stand under. Imports no torch.

runs = [RecordedRun(path) for path in runs_below(["runs/wikimel"])]
table = read_table(runs)
table.rows[0].cells["test"]["hits@1"].mean
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from linker.recorded import RecordedRun
from linker.report_conditions import Conditions, check_comparable, conditions_of, differing
from linker.report_names import By, unique_names
from linker.report_words import SPLITS, figure_names, figure_text, model_label
from linker.run_groups import Group, group_runs
from linker.statistics import Interval

Place: TypeAlias = Literal["best", "second"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A figure beside the baseline's: how far it lies above, and whether that can be chance.

    difference, interval: as the figure, 0 … 1. p: two-sided; corrected: by Holm over the table.
    exact: all sign changes were counted.
    """

    difference: float
    interval: Interval
    p: float
    corrected: float
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One figure of a row on a split, over its runs: hits and MRR 0 … 1, the mean rank as it is.

    std: sample standard deviation over the runs, None of one. n: runs. place: among the rows under
    the same conditions. interval: over mentions.
    """

    mean: float
    std: float | None
    n: int
    values: tuple[float, ...]
    place: Place | None = None
    interval: Interval | None = None
    comparison: Comparison | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Runs that are one row. ``cells``: split → figure → its cell; absent where a run has none.

    runs: their folders. seeds: of each run, None of what learns nothing. configurations: how many
    kinds of runs these are, leaving their seeds out.
    """

    name: str
    model: str
    conditions: Conditions
    runs: tuple[str, ...]
    seeds: tuple[int | None, ...]
    configurations: int
    mentions: Mapping[str, int]
    retrieved: Mapping[str, int]
    cells: Mapping[str, Mapping[str, Cell]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """What intervals and p-values were made with.

    comparisons: those that p is corrected for. no_ranks: rows without recorded ranks. unpaired: rows
    that were scored on other mentions than the baseline.
    """

    baseline: str | None
    resamples: int
    seed: int
    confidence: float
    comparisons: int
    exact: int
    no_ranks: tuple[str, ...]
    unpaired: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsTable:
    """Rows and columns. ``differing``: the conditions that are not the same in all rows."""

    by: By
    splits: tuple[str, ...]
    figures: tuple[str, ...]
    differing: tuple[str, ...]
    rows: tuple[Row, ...]
    tested: Tested | None = None

    def on(self, split: str) -> tuple[Row, ...]:
        """The rows that have figures on a split."""
        return tuple(row for row in self.rows if row.cells.get(split))


def read_table(
    runs: Sequence[RecordedRun],
    *,
    by: By = "cell",
    splits: Sequence[str] = SPLITS,
    mixed: bool = False,
) -> RunsTable:
    """Put runs side by side.

    Args:
        runs: at least one.
        by: what is one row: ``cell`` = runs that differ in their seed alone; ``model`` = runs of one
            model with the same options of its own, whatever else was configured; ``run`` = one run.
        splits: those to show.
        mixed: allow figures under different conditions.

    Raises:
        ConfigError: the runs differ in protocol, tie rule, denominator, store or in the sentences of
            a split, and ``mixed`` is false.
        RunError: a run is damaged.
    """
    if not mixed:
        check_comparable(runs)
    groups = _groups(runs, by)
    names = unique_names(groups, by)
    present = tuple(s for s in splits if any(s in run.summary for run in runs))
    figures = tuple(figure_names([r.summary[s] for r in runs for s in present if s in r.summary]))
    rows = [_row(group, name, present) for group, name in zip(groups, names, strict=True)]
    return RunsTable(
        by=by,
        splits=present,
        figures=figures,
        differing=differing([row.conditions for row in rows]),
        rows=_placed(rows, present, figures),
    )


def _groups(runs: Sequence[RecordedRun], by: By) -> Sequence[Group]:
    if by == "run":
        return [Group(name=run.name, runs=(run,)) for run in runs]
    cells = group_runs(runs)
    if by == "cell":
        return cells
    models: dict[tuple[str, Conditions], list[RecordedRun]] = {}
    for cell in cells:
        first = cell.runs[0]
        models.setdefault((model_label(first.summary), conditions_of(first)), []).extend(cell.runs)
    return [Group(name=label, runs=tuple(found)) for (label, _), found in models.items()]


def _row(group: Group, name: str, splits: Sequence[str]) -> Row:
    first = group.runs[0]
    scored = {s: [run.summary[s] for run in group.runs if s in run.summary] for s in splits}
    return Row(
        name=name,
        model=model_label(first.summary),
        conditions=conditions_of(first),
        runs=tuple(str(run.path) for run in group.runs),
        seeds=tuple(run.summary["seed"] for run in group.runs),
        configurations=len(group_runs(group.runs)),
        mentions={s: int(found[0]["mentions"]) for s, found in scored.items() if found},
        retrieved={s: int(found[0]["retrieved"]) for s, found in scored.items() if found},
        cells={s: dict(_cells(found)) for s, found in scored.items() if found},
    )


def _cells(scored: Sequence[Mapping[str, float | None]]) -> Iterator[tuple[str, Cell]]:
    """The figures that every run of a row has."""
    for name in figure_names(scored):
        values = tuple(v for each in scored if (v := each.get(name)) is not None)
        if len(values) == len(scored):
            std = statistics.stdev(values) if len(values) > 1 else None
            yield name, Cell(mean=statistics.fmean(values), std=std, n=len(values), values=values)


def _placed(rows: Sequence[Row], splits: Sequence[str], figures: Sequence[str]) -> tuple[Row, ...]:
    """The rows with the best and the second of each column, as they read: equal figures share."""
    conditions = [row.conditions for row in rows]
    alone = {each for each in conditions if conditions.count(each) == 1}
    placed = []
    for row in rows:
        rivals = [other for other in rows if other.conditions == row.conditions]
        cells = {
            split: {
                name: replace(cell, place=_place(cell, name, _column(rivals, split, name)))
                for name, cell in row.cells[split].items()
            }
            for split in splits
            if split in row.cells
        }
        placed.append(row if row.conditions in alone else replace(row, cells=cells))
    return tuple(placed)


def _column(rows: Sequence[Row], split: str, name: str) -> list[float]:
    """The different figures of a column as they read, the best first."""
    found = {
        float(figure_text(name, cell.mean))
        for row in rows
        if (cell := row.cells.get(split, {}).get(name))
    }
    return sorted(found, reverse=name != "mean_rank")


def _place(cell: Cell, name: str, column: Sequence[float]) -> Place | None:
    place = column.index(float(figure_text(name, cell.mean)))
    return "best" if place == 0 else "second" if place == 1 else None
