"""Intervals and p-values in a table of runs, from the ranks that the runs recorded.

A mention's value is 1 or 0 for hits@k and 1/rank for MRR, by the rank under the run's tie rule, as in
the figures themselves (``linker.ranks``), averaged over the runs of the row.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from featurestore.errors import ConfigError
from featurestore.progress import Progress, Silent
from linker.ranks import Ranks
from linker.recorded import NotRecorded, RecordedRun
from linker.report_rows import Comparison, Row, RunsTable, Tested
from linker.run_folder import RunError
from linker.statistics import (
    RESAMPLES,
    Floats,
    Interval,
    bootstrap_means,
    holm,
    paired_randomisation,
    percentile_interval,
)

#: Share of the resampled figures that an interval holds.
CONFIDENCE = 0.95

#: How far the mean of a run's ranks may lie from its figure. Chosen here: half of the last digit that
#: a table shows, which another processor's rounding of scores does not reach.
_AGREE = 0.0005


@dataclass(frozen=True, slots=True, kw_only=True)
class _Values:
    """Of a row on a split. ``values``: (n, F), of the mentions counted; ``key``: which they are."""

    key: str
    names: tuple[str, ...]
    values: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """The outcome for a figure before p-values are corrected. ``at``: row, split and figure."""

    at: tuple[int, str, str]
    difference: float
    interval: Interval
    p: float
    exact: bool


def with_statistics(
    table: RunsTable,
    *,
    baseline: str | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
) -> RunsTable:
    """The table with an interval for each figure, and with a baseline a comparison of each.

    Rows without recorded ranks, and those scored on other mentions than the baseline, stay without;
    ``tested`` names them. The mean rank has neither: outliers decide it.

    Args:
        baseline: name of a row. None: intervals alone.
        resamples: of the randomisation and of the bootstrap.
        seed: what both draw with.

    Raises:
        ConfigError: there is no row of that name.
        NotRecorded: the baseline has no ranks; says how to get them.
        RunError: the ranks of a run are damaged, or are not those of its figures.
    """
    if baseline is not None:
        _check_baseline(table, baseline)
    intervals: dict[tuple[int, str, str], Interval] = {}
    found: list[_Found] = []
    no_ranks: dict[str, None] = {}
    unpaired: dict[str, None] = {}
    with (progress or Silent()).stage("statistics", len(table.splits), "splits") as stage:
        for split in table.splits:
            values = _read(table, split, needed=baseline, no_ranks=no_ranks)
            for members in _same_mentions(values):
                drawn = _Drawn.of(members, resamples=resamples, seed=seed)
                intervals |= drawn.intervals(split)
                base = [place for place in members if table.rows[place].name == baseline]
                if base:
                    found += drawn.compared(split, base[0], resamples=resamples, seed=seed)
                elif baseline is not None:
                    unpaired |= dict.fromkeys(table.rows[place].name for place in members)
            stage.advance(1)
    tested = Tested(
        baseline=baseline,
        resamples=resamples,
        seed=seed,
        confidence=CONFIDENCE,
        comparisons=len(found),
        exact=sum(each.exact for each in found),
        no_ranks=tuple(no_ranks),
        unpaired=tuple(unpaired),
    )
    return replace(table, rows=_filled(table, intervals, found), tested=tested)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    """Rows that were scored on the same mentions, and their figures over resampled mentions."""

    members: Mapping[int, _Values]
    columns: tuple[tuple[int, str], ...]  # row and figure
    values: Floats  # (n, C)
    means: Floats  # (resamples, C)

    @classmethod
    def of(cls, members: Mapping[int, _Values], *, resamples: int, seed: int) -> _Drawn:
        values = np.concatenate([each.values for each in members.values()], axis=1)
        return cls(
            members=members,
            columns=tuple((row, name) for row, each in members.items() for name in each.names),
            values=values,
            means=bootstrap_means(values, resamples=resamples, seed=seed),
        )

    def intervals(self, split: str) -> dict[tuple[int, str, str], Interval]:
        found = percentile_interval(self.means, confidence=CONFIDENCE)
        return {
            (row, split, name): interval
            for (row, name), interval in zip(self.columns, found, strict=True)
        }

    def compared(self, split: str, base: int, *, resamples: int, seed: int) -> list[_Found]:
        """Every other row's figures beside those of the row ``base``."""
        place = {column: at for at, column in enumerate(self.columns)}
        pairs = [
            (at, place[base, name])
            for (row, name), at in place.items()
            if row != base and (base, name) in place
        ]
        if not pairs:
            return []
        ours, theirs = map(list, zip(*pairs, strict=True))
        differences = self.values[:, ours] - self.values[:, theirs]
        test = paired_randomisation(differences, resamples=resamples, seed=seed)
        intervals = percentile_interval(
            self.means[:, ours] - self.means[:, theirs], confidence=CONFIDENCE
        )
        return [
            _Found(
                at=(self.columns[column][0], split, self.columns[column][1]),
                difference=float(np.mean(differences[:, at])),
                interval=intervals[at],
                p=float(test.p[at]),
                exact=bool(test.exact[at]),
            )
            for at, column in enumerate(ours)
        ]


