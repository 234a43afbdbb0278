"""Stores changed by h5py, as other programs may write them: HDF5 without a header of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from featurestore.hdf5 import SUPERBLOCK_BYTES
from featurestore.header import FIRST_PAGE


def remove_header(path: Path) -> None:
    """Make a store one that another program could have written."""
    with path.open("r+b") as file:
        file.seek(SUPERBLOCK_BYTES)
        file.write(bytes(FIRST_PAGE - SUPERBLOCK_BYTES))


@contextmanager
def edited(path: Path) -> Iterator[h5py.File]:
    """Change anything in a store, which has no header from then on."""
    remove_header(path)
    with h5py.File(path, "r+") as file:
        yield file
