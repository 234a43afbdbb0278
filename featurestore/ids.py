"""id ↔ row, for millions of ids.

An id is found by its 64-bit hash (BLAKE2b, 8 bytes, little-endian): the table stores the hashes
sorted, beside the row of each, and both stay in the memory map. A look-up is one binary search and
one comparison with the id itself, so that colliding hashes are harmless.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np

from featurestore.chunks import TextColumn
from featurestore.errors import UnknownId

#: Ids that are hashed at once, and hashes that are sorted at once (chosen here: some megabytes, and some
#: hundred).
_HASHED, _SORTED = 1 << 16, 1 << 22

#: Ids that are compared letter by letter with an unknown one, and characters of it that are (chosen
#: here: some milliseconds).
_COMPARED, _LONGEST = 1000, 200


def hash_ids(ids: Sequence[str]) -> np.ndarray:
    """(n,) uint64 hashes of ids, which need not be in memory: they are asked for in slices."""
    hashes = np.empty(len(ids), np.uint64)
    for first in range(0, len(ids), _HASHED):
        some = ids[first : first + _HASHED]
        digests = b"".join([blake2b(text.encode(), digest_size=8).digest() for text in some])
        hashes[first : first + len(some)] = np.frombuffer(digests, "<u8")
    return hashes


def build_index(ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(hash, row): (n,) uint64 ascending, and the (n,) int32 row of each.

    Beside these 12 bytes an id, the unsorted hashes are held, 8 bytes, and one range of them while it is
    sorted: a sort of all would take 8 bytes an id more.
    """
    hashes = hash_ids(ids)
    ascending, rows = np.empty(len(ids), np.uint64), np.empty(len(ids), np.int32)
    done = 0
    for some in _rows_by_range(hashes):
        order = some[np.argsort(hashes[some], kind="stable")]
        ascending[done : done + len(order)] = hashes[order]
        rows[done : done + len(order)] = order
        done += len(order)
    return ascending, rows


def _rows_by_range(hashes: np.ndarray) -> Iterator[np.ndarray]:
    """The rows whose hashes begin with the same bits, ascending; those of lower hashes first."""
    bits = max(0, (len(hashes) - 1) // _SORTED).bit_length()
    if not bits:
        yield np.arange(len(hashes))
        return
    for beginning in range(1 << bits):
        yield np.concatenate(
            [
                first + np.flatnonzero(hashes[first : first + _SORTED] >> (64 - bits) == beginning)
                for first in range(0, len(hashes), _SORTED)
            ]
        )


class IdIndex:
    """Finds the rows of ids in a table.

    Args:
        hashes: (n,) uint64, ascending.
        rows: (n,) int32, the row of each hash.
        ids: of all rows, to tell colliding hashes apart.
        where: ``file::/table``, for errors.
    """

    def __init__(
        self,
        hashes: np.ndarray,
        rows: np.ndarray,
        *,
        ids: TextColumn,
        where: str,
    ) -> None:
        self._hashes = hashes
        self._rows = rows
        self._ids = ids
        self._where = where

    def find(self, ids: Sequence[str]) -> np.ndarray:
        """(n,) int64 rows of ids, -1 where the table has no such id."""
        if not len(self._hashes):
            return np.full(len(ids), -1, np.int64)
        wanted = hash_ids(ids)
        order = np.argsort(wanted)  # neighbours in the table are searched for one after the other
        places = np.empty(len(ids), np.int64)
        places[order] = np.searchsorted(self._hashes, wanted[order])
        inside = np.minimum(places, len(self._hashes) - 1)
        found = np.where(self._hashes[inside] == wanted, self._rows[inside], -1).astype(np.int64)
        found[found >= len(self._rows)] = -1  # in a damaged store
        hits = np.flatnonzero(found >= 0)
        equal = self._ids.equal(found[hits], [ids[place] for place in hits.tolist()])
        for place in hits[~equal].tolist():
            found[place] = self._among_equal_hashes(ids[place], int(inside[place]))
        return found

    def _among_equal_hashes(self, wanted: str, first: int) -> int:
        place = first
        while place < len(self._hashes) and self._hashes[place] == self._hashes[first]:
            row = int(self._rows[place])
            if 0 <= row < len(self._rows) and self._ids.at(np.array([row])) == [wanted]:
                return row
            place += 1
        return -1

    def rows(self, ids: Sequence[str]) -> np.ndarray:
        """(n,) int64 rows of ids.

        Raises:
            UnknownId: names the first id the table does not hold, and the ids nearest to it.
        """
        found = self.find(ids)
        missing = np.flatnonzero(found < 0)
        if len(missing):
            first = ids[int(missing[0])]
            others = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise UnknownId(
                f"unknown id {first!r}{others}", where=self._where, hint=self._suggestion(first)
            )
        return found

    def nearest(self, wanted: str) -> list[str]:
        """At most three ids that look like this one, the nearest first.

        Among the first 200,000 those are compared letter by letter that share most letters.
        """
        wanted = wanted[:_LONGEST]
        shared, lengths = self._ids.shared_bytes(min(len(self._rows), 200_000), wanted)
        alike = shared / np.maximum(lengths + len(wanted.encode()), 1)
        likely = np.sort(np.argsort(-alike, kind="stable")[:_COMPARED])
        return difflib.get_close_matches(wanted, self._ids.at(likely), n=3, cutoff=0.5)

    def _suggestion(self, wanted: str) -> str:
        near = self.nearest(wanted)
        if near:
            return f"nearest ids: {', '.join(near)}"
        return "see some ids with: drin-fs inspect STORE"
