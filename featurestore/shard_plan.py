"""Where the entities of a store are cut into files: as many rows as fit, in the order of the table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from featurestore.catalog import Extent, StoredField
from featurestore.errors import ConfigError
from featurestore.publish import Contents
from featurestore.shards import MOST_SHARDS
from featurestore.work import LINE, PAGE

#: Layouts whose fields stand in the shards: what is large. Texts and columns stand in the index file.
SPREAD = ("view", "record")

#: Rows whose sizes are added up at once.
_ROWS = 1 << 18

#: Bytes of a record beside its chunk: its place and size, its checksum, its entry in HDF5's index.
_OF_RECORD = 16 + 8 + 80

#: Bytes of a shard beside its rows: the first page, the tail's and the groups; and for each array what
#: HDF5 and the catalog say of it and the checksums of its last block (chosen here: twice what there is).
_OF_FILE, _OF_ARRAY = 16 << 10, 1536

#: Arrays that ids and the indexes of both tables are made of.
_OF_IDS = 6

#: Checksums of contiguous arrays, and what else grows with the bytes of a file.
_SHARE = 1 / (1 << 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharding:
    """How entities are cut into files.

    ``max_bytes``: no shard is larger. ``firsts``: the first row of each shard, in place of it.
    """

    max_bytes: int = 0
    firsts: tuple[int, ...] = ()

    @classmethod
    def at_most(cls, max_file_size: int | None) -> Self | None:
        """Into files of at most so many bytes; None: into one file."""
        return None if max_file_size is None else cls(max_bytes=max_file_size)


def spread_fields(contents: Contents) -> list[StoredField]:
    """The fields of entities that stand in the shards."""
    found = contents.fields["entities"].values()
    return [stored for stored in found if stored.schema.layout in SPREAD]


def kept_fields(contents: Contents) -> list[StoredField]:
    """The fields of entities that stand in the index file."""
    found = contents.fields["entities"].values()
    return [stored for stored in found if stored.schema.layout not in SPREAD]


def plan(
    contents: Contents, sharding: Sharding, id_offsets: np.ndarray, *, said: int
) -> tuple[int, ...]:
    """The first row of each shard.

    Args:
        id_offsets: (N + 1,) int64 where each id begins in their bytes.
        said: bytes of the attributes of a shard.

    Raises:
        ConfigError: not even one row fits, or there would be too many files.
    """
    if sharding.firsts:
        return sharding.firsts
    always = [s for s in contents.fields["mentions"].values() if not s.schema.made_by]
    columns = [s for s in kept_fields(contents) if s.offsets is None]
    aligned = len(spread_fields(contents)) + len(columns) + _OF_IDS
    fixed = _OF_FILE + 3 * said + aligned * (PAGE + _OF_ARRAY) + 2 * len(always) * _OF_ARRAY
    room = int((sharding.max_bytes - fixed) * (1 - _SHARE))
    firsts, used = [0], 0
    for block, sizes in _sizes(contents, id_offsets):
        largest = int(sizes.max())
        if largest > room:
            row = block.start + int(np.argmax(sizes))
            raise ConfigError(
                f"not even one row fits into a file of {sharding.max_bytes:,} bytes: row {row} of "
                f"entities takes {largest:,}, the rest of a file {fixed:,}",
                where="--max-file-size",
                hint=f"give at least {int((largest + fixed) * 1.01):,}",
            )
        ends = np.cumsum(sizes)
        begun = 0  # bytes of this block that are in shards before the last
        while used + int(ends[-1]) - begun > room:
            place = int(np.searchsorted(ends, room - used + begun, side="right"))
            firsts.append(block.start + place)
            begun, used = int(ends[place - 1]) if place else 0, 0
        used += int(ends[-1]) - begun
    if len(firsts) > MOST_SHARDS:
        raise ConfigError(
            f"{len(firsts):,} files, above the {MOST_SHARDS:,} that a store may have",
            where="--max-file-size",
            hint="give a larger size",
        )
    return tuple(firsts)


def check_one_fits(sharding: Sharding, row: int) -> None:
    """Before the long work: could a shard hold one row of so many bytes, and what else it must?

    Raises:
        ConfigError: it could not.
    """
    least = row + _OF_FILE
    if sharding.max_bytes and sharding.max_bytes < least:
        raise ConfigError(
            f"not even one entity fits into a file of {sharding.max_bytes:,} bytes: it takes {least:,}",
            where="--max-file-size",
            hint="give some megabytes at least",
        )


def _sizes(contents: Contents, id_offsets: np.ndarray) -> Iterator[tuple[range, np.ndarray]]:
    """Blocks of rows, and (n,) int64 the bytes that each row adds to a shard, or a little more."""
    rows = contents.rows["entities"]
    fixed = 12 + 8  # in the index of ids, and the offset of its id
    for stored in contents.fields["entities"].values():
        if stored.extent is not None and stored.offsets is None:
            fixed += row_bytes(stored.extent)
    for first in range(0, rows, _ROWS):
        block = range(first, min(first + _ROWS, rows))
        sizes = fixed + np.diff(id_offsets[block.start : block.stop + 1])
        for stored in spread_fields(contents):
            if stored.extent is None:
                chunks = contents.records[stored.schema.path].table[block.start : block.stop, 1]
                sizes = sizes + -(-chunks // LINE) * LINE + _OF_RECORD
        yield block, sizes


def row_bytes(extent: Extent) -> int:
    return extent.nbytes // max(extent.shape[0], 1)
