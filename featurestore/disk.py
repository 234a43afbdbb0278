"""The file a store is written to, and what can go wrong with it.

HDF5 cannot be left in peace after a failed write: it fails again when the file is closed, and ends
the process at exit. So it writes through :class:`DiskFile`, which takes note of the first failure,
lets HDF5 believe that all is well, and gives the failure to whoever asks.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from featurestore.errors import WriteError

#: What the operating system says when there is no room: disk, quota, or limit of one file.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

#: Appended bytes that are written at once, the most unwritten bytes between two pieces of them, and
#: written bytes from which on the disk is put to work (chosen here: calls cost nothing beside these).
_COLLECTED, _GAP, _SYNCED = 4 << 20, 4096, 32 << 20

_SMALLER_STORE = "free some space, or use --limit, --dtype float16, --compression zstd"


class DiskFile(io.RawIOBase):
    """A new file for h5py's ``fileobj`` driver that never fails towards HDF5.

    What is appended is collected, and written by a thread; another one has the system bring it to disk
    meanwhile, so that :meth:`sync` finds little left to do. Python's lock is free during both.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        except OSError as error:
            raise WriteError(
                f"cannot create the file ({error.strerror})",
                where=str(path.parent),
                hint="choose a folder that you may write to",
            ) from error
        self._place = 0
        self._end = 0  # as HDF5 sees it
        self._failure: OSError | None = None
        self._appended, self._written = bytearray(_COLLECTED), bytearray(_COLLECTED)
        self._size = 0  # of what was appended and is not handed over yet
        self._begin = 0  # where that belongs
        self._at_rest = 0  # nothing before this place is on its way
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="write")
        self._writing: Future[None] | None = None
        self._syncing: Future[None] | None = None
        self._unsynced = 0

    def check(self) -> None:
        """Raise the first write error, if there was one.

        Raises:
            OSError: disk full, quota, I/O error.
        """
        if self._failure is not None:
            raise self._failure

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._end}[whence]
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        self._flush()
        view = memoryview(buffer).cast("B")
        data = os.pread(self._descriptor, len(view), self._place)
        view[: len(data)] = data
        view[len(data) :] = bytes(len(view) - len(data))  # beyond the end, as in a sparse file
        self._place += len(view)
        return len(view)

    def write(self, data) -> int:  # type: ignore[no-untyped-def]
        view = memoryview(data).cast("B")
        if not view:
            return 0
        if self._place >= self._end and len(view) < _COLLECTED:
            self._append(view)
        else:
            if self._place + len(view) > self._at_rest:
                self._flush()  # it may lie over what was appended
            self._write_at(view, self._place)
        self._place += len(view)
        self._end = max(self._end, self._place)
        return len(view)

    def _append(self, view: memoryview) -> None:
        follows = self._begin + self._size == self._end  # so that nothing stands in the gap
        gap = self._place - self._end
        if not follows or gap > _GAP or self._size + gap + len(view) > _COLLECTED:
            self._hand_over()
            self._begin, gap = self._place, 0
        size = self._size + gap
        self._appended[self._size : size] = bytes(gap)
        self._appended[size : size + len(view)] = view
        self._size = size + len(view)

    def _hand_over(self) -> None:
        """Let the thread write what was collected, once it has written what it was given before."""
        self._wait()
        if self._size:
            self._appended, self._written = self._written, self._appended
            block = memoryview(self._written)[: self._size]
            self._writing = self._threads.submit(self._write_at, block, self._begin)
            self._begin_to_sync(self._size)
            self._at_rest = self._begin
            self._begin += self._size
            self._size = 0

    def _begin_to_sync(self, size: int) -> None:
        self._unsynced += size
        if self._unsynced >= _SYNCED and (self._syncing is None or self._syncing.done()):
            self._unsynced = 0
            self._syncing = self._threads.submit(self._sync)

    def _sync(self) -> None:
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            self._failure = self._failure or error

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def _flush(self) -> None:
        self._hand_over()
        self._wait()
        self._at_rest = self._begin

    def _write_at(self, view: memoryview, place: int) -> None:
        done = 0
        while done < len(view) and self._failure is None:
            try:
                done += os.pwrite(self._descriptor, view[done:], place + done)
            except OSError as error:
                self._failure = error

    def truncate(self, size: int | None = None) -> int:
        self._flush()
        size = self._place if size is None else size
        try:
            os.ftruncate(self._descriptor, size)
        except OSError as error:
            self._failure = self._failure or error
        self._end = size
        return size

    def sync(self) -> None:
        """Force everything to disk.

        Raises:
            OSError: now, or at an earlier write.
        """
        self._flush()
        if self._syncing is not None:
            self._syncing.result()
        self.check()
        os.fsync(self._descriptor)

    def close(self) -> None:
        if not self.closed:
            self._threads.shutdown()
            os.close(self._descriptor)
        super().close()


@contextmanager
def write_errors(target: Path, *, when_full: str = _SMALLER_STORE) -> Iterator[None]:
    """Turn the operating system's write errors into one that says what to do.

    Args:
        target: what is being written; its folder exists.
        when_full: the advice where there is no room.

    Raises:
        WriteError: disk full, no permission, or an I/O error.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            status = os.statvfs(target.parent)
            free = status.f_bavail * status.f_frsize
            raise WriteError(
                f"the disk is full or a size limit was reached ({free / 1e9:.2f} GB free)",
                where=str(target),
                hint=when_full,
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EIO, errno.EPERM):
            raise WriteError(f"cannot write: {error}", where=str(target)) from error
        raise


def sync_folder(folder: Path) -> None:
    """Force a folder's entries to disk, so that a rename in it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
