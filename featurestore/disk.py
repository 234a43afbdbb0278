"""The file a store is written to, and what can go wrong with it.

HDF5 cannot be left in peace after a failed write: it fails again when the file is closed, and ends
the process at exit. So it writes through :class:`DiskFile`, which takes note of the first failure,
lets HDF5 believe that all is well, and gives the failure to whoever asks.
"""

from __future__ import annotations

import errno
import io
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from featurestore.errors import WriteError

#: What the operating system says when there is no room: disk, quota, or limit of one file.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

#: Appended bytes that are written at once, the most unwritten bytes between two pieces of them, and
#: written bytes from which on the disk is put to work (chosen here: calls cost nothing beside these).
_COLLECTED, _GAP, _SYNCED = 4 << 20, 4096, 32 << 20

#: Pieces that may be on their way when the writer goes on, and seconds between two looks at them.
_UNDERWAY, _MOMENT = 8, 0.001

_SMALLER_STORE = "free some space, or use --limit, --dtype float16, --compression zstd"


class _Piece(NamedTuple):
    """Bytes on their way to a place of the file; None = the file ends there."""

    place: int
    data: memoryview | None


class DiskFile(io.RawIOBase):
    """A new file for h5py's ``fileobj`` driver that never fails towards HDF5.

    What is appended is collected, and written by a thread, which has the system bring it to disk from
    time to time, so that :meth:`sync` finds little left to do. Python's lock is free during both.

    HDF5 calls in while h5py's own lock is held, and the thread may need that lock at any time, to
    collect garbage. So nothing that HDF5 calls waits for the thread: pieces are written in their order,
    and what is read is put together from the file and the pieces. Callers of :meth:`check`,
    :meth:`read_at`, :meth:`sync` and :meth:`close` wait.
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
        self._appended = bytearray(_COLLECTED)
        self._size = 0  # of what was appended and is not handed over yet
        self._begin = 0  # where that belongs
        self._pending: deque[_Piece] = deque()  # the first may be half written
        self._handed: SimpleQueue[_Piece | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write_pieces, name="write", daemon=True)
        self._thread.start()

    # called by HDF5 ----------------------------------------------------------------------------

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
        self._hand_over()
        view, start = memoryview(buffer).cast("B"), self._place
        pieces = list(self._pending)  # before the file is read: one may be written meanwhile
        data = os.pread(self._descriptor, len(view), start)
        view[: len(data)] = data
        view[len(data) :] = bytes(len(view) - len(data))  # beyond the end, as in a sparse file
        for place, piece in pieces:
            first = max(place - start, 0)
            if piece is None:
                view[first:] = bytes(max(len(view) - first, 0))
                continue
            last = min(place + len(piece) - start, len(view))
            if first < last:
                view[first:last] = piece[first + start - place : last + start - place]
        self._place += len(view)
        return len(view)

    def write(self, data) -> int:  # type: ignore[no-untyped-def]
        view = memoryview(data).cast("B")
        if not view:
            return 0
        if self._place >= self._end and len(view) < _COLLECTED:
            self._append(view)
        else:
            self._hand_over()
            if self._meets_pending(len(view)):
                self._put(_Piece(self._place, memoryview(bytes(view))))
            else:
                self._write_at(view, self._place)
        self._place += len(view)
        self._end = max(self._end, self._place)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        size = self._place if size is None else size
        self._hand_over()
        self._put(_Piece(size, None))
        self._end = size
        return size

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
        """Let the thread write what was collected."""
        if self._size:
            self._put(_Piece(self._begin, memoryview(self._appended)[: self._size]))
            self._begin += self._size
            self._appended, self._size = bytearray(_COLLECTED), 0

    def _put(self, piece: _Piece) -> None:
        self._pending.append(piece)
        self._handed.put(piece)

    def _meets_pending(self, size: int) -> bool:
        """Whether a piece on its way lies where so much is to be written now."""
        return any(
            piece is None or (place < self._place + size and self._place < place + len(piece))
            for place, piece in list(self._pending)
        )

    # the thread --------------------------------------------------------------------------------

    def _write_pieces(self) -> None:
        unsynced = 0
        while (piece := self._handed.get()) is not None:
            if piece.data is None:
                self._try(partial(os.ftruncate, self._descriptor, piece.place))
            else:
                self._write_at(piece.data, piece.place)
                unsynced += len(piece.data)
            self._pending.popleft()
            if unsynced >= _SYNCED:
                self._try(partial(os.fsync, self._descriptor))
                unsynced = 0

    def _write_at(self, view: memoryview, place: int) -> None:
        done = 0
        while done < len(view) and self._failure is None:
            try:
                done += os.pwrite(self._descriptor, view[done:], place + done)
            except OSError as error:
                self._failure = error

    def _try(self, call: Callable[[], None]) -> None:
        try:
            call()
        except OSError as error:
            self._failure = self._failure or error

    # called by the writer, while HDF5 is not at work --------------------------------------------

    def check(self) -> None:
        """Wait until little is on its way, and raise the first write error, if there was one.

        Raises:
            OSError: disk full, quota, I/O error.
        """
        self._wait(most=_UNDERWAY)
        if self._failure is not None:
            raise self._failure

    def read_at(self, start: int, size: int) -> bytes:
        """So many bytes from a place on, or fewer where the file ends."""
        if self._size or self._pending:
            self._hand_over()
            self._wait()
        return os.pread(self._descriptor, size, start)

    def sync(self) -> None:
        """Force everything to disk.

        Raises:
            OSError: now, or at an earlier write.
        """
        self._hand_over()
        self._wait()
        self.check()
        os.fsync(self._descriptor)

    def close(self) -> None:
        if not self.closed:
            self._hand_over()
            self._handed.put(None)
            self._thread.join()
            os.close(self._descriptor)
        super().close()

    def _wait(self, most: int = 0) -> None:
        while len(self._pending) > most:
            time.sleep(_MOMENT)


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
