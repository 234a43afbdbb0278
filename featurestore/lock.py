"""One writer at a time: a lock file that says who holds it, and frees itself when its holder is gone."""

from __future__ import annotations

import errno
import json
import os
import socket
from datetime import datetime
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # not on this system: what the file says must do
    fcntl = None  # type: ignore[assignment]

#: What a file system says that knows no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


class Held(Exception):
    """Somebody else holds the lock; ``holder`` says who."""

    def __init__(self, holder: str, *, stale_hint: str) -> None:
        super().__init__(holder)
        self.holder = holder
        self.stale_hint = stale_hint


class Lock:
    """A lock on a file, held until :meth:`release` or the end of the process, however it ends.

    The operating system keeps it (``flock``), so a lock of a process that is gone is none. Where the file
    system knows no locks, the holder's note in the file counts: on the same machine it is stale if that
    process is gone; on another one nobody can tell, and the message says which file to delete. A forked
    child does not hold its parent's lock.

    ``left_by``: who held it and was ended before it let go; empty if nobody.

    Raises:
        Held: somebody else has it.
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = self._acquire()
        _held.add(self)
        left = _note(self._descriptor)
        self.left_by = _said(left) if left else ""
        note = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "since": datetime.now().astimezone().isoformat(timespec="seconds"),
        }
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(note).encode(), 0)

    def _acquire(self) -> int:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                self._take(descriptor)
                if _is_at(descriptor, self._path):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # its last holder removed the file meanwhile: take the next one

    def _take(self, descriptor: int) -> None:
        try:
            if fcntl is None:
                raise OSError(errno.ENOSYS, "no locks")
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Held(_said(_note(descriptor)), stale_hint="wait for it or end it") from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            self._take_by_note(_note(descriptor))

    def _take_by_note(self, note: dict[str, Any]) -> None:
        """Where the file system has no locks."""
        if not note:
            return
        here = note.get("host") == socket.gethostname()
        if here and (note.get("process") == os.getpid() or not is_running(note.get("process"))):
            return
        hint = "wait for it or end it" if here else f"if it is gone, delete {self._path}"
        raise Held(_said(note), stale_hint=hint)

    def release(self) -> None:
        """Let others have it; the file goes."""
        if self._descriptor >= 0:
            self._path.unlink(missing_ok=True)  # first: nobody may lock a file that is about to go
            self.let_go()

    def let_go(self) -> None:
        """Hold it no more, without a word to others: for a forked child, whose parent goes on."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            _held.discard(self)


#: Those that this process holds.
_held: set[Lock] = set()


def _let_all_go() -> None:
    for lock in list(_held):
        lock.let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_all_go)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _note(descriptor: int) -> dict[str, Any]:
    try:
        note = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}
    told = isinstance(note, dict) and all(note.get(key) for key in ("host", "process", "since"))
    return note if told else {}


def _said(note: dict[str, Any]) -> str:
    if not note:
        return "another process"
    return f"process {note.get('process')} on {note.get('host')} since {note.get('since')}"


def is_running(process: object) -> bool:
    """Whether a process of this machine is there."""
    if not isinstance(process, int) or process <= 0:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
