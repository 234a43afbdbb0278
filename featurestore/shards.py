"""The manifest of a sharded store: which files hold the features of which entities (docs/sharded.md).

It is the attribute ``shards`` of the index file, JSON, and so under the digest of that file's catalog:

    [{"file": "NAME.shards/entities-1f0c2d3e-00000-of-00004.h5", "rows": [first, stop], "bytes": …,
      "header": "…"}, …]
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xxhash import xxh3_128_hexdigest

from featurestore.errors import AGAIN, StoreError
from featurestore.header import Header, parse_header, read_header
from featurestore.place import Place, StoreUrl

#: The attribute of the index file.
ATTRIBUTE = "shards"

#: What to do about a shard of a remote store.
_UPLOAD = "an index and its folder of shards belong together: have both uploaded again"

#: A file in a folder beside the index, and nothing else: a manifest must not lead anywhere.
_PLACE = re.compile(r"[^/\\\0]+/[^/\\\0]+")

#: Most shards (chosen here: each is a memory map, of which Linux gives a process 65,530).
MOST_SHARDS = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A file with the features of consecutive entities.

    ``file``: relative to the folder of the index. ``header``: the digest of its header, which has digests
    of everything in the file that is no field data, the checksums of that included.
    """

    file: str
    first: int
    stop: int
    bytes: int
    header: str

    def __len__(self) -> int:
        return self.stop - self.first


def encode_shards(shards: Sequence[Shard]) -> str:
    """The text of the attribute."""
    return json.dumps(
        [
            {"file": s.file, "rows": [s.first, s.stop], "bytes": s.bytes, "header": s.header}
            for s in shards
        ]
    )


def decode_shards(attributes: Mapping[str, Any], rows: int, path: Place) -> tuple[Shard, ...]:
    """The shards that an index file names; none where the store is one file.

    Raises:
        StoreError: the manifest is not as it must be.
    """
    if ATTRIBUTE not in attributes:
        return ()
    try:
        found = tuple(map(_shard, json.loads(attributes[ATTRIBUTE])))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _contradicts(path, "is not as it must be") from error
    if not 1 <= len(found) <= MOST_SHARDS:
        raise _contradicts(path, f"names {len(found)} files, of at most {MOST_SHARDS}")
    expected = 0
    for shard in found:
        if shard.first != expected or shard.stop <= shard.first:
            raise _contradicts(path, f"has rows {shard.first} to {shard.stop} after {expected}")
        expected = shard.stop
    if expected != rows:
        raise _contradicts(path, f"has {expected} rows of {rows} entities")
    return found


def _shard(node: Any) -> Shard:
    first, stop = node["rows"]
    plain = (first, stop, node["bytes"])
    if any(not isinstance(n, int) or isinstance(n, bool) or n < 0 for n in plain):
        raise ValueError(plain)
    file, header = node["file"], node["header"]
    if not isinstance(file, str) or not isinstance(header, str) or not _PLACE.fullmatch(file):
        raise ValueError(file)
    if any(part in (".", "..") for part in file.split("/")):
        raise ValueError(file)
    return Shard(file=file, first=first, stop=stop, bytes=node["bytes"], header=header)


def _contradicts(path: Place, what: str) -> StoreError:
    return StoreError(f"the manifest of shards {what}", where=f"{path}::/", hint=AGAIN)


def header_digest(path: Path) -> str:
    """32 hex digits of the header of a store; nothing where it has none.

    Raises:
        StoreError: the header is damaged, or the file is longer or shorter than it says.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        header = read_header(file, path)
    return "" if header is None else _digest(header)


def _digest(header: Header) -> str:
    return xxh3_128_hexdigest(header.encode())


def check_shard(shard: Shard, index: Place) -> Place:
    """Where a shard stands, if the file there is the one that the index was written with.

    Looks at its length and its header, not at its data. A remote one is looked at when it is opened
    (:func:`check_remote_shard`).

    Raises:
        StoreError: it is missing, cut off, or another one.
    """
    if isinstance(index, StoreUrl):
        return index.beside(shard.file)
    path = index.parent / shard.file
    folder = shard.file.partition("/")[0]
    together = (
        f"{index.name} and the folder {folder} belong together: copy both again, or ingest again"
    )
    try:
        size = os.stat(path).st_size
    except FileNotFoundError as error:
        raise absent_shard(shard, path, hint=together) from error
    except OSError as error:
        raise StoreError(
            f"a shard of the store cannot be read ({error.strerror})",
            where=str(path),
            hint="see who may read it",
        ) from error
    if size != shard.bytes:
        raise StoreError(
            f"a shard of {size} bytes, where the index {index.name} names one of {shard.bytes}",
            where=str(path),
            hint=f"it was cut off, added to or replaced: {together}",
        )
    if header_digest(path) != shard.header:
        raise StoreError(
            f"another shard than the one that belongs to the index {index.name}",
            where=str(path),
            hint=f"it was replaced or damaged: {together}",
        )
    return path


def check_remote_shard(shard: Shard, url: Place, page: bytes, size: int | None) -> None:
    """Refuse a remote file that is not the shard that the index was written with.

    Args:
        page: its first page.
        size: of the file, if the server says it.

    Raises:
        StoreError: it is another one.
    """
    header = parse_header(page, shard.bytes if size is None else size, url)
    if header is None or _digest(header) != shard.header:
        raise StoreError(
            "another shard than the one that belongs to the index",
            where=str(url),
            hint=_UPLOAD,
        )


def absent_shard(shard: Shard, place: Place, *, hint: str = _UPLOAD) -> StoreError:
    """What to say of a shard that is not where the index is."""
    return StoreError(
        f"a shard of the store is missing: rows {shard.first} to {shard.stop - 1} of entities",
        where=str(place),
        hint=hint,
    )


def folder_of(target: Path) -> Path:
    """The folder of the shards of a store that is published at a path."""
    return target.with_name(f"{target.name}.shards")


def shard_name(number: int, count: int, content: str) -> str:
    """The name of a shard's file.

    Args:
        content: a digest of all shards, so that no file in use by another store has this name.
    """
    return f"entities-{content[:8]}-{number:05d}-of-{count:05d}.h5"
