"""Bytes on their way to disk: written in order by one thread, and what can go wrong with that."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TypeAlias

import numpy as np

from featurestore.errors import WriteError

#: What the operating system says when there is no room: disk, quota, or limit of one file.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

#: Pieces that wait to be written, and written bytes from which on the disk is put to work
#: (chosen here: pieces have up to 4 MB, so that little memory waits).
_WAITING, _SYNCED = 16, 32 << 20

_SOUND = "see who may write there and that the disk is sound, then run the command again"

#: Bytes of an array that are handed over at once.
_PIECE = 4 << 20

Bytes: TypeAlias = bytes | memoryview


def bytes_of(array: np.ndarray) -> memoryview:
    """The bytes of an array, row after row; not copied where they stand so already."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


class DataFile:
    """A file that is written at given places, or at its end, while its maker goes on.

    A thread writes what it is handed, in that order, and has the system bring it to disk from time to
    time, so that a sync finds little left to do. The first error stops it, and is raised by whatever is
    called next. It may be interrupted (Ctrl-C) anywhere: the two sides share no lock of Python's, which
    an interruption behind its acquisition would leave locked.

    Args:
        path: made if it is not there; what it holds is kept.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self._failure: BaseException | None = None
        self._work: SimpleQueue[Callable[[], None] | SimpleQueue[None] | None] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()  # one entry for each piece that may wait
        for _ in range(_WAITING):
            self._room.put(None)
        self._unsynced = 0
        self._thread = threading.Thread(target=self._work_off, name="write", daemon=True)
        self._thread.start()

    def write(self, place: int, data: Bytes) -> None:
        """Write bytes to a place, soon. They must not change any more.

        Raises:
            OSError: an earlier write failed: disk full, quota, I/O error.
        """
        view = memoryview(data)
        for first in range(0, len(view), _PIECE):
            self._hand_over(self._writing(place + first, view[first : first + _PIECE]))

    def then(self, call: Callable[[], None]) -> None:
        """Have the thread call something when all that was handed over before is written.

        Raises:
            OSError: an earlier write failed.
        """
        self._hand_over(call)

    def _hand_over(self, call: Callable[[], None]) -> None:
        self.check()
        self._room.get()
        self._work.put(call)

    def _writing(self, place: int, view: memoryview) -> Callable[[], None]:
        def write() -> None:
            done = 0
            while done < len(view):
                done += os.pwrite(self._descriptor, view[done:], place + done)
            self._unsynced += len(view)
            if self._unsynced >= _SYNCED:
                self.sync_now()

        return write

    def _work_off(self) -> None:
        while (call := self._work.get()) is not None:
            if isinstance(call, SimpleQueue):  # somebody waits for this
                call.put(None)
                continue
            if self._failure is None:
                try:
                    call()
                except BaseException as error:  # raised again by check()
                    self._failure = error
            self._room.put(None)

    def sync_now(self) -> None:
        """Force what was written to disk; for what the thread calls."""
        os.fsync(self._descriptor)
        self._unsynced = 0

    def check(self) -> None:
        """Raise the first error, if there was one.

        Raises:
            OSError: disk full, quota, I/O error.
        """
        if self._failure is not None:
            raise self._failure

    def wait(self) -> None:
        """Until everything that was handed over is written.

        Raises:
            OSError: it could not be.
        """
        if self._thread.is_alive():
            done: SimpleQueue[None] = SimpleQueue()
            self._work.put(done)
            done.get()
        self.check()

    def read(self, place: int, size: int) -> bytes:
        """So many bytes from a place on, or fewer where the file ends."""
        self.wait()
        return os.pread(self._descriptor, size, place)

    def truncate(self, size: int) -> None:
        """Cut off what stands behind ``size`` bytes, or add zeros up to there.

        Raises:
            OSError: it could not be done.
        """
        self.wait()
        os.ftruncate(self._descriptor, size)

    def sync(self) -> None:
        """Force everything to disk.

        Raises:
            OSError: now, or at an earlier write.
        """
        self.then(self.sync_now)
        self.wait()

    def close(self) -> None:
        """Write what was handed over, and close the file; errors are not raised any more."""
        if self._thread.is_alive():
            self._work.put(None)
            self._thread.join()
            os.close(self._descriptor)


@contextmanager
def write_errors(
    target: Path,
    *,
    when_full: str,
    otherwise: str = _SOUND,
    needed: Callable[[], int] | None = None,
) -> Iterator[None]:
    """Turn the operating system's write errors into one that says what to do.

    Args:
        target: what is being written; its folder exists.
        when_full, otherwise: the advice where there is no room, and where the disk refuses or fails.
        needed: about how many more bytes would have been written.

    Raises:
        WriteError: disk full, no permission, or an I/O error.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            more = f", about {needed() / 1e9:.2f} GB more are needed" if needed else ""
            raise WriteError(
                "the disk is full or a size limit was reached "
                f"({free_bytes(target.parent) / 1e9:.2f} GB free{more})",
                where=str(target),
                hint=when_full,
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EIO, errno.EPERM):
            raise WriteError(
                f"cannot write: {error.strerror or error}",
                where=str(target),
                hint=otherwise,
            ) from error
        raise


def free_bytes(folder: Path) -> int:
    """Bytes that may still be written on the disk of a folder."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def sync_path(path: Path) -> None:
    """Force a file's bytes to disk; or a folder's entries: a rename in it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
