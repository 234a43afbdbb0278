"""The folder an export is written to: complete at its place, or not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from featurestore.disk import sync_path, write_errors
from featurestore.errors import WriteError
from featurestore.store import Store
from featurestore.target import remove_leftovers

Block = TypeVar("Block")


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """What an export wrote, for people (``drin-fs export``) and programs (``--json``).

    ``rows``: what was counted → how many. ``notes``: what the reader of the files should know.
    """

    folder: str
    format: str
    rows: dict[str, int]
    files: int
    bytes: int
    notes: list[str]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to write to; it gets the name ``target`` when the ``with`` block ends well.

    Until then it stands beside ``target`` under a hidden name, and goes if anything fails. What a
    killed export left there is removed.

    Raises:
        WriteError: ``target`` holds something or cannot be made, the disk is full, or an I/O error.
    """
    target = target.resolve()
    _check(target)
    remove_leftovers(target)
    part = target.parent / f".{target.name}.{os.getpid()}.part"
    with write_errors(target, when_full="free some space, or name a folder on another disk"):
        part.mkdir()
        try:
            yield part
            _sync(part)
            _check(target)
            part.rename(target)
            sync_path(target.parent)
        finally:
            if part.exists():
                shutil.rmtree(part)


def _check(target: Path) -> None:
    """Refuse a target that is not a new or empty folder, or that no folder can be renamed to."""
    if not target.parent.is_dir():
        raise WriteError(
            "the folder above does not exist", where=str(target.parent), hint="create it"
        )
    if not target.exists():
        return
    if not target.is_dir():
        raise WriteError("the target is a file", where=str(target), hint="name a new folder")
    if os.path.ismount(target):
        raise WriteError(
            "the target is the root of a disk", where=str(target), hint="name a folder inside it"
        )
    if any(target.iterdir()):
        raise WriteError(
            "the target folder is not empty", where=str(target), hint="name a new folder"
        )


def _sync(folder: Path) -> None:
    """Force the files of a folder, and its list of them, to disk."""
    for path in folder.iterdir():
        sync_path(path)
    sync_path(folder)


def passing(store: Store, blocks: Iterable[Block]) -> Iterator[Block]:
    """Blocks that are read from a store, whose memory is given back after each.

    Without it, a pass over a store of 17 GB would have as much of it in memory as there is room for.
    """
    for block in blocks:
        store.release_pages()
        yield block


def written(folder: Path) -> dict[str, int]:
    """How many ``files`` there are in a folder, and their ``bytes``."""
    sizes = [path.stat().st_size for path in folder.iterdir()]
    return {"files": len(sizes), "bytes": sum(sizes)}
