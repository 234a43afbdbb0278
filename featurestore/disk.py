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
from contextlib import contextmanager
from pathlib import Path

from featurestore.errors import WriteError

#: What the operating system says when there is no room: disk, quota, or limit of one file.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_SMALLER_STORE = "free some space, or use --limit, --dtype float16, --compression zstd"


class DiskFile(io.RawIOBase):
    """A new file for h5py's ``fileobj`` driver that never fails towards HDF5."""

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
        view = memoryview(buffer).cast("B")
        data = os.pread(self._descriptor, len(view), self._place)
        view[: len(data)] = data
        view[len(data) :] = bytes(len(view) - len(data))  # beyond the end, as in a sparse file
        self._place += len(view)
        return len(view)

    def write(self, data) -> int:  # type: ignore[no-untyped-def]
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view) and self._failure is None:
            try:
                done += os.pwrite(self._descriptor, view[done:], self._place + done)
            except OSError as error:
                self._failure = error
        self._place += len(view)
        self._end = max(self._end, self._place)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
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
        self.check()
        os.fsync(self._descriptor)

    def close(self) -> None:
        if not self.closed:
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
