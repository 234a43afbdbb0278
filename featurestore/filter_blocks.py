"""What HDF5's block filters have in common: a library of hdf5plugin, a header, blocks with their sizes.

A chunk of bitshuffle or LZ4: 8 bytes size of the decoded record, 4 bytes size of a block, then the
blocks, each 4 bytes size and so many bytes. All sizes are big-endian. Whoever wrote a chunk may have
lied: what is here finds out, for many chunks at once, before C code is handed one.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass

import hdf5plugin
import numpy as np

from featurestore.errors import StoreError

HEADER = 12


@dataclass(frozen=True, slots=True)
class Damage:
    """``record``: the place, among those asked for, of a chunk that is not what ``encode`` makes."""

    record: int
    why: str


WRONG_HEADER = "the header of the compressed record is wrong"


def library(name: str) -> ctypes.CDLL:
    """hdf5plugin's library whose file has this in its name; calls into it release Python's lock.

    Raises:
        StoreError: there is none.
    """
    folder = hdf5plugin.PLUGIN_PATH
    found = [file for file in os.listdir(folder) if name in file]
    if not found:
        raise StoreError(
            f"hdf5plugin has no library {name}", where=folder, hint="reinstall hdf5plugin"
        )
    return ctypes.CDLL(os.path.join(folder, found[0]))


def header(decoded: int, block: int) -> np.ndarray:
    """(12,) uint8, the header of a chunk: bytes of the record, and of a block."""
    return np.frombuffer(decoded.to_bytes(8, "big") + block.to_bytes(4, "big"), np.uint8)


def headers(
    data: np.ndarray, starts: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | Damage:
    """(n,) uint64 stated bytes of each decoded record, (n,) int64 stated bytes of its blocks.

    Args:
        data: (bytes,) uint8 the chunks lie in.
        starts, sizes: (n,) int64 where; all inside ``data``.
    """
    headless = np.flatnonzero(sizes < HEADER)
    if len(headless):
        return Damage(int(headless[0]), "it ends before its header does")
    head = data[starts[:, None] + np.arange(HEADER)]
    decoded = np.ascontiguousarray(head[:, :8]).view(">u8")[:, 0]
    return decoded, np.ascontiguousarray(head[:, 8:]).view(">u4")[:, 0].astype(np.int64)


def ends(data: np.ndarray, starts: np.ndarray, sizes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(n,) int64 where the last block of each chunk ends, by the sizes that its blocks state.

    Beyond the chunk where one of them does; what follows it is then not looked at.

    Args:
        counts: (n,) int64 how many blocks each chunk has, by its header.
    """
    counts = np.minimum(counts, sizes // 4)  # so many blocks end beyond the chunk, however small
    order = np.argsort(-counts)
    found, last = starts[order] + HEADER, (starts + sizes)[order] - 4
    stated = np.ndarray((max(len(data) - 3, 0),), ">u4", data, strides=(1,))  # at any byte
    for step in range(counts.max(initial=0)):
        walking = found[: np.count_nonzero(counts > step)]
        walking += stated[np.minimum(walking, last[: len(walking)])]
        walking += 4
    in_order = np.empty_like(found)
    in_order[order] = found
    return in_order
