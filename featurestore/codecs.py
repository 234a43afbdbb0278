"""Compress and decompress one record the way the standard HDF5 filters do, without HDF5's lock.

A record is one HDF5 chunk. Encoding here and writing with ``write_direct_chunk`` produces the very
bytes the filter pipeline would, so any HDF5 program with the hdf5plugin filters reads them; decoding
here reads straight from the memory map. bitshuffle comes from the shared library that hdf5plugin
ships (its C calls release Python's lock), gzip from the standard library.

bitshuffle chunk: 8 bytes big-endian size of the decoded record, 4 bytes big-endian block size in
bytes, then the blocks. Blocks are independent, so a prefix of a record is decoded without its rest:
the zero tail of a short text costs nothing to read.
"""

from __future__ import annotations

import ctypes
import os
import zlib
from dataclasses import dataclass
from functools import cache
from struct import Struct
from typing import Any, Literal

import hdf5plugin
import numpy as np

from featurestore.errors import StoreError

Compression = Literal["lz4", "zstd", "gzip", "none"]
COMPRESSIONS: tuple[Compression, ...] = ("lz4", "zstd", "gzip", "none")

BITSHUFFLE, GZIP, SHUFFLE = 32008, 1, 2
_HEADER = 12
_LZ4, _ZSTD = 2, 3
_ZSTD_LEVEL = 3  # chosen here: higher levels gain under 1 % on encoder features
_GZIP_LEVEL = 4  # chosen here: level 9 takes four times as long for 1 %


@cache
def _library() -> ctypes.CDLL:
    """hdf5plugin's bitshuffle library with its signatures declared."""
    folder = hdf5plugin.PLUGIN_PATH
    names = [n for n in os.listdir(folder) if "bshuf" in n]
    if not names:
        raise StoreError(
            "hdf5plugin has no bitshuffle library", where=folder, hint="reinstall hdf5plugin"
        )
    lib = ctypes.CDLL(os.path.join(folder, names[0]))
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


@dataclass(frozen=True, slots=True)
class Codec:
    """How the records of one field are stored."""

    compression: Compression

    def create_options(self) -> dict[str, Any]:
        """Keyword arguments of ``h5py.Group.create_dataset`` that declare the filters."""
        match self.compression:
            case "lz4":
                return dict(hdf5plugin.Bitshuffle(nelems=0, cname="lz4"))
            case "zstd":
                return dict(hdf5plugin.Bitshuffle(nelems=0, cname="zstd", clevel=_ZSTD_LEVEL))
            case "gzip":
                return {"compression": "gzip", "compression_opts": _GZIP_LEVEL, "shuffle": True}
            case "none":
                return {}

    def encode(self, record: np.ndarray) -> bytes:
        """The chunk bytes of a C-contiguous record."""
        match self.compression:
            case "gzip":
                return zlib.compress(_byte_shuffle(record), _GZIP_LEVEL)
            case "none":
                return record.tobytes()
            case _:
                return self._bitshuffle(record)

    def _bitshuffle(self, record: np.ndarray) -> bytes:
        lib, item = _library(), record.itemsize
        block = lib.bshuf_default_block_size(item)
        bound = getattr(lib, f"bshuf_compress_{self.compression}_bound")(record.size, item, block)
        out = np.empty(_HEADER + bound, np.uint8)
        out[:8] = np.frombuffer(record.nbytes.to_bytes(8, "big"), np.uint8)
        out[8:_HEADER] = np.frombuffer((block * item).to_bytes(4, "big"), np.uint8)
        args = (record.ctypes.data, out.ctypes.data + _HEADER, record.size, item, block)
        if self.compression == "zstd":
            used = lib.bshuf_compress_zstd(*args, _ZSTD_LEVEL)
        else:
            used = lib.bshuf_compress_lz4(*args)
        if used < 0:
            raise RuntimeError(f"bitshuffle could not compress a record (code {used})")
        return out[: _HEADER + used].tobytes()

    def decode_into(self, chunk: np.ndarray, out: np.ndarray, *, whole: int, where: str) -> None:
        """Decode the first ``out.size`` values of a record.

        Args:
            chunk: (stored bytes,) uint8, usually a view of the memory map.
            out: C-contiguous destination, filled completely.
            whole: number of values of the whole record.
            where: ``file::/table/field[row]``, for the error.

        Raises:
            StoreError: the chunk is not what this codec writes.
        """
        match self.compression:
            case "gzip":
                self._inflate(chunk, out, whole=whole, where=where)
            case "none":
                flat = out.reshape(-1).view(np.uint8)
                if chunk.size < flat.size:
                    raise _damaged(where, f"{chunk.size} bytes where {flat.size} are needed")
                flat[:] = chunk[: flat.size]
            case _:
                self._bitunshuffle(chunk, out, whole=whole, where=where)

    def _inflate(self, chunk: np.ndarray, out: np.ndarray, *, whole: int, where: str) -> None:
        size = whole * out.itemsize
        inflater = zlib.decompressobj()
        try:
            raw = inflater.decompress(
                chunk.data, size + 1
            )  # one more, so that the checksum is read
        except zlib.error as error:
            raise _damaged(where, str(error)) from error
        if len(raw) != size or not inflater.eof:
            raise _damaged(where, f"it ends before its {size} bytes, or holds more")
        planes = np.frombuffer(raw, np.uint8).reshape(out.itemsize, whole)
        out.reshape(-1).view(np.uint8).reshape(out.size, out.itemsize)[:] = planes[:, : out.size].T

    def _bitunshuffle(self, chunk: np.ndarray, out: np.ndarray, *, whole: int, where: str) -> None:
        item = out.itemsize
        head = chunk[:_HEADER].tobytes()
        size, block_bytes = int.from_bytes(head[:8], "big"), int.from_bytes(head[8:], "big")
        if (
            len(head) < _HEADER
            or size != whole * item
            or not block_bytes
            or block_bytes % (8 * item)
        ):
            raise _damaged(where, "the header of the compressed record is wrong")
        decode = getattr(_library(), f"bshuf_decompress_{self.compression}")
        block = block_bytes // item
        if _blocks_end(chunk, out.size, whole=whole, block=block, item=item) > chunk.size:
            raise _damaged(where, "it ends before its last block")  # the C code would read on
        source = chunk.ctypes.data + _HEADER
        direct = out.size if out.size == whole else out.size // block * block
        used = decode(source, out.ctypes.data, direct, item, block) if direct else 0
        if used >= 0 and direct < out.size:  # the last block reaches past what was asked for
            rest = np.empty(min(block, whole - direct), out.dtype)
            more = decode(source + used, rest.ctypes.data, rest.size, item, block)
            out.reshape(-1)[direct:] = rest[: out.size - direct]
            used = min(more, 0) or used + more
        if used < 0 or used > chunk.size - _HEADER:
            raise _damaged(where, f"the compressed record does not decode (code {used})")


