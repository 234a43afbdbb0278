"""What is sound of a damaged store, so that only the rest is made again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from featurestore.catalog import Extent
from featurestore.record_arrays import RecordArray, pack
from featurestore.row_arrays import KeptRows, PartArray, RowArray
from featurestore.schema import ERROR, SIMILARITIES, TABLES
from featurestore.store import Store

#: Endings of the names under which arrays of fields are written (:mod:`featurestore.writer`).
_DTYPES = (".float16", ".float32")
_EXACT = ".exact"

#: Bytes that are copied at once.
_STEP = 4 << 20


class Salvage:
    """Hands the sound rows of a store to the arrays of one that takes its place.

    Args:
        damaged: path of an array → its rows that are not to be trusted; none named = all are.
    """

    found: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, store: Store, damaged: dict[str, np.ndarray]) -> None:
        self._store = store
        self._damaged = damaged

    def sound(self, path: str) -> bool:
        """Whether nothing of an array, of a field with all its arrays, is damaged."""
        return not any(name == path or name.startswith(f"{path}/") for name in self._damaged)

    def dtype(self, path: str) -> str:
        """How the store holds a feature; nothing where it does not."""
        table, _, name = path.partition("/")
        fields = self._store.table(table)
        return fields.stored(name).dtype.name if name in fields else ""

    def fill(self, array: PartArray) -> None:
        """Write the rows of an array that are sound and not there yet."""
        if isinstance(array, KeptRows):
            self._fill_kept(array)
            return
        path = array.name
        for ending in _DTYPES:
            path = path.removesuffix(ending)
        table, _, name = path.partition("/")
        fields = self._store.table(table)
        if name not in fields:
            return
        stored = fields.stored(name)
        same = isinstance(array, RowArray | RecordArray) and (array.shape, array.dtype) == (
            stored.shape,
            stored.dtype,
        )
        if same and isinstance(array, RowArray) and stored.extent is not None:
            self._copy_rows(array, stored.extent, path)
        elif same and isinstance(array, RecordArray) and stored.codec == array.codec:
            self._copy_records(array, path)
        if ERROR in stored.attributes:
            array.facts[ERROR] = float(stored.attributes[ERROR])

    def _blocks(self, array: PartArray, path: str, row_bytes: int) -> Iterator[np.ndarray]:
        """The sound rows that are missing, some megabytes of them at a time."""
        wanted = ~array.written.done
        wanted[self._damaged.get(path, np.zeros(0, np.int64))] = False
        rows, step = np.flatnonzero(wanted), max(1, _STEP // max(row_bytes, 1))
        return (rows[first : first + step] for first in range(0, len(rows), step))

    def _copy_rows(self, array: RowArray, extent: Extent, path: str) -> None:
        values = self._store.array(extent)
        for rows in self._blocks(array, path, values[:1].nbytes):
            array.write(rows, values[rows])

    def _copy_records(self, array: RecordArray, path: str) -> None:
        table, _, name = path.partition("/")
        places = self._store.table(table).chunk_table(name)
        data = self._store.bytes
        row_bytes = int(places[:, 1].mean()) if len(places) else 1
        for rows in self._blocks(array, path, row_bytes):
            chunks = [data[start : start + size] for start, size in places[rows].tolist()]
            array.write(rows, pack(chunks))

    def _fill_kept(self, array: KeptRows) -> None:
        """Exact CLIP vectors are only needed for similarities, which are copied where all is sound."""
        similar = [f"mentions/{name}" for name in SIMILARITIES]
        fields = [f"{table}/clip_{kind}" for table in TABLES for kind in ("text", "image")]
        path = array.name.removesuffix(_EXACT)
        if path in fields and all(map(self.sound, [*similar, *fields])):
            table, _, name = path.partition("/")
            if name in self._store.table(table):
                values = self._store.table(table).view(name)
                for rows in self._blocks(array, path, values[:1].nbytes):
                    array.write(rows, values[rows])

    def text(self, path: str) -> list[str] | None:
        """The texts of a field, if it is there and sound."""
        table, _, name = path.partition("/")
        if name not in self._store.table(table) or not self.sound(path):
            return None
        return list(self._store.table(table).texts(name))

    def column(self, path: str) -> np.ndarray | None:
        """A column of the store, if it is there and sound."""
        table, _, name = path.partition("/")
        if name not in self._store.table(table) or not self.sound(path):
            return None
        return self._store.table(table).view(name)

    def picture_status(self, table: str, first_files: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """What was found of every row's first file, where that was its picture.

        Returns:
            rows, and the ``image_status`` of each.
        """
        status, paths = self.column(f"{table}/image_status"), self.text(f"{table}/image_path")
        if status is None or paths is None:
            return np.zeros(0, np.int64), np.zeros(0, np.uint8)
        rows = np.flatnonzero(np.array(paths, object) == np.array(first_files, object))
        return rows, np.asarray(status)[rows]
