"""A store's file as memory: views of it, and scattered pieces read by several threads at once."""

from __future__ import annotations

import builtins
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from featurestore import threads
from featurestore.catalog import Extent
from featurestore.errors import StoreError
from featurestore.header import FIRST_PAGE
from featurestore.machine import disk_bytes
from featurestore.place import Place

#: Share of what was read that had to come from disk, from which on rows are announced to the kernel
#: beforehand (chosen here: announcing a row costs about a microsecond, waiting for its page 80).
_COLD = 1 / 32

#: Fewer rows than this are read without a look at where they come from.
_FEW = 16


class FileMap:
    """A read-only memory map of a whole file.

    Random access is announced to the kernel: its default read-ahead of 128 KB would multiply what a
    cold gather of single rows reads from disk. Where the last rows had to come from disk, the next
    ones are announced before they are touched, so that the disk works on all of them at once instead
    of on one page after the other.
    """

    #: Whether it is read over a network (:class:`~featurestore.remote_map.RemoteMap`).
    remote = False

    def __init__(self, path: Path) -> None:
        self.path: Place = path
        descriptor = os.open(path, os.O_RDONLY)
        try:
            self.identity = identity_of(os.fstat(descriptor))
            self._map = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
        if hasattr(mmap, "MADV_RANDOM"):
            self._map.madvise(mmap.MADV_RANDOM)
        self._bytes: np.ndarray | None = np.frombuffer(self._map, np.uint8)
        self._cold = True  # until something was read

    @property
    def bytes(self) -> np.ndarray:
        """The whole file, (file size,) uint8.

        Raises:
            StoreError: it was closed.
        """
        if self._bytes is None:
            raise StoreError("the store is closed", where=str(self.path), hint="open it again")
        return self._bytes

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.bytes)

    def first_page(self) -> builtins.bytes:
        """What a store is known by: the page with its header."""
        return self.bytes[:FIRST_PAGE].tobytes()

    def pieces(self, starts: np.ndarray, sizes: np.ndarray | int) -> np.ndarray:
        """The whole file, of which these pieces are about to be read."""
        return self.bytes

    def fetch(self, starts: np.ndarray, ends: np.ndarray) -> None:
        """Have parts ``[start, end)`` of a remote file here; a file of this machine is."""

    def again(self, start: int, stop: int) -> bool:
        """Whether a part that is not what was written was fetched anew: here there is only this one."""
        return False

    def array(self, extent: Extent) -> np.ndarray:
        """A read-only view of a contiguous array; nothing is read yet."""
        part = self.bytes[extent.offset : extent.offset + extent.nbytes]
        return part.view(extent.dtype).reshape(extent.shape)

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """Around the reading of scattered pieces; when it ends, all of it is done.

        Raises:
            StoreError, …: what a part of the work raises.
        """
        with reading_together([self]) as (reading,):
            yield reading

    def note_cold(self, cold: bool) -> None:
        """Whether what was read last had to come from disk: then the next pieces are announced."""
        self._cold = cold

    def announce(self, starts: np.ndarray, sizes: np.ndarray | int) -> None:
        """Tell the kernel of pieces that will be read, if the last ones had to come from disk."""
        if self._cold and len(starts) >= _FEW:
            self._announce(starts, starts + sizes)

    def _announce(self, starts: np.ndarray, ends: np.ndarray) -> None:
        """Have the kernel begin to read these pieces; it does not wait for them."""
        if not hasattr(mmap, "MADV_WILLNEED"):
            return
        first, last = starts // mmap.PAGESIZE, (ends - 1) // mmap.PAGESIZE + 1
        order = np.argsort(first)
        first, last = first[order], np.maximum.accumulate(last[order])
        heads = np.flatnonzero(np.concatenate([[True], first[1:] > last[:-1]]))
        tails = np.concatenate([heads[1:], [len(first)]]) - 1
        pages = zip(first[heads].tolist(), last[tails].tolist(), strict=True)
        for begin, end in pages:
            self._map.madvise(
                mmap.MADV_WILLNEED, begin * mmap.PAGESIZE, (end - begin) * mmap.PAGESIZE
            )

    def refuse_replaced(self) -> None:
        """Make sure that the path still leads to the file in the map, before it is read by path.

        Raises:
            StoreError: another file stands there now: its offsets are not ours.
        """
        path = Path(self.path)
        if not path.exists() or identity_of(path.stat()) != self.identity:
            raise StoreError(
                "the store was replaced while it was in use",
                where=str(self.path),
                hint="open it again",
            )

    def release_pages(self) -> None:
        """Give back the memory that pages read so far occupy; views stay valid and read them again."""
        if self._bytes is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Drop the map. Views handed out earlier keep it alive until they are gone."""
        self._bytes = None
        with suppress(BufferError):  # while someone holds a view; the map goes with the last one
            self._map.close()


@contextmanager
def reading_together(files: Sequence[FileMap]) -> Iterator[list[Reading]]:
    """Around the reading of scattered pieces of several files, in the same threads.

    Raises:
        StoreError, …: what a part of the work raises.
    """
    before = disk_bytes()
    with threads.together() as work:
        readings = [Reading(file, work) for file in files]
        yield readings
    if sum(reading.pieces for reading in readings) >= _FEW:
        cold = disk_bytes() - before > _COLD * sum(reading.bytes for reading in readings)
        for file, reading in zip(files, readings, strict=True):
            if reading.pieces:
                file.note_cold(cold)


class Reading:
    """Pieces of a file that are being read together."""

    def __init__(self, file: FileMap, work: threads.Together) -> None:
        self._file = file
        self._work = work
        self.pieces = 0
        self.bytes = 0

    def announce(self, starts: np.ndarray, sizes: np.ndarray | int) -> None:
        """Say what will be read.

        Args:
            starts: (n,) bytes where the pieces begin.
            sizes: (n,) bytes of each, or of every one.
        """
        self.pieces += len(starts)
        self.bytes += len(starts) * sizes if isinstance(sizes, int) else int(sizes.sum())
        self._file.announce(starts, sizes)

    def do(self, parts: Sequence[Callable[[], object]]) -> None:
        """Have threads read; they begin when all of the reading was asked for."""
        self._work.add(parts)


def identity_of(status: os.stat_result) -> tuple[int, int]:
    """What tells a file from one that was put in its place."""
    return status.st_dev, status.st_ino
