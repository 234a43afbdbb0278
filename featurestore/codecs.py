"""Compress and decompress one record the way the standard HDF5 filters do, without HDF5's lock.

A record is one HDF5 chunk. Encoding here and writing with ``write_direct_chunk`` produces the very
bytes the filter pipeline would, so any HDF5 program with the hdf5plugin filters reads them; decoding
here reads straight from the memory map: LZ4 (:mod:`featurestore.lz4`), bitshuffle
(:mod:`featurestore.bitshuffle`), or shuffle and gzip of the standard library.
"""

from __future__ import annotations

import math
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np

from featurestore import bitshuffle, lz4
from featurestore.bitshuffle import ZSTD_LEVEL
from featurestore.errors import StoreError
from featurestore.filter_blocks import Damage

Compression = Literal["lz4", "lz4-fast", "zstd", "gzip", "none"]
COMPRESSIONS: tuple[Compression, ...] = ("lz4", "lz4-fast", "zstd", "gzip", "none")

#: Of records, unless another one is asked for.
DEFAULT_COMPRESSION: Compression = "lz4"

LZ4, BITSHUFFLE, GZIP, SHUFFLE = 32004, 32008, 1, 2
_LZ4, _ZSTD = 2, 3
_BITSHUFFLE_VERSION = (0, 4)  # of the filter, which writes it into the file
_GZIP_LEVEL = 4  # chosen here: level 9 takes four times as long for 1 %


class Chunks(NamedTuple):
    """Where the chunks of n records lie: all inside ``data``."""

    data: np.ndarray  # (bytes,) uint8, usually the memory map of the file
    starts: np.ndarray  # (n,) int64
    sizes: np.ndarray  # (n,) int64


class Decoder(Protocol):
    """Decodes the first values of each of some records into one array."""

    def decode(self, records: range) -> Damage | None:
        """Decode some records; several threads may, each its own."""


@dataclass(frozen=True, slots=True)
class Codec:
    """How the records of one field are stored."""

    compression: Compression

    def filters(self, item: int) -> list[tuple[int, tuple[int, ...]]]:
        """HDF5's filters that undo :meth:`encode`, each with its client values.

        Args:
            item: bytes of a value.
        """
        match self.compression:
            case "lz4-fast":
                return [(LZ4, (0,))]  # a block is a record
            case "lz4":
                return [(BITSHUFFLE, (*_BITSHUFFLE_VERSION, item, 0, _LZ4))]
            case "zstd":
                return [(BITSHUFFLE, (*_BITSHUFFLE_VERSION, item, 0, _ZSTD, ZSTD_LEVEL))]
            case "gzip":
                return [(SHUFFLE, (item,)), (GZIP, (_GZIP_LEVEL,))]
            case "none":
                return []

    def encode(self, record: np.ndarray) -> np.ndarray:
        """(bytes,) uint8, the chunk of a C-contiguous record."""
        match self.compression:
            case "lz4-fast":
                return lz4.encode(record)
            case "gzip":
                return np.frombuffer(zlib.compress(_byte_shuffle(record), _GZIP_LEVEL), np.uint8)
            case "none":
                return record.reshape(-1).view(np.uint8)
            case packing:
                return bitshuffle.encode(record, packing)

    def checked_blocks(self, chunks: Chunks, *, whole: int, item: int) -> np.ndarray | Damage:
        """(n,) int64 sizes of blocks, above 0, of chunks that are safe to decode; or one that is not.

        They are for :meth:`decoder`, and each compression has its unit.

        Args:
            whole: number of values of a record, ``item`` bytes each.
        """
        match self.compression:
            case "lz4-fast":
                return lz4.checked_blocks(*chunks, whole=whole, item=item)
            case "lz4" | "zstd" as packing if not bitshuffle.checks_itself(packing, item):
                return bitshuffle.checked_blocks(*chunks, whole=whole, item=item)
            case _:  # the decoder checks what it reads
                return np.full(len(chunks.starts), whole or 1)

    def decoder(
        self,
        chunks: Chunks,
        blocks: np.ndarray,
        values: np.ndarray,
        *,
        whole: int,
        out: np.ndarray,
    ) -> Decoder:
        """What decodes records.

        Args:
            blocks: (n,) int64, of :meth:`checked_blocks`.
            values: (n,) int64 how many values of each record are wanted.
            whole: number of values of a whole record.
            out: (n, …) C-contiguous destination; what it has beyond the ``values`` becomes zero.
        """
        match self.compression:
            case "lz4-fast":
                return lz4.Decoder(*chunks, blocks, values, whole=whole, out=out)
            case "gzip":
                return _Inflating(chunks, values, whole=whole, out=out)
            case "none":
                return _Copying(chunks, values, whole=whole, out=out)
            case packing:
                return bitshuffle.decoder(packing, *chunks, blocks, values, whole=whole, out=out)


