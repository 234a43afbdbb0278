"""The list of finished parts of an ingest: appended to, never rewritten, believed up to its first flaw.

A part is what was written between two moments at which nothing was half done. It is entered once its
bytes are on disk, so whatever the manifest says is there. Entries: ``length, XXH3, JSON line, arrays``.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from xxhash import xxh3_64_intdigest

_FRAME = struct.Struct("<QQ")


class Entry(NamedTuple):
    """Plain values, and the (k, 2) int64 runs of rows of each array that it tells of."""

    plain: dict[str, Any]
    runs: dict[str, np.ndarray]


class Manifest:
    """A file of entries, open for appending.

    Args:
        path: made if it is not there.

    ``entries``: those that were there, and are whole; what stood behind them is cut off.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        data = path.read_bytes()
        self.entries: list[Entry] = []
        self._end = 0
        for entry, end in _entries(data):
            self.entries.append(entry)
            self._end = end
        os.ftruncate(self._descriptor, self._end)

    @staticmethod
    def read(path: Path) -> list[Entry]:
        """The whole entries of a file that somebody else may be appending to."""
        return [entry for entry, _ in _entries(path.read_bytes())]

    def append(self, entry: Entry) -> None:
        """Add an entry, and force it to disk.

        Raises:
            OSError: it could not be; the manifest is as before.
        """
        data = _encode(entry)
        done = 0
        try:
            while done < len(data):
                done += os.pwrite(self._descriptor, data[done:], self._end + done)
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self._end)
            raise
        self._end += len(data)

    def close(self) -> None:
        os.close(self._descriptor)


def _encode(entry: Entry) -> bytes:
    lengths = {path: len(runs) for path, runs in entry.runs.items()}
    head = json.dumps({"plain": entry.plain, "runs": lengths}).encode() + b"\n"
    body = head + b"".join(np.asarray(runs, "<i8").tobytes() for runs in entry.runs.values())
    return _FRAME.pack(len(body), xxh3_64_intdigest(body)) + body


def _entries(data: bytes) -> Iterator[tuple[Entry, int]]:
    """Whole entries, and where each ends."""
    place = 0
    while place + _FRAME.size <= len(data):
        size, digest = _FRAME.unpack_from(data, place)
        body = data[place + _FRAME.size : place + _FRAME.size + size]
        if len(body) < size or xxh3_64_intdigest(body) != digest:
            return
        place += _FRAME.size + size
        head, _, arrays = body.partition(b"\n")
        told = json.loads(head)
        runs, first = {}, 0
        for path, count in told["runs"].items():
            runs[path] = np.frombuffer(arrays, "<i8", 2 * count, first).reshape(count, 2)
            first += 16 * count
        yield Entry(told["plain"], runs), place
