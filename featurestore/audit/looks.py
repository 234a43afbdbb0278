"""Pictures that look the same among a million: a 64-bit difference hash, looked up by its bands."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO

import numpy as np

#: Bits that may differ between hashes of "the same" picture. Chosen here: of 69 photographs of WikiMEL,
#: thumbnails of copies at half to full size and JPEG quality 40 to 75 differ in at most 3 bits, those of
#: two photographs in at least 15, mostly in 32. Drawings of flat colours come nearer: 4 against 8 bits.
MOST_BITS = 4

#: Bits of each band. Two hashes that differ in at most four bits are equal in one of five bands, so
#: looking up bands finds every pair.
_BANDS = (13, 13, 13, 13, 12)

#: Fewer ones, or zeros, than this and a picture is too plain for its hash to say which one it is
#: (chosen here: a white page, a sky).
_PLAIN = 4

#: Grey levels (of 256) by which a place must be lighter than the one left of it to make a one (chosen
#: here: JPEG makes such differences out of nothing; with 0, copies differ in up to 6 bits).
_LIGHTER = 2

#: Pixels of a side from which on a picture is no thumbnail (chosen here: 50 MB decoded).
_LONGEST = 4096

#: Pairs of hashes that are compared at a time.
_PAIRS = 1 << 20

_ONES = np.array([bin(value).count("1") for value in range(1 << 16)], np.uint8)


@dataclass(frozen=True, slots=True)
class PictureHashes:
    """Hashes of the pictures of some rows; ``plain`` and ``unreadable`` ones are only counted."""

    rows: np.ndarray  # (n,) int64, ascending
    hashes: np.ndarray  # (n,) uint64
    plain: int
    unreadable: int


def hash_pictures(pictures: Iterable[tuple[int, bytes]]) -> PictureHashes:
    """Hash pictures, given as (row, bytes of an image file) with rows ascending. Needs Pillow."""
    rows: list[int] = []
    hashes: list[int] = []
    plain = unreadable = 0
    for row, data in pictures:
        value = picture_hash(data)
        if value is None:
            unreadable += 1
        elif not _PLAIN <= value.bit_count() <= 64 - _PLAIN:
            plain += 1
        else:
            rows.append(row)
            hashes.append(value)
    return PictureHashes(np.array(rows, np.int64), np.array(hashes, np.uint64), plain, unreadable)


def picture_hash(data: bytes) -> int | None:
    """The difference hash of a thumbnail: 8×8 bits, is a place lighter than the one left of it?

    Returns:
        64 bits; ``None`` where it cannot be read: a store may hold anything in their place.
    """
    from PIL import Image

    try:
        with (
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
            Image.open(BytesIO(data), formats=("JPEG", "PNG")) as picture,
        ):
            if max(picture.size) > _LONGEST:
                return None
            picture.draft("L", picture.size)  # of a JPEG, only what is light and dark is decoded
            small = picture.convert("L").resize((9, 8), Image.Resampling.LANCZOS)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    grey = np.asarray(small, np.int16)
    bits = grey[:, 1:] - grey[:, :-1] > _LIGHTER
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n,) int64 how many bits differ between uint64 hashes."""
    differ = np.ascontiguousarray(a ^ b).view(np.uint16).reshape(-1, 4)
    return _ONES[differ].sum(axis=1, dtype=np.int64)


def nearest(wanted: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each hash the nearest known one that differs in at most :data:`MOST_BITS` bits.

    Exact: equal to comparing all with all. It compares those that share a band.

    Returns:
        (n,) int64 its place in ``known``, -1 where none is near, the first among equals; and (n,) int64
        the bits that differ, 65 where none is near.
    """
    queries, back = np.unique(wanted, return_inverse=True)
    base, first = np.unique(known, return_index=True)
    best = np.full(len(queries), _key(np.array([65]), np.array([0]))[0])
    shift = 0
    for width in _BANDS:
        bands = _band(base, shift, width)
        order = np.argsort(bands, kind="stable")
        asked = _band(queries, shift, width)
        starts = np.searchsorted(bands[order], asked, side="left")
        stops = np.searchsorted(bands[order], asked, side="right")
        for query, place in _pairs(starts, stops, order):
            bits = distances(queries[query], base[place])
            near = bits <= MOST_BITS
            keys = _key(bits[near], first[place[near]])
            np.minimum.at(best, query[near], keys)
        shift += width
    bits, place = best >> 40, best & ((1 << 40) - 1)
    return np.where(bits <= MOST_BITS, place, -1)[back], bits[back]


def _key(bits: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Fewer bits first, then the earlier place."""
    return (bits.astype(np.int64) << 40) | place.astype(np.int64)


def _band(hashes: np.ndarray, shift: int, width: int) -> np.ndarray:
    return (hashes >> np.uint64(shift)) & np.uint64((1 << width) - 1)


def _pairs(
    starts: np.ndarray, stops: np.ndarray, order: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(query, place) of all places in ``order[start:stop]`` of each query, about ``_PAIRS`` at a time."""
    counts = stops - starts
    ends = np.cumsum(counts)
    query = 0
    while query < len(counts):
        done = int(ends[query - 1]) if query else 0
        last = max(query + 1, int(np.searchsorted(ends, done + _PAIRS, side="right")))
        some = counts[query:last]
        of = np.repeat(np.arange(query, last), some)
        inside = np.arange(len(of)) - np.repeat(np.cumsum(some) - some, some)
        yield of, order[starts[of] + inside]
        query = last
