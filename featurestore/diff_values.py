"""The values of one field in two stores, row by row of equal id."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featurestore.catalog import StoredField
from featurestore.diff_rows import EXAMPLES, Matched
from featurestore.errors import StoreError
from featurestore.header import read_header
from featurestore.schema import NO_ROW
from featurestore.store import Store
from featurestore.table import Table
from featurestore.verify import pieces_of

#: Bytes that are compared at a time, and texts (chosen here: a few megabytes).
_BYTES, _TEXTS = 4 << 20, 1 << 14

#: Columns that hold entity rows: compared by the ids they stand for.
_ENTITY_ROWS = ("mentions/candidates", "mentions/gold")

#: An entity of B that A does not have; no row of A, and not :data:`NO_ROW`.
_NOT_IN_A = -2


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueExample:
    """One row whose values differ; ``a`` and ``b`` are texts or single numbers, else ``None``."""

    id: str
    a: Any
    b: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueDifference:
    """A field of which ``differ`` of ``compared`` rows differ.

    ``maximum``, ``mean``: absolute difference, over all values of the rows compared, padding left out;
    to or from NaN and infinity it counts as 0. ``None`` of texts and of entities, which have none.
    """

    path: str
    layout: str
    compared: int
    differ: int
    maximum: float | None
    mean: float | None
    examples: tuple[ValueExample, ...]


@dataclass(slots=True)
class _Sum:
    """What blocks add up to."""

    rows: list[np.ndarray]  # places among the matched rows that differ
    maximum: float = 0.0
    total: float = 0.0


class Comparison:
    """Compares fields of two stores, and counts those that equal checksums told."""

    def __init__(self, a: Store, b: Store, matched: Mapping[str, Matched]) -> None:
        self._a, self._b = a, b
        self._matched = matched
        self._has_sums = all(map(_is_ours, (a, b)))
        self.by_checksum = 0

    def of(self, path: str, advance: Callable[[int], None]) -> ValueDifference | None:
        """What differs in a field that both have, with rows of the same shape; ``None``: nothing."""
        name, _, field = path.partition("/")
        a, b, matched = self._a.table(name), self._b.table(name), self._matched[name]
        if path in _ENTITY_ROWS and not self._in_place("entities"):
            unequal = None
        else:
            unequal = self._unequal_by_sums(a.stored(field), b.stored(field), matched)
        if unequal is None:
            unequal = np.arange(len(matched))
        elif not len(unequal):
            self.by_checksum += 1
        advance(len(matched) - len(unequal))
        found = self._compare(a, b, field, unequal, advance)
        rows = np.concatenate([np.zeros(0, np.int64), *found.rows])
        if not len(rows):
            return None
        plain = a.stored(field).schema.layout == "text" or path in _ENTITY_ROWS
        return ValueDifference(
            path=path,
            layout=a.stored(field).schema.layout,
            compared=len(matched),
            differ=len(rows),
            maximum=None if plain else found.maximum,
            mean=None if plain else found.total / max(_values(a, b, field, matched), 1),
            examples=self._examples(field, a, b, rows[:EXAMPLES]),
        )

    # checksums ----------------------------------------------------------------------------------

    def _in_place(self, table: str) -> bool:
        return self._matched[table].in_place(self._a.table(table), self._b.table(table))

    def _unequal_by_sums(
        self, a: StoredField, b: StoredField, matched: Matched
    ) -> np.ndarray | None:
        """(n,) places of the matched rows that checksums do not tell equal; ``None``: cannot tell."""
        if not self._has_sums or (a.dtype, a.shape[1:], a.codec) != (b.dtype, b.shape[1:], b.codec):
            return None
        path = a.schema.path
        try:
            if a.codec is not None:
                one, other = _records(self._a, path), _records(self._b, path)
                same = (one[matched.a] == other[matched.b]).all(axis=1)
                return np.flatnonzero(~same)
            if a.spread or b.spread:  # their checksums are of other blocks
                return None
            if self._in_place(a.schema.table) and self._sums_equal(a, b):
                return np.zeros(0, np.int64)
        except StoreError:  # without checksums
            return None
        return None

    def _sums_equal(self, a: StoredField, b: StoredField) -> bool:
        for one, other in ((a.extent, b.extent), (a.offsets, b.offsets)):
            if one is None or other is None:
                continue
            if one.shape != other.shape:
                return False
            path = a.schema.path
            ours, theirs = pieces_of(self._a, path, one)[1], pieces_of(self._b, path, other)[1]
            if not np.array_equal(ours, theirs):
                return False
        return True

    # values -------------------------------------------------------------------------------------

    def _compare(
        self, a: Table, b: Table, field: str, places: np.ndarray, advance: Callable[[int], None]
    ) -> _Sum:
        stored, matched = a.stored(field), self._matched[a.name]
        step = _TEXTS
        if stored.schema.layout != "text":
            row = int(np.prod(stored.shape[1:], dtype=np.int64)) * stored.dtype.itemsize
            step = max(1, _BYTES // max(row, 1))
        found = _Sum([])
        for first in range(0, len(places), step):
            some = places[first : first + step]
            ours, theirs = a.gather(field, matched.a[some]), b.gather(field, matched.b[some])
            if stored.schema.path in _ENTITY_ROWS:
                theirs = self._as_rows_of_a(theirs)
            if stored.schema.layout == "text":
                differ = np.array([x != y for x, y in zip(ours, theirs, strict=True)], bool)
            else:
                differ = _add(found, *_same_length(ours, theirs))
            found.rows.append(some[differ])
            advance(len(some))
        return found

    def _as_rows_of_a(self, rows: np.ndarray) -> np.ndarray:
        """Entity rows of B as those of A."""
        matched = self._matched["entities"]
        row_in_a = np.full(len(self._b.entities), _NOT_IN_A, np.int64)
        row_in_a[matched.b] = matched.a
        inside = (rows >= 0) & (rows < len(row_in_a))
        return np.where(inside, row_in_a[np.where(inside, rows, 0)], NO_ROW)

    def _examples(
        self, field: str, a: Table, b: Table, places: np.ndarray
    ) -> tuple[ValueExample, ...]:
        matched, schema = self._matched[a.name], a.stored(field).schema
        rows = matched.a[places]
        ours: list[Any] = [None] * len(rows)
        theirs = list(ours)
        if not schema.axes:
            ours = list(map(_value, a.gather(field, rows)))
            theirs = list(map(_value, b.gather(field, matched.b[places])))
        if not schema.axes and schema.path in _ENTITY_ROWS:
            ours = [_entity(self._a, row) for row in ours]
            theirs = [_entity(self._b, row) for row in theirs]
        return tuple(
            ValueExample(id=name, a=one, b=other)
            for name, one, other in zip(a.ids(rows), ours, theirs, strict=True)
        )


def _is_ours(store: Store) -> bool:
    """Whether the checksums in the file are of this file: other programs leave old ones behind."""
    with Path(store.path).open("rb") as file:
        return read_header(file, store.path) is not None


def _records(store: Store, path: str) -> np.ndarray:
    """(rows, 2) uint64 checksum and stored size of every record of a field, in whichever file it is.

    Raises:
        StoreError: the store has no checksums.
    """
    table, _, name = path.partition("/")
    spread = store.table(table).stored(name).spread
    files = store.shards if spread else (store,)
    found = [pieces_of(each, path, each.table(table).stored(name)) for each in files]
    return np.concatenate(
        [np.stack([sums, pieces.sizes.astype(np.uint64)], axis=1) for pieces, sums in found]
    )


def _same_length(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ragged records of both, the shorter ones continued with the zeros that stand behind them."""
    if a.ndim < 2 or a.shape[1] == b.shape[1]:
        return a, b
    length = max(a.shape[1], b.shape[1])
    return _padded(a, length), _padded(b, length)