_block_size = Struct(">I").unpack_from


def _blocks_end(chunk: np.ndarray, values: int, *, whole: int, block: int, item: int) -> int:
    """Where the blocks that hold the first ``values`` of a record end, by the sizes they state.

    A block is a 4-byte big-endian size and so many bytes; the last ``whole % 8`` values of a record
    stand uncompressed behind the blocks. A size beyond the chunk ends the walk.
    """
    packed = whole - whole % 8
    end = _HEADER
    for _ in range(-(-min(values, packed) // block)):
        if end + 4 > chunk.size:
            return end + 4
        end += 4 + _block_size(chunk.data, end)[0]
    last_block = packed // block * block
    return end + (whole % 8 * item if values > last_block else 0)


def _byte_shuffle(record: np.ndarray) -> bytes:
    """HDF5's shuffle filter: all first bytes, then all second bytes, …"""
    return record.reshape(-1).view(np.uint8).reshape(record.size, record.itemsize).T.tobytes()


def _damaged(where: str, why: str) -> StoreError:
    return StoreError(f"damaged record: {why}", where=where, hint="copy or ingest the store again")


def codec_of(filters: list[tuple[int, tuple[int, ...]]], *, where: str) -> Codec:
    """The codec that reads a dataset's HDF5 filter list ``[(filter id, client data), …]``.

    Raises:
        StoreError: the filters are none of those this format allows.
    """
    match filters:
        case []:
            return Codec("none")
        case [(kind, values)] if (
            kind == BITSHUFFLE and len(values) > 4 and values[4] in (_LZ4, _ZSTD)
        ):
            return Codec("lz4" if values[4] == _LZ4 else "zstd")
        case [(first, _), (second, _)] if (first, second) == (SHUFFLE, GZIP):
            return Codec("gzip")
    raise StoreError(
        f"unknown compression filters {[kind for kind, _ in filters]}",
        where=where,
        hint="format 1 allows bitshuffle+LZ4, bitshuffle+Zstandard, shuffle+gzip, or none",
    )
