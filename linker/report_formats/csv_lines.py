"""A table of runs for programs: a line a row, split and figure, in full precision (RFC 4180)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from featurestore.visible import clean
from linker.report_rows import Cell, Row, RunsTable

#: Columns. Figures are 0 … 1, the mean rank is itself; empty = there is none.
COLUMNS = (
    *("run", "model", "protocol", "tie_rule", "denominator", "dataset", "store", "candidates"),
    *("seeds", "split", "mentions", "figure", "mean", "std", "n", "ci_low", "ci_high"),
    *("baseline", "difference", "difference_low", "difference_high", "p_uncorrected", "p"),
)


def csv_lines(table: RunsTable) -> str:
    """Lines end in CR LF; ``store`` is the fingerprint, ``p`` corrected for all of the table."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    baseline = table.tested.baseline if table.tested else None
    for split in table.splits:
        for row in table.on(split):
            for figure, cell in row.cells[split].items():
                values = (*_about(row), split, row.mentions[split], figure, *_values(cell))
                writer.writerow([*map(_plain, values), *_compared(cell, baseline or "")])
    return text.getvalue()


def _about(row: Row) -> Iterator[object]:
    of = row.conditions
    yield from (row.name, row.model, of.protocol, of.tie_rule, of.denominator)
    yield from (of.dataset, of.fingerprint, of.candidates)
    yield " ".join(str(seed) for seed in row.seeds if seed is not None)


def _values(cell: Cell) -> Iterator[object]:
    ends = (cell.interval.low, cell.interval.high) if cell.interval else (None, None)
    yield from (cell.mean, cell.std, cell.n, *ends)


def _compared(cell: Cell, baseline: str) -> list[object]:
    found = cell.comparison
    if found is None:
        return [""] * 6
    ends = (found.interval.low, found.interval.high)
    return [clean(baseline), found.difference, *ends, found.p, found.corrected]


def _plain(value: object) -> object:
    return clean(value) if isinstance(value, str) else value
