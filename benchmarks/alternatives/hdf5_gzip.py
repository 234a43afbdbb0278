"""HDF5 with HDF5's own filters, for the readers that know no others."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from benchmarks.alternatives.contract import Arrays

#: The level that ``drin-fs ingest --compression gzip`` uses.
_LEVEL = 4


def write_rows(place: Path, arrays: Arrays, *, gzip: bool) -> None:
    """A chunk a row: with byte shuffle and gzip, or as it is."""
    filters = {"compression": "gzip", "compression_opts": _LEVEL, "shuffle": True} if gzip else {}
    with h5py.File(place, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, chunks=(1, *values.shape[1:]), **filters)


def as_bits(arrays: Arrays) -> dict[str, np.ndarray]:
    """The same bytes, float16 called uint16."""
    return {
        name: values.view(np.uint16) if values.dtype == np.float16 else values
        for name, values in arrays.items()
    }
