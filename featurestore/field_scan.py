"""One pass over the rows of a feature field: figures of each row, from which those of any range follow.

Memory: about 50 bytes a row that is read, and 4 a vector.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xxhash

from featurestore.halves import widened
from featurestore.progress import Stage
from featurestore.store import Store
from featurestore.vectors import Vectors, row_bytes, sample_rows, vectors

#: Decoded bytes up to which a view is read whole (chosen here: 1,000,000 vectors of 1,024 float16
#: numbers, which take some seconds); of a larger one a sample of so many bytes.
VIEW_BYTES = 2 << 30

#: The same of records, which must be decoded, and hold a hundred vectors a row.
RECORD_BYTES = 128 << 20

#: Decoded bytes that are worked on at a time (chosen here: with its float32 and float64 copies, tens
#: of megabytes).
_BLOCK = 2 << 20

#: Bytes after which the pages read so far are given back.
_RELEASE = 64 << 20


@dataclass(frozen=True, slots=True)
class RowFigures:
    """What was found in each row that was read; (r,) arrays unless said otherwise.

    ``rows``: which rows, ascending. ``values``: finite numbers of the row; ``mean`` and ``spread`` (sum
    of squared differences from the mean), ``least``, ``greatest``: of these. ``digest``: equal for rows
    equal byte for byte. ``norms``: (v,) length of each vector; ``owner``: (v,) place of its row.
    """

    rows: np.ndarray
    values: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    least: np.ndarray
    greatest: np.ndarray
    zero: np.ndarray
    nan: np.ndarray
    infinite: np.ndarray
    digest: np.ndarray
    norms: np.ndarray
    owner: np.ndarray


def rows_to_read(store: Store, table: str, field: str) -> np.ndarray:
    """The rows that a pass reads: all, or a seeded sample of a field that is larger than the bounds."""
    owner = store.table(table)
    stored = owner.stored(field)
    most = RECORD_BYTES if stored.schema.layout == "record" else VIEW_BYTES
    return sample_rows(range(len(owner)), max(1, most // row_bytes(stored)))


def scan(store: Store, table: str, field: str, rows: np.ndarray, stage: Stage) -> RowFigures:
    """Read these rows, a few megabytes at a time.

    Raises:
        FieldMissing: the store has no such field.
        StoreError: a damaged record.
    """
    owner = store.table(table)
    size = row_bytes(owner.stored(field))
    step = max(1, _BLOCK // size)
    parts: list[RowFigures] = []
    unreleased = 0
    for first in range(0, len(rows), step):
        some = rows[first : first + step]
        parts.append(_figures(some, first, vectors(owner, field, some)))
        stage.advance(len(some))
        unreleased += len(some) * size
        if unreleased >= _RELEASE:
            store.release_pages()
            unreleased = 0
    if not parts:
        width = owner.stored(field).shape[-1]
        none = Vectors(np.empty((0, width), owner.stored(field).dtype), np.empty(0, np.int64))
        parts.append(_figures(rows, 0, none))
    return RowFigures(*(np.concatenate([getattr(p, n) for p in parts]) for n in _NAMES))


_NAMES = tuple(RowFigures.__dataclass_fields__)


def _figures(rows: np.ndarray, first: int, found: Vectors) -> RowFigures:
    """Figures of the rows of one block, the first of which is the ``first``-th that is read."""
    count, owner = len(rows), found.owner
    values = widened(found.values)
    with np.errstate(invalid="ignore", over="ignore"):
        # a sum in float64 of float16 or float32 numbers is finite just where all of them are
        sums = values.sum(axis=1, dtype=np.float64)
        squares = np.einsum("vw,vw->v", values, values, dtype=np.float64)
        least, greatest = values.min(axis=1), values.max(axis=1)
        norms = np.sqrt(squares).astype(np.float32)
    numbers = np.full(len(values), values.shape[1])
    odd = np.flatnonzero(~np.isfinite(sums))
    nan, infinite = np.zeros(count, bool), np.zeros(count, bool)
    if len(odd):
        some = values[odd]
        nan[owner[odd][np.isnan(some).any(axis=1)]] = True
        infinite[owner[odd][np.isinf(some).any(axis=1)]] = True
        finite = np.isfinite(some)
        exact = np.where(finite, some, 0).astype(np.float64)
        numbers[odd], sums[odd] = finite.sum(axis=1), exact.sum(axis=1)
        squares[odd] = (exact**2).sum(axis=1)
        least[odd] = np.where(finite, some, np.inf).min(axis=1)
        greatest[odd] = np.where(finite, some, -np.inf).max(axis=1)
    total = np.bincount(owner, numbers, count)
    mean = np.bincount(owner, sums, count) / np.maximum(total, 1)
    of_rows = np.full(count, np.inf, np.float32), np.full(count, -np.inf, np.float32)
    np.minimum.at(of_rows[0], owner, least)
    np.maximum.at(of_rows[1], owner, greatest)
    return RowFigures(
        rows=rows,
        values=total.astype(np.int64),
        mean=mean,
        spread=np.maximum(np.bincount(owner, squares, count) - total * mean**2, 0.0),
        least=of_rows[0],
        greatest=of_rows[1],
        zero=(of_rows[0] == 0) & (of_rows[1] == 0) & ~nan & ~infinite,
        nan=nan,
        infinite=infinite,
        digest=_digests(found, count),
        norms=norms,
        owner=first + owner,
    )


def _digests(found: Vectors, count: int) -> np.ndarray:
    """(count,) uint64 xxh3 of each row's bytes."""
    held = np.bincount(found.owner, minlength=count)
    size = found.values.shape[1] * found.values.dtype.itemsize
    ends = (np.cumsum(held) * size).tolist()
    data = np.ascontiguousarray(found.values).reshape(-1).view(np.uint8).data
    digest, start, each = xxhash.xxh3_64_intdigest, 0, []
    for end in ends:
        each.append(digest(data[start:end]))
        start = end
    return np.array(each, np.uint64)
