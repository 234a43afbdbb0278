"""Files that are replaced whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from featurestore.disk import sync_path, write_errors
from featurestore.errors import WriteError

_RESUME = "what was finished is kept: {}, then continue with --resume"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write instead of ``path``, which it becomes when the block ends well.

    It is on the disk before it takes the name, and the name is on the disk before this ends: a
    process that is killed, or a machine that stops, at any moment leaves the old file or the new one.

    Raises:
        WriteError: the disk is full, the folder cannot be written, or the disk fails; ``path`` is as
            it was.
    """
    temporary = unfinished(path)
    try:
        with run_write_errors(path):
            yield temporary
            sync_path(temporary)
            os.replace(temporary, path)
            sync_path(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a small file whole, as UTF-8, or not at all.

    Raises:
        WriteError: as :func:`replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def run_write_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says of writing into an error that says how to go on.

    Raises:
        WriteError: names ``path``.
    """
    try:
        with write_errors(
            path,
            when_full=_RESUME.format("make room"),
            otherwise=_RESUME.format("look after the disk"),
        ):
            yield
    except OSError as error:
        raise WriteError(
            f"cannot write the run ({error.strerror or error})",
            where=str(path),
            hint=_RESUME.format("look after the folder"),
        ) from error


def unfinished(path: Path) -> Path:
    """What ``path`` is called while it is written; a killed process leaves it there."""
    return path.with_name(f".{path.name}.part")