def _check_baseline(table: RunsTable, baseline: str) -> None:
    names = [row.name for row in table.rows]
    if baseline not in names:
        near = difflib.get_close_matches(baseline, names, n=1, cutoff=0.5)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(
            f"no row of the table is called {baseline!r}",
            where="--baseline",
            hint=f"{meant}rows: {', '.join(names)}",
        )


def _read(
    table: RunsTable, split: str, *, needed: str | None, no_ranks: dict[str, None]
) -> dict[int, _Values]:
    """The values of each row that recorded ranks; the names of the others go into ``no_ranks``."""
    stores = {row.conditions.fingerprint for row in table.rows}
    values = {}
    for place, row in enumerate(table.rows):
        if not row.cells.get(split, {}).keys() - {"mean_rank"}:
            continue
        try:
            values[place] = _row_values(row, split, with_ids=len(stores) > 1)
        except NotRecorded:
            if row.name == needed:
                raise
            no_ranks[row.name] = None
    return values


def _row_values(row: Row, split: str, *, with_ids: bool) -> _Values:
    """A row's values, averaged over its runs; one run is in memory at a time."""
    names = tuple(name for name in row.cells[split] if name != "mean_rank")
    total: Floats | None = None
    key, scored = "", 0
    for run in map(RecordedRun, row.runs):
        if split not in run.summary:
            continue
        ranks = run.ranks(split)
        counted = _counted(ranks, run)
        values = _values(ranks.under(run.tie_rule)[counted], names)
        _check_agree(run, split, names, values)
        mine = _key(counted, _asked(run, split) if with_ids else ())
        if total is not None and mine != key:
            raise RunError(
                f"ranks/{split}.csv counts other mentions than another run of the row",
                where=str(run.path),
                hint=f"make it again: drin-fs evaluate {run.path} --split {split} --record",
            )
        key, scored = mine, scored + 1
        total = values if total is None else total + values
    assert total is not None, "a row has cells of splits that a run of it was scored on"
    return _Values(key=key, names=names, values=total / scored)


def _counted(ranks: Ranks, run: RecordedRun) -> NDArray[np.bool_]:
    """(n,) whether a mention is one that the figures are means over."""
    everything = run.summary["denominator"] == "all"
    return np.ones(len(ranks), bool) if everything else ranks.retrieved


def _values(ranks: Floats, names: Sequence[str]) -> Floats:
    """(n, F): what each figure is the mean of."""
    columns = [
        1 / ranks if name == "mrr" else (ranks <= int(name.removeprefix("hits@"))).astype(float)
        for name in names
    ]
    return np.stack(columns, axis=1)


def _check_agree(run: RecordedRun, split: str, names: Sequence[str], values: Floats) -> None:
    """Refuse ranks that are not those of the figures beside which their intervals would stand."""
    means = values.sum(axis=0) / max(1, len(values))
    for name, mean in zip(names, means.tolist(), strict=True):
        figure = run.summary[split][name]
        if abs(mean - figure) > _AGREE:
            raise RunError(
                f"ranks/{split}.csv of the run has {name} {100 * mean:.2f} %, its summary "
                f"{100 * figure:.2f} %: they are not of one evaluation",
                where=str(run.path),
                hint=f"make the ranks again: drin-fs evaluate {run.path} --split {split} --record",
            )


def _asked(run: RecordedRun, split: str) -> list[str]:
    """Which mentions these are, whatever the store: their ids, and a digest of their sentences."""
    sentences = run.environment["store"].get("sentences", {}).get(split, "")
    return [sentences, *run.mention_ids(split)]


def _key(counted: NDArray[np.bool_], ids: Sequence[str]) -> str:
    """Equal for the same mentions in the same order."""
    digest = blake2b(np.packbits(counted).tobytes(), digest_size=16)
    digest.update(repr((len(counted), *ids)).encode())
    return digest.hexdigest()


def _same_mentions(values: Mapping[int, _Values]) -> list[dict[int, _Values]]:
    """Rows by the mentions that they were scored on."""
    found: dict[str, dict[int, _Values]] = {}
    for row, each in values.items():
        found.setdefault(each.key, {})[row] = each
    return list(found.values())


def _filled(
    table: RunsTable,
    intervals: Mapping[tuple[int, str, str], Interval],
    found: Sequence[_Found],
) -> tuple[Row, ...]:
    """The rows with what was found in their cells."""
    corrected = holm([each.p for each in found]).tolist()
    comparisons = {
        each.at: Comparison(
            difference=each.difference,
            interval=each.interval,
            p=each.p,
            corrected=p,
            exact=each.exact,
        )
        for each, p in zip(found, corrected, strict=True)
    }
    return tuple(
        replace(
            row,
            cells={
                split: {
                    name: replace(
                        cell,
                        interval=intervals.get((place, split, name)),
                        comparison=comparisons.get((place, split, name)),
                    )
                    for name, cell in cells.items()
                }
                for split, cells in row.cells.items()
            },
        )
        for place, row in enumerate(table.rows)
    )
