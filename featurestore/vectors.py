"""The vectors of a field's rows, and the lengths of a sample of them.

A row of a view holds one vector, or several (one an object); a row of a record one a token or region.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featurestore.catalog import StoredField
from featurestore.errors import StoreError
from featurestore.histogram import Histogram, histogram
from featurestore.table import Table

#: Where every sample of rows starts; a store's sample is the same each time.
SEED = 0

#: Rows whose norms the overview samples (chosen here: a bar of the histogram is right to a few percent).
NORM_ROWS = 1_000

#: Decoded bytes that the overview reads of a field at most (chosen here: milliseconds from memory,
#: and from a cold disk a thousand places of one page).
NORM_BYTES = 8 << 20

#: Bars of the overview's sparklines (chosen here: what fits beside the other columns on 80 characters).
NORM_BINS = 8


@dataclass(frozen=True, slots=True)
class Vectors:
    """``values``: (v, width), padding left out; ``owner``: (v,) the place of the row of each."""

    values: np.ndarray
    owner: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class NormSample:
    """Lengths (L2) of the vectors in a sample of rows.

    ``rows`` of ``of`` were read, those that ``seed`` draws. ``histogram`` is ``None`` where there is no
    finite length.
    """

    rows: int
    of: int
    seed: int
    vectors: int
    zeros: int
    histogram: Histogram | None


def row_bytes(stored: StoredField) -> int:
    """Decoded bytes of one row of a field, padding included."""
    return max(1, int(np.prod(stored.shape[1:], dtype=np.int64)) * stored.dtype.itemsize)


def sample_rows(rows: range, wanted: int, *, seed: int = SEED) -> np.ndarray:
    """(≤ wanted,) int64 distinct rows of a range, ascending: all of it where it is no longer."""
    if len(rows) <= wanted:
        return np.arange(rows.start, rows.stop)
    chosen = np.random.default_rng(seed).choice(len(rows), wanted, replace=False, shuffle=False)
    return rows.start + np.sort(chosen)


def vectors(table: Table, field: str, rows: np.ndarray) -> Vectors:
    """The vectors of rows along a field's last axis, in the stored dtype.

    Raises:
        FieldMissing: the store has no such field.
        StoreError: a damaged record.
    """
    values = table.gather(field, rows)
    width = values.shape[-1] if values.ndim > 1 else 1
    each = int(np.prod(values.shape[1:-1], dtype=np.int64))
    values = values.reshape(len(rows), each, width)
    owner = np.repeat(np.arange(len(rows)), each)
    ragged = table.stored(field).schema.ragged
    if not ragged:
        return Vectors(values.reshape(-1, width), owner)
    real = np.arange(each) < table.gather(ragged, rows)[:, None]
    return Vectors(values[real], owner[real.reshape(-1)])


def lengths(values: np.ndarray) -> np.ndarray:
    """(v,) float32 the L2 norm of each row of a matrix; summed in float64."""
    exact = values.astype(np.float64)
    with np.errstate(over="ignore"):
        return np.sqrt(np.einsum("vw,vw->v", exact, exact)).astype(np.float32)


def norm_sample(table: Table, field: str) -> NormSample | None:
    """Sample the norms of a feature field: a bounded number of rows and bytes, whatever its size.

    Returns:
        ``None`` for a field that holds no features, and where a sampled row is damaged
        (``drin-fs verify`` tells which).
    """
    stored = table.stored(field)
    if stored.schema.layout not in ("record", "view") or stored.dtype.kind != "f":
        return None
    wanted = max(1, min(NORM_ROWS, NORM_BYTES // row_bytes(stored)))
    rows = sample_rows(range(len(table)), wanted)
    try:
        found = np.concatenate(
            [lengths(vectors(table, field, part).values) for part in _parts(rows)]
        )
    except StoreError:
        return None
    return NormSample(
        rows=len(rows),
        of=len(table),
        seed=SEED,
        vectors=len(found),
        zeros=int((found == 0).sum()),
        histogram=histogram(found, NORM_BINS),
    )


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    """A few rows at a time: as float64 they take four times the bytes."""
    return np.array_split(rows, 4)
