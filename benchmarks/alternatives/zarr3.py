"""zarr 3 in a local folder.

Its performance guide asks for chunks of a megabyte or more and for chunks shaped like the reads. For
short rows that are read at random the two contradict each other, so both are offered: blocks of a
megabyte here, a chunk a row inside shards in ``tensorstore_.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.alternatives.contract import Alternative, Arrays, First, part

#: Bytes of a block, by the guide.
MEGABYTE = 1 << 20


class ZarrBlocks(Alternative):
    """Chunks of about a megabyte, not compressed: for views."""

    name = "zarr, chunks of 1 MB"
    needs = ("zarr",)

    def write(self, arrays: Arrays) -> None:
        write_blocks(self.place, arrays)

    def open(self, arrays: Arrays) -> None:
        import zarr

        group = zarr.open_group(self.place, mode="r")
        self._arrays: dict[str, Any] = {name: group[name] for name in arrays}

    def read(self, rows: np.ndarray, first: First) -> dict[str, np.ndarray]:
        return {
            name: np.asarray(array.oindex[rows, part(name, first)])
            for name, array in self._arrays.items()
        }

    def close(self) -> None:
        self._arrays.clear()


class ZarrRecords(ZarrBlocks):
    """A chunk a record, bits shuffled and LZ4, in Blosc: for records."""

    name = "zarr, a chunk a record, Blosc LZ4"

    def write(self, arrays: Arrays) -> None:
        write_records(self.place, arrays)


def write_blocks(place: Path, arrays: Arrays) -> None:
    """Chunks of about a megabyte, not compressed."""
    for name, values in arrays.items():
        rows = min(len(values), max(1, MEGABYTE // values[0].nbytes))
        _write(place, name, values, rows=rows, compressors=None)


def write_records(place: Path, arrays: Arrays) -> None:
    """A chunk a record, Blosc with bit shuffle and LZ4."""
    from zarr.codecs import BloscCodec

    codec = BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle")
    for name, values in arrays.items():
        _write(place, name, values, rows=1, compressors=codec)


def _write(place: Path, name: str, values: np.ndarray, *, rows: int, compressors: Any) -> None:
    import zarr

    array = zarr.open_group(place, mode="a").create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=(rows, *values.shape[1:]),
        compressors=compressors,
    )
    array[:] = values
