"""A store made in n shards: which rows each does, where it keeps them, and what stands there.

    .NAME.shards/i-of-n/       data and manifest as of any ingest (:mod:`featurestore.work`), and at the
                               end of the manifest an entry that says that the shard is complete
    .NAME.shards/i-of-n.lock   who is at work on it

A shard is a range of rows of each table. What is encoded together is formed inside blocks of
``BLOCK_ROWS`` rows, and shards of raw data begin at such a block: so the batches, and with them the last
bits of every value, are those of an ingest in one piece, whatever n is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from featurestore.errors import ConfigError
from featurestore.manifest import Manifest

#: Rows whose texts and pictures are encoded together (chosen here: sorted by length a thousand texts
#: waste little on padding, and a text that occurs in two blocks, which is encoded twice, is rare: 62 of
#: 21,430 sentences of WikiMEL).
BLOCK_ROWS = 1024

_FOLDER = re.compile(r"([1-9]\d*)-of-([1-9]\d*)")


@dataclass(frozen=True, slots=True, order=True)
class Shard:
    """Shard ``number`` of ``of``, counted from 1."""

    of: int
    number: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ConfigError(
                f"no shard {self.number} of {self.of}", hint="shards are 1/n, 2/n, … n/n"
            )

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """``3/8``.

        Raises:
            ConfigError: it is not of this form, or there is no such shard.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if found is None:
            raise ConfigError(f"no shard {text!r}", hint="shards are 1/n, 2/n, … n/n")
        return cls(number=int(found[1]), of=int(found[2]))

    @classmethod
    def all(cls, of: int) -> list[Self]:
        return [cls(number=number, of=of) for number in range(1, of + 1)]

    def rows(self, total: int, *, block: int) -> range:
        """The rows of a table of ``total`` that this shard does: whole blocks, as many as the others do.

        The ranges of all shards follow each other and cover the table; where there are more shards than
        blocks, some are empty.
        """
        blocks = -(-total // block)
        first, stop = (blocks * number // self.of for number in (self.number - 1, self.number))
        return range(min(first * block, total), min(stop * block, total))

    def folder(self, target: Path) -> Path:
        """Where its work is kept."""
        return shards_folder(target) / f"{self.number}-of-{self.of}"


def shards_folder(target: Path) -> Path:
    """Where the shards of a store are kept."""
    return target.with_name(f".{target.name}.shards")


class ShardRows(NamedTuple):
    """The rows of each table that a shard does."""

    entities: range
    mentions: range

    def of(self, table: str) -> range:
        return self.entities if table == "entities" else self.mentions


def slice_of(rows: range) -> slice:
    return slice(rows.start, rows.stop)


class Kept(NamedTuple):
    """What the manifest of a shard says.

    ``run``: how it was begun: source, options, folder, threads. ``parts``: those that are finished.
    ``found``: what it found out that is no row; None = it is not complete.
    """

    shard: Shard
    folder: Path
    identity: dict[str, Any]
    run: dict[str, Any]
    parts: int
    found: dict[str, Any] | None


def kept_shards(target: Path) -> dict[int, dict[int, Kept]]:
    """n → number → the shards that were begun for a target, complete or not."""
    kept: dict[int, dict[int, Kept]] = {}
    for shard, folder in sorted(_folders(target)):
        if (folder / "manifest").exists():
            kept.setdefault(shard.of, {})[shard.number] = read_kept(shard, folder)
    return kept


def _folders(target: Path) -> Iterator[tuple[Shard, Path]]:
    root = shards_folder(target)
    for folder in root.iterdir() if root.is_dir() else ():
        found = _FOLDER.fullmatch(folder.name)
        if found is not None and folder.is_dir() and int(found[1]) <= int(found[2]):
            yield Shard(number=int(found[1]), of=int(found[2])), folder


def read_kept(shard: Shard, folder: Path) -> Kept:
    """What stands in the folder of a shard; its manifest is read, not changed."""
    entries = Manifest.read(folder / "manifest")
    if not entries:
        return Kept(shard, folder, {}, {}, 0, None)
    first, parts = entries[0].plain, entries[1:]
    found = next((part.plain["complete"] for part in parts if "complete" in part.plain), None)
    return Kept(shard, folder, first.get("identity", {}), first.get("run", {}), len(parts), found)
