"""HDF5's LZ4 filter (32004) without HDF5: many records a call, prefixes of them.

A chunk (:mod:`featurestore.filter_blocks`) whose blocks are LZ4; one that is as large as what it decodes
to is stored as it is. Ours have one block: LZ4 is decoded up to any byte, so the zero tail of a short
text costs nothing to read. Other programs may cut a record into several. Bits are not shuffled: undoing
that is most of bitshuffle's work (docs/decisions/records.md).
"""

from __future__ import annotations

import ctypes
import math
from functools import cache

import numpy as np

from featurestore.filter_blocks import HEADER, WRONG_HEADER, Damage, ends, header, headers, library

#: LZ4's acceleration (chosen here: 1 compresses half as fast; docs/decisions/records.md has the figures).
ACCELERATION = 16

#: The share of its size that a compressed block may have (chosen here: what is not an eighth smaller is
#: read twice as fast as it is).
_WORTH = 7 / 8

#: Bytes of a block, where a record is larger: those of the filter, unless it is told otherwise.
_BLOCK = 1 << 30

#: Bytes that LZ4 can take at once (LZ4_MAX_INPUT_SIZE).
_MOST = 0x7E000000

_SIZE = 4  # bytes in which a block states its size


@cache
def _library() -> ctypes.CDLL:
    """hdf5plugin's LZ4 with its signatures declared."""
    lib = library("h5lz4")
    pointer, number = ctypes.c_void_p, ctypes.c_int
    lib.LZ4_compress_fast.argtypes = [pointer, pointer, number, number, number]
    lib.LZ4_decompress_safe.argtypes = [pointer, pointer, number, number]
    lib.LZ4_decompress_safe_partial.argtypes = [pointer, pointer, number, number, number]
    return lib


def encode(record: np.ndarray, *, acceleration: int = ACCELERATION) -> np.ndarray:
    """(bytes,) uint8, the chunk of a C-contiguous record."""
    raw = record.reshape(-1).view(np.uint8)
    block = max(1, min(len(raw), _BLOCK))
    firsts = range(0, len(raw), block)
    out = np.empty(HEADER + _SIZE * len(firsts) + len(raw), np.uint8)
    out[:HEADER] = header(len(raw), block)
    end = HEADER
    for first in firsts:
        piece = raw[first : first + block]
        target = out[end + _SIZE : end + _SIZE + len(piece)]
        used = _library().LZ4_compress_fast(
            piece.ctypes.data,
            target.ctypes.data,
            len(piece),
            int(len(piece) * _WORTH),
            acceleration,
        )
        if not used:  # not small enough
            target[:] = piece
            used = len(piece)
        out[end : end + _SIZE] = np.frombuffer(used.to_bytes(_SIZE, "big"), np.uint8)
        end += _SIZE + used
    return out[:end]


def checked_blocks(
    data: np.ndarray, starts: np.ndarray, sizes: np.ndarray, *, whole: int, item: int
) -> np.ndarray | Damage:
    """(n,) int64 bytes a block, above 0, of chunks that can be decoded without reading beyond them.

    Args:
        data: (bytes,) uint8 they lie in.
        starts, sizes: (n,) int64 where; all inside ``data``.
        whole: number of values of a record, ``item`` bytes each.
    """
    decoded = whole * item
    found = headers(data, starts, sizes)
    if isinstance(found, Damage):
        return found
    stated, blocks = found
    blocks = np.minimum(blocks, max(1, decoded))
    wrong = (stated != decoded) | (blocks == 0) | (blocks > _MOST)
    if wrong.any():
        return Damage(int(np.argmax(wrong)), WRONG_HEADER)
    counts = -(-decoded // blocks)
    over = ends(data, starts, sizes, counts) - (starts + sizes)
    if over.any():
        place = int(np.argmax(over != 0))
        what = "ends before its last block" if over[place] > 0 else "goes on behind its last block"
        return Damage(place, f"it {what}")
    grown = sizes > HEADER + _SIZE * counts + decoded
    if grown.any():
        return Damage(int(np.argmax(grown)), "it is larger than what it holds")
    return blocks


class Decoder:
    """Decodes prefixes of records, whose chunks lie in one array of bytes.

    Args:
        data: (bytes,) uint8, usually the memory map of the file.
        starts, sizes: (n,) int64 where the chunks are.
        blocks: (n,) int64, of :func:`checked_blocks`.
        values: (n,) int64 how many values of each record are wanted.
        whole: number of values of a whole record.
        out: (n, …) C-contiguous destination; what it has beyond the ``values`` becomes zero.
    """

    def __init__(
        self,
        data: np.ndarray,
        starts: np.ndarray,
        sizes: np.ndarray,
        blocks: np.ndarray,
        values: np.ndarray,
        *,
        whole: int,
        out: np.ndarray,
    ) -> None:
        self._data = data
        self._starts = starts
        self._blocks = blocks
        self._whole = whole * out.itemsize
        self._out = out.reshape(len(out), math.prod(out.shape[1:])).view(np.uint8)
        columns = (
            data.ctypes.data + starts + HEADER + _SIZE,
            out.ctypes.data + self._out.shape[1] * np.arange(len(out)),
            sizes - HEADER - _SIZE,
            values * out.itemsize,
            blocks < self._whole,
        )
        self._work = list(zip(*(column.tolist() for column in columns), strict=True))

    def decode(self, records: range) -> Damage | None:
        """Decode some records; several threads may, each its own.

        The loop is short because threads wait for Python's lock between two calls.
        """
        out, whole, width = self._out, self._whole, self._out.shape[1]
        for record in records:
            source, target, size, wanted, cut = self._work[record]
            if cut:
                sound = self._several(record, target, wanted)
            else:
                sound = not wanted or _decode(source, target, size, whole, wanted)
            if not sound:
                return Damage(record, "the compressed record does not decode")
            if wanted < width:
                out[record, wanted:] = 0
        return None

    def _several(self, record: int, target: int, wanted: int) -> bool:
        """Decode a record of several blocks; whether all that is wanted was in them."""
        place, block, done = int(self._starts[record]) + HEADER, int(self._blocks[record]), 0
        while done < wanted:
            size = int.from_bytes(self._data[place : place + _SIZE].tobytes(), "big")
            place += _SIZE
            whole = min(block, self._whole - done)
            part = min(whole, wanted - done)
            if not _decode(self._data.ctypes.data + place, target + done, size, whole, part):
                return False
            place += size
            done += part
        return True


def _decode(source: int, target: int, size: int, whole: int, wanted: int) -> bool:
    """Decode the first bytes of a block of ``whole``; whether they were there.

    A block that is wanted in full must hold no more than that.
    """
    if size == whole:
        ctypes.memmove(target, source, wanted)
        return True
    lib = _library()
    if wanted == whole:
        return bool(lib.LZ4_decompress_safe(source, target, size, whole) == whole)
    return bool(lib.LZ4_decompress_safe_partial(source, target, size, wanted, wanted) == wanted)
