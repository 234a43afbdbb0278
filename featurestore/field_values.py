"""What a column of integers holds: how often each value occurs. Exact, read once in blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featurestore.histogram import QUANTILES, Histogram, whole_histogram
from featurestore.progress import Progress
from featurestore.schema import NO_ROW
from featurestore.store import Store
from featurestore.summary import blocks, status_word

#: Values that are listed, the most frequent first (chosen here: every enum of the format fits).
LISTED = 20

#: Bars of the histogram.
_BINS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueCount:
    """A value, what it stands for (id of an entity row, image status, else ``""``), and how often."""

    value: int
    meaning: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ValuePart:
    """The values in the rows of one split, or of all (``name`` is then ``all``).

    ``common``: the most frequent ones, at most :data:`LISTED`; equally frequent ones by value.
    """

    name: str
    rows: int
    values: int
    distinct: int
    mean: float | None
    std: float | None
    minimum: int | None
    maximum: int | None
    quantiles: dict[str, float]
    histogram: Histogram | None
    common: tuple[ValueCount, ...]


def value_parts(
    store: Store, table: str, field: str, bounds: dict[str, range], progress: Progress
) -> tuple[ValuePart, ...]:
    """Count the values of each of these ranges of rows. Memory: 16 bytes a distinct value."""
    parts = []
    total = sum(map(len, bounds.values()))
    with progress.stage(f"{table}/{field}", total, "rows") as stage:
        for name, rows in bounds.items():
            values, counts = _counted(store, table, field, rows)
            parts.append(_part(store, f"{table}/{field}", name, len(rows), values, counts))
            stage.advance(len(rows))
    return tuple(parts)


def _counted(store: Store, table: str, field: str, rows: range) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values of some rows, ascending, and how often each occurs."""
    values, counts = np.empty(0, np.int64), np.empty(0, np.int64)
    for block in blocks(store.table(table), field, rows):
        new, often = np.unique(block, return_counts=True)
        values, of = np.unique(np.concatenate([values, new]), return_inverse=True)
        summed = np.bincount(of, np.concatenate([counts, often]), len(values))
        counts = summed.astype(np.int64)
    return values, counts


def _part(
    store: Store, path: str, name: str, rows: int, values: np.ndarray, counts: np.ndarray
) -> ValuePart:
    total = int(counts.sum())
    exact = values.astype(np.float64)
    mean = float((exact * counts).sum() / total) if total else None
    std = None if mean is None else float(np.sqrt((counts * (exact - mean) ** 2).sum() / total))
    common = np.argsort(-counts, kind="stable")[:LISTED]
    return ValuePart(
        name=name,
        rows=rows,
        values=total,
        distinct=len(values),
        mean=mean,
        std=std,
        minimum=int(values[0]) if total else None,
        maximum=int(values[-1]) if total else None,
        quantiles=_quantiles(values, counts),
        histogram=whole_histogram(values, _BINS, counts),
        common=tuple(
            ValueCount(value=value, meaning=_meaning(store, path, value), count=count)
            for value, count in zip(values[common].tolist(), counts[common].tolist(), strict=True)
        ),
    )


def _quantiles(values: np.ndarray, counts: np.ndarray) -> dict[str, float]:
    """The least value that at least this share of all do not exceed."""
    if not len(values):
        return {}
    reached = np.cumsum(counts)
    wanted = np.ceil(np.array(QUANTILES) * reached[-1])
    found = values[np.searchsorted(reached, wanted)].tolist()
    return {f"{share:.0%}": float(value) for share, value in zip(QUANTILES, found, strict=True)}


def _meaning(store: Store, path: str, value: int) -> str:
    if path.endswith("/image_status"):
        return status_word(value)
    if path not in ("mentions/gold", "mentions/candidates"):
        return ""
    if value == NO_ROW:
        return "no entity row"
    return (
        store.entities.ids([value])[0] if 0 <= value < len(store.entities) else "outside the table"
    )
