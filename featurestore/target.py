"""Where a store, or another file that is made at once, is to stand."""

from __future__ import annotations

import os
import shutil
from glob import escape
from pathlib import Path

from featurestore.disk import sync_path, write_errors
from featurestore.errors import WriteError
from featurestore.lock import is_running


def check_target(target: Path, *, overwrite: bool, makes_folder: bool = False) -> None:
    """Refuse a target that exists or whose folder does not, before any work is done.

    Args:
        makes_folder: the folder need not be there: :func:`make_folder` makes it before the first write.

    Raises:
        WriteError: says which, and what to do.
    """
    if makes_folder:
        _check_folder(target.parent)
    elif not target.parent.is_dir():
        raise WriteError(
            "the target folder does not exist", where=str(target.parent), hint="create it"
        )
    if target.is_dir():
        raise WriteError(
            "the target is a folder", where=str(target), hint="name a file that is to stand in it"
        )
    if target.exists() and not target.is_file():  # a rename would put a file in place of /dev/null
        raise WriteError(
            "the target is a device or a pipe, which a file cannot replace", where=str(target)
        )
    if target.exists() and not overwrite:
        raise WriteError(
            "the target exists", where=str(target), hint="pass --overwrite to replace it"
        )


def make_folder(folder: Path) -> None:
    """Make a folder and those that it stands in, where they are missing.

    Raises:
        WriteError: a file is in the way, no permission, or an I/O error.
    """
    _check_folder(folder)
    with write_errors(folder, when_full="make room, or name a folder on another disk"):
        folder.mkdir(parents=True, exist_ok=True)


def _check_folder(folder: Path) -> None:
    there = next(part for part in (folder, *folder.parents) if part.exists())
    if not there.is_dir():
        raise WriteError("a file, not a folder", where=str(there), hint="name another folder")


def replace_file(target: Path, data: bytes) -> None:
    """Write a small file: it stands there whole, or what was there before does.

    Raises:
        WriteError: disk full, no permission, or an I/O error.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with write_errors(target, when_full="make room, or name a file on another disk"):
            part.write_bytes(data)
            sync_path(part)
            os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def remove_leftovers(target: Path) -> list[Path]:
    """Delete unfinished files and folders that programs no longer running left beside ``target``."""
    removed = []
    for part in target.parent.glob(f".{escape(target.name)}.*.part"):
        owner = part.name.removesuffix(".part").rpartition(".")[2]
        if owner.isdigit() and not is_running(int(owner)):
            if part.is_dir() and not part.is_symlink():
                shutil.rmtree(part)
            else:
                part.unlink(missing_ok=True)
            removed.append(part)
    return removed
