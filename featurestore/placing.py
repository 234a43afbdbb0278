"""Put a finished store where it belongs: shards first, then, in one rename, the file that names them.

    .NAME.ingest/publishing     what is about to be renamed, JSON: the file that makes the store, the
                                shards that it names, and those of the store that it replaces
    NAME.shards/                the shards; their names have a digest of their content, so that no file of
                                a store in use is ever replaced

A rename can be interrupted like anything else: the record says what is to be removed, the new shards as
long as nothing names them, the old ones when nothing names them any more. Nothing else is removed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from featurestore.disk import sync_path
from featurestore.errors import StoreError
from featurestore.opening import read_catalog
from featurestore.shards import Shard, check_shard, decode_shards

_RECORD = "publishing"


class _Record(NamedTuple):
    """``last``: the file in the work folder whose rename publishes; shards: beside the target."""

    last: str
    new: list[str]
    old: list[str]


def shards_of(store: Path) -> list[str]:
    """The shards that a file names, relative to its folder; none if it is no store."""
    if not store.is_file():
        return []
    with suppress(StoreError):
        catalog = read_catalog(store)
        found = decode_shards(catalog.attributes, catalog.rows["entities"], store)
        return [shard.file for shard in found]
    return []


def put_in_place(
    folder: Path, target: Path, last: str, shards: Sequence[tuple[Path, Shard]] = ()
) -> None:
    """Publish what is finished in a work folder, in place of what stands at the target.

    Args:
        last: the file in the folder that becomes the target.
        shards: where each shard stands, unless it was moved before an interruption, and what it is.

    Raises:
        StoreError: a shard is not where it was put.
        OSError: a rename failed; nothing is lost.
    """
    new = [shard.file for _, shard in shards]
    old = [file for file in shards_of(target) if file not in new]
    if new or old:
        _write(folder, _Record(last, new, old))
    for made, shard in shards:
        place = target.parent / shard.file
        if made.exists():
            place.parent.mkdir(exist_ok=True)
            os.replace(made, place)
        check_shard(shard, target)
    for place in {(target.parent / file).parent for file in new}:
        sync_path(place)
    if new:
        sync_path(target.parent)  # it has the folder
    os.replace(folder / last, target)
    sync_path(target.parent)
    settle(folder, target)


def is_published(folder: Path) -> bool:
    """Whether the store of a work folder stands at its target, and only remains are left."""
    record = _read(folder)
    return record is not None and not (folder / record.last).exists()


def settle(folder: Path, target: Path) -> None:
    """Remove the shards that a publication, or one that did not come about, has left nobody to name."""
    record = _read(folder)
    if record is None:
        return
    left = record.old if is_published(folder) else record.new
    in_use = set(shards_of(target))
    for file in left:
        if file not in in_use:
            (target.parent / file).unlink(missing_ok=True)
    for place in {(target.parent / file).parent for file in left}:
        with suppress(OSError):  # while there are others in it
            place.rmdir()
    (folder / _RECORD).unlink(missing_ok=True)


def _write(folder: Path, record: _Record) -> None:
    part = folder / f"{_RECORD}.part"
    part.write_text(json.dumps(record._asdict()))
    sync_path(part)
    os.replace(part, folder / _RECORD)
    sync_path(folder)


def _read(folder: Path) -> _Record | None:
    try:
        return _Record(**json.loads((folder / _RECORD).read_text()))
    except (FileNotFoundError, ValueError):
        return None
