"""Other ways to find the rows of ids, each asked for many ids at once."""

from __future__ import annotations

import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import h5py
import numpy as np

from benchmarks.files import remove

#: Bytes of LMDB's address space a row: room for the tree beside an id and a number.
_LMDB_ROW = 256


class IdLookup(ABC):
    """The ids of a table, kept in one way.

    Args:
        place: a file or folder of its own, not there yet; or the store, for those that read it.
    """

    name: str
    needs: ClassVar[tuple[str, ...]] = ()  # modules it imports
    owns_place: ClassVar[bool] = True  # False: reads the store itself

    def __init__(self, place: Path) -> None:
        self.place = place

    def write(self, ids: Sequence[str]) -> None:  # noqa: B027  (one reads the store)
        """Keep the ids at ``place``; the row of an id is its place among them."""

    @abstractmethod
    def open(self) -> None:
        """Do what must be done before the first look-up."""

    @abstractmethod
    def find(self, ids: Sequence[str]) -> np.ndarray:
        """(n,) int64 rows of ids that are there."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files, and of what was read."""

    def remove(self) -> None:
        """Delete its copy."""
        if self.owns_place:
            remove(self.place)


class H5Dict(IdLookup):
    """The whole column, read from the store with h5py, in a dictionary."""

    name = "h5py, ids in a dict"
    owns_place = False

    def open(self) -> None:
        with h5py.File(self.place, "r", locking=False) as file:
            column = file["entities/id"]
            text, ends = column["bytes"][:].tobytes(), column["offsets"][:].tolist()
        ids = (text[a:b].decode() for a, b in pairwise(ends))
        self._row_of = {name: row for row, name in enumerate(ids)}

    def find(self, ids: Sequence[str]) -> np.ndarray:
        return np.array([self._row_of[name] for name in ids], np.int64)

    def close(self) -> None:
        del self._row_of


class LmdbIds(IdLookup):
    """An id is a key, its row the value; all ids are asked for with one ``getmulti``."""

    name = "LMDB"
    needs = ("lmdb",)

    def write(self, ids: Sequence[str]) -> None:
        import lmdb

        size = (len(ids) + 1000) * _LMDB_ROW
        keys = sorted((name.encode(), row) for row, name in enumerate(ids))
        with (
            lmdb.open(str(self.place), map_size=size) as environment,
            environment.begin(write=True) as transaction,
        ):
            for key, row in keys:
                transaction.put(key, row.to_bytes(4, "little"), append=True)

    def open(self) -> None:
        import lmdb

        self._environment = lmdb.open(str(self.place), readonly=True, lock=False, readahead=False)

    def find(self, ids: Sequence[str]) -> np.ndarray:
        keys = [name.encode() for name in ids]
        with self._environment.begin() as transaction, transaction.cursor() as cursor:
            found = b"".join([value for _, value in cursor.getmulti(keys)])
        return np.frombuffer(found, "<i4").astype(np.int64)

    def close(self) -> None:
        self._environment.close()


class SqliteIds(IdLookup):
    """A table that is its own index; all ids in one statement, several times as fast as one each."""

    name = "sqlite3"

    _FIND = """
        SELECT ids.row FROM json_each(?) AS asked LEFT JOIN ids ON ids.id = asked.value
        ORDER BY asked.key
    """

    def write(self, ids: Sequence[str]) -> None:
        rows = sorted((name, row) for row, name in enumerate(ids))
        connection = sqlite3.connect(self.place)
        connection.execute("CREATE TABLE ids (id TEXT PRIMARY KEY, row INTEGER) WITHOUT ROWID")
        connection.executemany("INSERT INTO ids VALUES (?, ?)", rows)
        connection.commit()
        connection.close()

    def open(self) -> None:
        self._connection = sqlite3.connect(f"file:{self.place}?mode=ro", uri=True)

    def find(self, ids: Sequence[str]) -> np.ndarray:
        found = self._connection.execute(self._FIND, (json.dumps(ids),))
        return np.array([row for (row,) in found], np.int64)

    def close(self) -> None:
        self._connection.close()
