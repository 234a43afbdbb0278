"""Where a store comes into being: a hidden folder beside the target that outlives an interruption.

    .NAME.lock              who is at work (:mod:`featurestore.lock`)
    .NAME.ingest/data       the store's bytes, each where it will stay; renamed to the target at the end
    .NAME.ingest/manifest   the finished parts (:mod:`featurestore.manifest`)
    .NAME.ingest/*.rows     one array each that the work needs and the store does not hold as it is

The shards of a store are each such a folder as well (:mod:`featurestore.ingest_shards`).

Rows are written in any order. Those of a finished part are never written again; what an unfinished part
left in their places is written over.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from featurestore.disk import Bytes, DataFile
from featurestore.errors import InUse, WriteError
from featurestore.header import FIRST_PAGE
from featurestore.ingest_shards import Shard
from featurestore.lock import Held, Lock
from featurestore.manifest import Entry, Manifest
from featurestore.placing import is_published, settle

#: Arrays begin at multiples of a page, so that a row is read from no more of them than it must be; small
#: ones at those of a cache line.
PAGE, LINE = 4096, 64


class Claim:
    """The right to build a store at a target, or a shard of it, until it is released.

    Raises:
        WriteError: another process has it, or the folder cannot be written to.
    """

    def __init__(self, target: Path, shard: Shard | None = None) -> None:
        self.target = target
        self.folder = self.folder_of(target) if shard is None else shard.folder(target)
        lock = target.with_name(f".{target.name}.lock")
        try:
            if shard is not None:
                self.folder.parent.mkdir(exist_ok=True)
                lock = self.folder.with_name(f"{self.folder.name}.lock")
            self._lock = Lock(lock)
        except Held as error:
            what = "this store" if shard is None else f"shard {shard} of this store"
            raise InUse(
                f"another ingest writes {what}: {error.holder}",
                where=str(target),
                hint=error.stale_hint,
            ) from error
        except OSError as error:
            raise WriteError(
                f"cannot create the file ({error.strerror})",
                where=str(target.parent),
                hint="choose a folder that you may write to",
            ) from error

    @staticmethod
    def folder_of(target: Path) -> Path:
        """Where a store is made."""
        return target.with_name(f".{target.name}.ingest")

    @property
    def has_begun(self) -> bool:
        """Whether an ingest to this target was begun and not ended."""
        there = (self.folder / "manifest").exists() and (self.folder / "data").exists()
        return there and not is_published(self.folder)

    def discard(self) -> None:
        """Remove what was begun."""
        settle(self.folder, self.target)
        shutil.rmtree(self.folder, ignore_errors=True)

    def release(self) -> None:
        self._lock.release()


class HasFolder(Protocol):
    """A claim, or whoever else has the right to make a store."""

    @property
    def folder(self) -> Path: ...


class Work:
    """The folder, opened to go on where its manifest ends.

    Args:
        claim: of the target.
        identity: what decides the content; that of what was begun must be equal.
        run: what else is told of an ingest that begins, for who ends it.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(
        self, claim: HasFolder, identity: Mapping[str, Any], run: Mapping[str, Any] | None = None
    ) -> None:
        self.folder = claim.folder
        self.folder.mkdir(exist_ok=True)
        self.file = DataFile(self.folder / "data")
        self._manifest = Manifest(self.folder / "manifest")
        self._places: dict[str, tuple[int, int]] = {}  # name → offset, size
        self._new_places: dict[str, tuple[int, int]] = {}  # not in the manifest yet
        self.end = FIRST_PAGE
        self.parts = self._manifest.entries[1:]
        if not self._manifest.entries:
            self._manifest.append(Entry({"identity": dict(identity), "run": dict(run or {})}, {}))
        for part in self.parts:
            self._places |= {name: tuple(place) for name, place in part.plain["places"].items()}
            self.end = part.plain["end"]
        # a place may have been reserved after the last moment at which nothing was half done
        self.end = max([self.end, *(offset + size for offset, size in self._places.values())])

    def reserve(self, name: str, size: int) -> int:
        """The place of an array that is written row by row: the same one after an interruption."""
        known = self._places.get(name)
        if known is not None and known[1] == size:
            return known[0]
        offset = self.append(size, PAGE if size >= PAGE else LINE)
        self._places[name] = self._new_places[name] = (offset, size)
        return offset

    def append(self, size: int, alignment: int) -> int:
        """A place for so many bytes behind all others."""
        offset = -(-self.end // alignment) * alignment
        self.end = offset + size
        return offset

    def put(self, data: Bytes, alignment: int) -> int:
        """Write bytes behind all others; where."""
        size = len(data)
        offset = self.append(size, alignment)
        self.file.write(offset, data)
        return offset

    def rows_file(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.memmap:
        """An array on disk that the store will not hold as it is, kept with the parts.

        Its space is reserved first: a map of a full disk would end the process instead of raising.

        Raises:
            OSError: no space for it.
        """
        size = max(1, int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
        path = self.folder / f"{name.replace('/', '.')}.rows"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, size)
            else:
                os.ftruncate(descriptor, size)
        finally:
            os.close(descriptor)
        return np.memmap(path, dtype, "r+", shape=shape)

    def part(self, arrays: dict[str, Any], runs: dict[str, np.ndarray], end: int) -> Entry:
        """The entry of a part that ends at a place of the file."""
        places, self._new_places = self._new_places, {}
        return Entry({"arrays": arrays, "places": places, "end": end}, runs)

    def enter(self, part: Entry, kept: Sequence[np.memmap]) -> None:
        """Force a part to disk, then enter it; for what the writing thread calls.

        Raises:
            OSError: it could not be.
        """
        self.file.sync_now()
        for array in kept:
            array.flush()
        self._manifest.append(part)

    def complete(self, found: Mapping[str, Any]) -> None:
        """Enter that nothing is left to be done, and what was found out that is no row.

        Raises:
            OSError: it could not be.
        """
        told = {"arrays": {}, "places": {}, "end": self.end, "complete": dict(found)}
        self._manifest.append(Entry(told, {}))

    def close(self) -> None:
        self.file.close()
        self._manifest.close()


class Begun(NamedTuple):
    """What an interrupted ingest left."""

    identity: dict[str, Any]
    parts: int


def begun(claim: Claim) -> Begun:
    """What an interrupted ingest left, by its manifest."""
    manifest = Manifest(claim.folder / "manifest")
    manifest.close()
    if not manifest.entries:
        return Begun({}, 0)
    return Begun(manifest.entries[0].plain.get("identity", {}), len(manifest.entries) - 1)


def runs_of(rows: np.ndarray) -> np.ndarray:
    """(k, 2) int64 first and stop of each run of consecutive numbers, in their order."""
    if not len(rows):
        return np.zeros((0, 2), np.int64)
    breaks = np.flatnonzero(rows[1:] - rows[:-1] != 1) + 1
    if not len(breaks):  # nearly always, a few rows a call
        return np.array([[rows[0], rows[-1] + 1]], np.int64)
    firsts = np.concatenate([[0], breaks])
    stops = np.concatenate([breaks, [len(rows)]])
    return np.stack([rows[firsts], rows[stops - 1] + 1], axis=1).astype(np.int64)


def rows_of(runs: np.ndarray) -> Iterator[range]:
    return (range(first, stop) for first, stop in runs.tolist())
