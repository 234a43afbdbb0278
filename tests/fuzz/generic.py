"""Mutations that know nothing of what they mutate."""

from __future__ import annotations

from random import Random

#: Bytes that formats give a meaning to.
_MAGIC = (b"\x00", b"\xff", b"\x80", b"\x7f", b"\n", b'"', b"\xef\xbb\xbf", b"\xff\xfe", b"\xff" * 4,
          b"\xff" * 8, b"\x00" * 8, b"\xff\xff\xff\x7f", b"\x01\x00\x00\x80", b"PK\x03\x04",
          b"\x1f\x8b\x08", b"\x80\x04\x95", b"\xed\xa0\x80", b"\xc0\x80")  # fmt: skip


def _place(rng: Random, data: bytes) -> int:
    """A place in it; half of them near the beginning, where headers are."""
    size = min(len(data), 256) if rng.random() < 0.5 else len(data)
    return rng.randrange(size + 1)


def _part(rng: Random, data: bytes) -> tuple[int, int]:
    """Begin and end of a part of it, short or long."""
    first = _place(rng, data)
    longest = max(1, len(data) - first)
    size = rng.randint(1, min(16, longest)) if rng.random() < 0.6 else rng.randint(1, longest)
    return first, first + size


def flip_bits(rng: Random, data: bytes, other: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8, 64)) if changed else 0):
        changed[min(_place(rng, data), len(data) - 1)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(rng: Random, data: bytes, other: bytes) -> bytes:
    return data[: _place(rng, data)]


def delete(rng: Random, data: bytes, other: bytes) -> bytes:
    first, end = _part(rng, data)
    return data[:first] + data[end:]


def insert(rng: Random, data: bytes, other: bytes) -> bytes:
    place = _place(rng, data)
    new = rng.choice(_MAGIC) if rng.random() < 0.6 else rng.randbytes(rng.choice((1, 4, 300)))
    return data[:place] + new + data[place:]


def overwrite(rng: Random, data: bytes, other: bytes) -> bytes:
    place = _place(rng, data)
    new = rng.choice(_MAGIC)
    return data[:place] + new + data[place + len(new) :]


def duplicate(rng: Random, data: bytes, other: bytes) -> bytes:
    first, end = _part(rng, data)
    return data[:end] + data[first:end] * rng.choice((1, 1, 2, 50)) + data[end:]


def swap_blocks(rng: Random, data: bytes, other: bytes) -> bytes:
    a, b, c = sorted(_place(rng, data) for _ in range(3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def splice(rng: Random, data: bytes, other: bytes) -> bytes:
    """The beginning of one and the end of the other."""
    return data[: _place(rng, data)] + other[_place(rng, other) :]


def exchange(rng: Random, data: bytes, other: bytes) -> bytes:
    """The other file in its place."""
    return other


def empty(rng: Random, data: bytes, other: bytes) -> bytes:
    return b""


GENERIC = (flip_bits, truncate, delete, insert, overwrite, duplicate, swap_blocks, splice, exchange,
           empty)  # fmt: skip