def _padded(values: np.ndarray, length: int) -> np.ndarray:
    missing = [(0, 0)] * values.ndim
    missing[1] = (0, length - values.shape[1])
    return np.pad(values, missing)


def _add(found: _Sum, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(rows,) bool which rows differ; NaN is equal to NaN."""
    rows, kind = len(a), np.dtype(np.int64)
    if "f" in (a.dtype.kind, b.dtype.kind):
        kind = np.result_type(a, b, np.float32)
    x, y = a.reshape(rows, -1).astype(kind), b.reshape(rows, -1).astype(kind)
    unequal = (x != y) & ~((x != x) & (y != y))
    finite = np.isfinite(x) & np.isfinite(y)
    if unequal.any():
        distance = np.abs(np.subtract(x, y, dtype=np.float64, where=finite, out=np.zeros(x.shape)))
        found.maximum = max(found.maximum, float(distance.max()))
        found.total += float(distance.sum())
    differing: np.ndarray = unequal.any(axis=1)
    return differing


def _values(a: Table, b: Table, field: str, matched: Matched) -> int:
    """How many values the rows of both hold; a ragged record as many as the longer one."""
    stored = a.stored(field)
    ragged = stored.schema.ragged
    if not ragged:
        return len(matched) * int(np.prod(stored.shape[1:], dtype=np.int64))
    longer = np.maximum(a.view(ragged)[matched.a], b.view(ragged)[matched.b])
    return int(longer.sum(dtype=np.int64)) * int(np.prod(stored.shape[2:], dtype=np.int64))


def _value(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _entity(store: Store, row: int) -> str | None:
    """The id of an entity; ``None`` of no row."""
    return store.entities.ids([row])[0] if 0 <= row < len(store.entities) else None
