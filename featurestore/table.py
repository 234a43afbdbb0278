"""One table of an open store: rows by id or number, and the values of their fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from featurestore.catalog import INDEX_GROUP, Catalog, StoredField
from featurestore.chunks import New, RecordColumn, RowColumn, TextColumn
from featurestore.errors import AGAIN, FieldMissing, StoreError, UnknownId
from featurestore.filemap import FileMap, Reading
from featurestore.guard import BlockGuard, RecordGuard
from featurestore.ids import IdIndex
from featurestore.schema import BY_PATH


class Row(Mapping[str, Any]):
    """One row of a table: field name → value (text, number or array), read when asked for."""

    def __init__(self, table: Table, row: int) -> None:
        self._table = table
        self.row = row

    def __getitem__(self, name: str) -> Any:
        if name not in self._table.fields:
            raise KeyError(name)
        value = self._table.gather(name, np.array([self.row]))[0]
        return value.item() if isinstance(value, np.generic) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._table.fields)

    def __len__(self) -> int:
        return len(self._table.fields)

    def __repr__(self) -> str:
        return f"<{self._table.name}[{self.row}] {self['id']!r}>"


class Table:
    """The rows of ``/entities`` or ``/mentions``."""

    def __init__(self, name: str, catalog: Catalog, file: FileMap, *, verify: bool = False) -> None:
        self.name = name
        self.fields: dict[str, StoredField] = catalog.fields[name]
        self._rows = catalog.rows[name]
        self._splits = catalog.splits if name == "mentions" else {}
        self._file = file
        self._verify = verify
        self._where = f"{catalog.path}::/{name}"
        self._columns: dict[str, RowColumn | TextColumn | RecordColumn] = {}
        self._index_extents = catalog.index[name]
        self._opened_index: IdIndex | None = None

    def __len__(self) -> int:
        return self._rows

    def __contains__(self, field: str) -> bool:
        return field in self.fields

    def __getitem__(self, key: str | int) -> Row:
        """The row with this id, or at this number.

        Raises:
            UnknownId: no such id or row; an unknown id names the nearest ones.
        """
        if isinstance(key, str):
            return Row(self, int(self.rows([key])[0]))
        self._checked([key])
        return Row(self, int(key))

    def find(self, ids: Sequence[str]) -> np.ndarray:
        """(n,) int64 rows of ids, -1 where the table has no such id."""
        return self._index.find(ids)

    def rows(self, ids: Sequence[str]) -> np.ndarray:
        """(n,) int64 rows of ids.

        Raises:
            UnknownId: the first id the table does not hold, with the nearest ones.
        """
        return self._index.rows(ids)

    def nearest(self, key: str) -> list[str]:
        """At most three ids that look like this one, the nearest first."""
        return self._index.nearest(key)

    def ids(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        """The ids of rows."""
        return self.gather("id", rows)

    @property
    def splits(self) -> dict[str, range]:
        """The row range of each split; empty for entities."""
        return {name: range(*bounds) for name, bounds in self._splits.items()}

    def split(self, name: str) -> range:
        """The rows of a split.

        Raises:
            UnknownId: no such split; names those there are.
        """
        if name not in self._splits:
            known = ", ".join(self._splits) or "none"
            raise UnknownId(f"no split {name!r}", where=self._where, hint=f"splits: {known}")
        return range(*self._splits[name])

    def stored(self, field: str) -> StoredField:
        """How a field is stored.

        Raises:
            FieldMissing: this store lacks it; says which ingest option makes it.
        """
        if field in self.fields:
            return self.fields[field]
        schema = BY_PATH.get(f"{self.name}/{field}")
        if schema is None:
            known = ", ".join(sorted(self.fields))
            raise FieldMissing(
                f"no field {field!r} in format 1", where=self._where, hint=f"fields: {known}"
            )
        raise FieldMissing(
            f"this store has no {schema.path} ({schema.doc})",
            where=f"{self._where}/{field}",
            hint=f"ingest again with it; it comes from: {schema.made_by}",
        )

    def gather(self, field: str, rows: Sequence[int] | np.ndarray, *, new: New = np.empty) -> Any:
        """Values of one field for rows, in their order; rows may repeat.

        Returns:
            ``(len(rows), *axes)`` array in the stored dtype; a ragged record is cut to the longest
            of these rows and zero beyond each row's own count; a text field gives a list of str.

        Args:
            new: makes the array that is filled, from shape and dtype. Give one that hands out memory
                used before: a fresh array costs as much as the copying.

        Raises:
            FieldMissing: the store has no such field.
            UnknownId: a row outside the table.
            StoreError: a damaged record.
        """
        return self.gather_all([field], rows, new=new)[field]

    def gather_all(
        self, fields: Iterable[str], rows: Sequence[int] | np.ndarray, *, new: New = np.empty
    ) -> dict[str, Any]:
        """Field → what :meth:`gather` gives, read together: faster than one after the other."""
        index, fields = self._checked(rows), list(fields)
        self.prefetch(fields, index)
        with self._file.reading() as reading:
            return {field: self._gather(field, index, new, reading) for field in fields}

    def prefetch(self, fields: Iterable[str], rows: Sequence[int] | np.ndarray) -> None:
        """Have what a gather of these fields needs here, where the store is remote: all at once.

        Raises:
            FieldMissing: the store has no such field.
            UnknownId: a row outside the table.
            StoreError: it cannot be fetched.
        """
        if not self._file.remote:
            return
        index = self._checked(rows)
        names = [self.stored(field) for field in fields]
        counts = [self.stored(one.schema.ragged) for one in names if one.schema.ragged]
        plans = [self._column(one).plan(index) for one in (*names, *counts)]
        while wanted := [parts for plan in plans if (parts := next(plan, None)) is not None]:
            starts, ends = (np.concatenate(bounds) for bounds in zip(*wanted, strict=True))
            self._file.fetch(starts, ends)

    def _gather(self, field: str, rows: np.ndarray, new: New, reading: Reading) -> Any:
        stored = self.stored(field)
        column = self._column(stored)
        if isinstance(column, TextColumn):
            return column.at(rows)
        if isinstance(column, RecordColumn):
            return column.gather(rows, self._longest(stored, rows), new, reading)
        return column.gather(rows, new, reading)

    def view(self, field: str) -> np.ndarray:
        """The whole of a column or view as a read-only array over the file; nothing is read yet.

        Raises:
            FieldMissing: the store has no such field, or it is text or compressed.
        """
        return self._rows_of(field).array

    def block(self, field: str, rows: range) -> np.ndarray:
        """(len(rows), …) consecutive rows of a column or view, over the file where they stand together.

        Raises:
            FieldMissing: as :meth:`view`.
        """
        return self.view(field)[rows.start : rows.stop]

    def gather_into(
        self,
        field: str,
        rows: np.ndarray,
        out: np.ndarray,
        reading: Reading,
        *,
        of: int,
        whole: bool = False,
    ) -> None:
        """Fill ``out``, (len(rows), …), with rows of a view, column or record: a share of a gather.

        Args:
            rows: inside the table.
            of: bytes of the whole gather.
            whole: records with what is stored beyond their count.
        """
        column = self._column(self.stored(field))

        def new(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
            return out

        if isinstance(column, RecordColumn) and whole:
            column.whole(rows, new, reading, of=of)
        elif isinstance(column, RecordColumn):
            column.gather(rows, out.shape[1], new, reading, of=of)
        elif isinstance(column, RowColumn):
            column.gather(rows, new, reading, of=of)

    def _rows_of(self, field: str) -> RowColumn:
        column = self._column(self.stored(field))
        if isinstance(column, RowColumn):
            return column
        raise FieldMissing(
            f"{self.name}/{field} is not stored as one array",
            where=self._where,
            hint="use gather(field, rows)",
        )

    def texts(self, field: str, block: int = 65_536) -> Iterator[str]:
        """All texts of a field, in row order, read a block at a time."""
        for first in range(0, self._rows, block):
            yield from self.gather(field, np.arange(first, min(first + block, self._rows)))

    def whole_records(
        self, field: str, rows: Sequence[int] | np.ndarray, *, new: New = np.empty
    ) -> np.ndarray:
        """(len(rows), *axes) records with what is stored beyond their count.

        That is zero, unless the store was ingested with ``--padding keep``.

        Raises:
            FieldMissing: the store has no such record field.
        """
        column = self._column(self.stored(field))
        if not isinstance(column, RecordColumn):
            raise FieldMissing(f"{self.name}/{field} is not a record field", where=self._where)
        index = self._checked(rows)
        with self._file.reading() as reading:
            return column.whole(index, new, reading)

    def chunk_table(self, field: str) -> np.ndarray:
        """(rows, 2) int64 where each record of a field begins in the file, and its stored size.

        Raises:
            FieldMissing: the store has no such field in chunks.
        """
        return self._chunks_of(field).chunk_table()

    def stored_records(self, field: str, rows: np.ndarray) -> list[np.ndarray]:
        """The chunks of records as they are stored, (size,) uint8 each; views of the file.

        Raises:
            FieldMissing: the store has no such field in chunks.
            UnknownId: a row outside the table.
            StoreError: a damaged record, as far as ``verify_reads`` looks.
        """
        return self._chunks_of(field).stored(self._checked(rows))

    def _chunks_of(self, field: str) -> RecordColumn:
        stored = self.stored(field)
        column = self._column(stored)
        if not isinstance(column, RecordColumn) or stored.codec is None:
            raise FieldMissing(f"{self.name}/{field} is not stored in chunks", where=self._where)
        return column

    def offsets(self, field: str) -> np.ndarray:
        """(rows + 1,) int64 where each text of a field begins in its bytes; read-only.

        Raises:
            FieldMissing: the store has no such field, or it is no text.
        """
        offsets = self.stored(field).offsets
        if offsets is None:
            raise FieldMissing(f"{self.name}/{field} is no text", where=self._where)
        return self._file.array(offsets)

    def index_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """(n,) uint64 hashes of the ids, ascending, and the (n,) int32 row of each; read-only.

        Raises:
            StoreError: they are not what was written, if reads are compared with checksums.
        """
        if self._verify:
            for extent, name in zip(self._index_extents, ("hash", "row"), strict=True):
                BlockGuard(self._file, extent, f"{self.name}/{INDEX_GROUP}/{name}").check_all()
        hashes, rows = map(self._file.array, self._index_extents)
        return hashes, rows

    def text_arrays(self, field: str) -> tuple[np.ndarray, np.ndarray]:
        """(total,) uint8 the bytes of all texts, (rows + 1,) int64 where each begins; read-only.

        Raises:
            FieldMissing: the store has no such field, or it is no text.
            StoreError: they are not what was written, if reads are compared with checksums.
        """
        stored = self.stored(field)
        column = self._column(stored)
        if not isinstance(column, TextColumn) or stored.extent is None:
            raise FieldMissing(f"{self.name}/{field} is no text", where=self._where)
        return self._file.array(stored.extent), self.offsets(field)

    def _longest(self, stored: StoredField, rows: np.ndarray) -> int:
        """How many rows of the record's first axis a gather of these rows needs."""
        if not stored.schema.ragged or not len(rows):
            return stored.shape[1]
        self._rows_of(stored.schema.ragged).verify(rows)
        counts = self._counts(stored)[rows]
        wrong = (counts < 0) | (counts > stored.shape[1])
        if wrong.any():
            raise StoreError(
                f"counts {counts[np.argmax(wrong)]} of at most {stored.shape[1]}",
                where=f"{self._where}/{stored.schema.ragged}[{rows[np.argmax(wrong)]}]",
                hint=AGAIN,
            )
        return int(counts.max())

    def _counts(self, stored: StoredField) -> np.ndarray:
        counts = self._column(self.stored(stored.schema.ragged))
        assert isinstance(counts, RowColumn)
        return counts.array

    @property
    def _index(self) -> IdIndex:
        if self._opened_index is None:
            hashes, rows = self.index_arrays()
            ids = self._column(self.stored("id"))
            assert isinstance(ids, TextColumn)
            self._opened_index = IdIndex(hashes, rows, ids=ids, where=self._where)
        return self._opened_index

    def _column(self, stored: StoredField) -> RowColumn | TextColumn | RecordColumn:
        if stored.name not in self._columns:
            self._columns[stored.name] = self._open_column(stored)
        return self._columns[stored.name]

    def _open_column(self, stored: StoredField) -> RowColumn | TextColumn | RecordColumn:
        if stored.offsets is not None and stored.extent is not None:
            if self._verify:
                for extent, part in ((stored.extent, "bytes"), (stored.offsets, "offsets")):
                    BlockGuard(self._file, extent, f"{stored.schema.path}/{part}").check_all()
            return TextColumn(
                self._file.array(stored.extent),
                self._file.array(stored.offsets),
                f"{self._where}/{stored.name}",
                begins=(stored.extent.offset, stored.offsets.offset),
            )
        if stored.schema.layout == "record":
            counts = self._counts(stored) if stored.schema.ragged else None
            return RecordColumn(self._file, stored, counts, self._guard(stored))
        assert stored.extent is not None
        guard = self._guard(stored)
        assert not isinstance(guard, RecordGuard)
        return RowColumn(self._file, stored.extent, guard)

    def _guard(self, stored: StoredField) -> BlockGuard | RecordGuard | None:
        """What compares the field with its checksums, if that was asked for."""
        if not self._verify:
            return None
        path = stored.schema.path
        if stored.extent is not None:
            return BlockGuard(self._file, stored.extent, path)
        return RecordGuard(self._file, stored.sums, stored.shape[0], path)

    def drop_views(self) -> None:
        """Forget every view of the file; reading opens them again, or says that it is closed."""
        self._columns.clear()
        self._opened_index = None

    def _checked(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """(n,) int64 the rows.

        Raises:
            UnknownId: one is outside the table.
        """
        index = np.asarray(rows, np.int64).reshape(-1)
        if len(index) and (index.min() < 0 or index.max() >= self._rows):
            outside = np.flatnonzero((index < 0) | (index >= self._rows))
            raise UnknownId(
                f"row {int(index[outside[0]])} is outside the table",
                where=self._where,
                hint=f"rows are 0 … {self._rows - 1}",
            )
        return index
