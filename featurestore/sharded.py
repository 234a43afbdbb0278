"""The entities of a sharded store: ids, texts and columns in the index file, features in the shards.

A gather is one reading: the rows are split by shard, each shard fills its share of one array, and the
same threads work on all shares. Rows come in ascending order from whoever reads batches; others are
gathered in the order of the shards and put in place afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from featurestore import threads
from featurestore.catalog import Catalog, StoredField
from featurestore.chunks import New, RowColumn, made
from featurestore.errors import AGAIN, FieldMissing, StoreError
from featurestore.filemap import FileMap, Reading, reading_together
from featurestore.schema import ERROR, FIELDS
from featurestore.table import Table

#: Shard → the places of its rows among those that are gathered.
Split: TypeAlias = list[tuple[int, slice]]


class ShardedTable(Table):
    """``/entities`` of a store in several files.

    Args:
        catalog, file: of the index file.
        shards: the entity tables of the shards, in the order of their rows.

    Raises:
        StoreError: the shards do not hold the same fields.
    """

    def __init__(
        self, catalog: Catalog, file: FileMap, shards: Sequence[Table], *, verify: bool
    ) -> None:
        super().__init__("entities", catalog, file, verify=verify)
        self._shards = list(shards)
        self._firsts = np.cumsum([0, *map(len, shards)])
        self._spread = {
            field.name: _joined(field.name, shards, len(self), str(catalog.path))
            for field in shards[0].fields.values()
            if field.name not in self.fields
        }
        known = self.fields | self._spread
        self.fields = {
            f.name: known[f.name] for f in FIELDS if f.table == self.name and f.name in known
        }

    @property
    def pieces(self) -> list[tuple[int, Table]]:
        """The first row of each shard, and the table of its rows."""
        return list(zip(self._firsts.tolist(), self._shards, strict=False))

    def gather_all(
        self, fields: Iterable[str], rows: Sequence[int] | np.ndarray, *, new: New = np.empty
    ) -> dict[str, Any]:
        """Field → what :meth:`gather` gives, read together: faster than one after the other."""
        index, fields = self._checked(rows), list(fields)
        self.prefetch(fields, index)
        return self._read(fields, index, new)

    def prefetch(self, fields: Iterable[str], rows: Sequence[int] | np.ndarray) -> None:
        if not self._file.remote:
            return
        index, names = self._checked(rows), [self.stored(field) for field in fields]
        spread = [one.name for one in names if one.spread]
        needed = [one.name for one in names if not one.spread]
        counts = [one.schema.ragged for one in names if one.spread and one.schema.ragged]
        here = [*needed, *(name for name in counts if name in self.fields)]
        calls = [partial(super().prefetch, here, index)]
        of = self._shard_of(index)
        for number in np.unique(of).tolist() if spread else ():
            local = index[of == number] - self._firsts[number]
            calls.append(partial(self._shards[number].prefetch, spread, local))
        threads.waiting(calls)

    def whole_records(
        self, field: str, rows: Sequence[int] | np.ndarray, *, new: New = np.empty
    ) -> np.ndarray:
        if field not in self._spread or self.stored(field).schema.layout != "record":
            return super().whole_records(field, rows, new=new)
        found: np.ndarray = self._read([field], self._checked(rows), new, whole=True)[field]
        return found

    def _read(
        self, fields: list[str], rows: np.ndarray, new: New, *, whole: bool = False
    ) -> dict[str, Any]:
        of = self._shard_of(rows)
        if (of[1:] < of[:-1]).any():
            order = np.argsort(of, kind="stable")
            found = self._read(fields, rows[order], np.empty, whole=whole)
            back = np.empty(len(order), np.int64)
            back[order] = np.arange(len(order))
            return {field: _placed(found[field], back, new) for field in fields}
        split = self._split(of)
        with reading_together([self._file, *(shard._file for shard in self._shards)]) as readings:
            return {
                field: self._fill(self._spread[field], rows, split, new, readings, whole)
                if field in self._spread
                else self._gather(field, rows, new, readings[0])
                for field in fields
            }

    def _fill(
        self,
        stored: StoredField,
        rows: np.ndarray,
        split: Split,
        new: New,
        readings: Sequence[Reading],
        whole: bool,
    ) -> np.ndarray:
        """One array, of which every shard fills its share; complete when the reading is."""
        shape = (len(rows), *stored.shape[1:])
        if stored.schema.layout == "record" and not whole:
            shape = (len(rows), self._longest(stored, rows), *stored.shape[2:])
        out = made(new, shape, stored.dtype)
        for number, part in split:
            self._shards[number].gather_into(
                stored.name,
                rows[part] - self._firsts[number],
                out[part],
                readings[1 + number],
                of=out.nbytes,
                whole=whole,
            )
        return out

    def _shard_of(self, rows: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._firsts, rows, side="right") - 1

    def _split(self, of: np.ndarray) -> Split:
        """The shards that hold any of some rows, whose shards ascend."""
        ends = np.searchsorted(of, np.arange(len(self._shards) + 1)).tolist()
        return [
            (number, slice(ends[number], ends[number + 1]))
            for number in range(len(self._shards))
            if ends[number] < ends[number + 1]
        ]

    def view(self, field: str) -> np.ndarray:
        """The whole of a column, or of a view where all rows stand in one file; nothing is read yet.

        Raises:
            FieldMissing: the store has no such field, it is text or compressed, or in several files.
        """
        if field not in self._spread:
            return super().view(field)
        if len(self._shards) == 1:
            return self._shards[0].view(field)
        raise FieldMissing(
            f"{self.name}/{field} stands in {len(self._shards)} files",
            where=self._where,
            hint="use gather(field, rows) or block(field, rows)",
        )

    def block(self, field: str, rows: range) -> np.ndarray:
        if field not in self._spread:
            return super().block(field, rows)
        parts = [
            self._shards[number].block(field, range(first, stop))
            for number, first, stop in self._ranges(rows)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _ranges(self, rows: range) -> Iterator[tuple[int, int, int]]:
        """Shard, and which of its own rows, that consecutive rows are made of; at least one."""
        last = max(rows.start, rows.stop - 1)
        numbers = self._shard_of(np.minimum([rows.start, last], len(self) - 1)).tolist()
        for number in range(numbers[0], numbers[1] + 1):
            begin, end = self._firsts[number : number + 2].tolist()
            yield number, max(rows.start, begin) - begin, min(rows.stop, end) - begin

    def stored_records(self, field: str, rows: np.ndarray) -> list[np.ndarray]:
        if field not in self._spread:
            return super().stored_records(field, rows)
        index = self._checked(rows)
        of = self._shard_of(index)
        found: dict[int, np.ndarray] = {}
        for number in np.unique(of).tolist():
            places = np.flatnonzero(of == number)
            local = index[places] - self._firsts[number]
            chunks = self._shards[number].stored_records(field, local)
            found |= zip(places.tolist(), chunks, strict=True)
        return [found[place] for place in range(len(index))]

    def chunk_table(self, field: str) -> np.ndarray:
        if field in self._spread:
            raise FieldMissing(
                f"the records of {self.name}/{field} stand in {len(self._shards)} files",
                where=self._where,
                hint="ask the shards: store.shards",
            )
        return super().chunk_table(field)

    def _rows_of(self, field: str) -> RowColumn:
        if field in self._spread:
            self.view(field)  # says that there is no such thing
        return super()._rows_of(field)

    def drop_views(self) -> None:
        super().drop_views()
        for shard in self._shards:
            shard.drop_views()


def _placed(values: Any, places: np.ndarray, new: New) -> Any:
    """What was gathered in another order: value ``i`` is number ``places[i]``."""
    if isinstance(values, list):
        return [values[place] for place in places.tolist()]
    out = made(new, values.shape, values.dtype)
    np.take(values, places, axis=0, out=out, mode="clip")
    return out


def _joined(name: str, shards: Sequence[Table], rows: int, path: str) -> StoredField:
    """What the shards say of a field, as of one.

    Raises:
        StoreError: they do not agree.
    """
    for shard in shards:
        if name not in shard:
            raise StoreError(
                f"the shards of {path} do not all have the field {name}",
                where=shard.stored("id").schema.path,
                hint=AGAIN,
            )
    parts = [shard.fields[name] for shard in shards]
    first = parts[0]
    for part in parts:
        if (part.dtype, part.shape[1:], part.codec) != (first.dtype, first.shape[1:], first.codec):
            raise StoreError(
                f"the shards do not agree on what the field is: {part.dtype}{part.shape[1:]} and "
                f"{first.dtype}{first.shape[1:]}",
                where=f"{path}::/{first.schema.path}",
                hint=AGAIN,
            )
    errors = [part.attributes[ERROR] for part in parts if ERROR in part.attributes]
    return replace(
        first,
        shape=(rows, *first.shape[1:]),
        stored_bytes=sum(part.stored_bytes for part in parts),
        extent=None,
        table=None,
        sums=None,
        attributes={ERROR: max(errors)} if errors else {},
        spread=True,
    )
