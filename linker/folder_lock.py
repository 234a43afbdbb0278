"""One process at a time writes to the folder of a run, of a grid or of a search."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

from featurestore.errors import ConfigError, DrinFsError
from featurestore.lock import Held, Lock
from featurestore.progress import Progress, Silent
from linker.atomic import run_write_errors

#: What is a folder that one process writes to.
Work: TypeAlias = Literal["run", "grid", "search"]


class RunLocked(DrinFsError):
    """Another process is writing to the folder. Exit code 1."""


@contextmanager
def alone_in(
    folder: Path, *, lock: Path, work: Work, progress: Progress | None = None
) -> Iterator[None]:
    """Make the folder, and be the only process that writes to it.

    Args:
        lock: the file that says who does.
        progress: is told of one that did not come to its end.

    Raises:
        ConfigError: it is a file.
        RunLocked: another process writes to it; names it.
        WriteError: the folder cannot be made.
    """
    if folder.is_file():
        raise ConfigError(
            f"this is a file, and a {work} is a folder",
            where=str(folder),
            hint="name another folder with -o",
        )
    try:
        with run_write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            held = Lock(lock)
    except Held as error:
        raise RunLocked(
            f"another process is writing to this {work}: {error.holder}",
            where=str(folder),
            hint=f"{error.stale_hint}, or name another folder with -o",
        ) from error
    try:
        if held.left_by:
            (progress or Silent()).note(
                f"{held.left_by} was writing to this {work} and did not come to its end"
            )
        yield
    finally:
        held.release()
