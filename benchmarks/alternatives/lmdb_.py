"""LMDB: a database a field, the row number as key, the row's bytes as value."""

from __future__ import annotations

import numpy as np

from benchmarks.alternatives.contract import Alternative, Arrays, First

#: Room for the tree beside the values.
_SLACK = 64 << 20


class Lmdb(Alternative):
    """Values as they are in memory: a prefix of a record is a prefix of its value."""

    name = "LMDB, not compressed"
    needs = ("lmdb",)

    def write(self, arrays: Arrays) -> None:
        import lmdb

        size = 2 * sum(values.nbytes for values in arrays.values()) + _SLACK
        with lmdb.open(str(self.place), map_size=size, max_dbs=len(arrays)) as environment:
            for name, values in arrays.items():
                database = environment.open_db(name.encode())
                with environment.begin(write=True, db=database) as transaction:
                    for row, value in enumerate(values):
                        transaction.put(_key(row), value.tobytes(), append=True)

    def open(self, arrays: Arrays) -> None:
        import lmdb

        self._environment = lmdb.open(
            str(self.place), readonly=True, lock=False, readahead=False, max_dbs=len(arrays)
        )
        self._databases = {name: self._environment.open_db(name.encode()) for name in arrays}
        self._kinds = {name: (values.dtype, values.shape[1:]) for name, values in arrays.items()}

    def read(self, rows: np.ndarray, first: First) -> dict[str, np.ndarray]:
        keys = [_key(row) for row in rows.tolist()]
        found: dict[str, np.ndarray] = {}
        with self._environment.begin(buffers=True) as transaction:
            for name, database in self._databases.items():
                dtype, (axis, *rest) = self._kinds[name]
                axis = first.get(name, axis)
                size = int(np.prod([axis, *rest])) * dtype.itemsize
                with transaction.cursor(database) as cursor:
                    values = [value[:size] for _, value in cursor.getmulti(keys)]
                joined = bytearray().join(values)
                found[name] = np.frombuffer(joined, dtype).reshape(len(rows), axis, *rest)
        return found

    def close(self) -> None:
        self._databases.clear()
        self._environment.close()


def _key(row: int) -> bytes:
    return row.to_bytes(4, "big")  # so that keys sort like numbers
