"""One process at a time writes to a run folder.

The lock is the kernel's (``flock``), so that it ends with the process that holds it, however that ends.
Beside it the file says who holds it; what it says of a process that is gone is stale, and is told.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from featurestore.errors import DrinFsError
from featurestore.progress import Progress
from linker.atomic import run_write_errors

#: File systems that know no locks (some network ones) say one of these.
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)

#: Descriptors of the locks held: a forked child must not hold on to them when its parent is gone.
_held: set[int] = set()


class RunLocked(DrinFsError):
    """Another process is writing to the run folder. Exit code 1."""


@contextmanager
def run_lock(path: Path, *, progress: Progress) -> Iterator[None]:
    """Hold the lock ``path`` of a run folder, which exists; the file is gone afterwards.

    Args:
        progress: is told of a holder that died, and where the file system knows no locks.

    Raises:
        RunLocked: another process holds it; names its host, its process id and since when.
        WriteError: the file cannot be made.
    """
    with run_write_errors(path):
        descriptor = _opened_and_locked(path, progress)
    _held.add(descriptor)
    try:
        before = _holder(path)
        if before:
            progress.note(f"{before} was writing to this run and did not come to its end")
        with run_write_errors(path):
            _write_holder(descriptor)
        yield
    finally:
        if descriptor in _held:  # and this is not a forked child
            path.unlink(missing_ok=True)  # first: nobody may lock a file that is about to go
            _held.discard(descriptor)
            os.close(descriptor)


def _opened_and_locked(path: Path, progress: Progress) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(path, descriptor):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise RunLocked(
                f"another process is writing to this run: {_holder(path) or 'it does not say which'}",
                where=str(path.parent),
                hint="wait until it is done, end it, or name another folder with -o",
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(descriptor)
                raise
            progress.note(
                f"WARNING: the file system of {path.parent} knows no locks: see to it yourself that "
                "no other process writes to this run"
            )
            return descriptor
        os.close(descriptor)  # the holder before us removed the file meanwhile


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _write_holder(descriptor: int) -> None:
    holder = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode() + b"\n", 0)


def _holder(path: Path) -> str:
    """In words, who wrote the file; empty where that cannot be read."""
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f"process {holder['process']} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _let_go() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)
