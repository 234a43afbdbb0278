"""TensorStore's zarr3 driver: the reads of all fields are under way together, in C++ threads."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.alternatives.contract import Alternative, Arrays, First, part
from benchmarks.alternatives.zarr3 import write_blocks, write_records

#: Chunks of one row in a shard file: chosen here, so that a shard is a few megabytes.
_ROWS_A_SHARD = 1024


class TensorStoreBlocks(Alternative):
    """The array that ``ZarrBlocks`` reads."""

    name = "TensorStore, zarr chunks of 1 MB"
    needs: ClassVar[tuple[str, ...]] = ("tensorstore", "zarr")

    def write(self, arrays: Arrays) -> None:
        write_blocks(self.place, arrays)

    def open(self, arrays: Arrays) -> None:
        import tensorstore

        self._stores: dict[str, Any] = {
            name: tensorstore.open(_spec(self.place / name), open=True, read=True).result()
            for name in arrays
        }

    def read(self, rows: np.ndarray, first: First) -> dict[str, np.ndarray]:
        import tensorstore

        with tensorstore.Batch() as together:
            under_way = {
                name: store.oindex[rows, part(name, first)].read(batch=together)
                for name, store in self._stores.items()
            }
        return {name: reading.result() for name, reading in under_way.items()}

    def close(self) -> None:
        self._stores.clear()


class TensorStoreRecords(TensorStoreBlocks):
    """The array that ``ZarrRecords`` reads."""

    name = "TensorStore, zarr chunk a record, Blosc LZ4"

    def write(self, arrays: Arrays) -> None:
        write_records(self.place, arrays)


class TensorStoreRows(TensorStoreBlocks):
    """A chunk a row, collected in shards so that it is not a file a row."""

    name = "TensorStore, zarr chunk a row in shards"
    needs: ClassVar[tuple[str, ...]] = ("tensorstore",)

    def write(self, arrays: Arrays) -> None:
        import tensorstore

        for name, values in arrays.items():
            layout = tensorstore.ChunkLayout(
                read_chunk_shape=[1, *values.shape[1:]],
                write_chunk_shape=[_ROWS_A_SHARD, *values.shape[1:]],
            )
            store = tensorstore.open(
                _spec(self.place / name),
                create=True,
                dtype=values.dtype,
                shape=values.shape,
                chunk_layout=layout,
            ).result()
            store.write(values).result()


def _spec(place: Path) -> dict[str, Any]:
    return {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{place}/"}}
