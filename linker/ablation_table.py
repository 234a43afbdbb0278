"""The figures of an ablation grid beside those of the whole model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from linker.ablation_grid import WHOLE, Ablation
from linker.run_folder import RunFolder
from linker.run_groups import runs_below

#: Figures of one split of one run.
_Figures = Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One figure of one row, 0 … 1.

    ``deviation``: the sample standard deviation over the seeds; None of one. ``difference``: to the
    whole model, the mean over the seeds that both have; None of the whole model, or where there are
    no such seeds.
    """

    mean: float
    deviation: float | None
    difference: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row: what was taken away, under how many seeds, and figure → its column."""

    name: str
    what: str
    seeds: tuple[int, ...]
    figures: Mapping[str, Column]


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationTable:
    """``conditions``: protocol, tie rule and so on, of all rows."""

    split: str
    select: str
    conditions: Mapping[str, Any]
    lines: tuple[Line, ...]


def ablation_table(
    rows: Sequence[Ablation], folder: Path, *, select: str = "hits@1", split: str = "test"
) -> AblationTable | None:
    """The figures of the rows that have finished runs; None where no row has.

    Args:
        folder: of the grid.
        select: the figure shown beside MRR.
        split: of the figures.

    Raises:
        RunError: a run is damaged.
    """
    summaries = {row.name: _by_seed(folder / row.name) for row in rows}
    lines: list[Line] = []
    conditions: dict[str, Any] = {}
    for row in rows:
        own = {seed: s[split] for seed, s in summaries[row.name].items() if split in s}
        if not own:
            continue
        whole = {s: v[split] for s, v in summaries.get(WHOLE, {}).items() if split in v}
        first = next(iter(summaries[row.name].values()))
        conditions = conditions or {
            key: first[key] for key in ("protocol", "tie_rule", "denominator")
        }
        names = dict.fromkeys((select, "mrr"))
        lines.append(
            Line(
                name=row.name,
                what=row.what,
                seeds=tuple(own),
                figures={
                    name: _column(name, own, {} if row.name == WHOLE else whole) for name in names
                },
            )
        )
    if not lines:
        return None
    return AblationTable(split=split, select=select, conditions=conditions, lines=tuple(lines))


def _by_seed(folder: Path) -> dict[int, dict[str, Any]]:
    """Seed → summary, of the finished runs of a cell."""
    if not any(folder.glob("seed-*/summary.json")):
        return {}
    summaries = [RunFolder(path).read_summary() for path in runs_below([folder])]
    return {summary["seed"]: summary for summary in summaries}


def _column(name: str, own: Mapping[int, _Figures], whole: Mapping[int, _Figures]) -> Column:
    values = {seed: float(figures.get(name) or 0.0) for seed, figures in own.items()}
    both = [values[s] - float(whole[s].get(name) or 0.0) for s in values if s in whole]
    return Column(
        mean=mean(values.values()),
        deviation=stdev(values.values()) if len(values) > 1 else None,
        difference=mean(both) if both else None,
    )
