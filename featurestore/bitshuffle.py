"""The bitshuffle filters (LZ4, Zstandard) without HDF5: many records a call, prefixes of them.

A chunk (:mod:`featurestore.filter_blocks`) whose last ``values % 8`` values stand as they are behind the
blocks. Blocks are independent, so a prefix of a record is decoded without its rest: the
zero tail of a short text costs nothing to read. With LZ4 the work is done by
:mod:`featurestore.native` where it can be, and by hdf5plugin otherwise.

hdf5plugin's code trusts the sizes that blocks state. :func:`checked_blocks` follows them first, so that
it never reads beyond a chunk.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from functools import cache
from typing import Literal

import numpy as np

from featurestore import native
from featurestore.filter_blocks import HEADER, WRONG_HEADER, Damage, ends, header, headers, library
from featurestore.native import Rounded

Packing = Literal["lz4", "zstd"]

ZSTD_LEVEL = 3  # chosen here: higher levels gain under 1 % on encoder features


@cache
def _library() -> ctypes.CDLL:
    """hdf5plugin's bitshuffle library with its signatures declared."""
    lib = library("bshuf")
    size, pointer = ctypes.c_size_t, ctypes.c_void_p
    for name in ("bshuf_compress_lz4_bound", "bshuf_default_block_size"):
        getattr(lib, name).restype = size
    lib.bshuf_compress_lz4_bound.argtypes = [size] * 3
    lib.bshuf_compress_zstd_bound.restype = size
    lib.bshuf_compress_zstd_bound.argtypes = [size] * 3
    lib.bshuf_default_block_size.argtypes = [size]
    for name in ("bshuf_compress_lz4", "bshuf_decompress_lz4", "bshuf_decompress_zstd"):
        getattr(lib, name).restype = ctypes.c_int64
        getattr(lib, name).argtypes = [pointer, pointer, size, size, size]
    lib.bshuf_compress_zstd.restype = ctypes.c_int64
    lib.bshuf_compress_zstd.argtypes = [pointer, pointer, size, size, size, ctypes.c_int]
    return lib


def encode(record: np.ndarray, packing: Packing) -> np.ndarray:
    """(bytes,) uint8, the chunk of a C-contiguous record."""
    return encode_by(_kernels(packing, record.itemsize), record, packing)


def encode_by(kernels: native.Bits | None, record: np.ndarray, packing: Packing) -> np.ndarray:
    """The same chunk, made by ``lz4`` kernels, or by hdf5plugin alone."""
    block, bound, head = _layout(record.size, record.itemsize, packing)
    out = np.empty(HEADER + bound, np.uint8)
    out[:HEADER] = head
    args = (record.ctypes.data, out.ctypes.data + HEADER, record.size, record.itemsize, block)
    if kernels is not None:
        used = kernels.encode(record, out[HEADER:], block)
    elif packing == "zstd":
        used = _library().bshuf_compress_zstd(*args, ZSTD_LEVEL)
    else:
        used = _library().bshuf_compress_lz4(*args)
    if used < 0:
        raise RuntimeError(f"bitshuffle could not compress a record (code {used})")
    return out[: HEADER + used]


def round_and_encode(
    records: Sequence[np.ndarray], shape: tuple[int, ...], align: int
) -> Rounded | None:
    """The ``lz4`` chunks of float32 records rounded to float16; None where there is no kernel for them.

    Args:
        records: of any shape, dtype and order; a kernel is there for C-contiguous float32 (n_i, W).
        shape: (S, W) of a whole record, zero behind its own n_i rows.
        align: chunks begin at multiples of it.
    """
    kernels = _kernels("lz4", 2)
    if kernels is None or len(shape) != 2 or not all(_fits(record, shape) for record in records):
        return None
    whole = math.prod(shape)
    block, most, head = _layout(whole, 2, "lz4")
    return kernels.round_and_encode(
        records, whole=whole, block=block, header=head, most=most, align=align
    )


def _fits(record: np.ndarray, shape: tuple[int, ...]) -> bool:
    as_needed = record.dtype == np.float32 and record.flags.c_contiguous
    return bool(as_needed and record.shape[1:] == shape[1:] and len(record) <= shape[0])


@cache
def _layout(values: int, item: int, packing: Packing) -> tuple[int, int, np.ndarray]:
    """Values a block, most bytes of all blocks, and (12,) uint8 header of records of this size."""
    lib = _library()
    block = lib.bshuf_default_block_size(item)
    bound = getattr(lib, f"bshuf_compress_{packing}_bound")(values, item, block)
    return block, bound, header(values * item, block * item)


