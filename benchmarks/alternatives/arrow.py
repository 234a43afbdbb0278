"""Arrow's file format, memory-mapped and not compressed, which is when reading copies nothing.

Parquet keeps the same table, but decodes whole pages for single rows; it is compared in size alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.alternatives.contract import Alternative, Arrays, First, part


class ArrowFile(Alternative):
    """``Table.take`` on the map."""

    name = "Arrow file, memory map, take"
    needs = ("pyarrow",)

    def write(self, arrays: Arrays) -> None:
        import pyarrow

        table = as_table(arrays)
        with (
            pyarrow.OSFile(str(self.place), "wb") as sink,
            pyarrow.ipc.new_file(sink, table.schema) as writer,
        ):
            writer.write_table(table)

    def open(self, arrays: Arrays) -> None:
        import pyarrow

        self._source = pyarrow.memory_map(str(self.place))
        self._table = pyarrow.ipc.open_file(self._source).read_all()
        self._shapes = {name: values.shape[1:] for name, values in arrays.items()}

    def read(self, rows: np.ndarray, first: First) -> dict[str, np.ndarray]:
        return as_arrays(self._table.take(rows), self._shapes, first)

    def close(self) -> None:
        del self._table
        self._source.close()


def as_table(arrays: Arrays) -> Any:
    """A table with a column a field, each value a list of fixed size."""
    import pyarrow

    columns = {
        name: pyarrow.FixedSizeListArray.from_arrays(
            pyarrow.array(values.reshape(-1)), int(np.prod(values.shape[1:]))
        )
        for name, values in arrays.items()
    }
    return pyarrow.table(columns)


def as_arrays(
    table: Any, shapes: dict[str, tuple[int, ...]], first: First
) -> dict[str, np.ndarray]:
    """The columns as arrays, over the same memory where a column is one piece."""
    found: dict[str, np.ndarray] = {}
    for name, shape in shapes.items():
        values = table.column(name).combine_chunks().flatten().to_numpy(zero_copy_only=False)
        found[name] = values.reshape(-1, *shape)[:, part(name, first)]
    return found
