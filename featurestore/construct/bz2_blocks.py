"""bzip2 on several threads, and from the middle of a file.

A bzip2 stream is a chain of independent blocks of at most 900 kB, which begin at any *bit*. Every block
starts with 48 bits that hardly occur elsewhere, then its own checksum. Each is cut out and given to
the standard library's decompressor as a stream of one block, whose checksum is that of the block. The
decompressor does not hold Python's lock, so threads do this side by side, whether the file was written
by bzip2 (one stream), lbzip2 or pbzip2 (many).

Where the 48 bits occur by chance within a block (once in 35 terabytes), what is cut there does not
decompress, and is joined to what follows.
"""

from __future__ import annotations

import bz2
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

_BLOCK, _END = 0x314159265359, 0x177245385090
_MAGIC_BITS, _CRC_BITS = 48, 32

#: Compressed bytes that are read at once.
_PIECE = 1 << 20

#: Compressed bytes in which a block must end: more than the largest one needs. A file with less order
#: than that is damaged, and memory stays flat.
_LONGEST = 4 << 20


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Block:
    """A decompressed block."""

    data: bytes
    first_bit: int  # of the file, where reading may begin again
    read: int  # compressed bytes up to its end


class Damaged(Exception):
    """A block that cannot be decompressed; the message says where."""


@dataclass(frozen=True, slots=True)
class _Segment:
    """The bits between two magic numbers."""

    value: int
    bits: int
    first_bit: int

    def joined(self, other: _Segment) -> _Segment:
        return _Segment(
            self.value << other.bits | other.value, self.bits + other.bits, self.first_bit
        )


def _patterns(magic: int) -> list[tuple[int, bytes]]:
    """The bytes that a magic number fills wholly, at each of the eight places in a byte."""
    found = []
    for shift in range(8):
        whole = (magic << (8 - shift)).to_bytes(7, "big")
        found.append((shift, whole[1:6] if shift else whole[:6]))
    return found


_NEEDLES = [
    (magic, shift, needle) for magic in (_BLOCK, _END) for shift, needle in _patterns(magic)
]


def _marks(data: bytes) -> list[tuple[int, bool]]:
    """Bits of ``data`` where a magic number begins, in order, and whether it begins a block."""
    found = []
    for magic, shift, needle in _NEEDLES:
        place = data.find(needle)
        while place >= 0:
            first = place - (1 if shift else 0)
            if first >= 0 and _bits(data, first * 8 + shift, _MAGIC_BITS) == magic:
                found.append((first * 8 + shift, magic == _BLOCK))
            place = data.find(needle, place + 1)
    return sorted(found)


def _bits(data: bytes, first: int, number: int) -> int:
    """So many bits of ``data``; -1 where it has not so many."""
    stop = first + number
    if stop > len(data) * 8:
        return -1
    raw = int.from_bytes(data[first // 8 : -(-stop // 8)], "big")
    return raw >> (-stop % 8) & ((1 << number) - 1)


def _segments(file: Readable, first_bit: int) -> Iterator[_Segment]:
    """The bits from every beginning of a block to the next magic number.

    Raises:
        Damaged: the file ends within a block, or there is none.
    """
    base = first_bit // 8  # of the file, where ``data`` begins
    data = b""
    begun = -1  # bit of ``data`` where an open block begins
    searched = 0  # bits of ``data`` before which every magic number is known
    while more := file.read(_PIECE):
        data += more
        start = searched // 8
        for place, is_block in _marks(data[start:]):
            mark = start * 8 + place
            if mark < searched or base * 8 + mark < first_bit:
                continue
            if begun >= 0:
                yield _Segment(_bits(data, begun, mark - begun), mark - begun, base * 8 + begun)
            begun = mark if is_block else -1
            searched = mark + _MAGIC_BITS
        searched = max(searched, len(data) * 8 - _MAGIC_BITS - 8, 0)
        keep = (begun if begun >= 0 else searched) // 8
        data, base = data[keep:], base + keep
        searched -= keep * 8
        begun -= keep * 8 if begun >= 0 else 0
        if len(data) > _LONGEST + _PIECE:
            raise Damaged(f"no end of the block that begins at byte {base:,}")
    if begun >= 0:
        raise Damaged(f"the file ends within the block that begins at byte {base:,}")


def _decompressed(segment: _Segment) -> bytes | None:
    """The content of a block; None where it is no whole one."""
    if segment.bits < _MAGIC_BITS + _CRC_BITS:
        return None
    crc = segment.value >> (segment.bits - _MAGIC_BITS - _CRC_BITS) & ((1 << _CRC_BITS) - 1)
    stream = (segment.value << _MAGIC_BITS | _END) << _CRC_BITS | crc
    bits = segment.bits + _MAGIC_BITS + _CRC_BITS
    pad = -bits % 8
    decompressor = bz2.BZ2Decompressor()
    try:
        data = decompressor.decompress(b"BZh9" + (stream << pad).to_bytes((bits + pad) // 8, "big"))
    except OSError:
        return None
    return data if decompressor.eof else None


def blocks(file: Readable, *, first_bit: int = 0, threads: int = 1) -> Iterator[Block]:
    """The blocks of a file in order, decompressed ahead by threads.

    Args:
        file: stands at the byte of ``first_bit``.
        first_bit: of the file, where a block begins; 0 = at its start.
        threads: how many decompress at once; twice as many blocks wait at most.

    Raises:
        Damaged: a checksum that is not right, or the file ends within a block.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="drin-fs-bz2") as pool:
        waiting: deque[tuple[_Segment, Future[bytes | None]]] = deque()
        source = _segments(file, first_bit)
        try:
            for segment in source:
                waiting.append((segment, pool.submit(_decompressed, segment)))
                if len(waiting) > 2 * threads:
                    yield _first(waiting)
            while waiting:
                yield _first(waiting)
        finally:
            for _, future in waiting:
                future.cancel()


def _first(waiting: deque[tuple[_Segment, Future[bytes | None]]]) -> Block:
    """The block that is next; joined to what follows while it is no whole one."""
    segment, future = waiting.popleft()
    data = future.result()
    first_bit = segment.first_bit
    while data is None:
        if not waiting or segment.bits > _LONGEST * 8:
            raise Damaged(f"the block that begins at byte {first_bit // 8:,} is damaged")
        following, unneeded = waiting.popleft()
        unneeded.cancel()
        segment = segment.joined(following)
        data = _decompressed(segment)
    return Block(data, first_bit, -(-(first_bit + segment.bits) // 8))