def checked_blocks(
    data: np.ndarray, starts: np.ndarray, sizes: np.ndarray, *, whole: int, item: int
) -> np.ndarray | Damage:
    """(n,) int64 values a block of chunks that can be decoded without reading beyond them.

    Args:
        data: (bytes,) uint8 they lie in.
        starts, sizes: (n,) int64 where; all inside ``data``.
        whole: number of values of a record, ``item`` bytes each.
    """
    found = headers(data, starts, sizes)
    if isinstance(found, Damage):
        return found
    stated, block_bytes = found
    wrong = (stated != whole * item) | (block_bytes == 0) | (block_bytes % (8 * item) != 0)
    if wrong.any():
        return Damage(int(np.argmax(wrong)), WRONG_HEADER)
    blocks = block_bytes // item
    rest = whole % 8
    cut = ends(data, starts, sizes, -(-(whole - rest) // blocks)) + rest * item > starts + sizes
    if cut.any():
        return Damage(int(np.argmax(cut)), "it ends before its last block")
    return blocks


def _kernels(packing: Packing, item: int) -> native.Bits | None:
    """What does it faster than hdf5plugin, if anything does."""
    return native.bits() if packing == "lz4" and item in native.ITEMS else None


def checks_itself(packing: Packing, item: int) -> bool:
    """Whether the :func:`decoder` needs no :func:`checked_blocks`."""
    return _kernels(packing, item) is not None


def decoder(
    packing: Packing,
    data: np.ndarray,
    starts: np.ndarray,
    sizes: np.ndarray,
    blocks: np.ndarray,
    values: np.ndarray,
    *,
    whole: int,
    out: np.ndarray,
) -> Decoder | native.Decoder:
    """The fastest decoder there is, see :class:`Decoder`."""
    kernels = _kernels(packing, out.itemsize)
    if kernels is not None:
        return native.Decoder(kernels, data, starts, sizes, values, whole=whole, out=out)
    return Decoder(packing, data, starts, blocks, values, whole=whole, out=out)


class Decoder:
    """Decodes prefixes of records, whose chunks lie in one array of bytes.

    Args:
        data: (bytes,) uint8, usually the memory map of the file.
        starts: (n,) int64 where the chunks begin.
        blocks: (n,) int64, of :func:`checked_blocks`.
        values: (n,) int64 how many values of each record are wanted.
        whole: number of values of a whole record.
        out: (n, …) C-contiguous destination; what it has beyond the ``values`` becomes zero.
    """

    def __init__(
        self,
        packing: Packing,
        data: np.ndarray,
        starts: np.ndarray,
        blocks: np.ndarray,
        values: np.ndarray,
        *,
        whole: int,
        out: np.ndarray,
    ) -> None:
        self._item = out.itemsize
        self._whole = whole
        self._out = out.reshape(len(out), math.prod(out.shape[1:]))
        self._decode = getattr(_library(), f"bshuf_decompress_{packing}")
        # to the end of the last block, where there is room for it; otherwise that one goes elsewhere
        rounded = np.minimum(-(-values // blocks) * blocks, whole)
        direct = np.where(rounded <= self._out.shape[1], rounded, values // blocks * blocks)
        columns = (
            data.ctypes.data + starts + HEADER,
            out.ctypes.data + self._out.shape[1] * self._item * np.arange(len(out)),
            direct,
            blocks,
            values,
        )
        self._work = list(zip(*(column.tolist() for column in columns), strict=True))

    def decode(self, records: range) -> Damage | None:
        """Decode some records; several threads may, each its own.

        The loop is short because threads wait for Python's lock between two calls.
        """
        decode, item, out, width = self._decode, self._item, self._out, self._out.shape[1]
        for record in records:
            source, target, direct, block, values = self._work[record]
            used = decode(source, target, direct, item, block) if direct else 0
            if used >= 0 and direct < values:
                used = self._last_block(record, used)
            if used < 0:
                return Damage(record, f"the compressed record does not decode (code {used})")
            if values < width:
                out[record, values:] = 0
        return None

    def _last_block(self, record: int, used: int) -> int:
        """Decode a block that reaches past the array; bytes used by now, or an error code."""
        source, _, direct, block, values = self._work[record]
        rest = np.empty(min(block, self._whole - direct), self._out.dtype)
        more = self._decode(source + used, rest.ctypes.data, rest.size, self._item, block)
        self._out[record, direct:values] = rest[: values - direct]
        return int(more if more < 0 else used + more)
