"""Empty the page cache of one file, without special rights, and see what is in it."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from featurestore.catalog import Extent

#: A larger share of a file left in memory is not cold.
_WARM = 0.02


class StaysWarm(Exception):
    """The system does not let go of the file: nothing cold can be measured."""


def drop(path: Path) -> None:
    """Ask the kernel to forget the file; pages that are dirty, or in someone's map, stay.

    Raises:
        StaysWarm: this system has no such call.
    """
    if not hasattr(os, "posix_fadvise"):
        raise StaysWarm("this system has no posix_fadvise")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def resident_bytes(path: Path, extents: Iterable[Extent]) -> int:
    """Bytes of these arrays' pages that are in the page cache; asking reads none of them.

    Raises:
        StaysWarm: this system cannot tell.
    """
    mincore = getattr(ctypes.CDLL(None, use_errno=True), "mincore", None)
    if mincore is None:
        raise StaysWarm("this system has no mincore")
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    start = np.frombuffer(mapped, np.uint8).ctypes.data
    pages = np.zeros(-(-len(mapped) // mmap.PAGESIZE), np.uint8)
    code = mincore(
        ctypes.c_void_p(start), ctypes.c_size_t(len(mapped)), ctypes.c_void_p(pages.ctypes.data)
    )
    if code:
        raise StaysWarm(f"mincore fails: {os.strerror(ctypes.get_errno())}")
    wanted = np.zeros(len(pages), bool)
    for extent in extents:
        last = extent.offset + extent.nbytes - 1
        wanted[extent.offset // mmap.PAGESIZE : last // mmap.PAGESIZE + 1] = True
    return int((pages[wanted] & 1).sum()) * mmap.PAGESIZE


def read_in(path: Path) -> None:
    """Bring a file into the page cache."""
    with path.open("rb") as file:
        while file.read(8 << 20):
            pass


def empty(path: Path) -> None:
    """Drop a file from the page cache, and make sure that it is gone.

    Raises:
        StaysWarm: it is not.
    """
    drop(path)
    size = path.stat().st_size
    left = resident_bytes(path, [Extent(0, (size,), np.dtype(np.uint8))])
    if left > max(_WARM * size, 1 << 16):
        raise StaysWarm(f"{left / size:.0%} of the store stay in the page cache when dropped")