def decode_record(codec: Codec, chunk: np.ndarray, out: np.ndarray) -> Damage | None:
    """Decode the chunk of one record, (bytes,) uint8, into all of ``out``; what is wrong with it."""
    chunks = Chunks(chunk, np.zeros(1, np.int64), np.array([len(chunk)]))
    blocks = codec.checked_blocks(chunks, whole=out.size, item=out.itemsize)
    if isinstance(blocks, Damage):
        return blocks
    values = np.array([out.size])
    return codec.decoder(chunks, blocks, values, whole=out.size, out=out[None]).decode(range(1))


class _OneByOne(ABC):
    """What decodes records one after the other, each as a whole."""

    @abstractmethod
    def fill(self, chunk: np.ndarray, wanted: np.ndarray) -> str:
        """Decode (bytes,) uint8 into (bytes,) uint8; what is wrong with it, or nothing."""

    def __init__(self, chunks: Chunks, values: np.ndarray, *, whole: int, out: np.ndarray) -> None:
        self._chunks = chunks
        self._values = values
        self._whole = whole
        self._out = out.reshape(len(out), math.prod(out.shape[1:]))

    def decode(self, records: range) -> Damage | None:
        for record in records:
            start, size = int(self._chunks.starts[record]), int(self._chunks.sizes[record])
            out, values = self._out[record], int(self._values[record])
            why = self.fill(self._chunks.data[start : start + size], out[:values].view(np.uint8))
            if why:
                return Damage(record, why)
            out[values:] = 0
        return None


class _Inflating(_OneByOne):
    def fill(self, chunk: np.ndarray, wanted: np.ndarray) -> str:
        item = self._out.itemsize
        size = self._whole * item
        inflater = zlib.decompressobj()
        try:  # one byte more than there is, so that the checksum is read
            raw = inflater.decompress(chunk.data, size + 1)
        except zlib.error as error:
            return str(error)
        if len(raw) != size or not inflater.eof:
            return f"it ends before its {size} bytes, or holds more"
        planes = np.frombuffer(raw, np.uint8).reshape(item, self._whole)
        values = wanted.reshape(-1, item)
        values[:] = planes[:, : len(values)].T
        return ""


class _Copying(_OneByOne):
    def fill(self, chunk: np.ndarray, wanted: np.ndarray) -> str:
        if chunk.size < wanted.size:
            return f"{chunk.size} bytes where {wanted.size} are needed"
        wanted[:] = chunk[: wanted.size]
        return ""


def _byte_shuffle(record: np.ndarray) -> bytes:
    """HDF5's shuffle filter: all first bytes, then all second bytes, …"""
    return record.reshape(-1).view(np.uint8).reshape(record.size, record.itemsize).T.tobytes()


def codec_of(filters: list[tuple[int, tuple[int, ...]]], *, where: str) -> Codec:
    """The codec that reads a dataset's HDF5 filter list ``[(filter id, client data), …]``.

    Raises:
        StoreError: the filters are none of those this format allows.
    """
    match filters:
        case []:
            return Codec("none")
        case [(kind, _)] if kind == LZ4:
            return Codec("lz4-fast")
        case [(kind, values)] if (
            kind == BITSHUFFLE and len(values) > 4 and values[4] in (_LZ4, _ZSTD)
        ):
            return Codec("lz4" if values[4] == _LZ4 else "zstd")
        case [(first, _), (second, _)] if (first, second) == (SHUFFLE, GZIP):
            return Codec("gzip")
    raise StoreError(
        f"unknown compression filters {[kind for kind, _ in filters]}",
        where=where,
        hint="format 1 allows LZ4, bitshuffle+LZ4, bitshuffle+Zstandard, shuffle+gzip, or none",
    )
