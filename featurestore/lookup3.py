"""Bob Jenkins' lookup3, with which HDF5 guards its metadata (public domain algorithm)."""

from __future__ import annotations

import struct

_MASK = 0xFFFFFFFF


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> (32 - bits)) & _MASK


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    for bits in (4, 6, 8, 16, 19, 4):
        a = (a - c & _MASK) ^ _rotated(c, bits)
        c = c + b & _MASK
        a, b, c = b, c, a
    return a, b, c


def _final(a: int, b: int, c: int) -> int:
    c = (c ^ b) - _rotated(b, 14) & _MASK
    a = (a ^ c) - _rotated(c, 11) & _MASK
    b = (b ^ a) - _rotated(a, 25) & _MASK
    c = (c ^ b) - _rotated(b, 16) & _MASK
    a = (a ^ c) - _rotated(c, 4) & _MASK
    b = (b ^ a) - _rotated(a, 14) & _MASK
    return (c ^ b) - _rotated(b, 24) & _MASK


def lookup3(data: bytes) -> int:
    """The 32-bit ``hashlittle`` of ``data``, initial value 0."""
    a = b = c = 0xDEADBEEF + len(data) & _MASK
    if not data:
        return c
    padded = data + bytes(-len(data) % 12)
    words = struct.iter_unpack("<III", padded)
    for _ in range(len(padded) // 12 - 1):
        x, y, z = next(words)
        a, b, c = _mix(a + x & _MASK, b + y & _MASK, c + z & _MASK)
    x, y, z = next(words)
    return _final(a + x & _MASK, b + y & _MASK, c + z & _MASK)
