"""Turn the one file in which a store was made into shards and an index file.

Why so: docs/decisions/sharded-stores.md.

    .NAME.ingest/data         all arrays, as they were written
    .NAME.ingest/building/    the file that is being made of some of them
    .NAME.ingest/shards/      finished shards, 00000.h5 …
    .NAME.ingest/moved        the cuts, and how many rows are in finished shards, JSON
    .NAME.ingest/index        the finished index file

A shard is copied, forced to disk and entered in ``moved``; only then the space of its rows is given back.
So at most one shard's worth of the store is there twice, and an interruption costs the shard at work.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from featurestore.catalog import Extent, StoredField
from featurestore.disk import bytes_of, sync_path
from featurestore.errors import ConfigError, StoreError
from featurestore.holes import punch
from featurestore.opening import read_catalog
from featurestore.progress import Progress
from featurestore.publish import Contents, complete
from featurestore.record_arrays import RecordArray, pack
from featurestore.shard_plan import Sharding, kept_fields, plan, row_bytes, spread_fields
from featurestore.shards import (
    ATTRIBUTE,
    Shard,
    decode_shards,
    encode_shards,
    folder_of,
    header_digest,
    shard_name,
)
from featurestore.work import LINE, Work

#: The finished index file in the folder of a claim.
INDEX = "index"

#: Bytes, and records, that are copied at once.
_STEP, _RECORDS = 8 << 20, 1 << 14


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a :class:`Work` is made that is no ingest of its own."""

    folder: Path


def moved_rows(folder: Path) -> int:
    """Leading entity rows that stand in finished shards; where there are any, all rows were written."""
    return int(_moved(folder).get("rows", 0))


def _moved(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / "moved").read_text())
    except FileNotFoundError:
        return {}
    return found


class Splitter:
    """Splits the store of a work folder whose arrays are complete.

    Args:
        contents: what it holds, and where.
        attributes: of the store; the shards get their own.
    """

    def __init__(self, work: Work, contents: Contents, attributes: Mapping[str, str]) -> None:
        self._folder = work.folder
        self._contents = contents
        self._attributes = dict(attributes)
        self._data = work.folder / "data"
        work.file.sync()

    def split(
        self, sharding: Sharding, target: Path, progress: Progress
    ) -> list[tuple[Path, Shard]]:
        """Make the shards and the index file; what was finished before an interruption is not made again.

        Returns:
            where each shard stands, and what it is once it is in place.

        Raises:
            ConfigError: not even one row fits into a file.
            OSError: the disk is full, or another write error.
        """
        made = self._folder / "shards"
        if not _moved(self._folder):  # what is there may be of another plan
            shutil.rmtree(made, ignore_errors=True)
        made.mkdir(exist_ok=True)
        shutil.rmtree(self._folder / "building", ignore_errors=True)
        descriptor = os.open(self._data, os.O_RDWR)
        try:
            reader = _Reader(descriptor, self._contents)
            firsts = self._firsts(sharding, reader)
            rows = self._contents.rows["entities"]
            bounds = list(pairwise([*firsts, rows]))
            with progress.stage("entity shards", rows, "rows") as stage:
                for number, (first, stop) in enumerate(bounds):
                    file = made / f"{number:05d}.h5"
                    if not file.exists() and not (self._folder / INDEX).exists():
                        self._write_shard(reader, range(first, stop), file)
                    self._enter(sharding, firsts, stop)
                    reader.give_back(range(first, stop))
                    stage.advance(stop - first)
            return self._index(reader, bounds, target)
        finally:
            os.close(descriptor)

    def _firsts(self, sharding: Sharding, reader: _Reader) -> tuple[int, ...]:
        begun = _moved(self._folder)
        if begun:
            if begun["max_bytes"] != sharding.max_bytes:
                raise ConfigError(
                    f"the interrupted work was cut for files of at most {begun['max_bytes']:,} bytes",
                    where="--max-file-size",
                    hint=f"give {begun['max_bytes']}, or --restart to give up what was finished",
                )
            return tuple(begun["firsts"])
        said = sum(map(len, self._attributes.values()))
        return plan(self._contents, sharding, reader.id_offsets(), said=said)

    def _enter(self, sharding: Sharding, firsts: tuple[int, ...], stop: int) -> None:
        """Note that all rows before ``stop`` are in finished shards."""
        if stop <= moved_rows(self._folder):
            return
        part = self._folder / "moved.part"
        part.write_text(
            json.dumps({"max_bytes": sharding.max_bytes, "firsts": firsts, "rows": stop})
        )
        sync_path(part)
        os.replace(part, self._folder / "moved")
        sync_path(self._folder)

    @contextmanager
    def _building(self, result: Path) -> Iterator[Work]:
        """A file to be filled, which stands at ``result`` when it is complete."""
        folder = self._folder / "building"
        work = Work(_Place(folder), {})
        try:
            yield work
        finally:
            work.close()
        os.replace(folder / "data", result)
        sync_path(result.parent)
        shutil.rmtree(folder)

    def _write_shard(self, reader: _Reader, rows: range, result: Path) -> None:
        with self._building(result) as work:
            copy = _Copy(reader, work)
            copy.entities(rows, spread=True)
            copy.no_mentions()
            complete(work, copy.made, self._shard_attributes(rows))

    def _shard_attributes(self, rows: range) -> dict[str, str]:
        """Those of the store, but for what says which rows of it these are."""
        whole = self._attributes["fingerprint"]
        part = f"{whole}:{rows.start}:{rows.stop}".encode()
        provenance = json.loads(self._attributes["provenance"])
        provenance["shard"] = {"fingerprint": whole, "rows": [rows.start, rows.stop]}
        return self._attributes | {
            "fingerprint": blake2b(part, digest_size=16).hexdigest(),
            "provenance": json.dumps(provenance),
        }

    def _index(
        self, reader: _Reader, bounds: list[tuple[int, int]], target: Path
    ) -> list[tuple[Path, Shard]]:
        """Make the index file, and say where each shard belongs."""
        index = self._folder / INDEX
        files = [self._folder / "shards" / f"{number:05d}.h5" for number in range(len(bounds))]
        if index.exists():
            catalog = read_catalog(index)
            known = decode_shards(catalog.attributes, catalog.rows["entities"], index)
            return list(zip(files, known, strict=True))
        headers = [header_digest(file) for file in files]
        content = blake2b("".join(headers).encode(), digest_size=4).hexdigest()
        shards = [
            Shard(
                file=f"{folder_of(target).name}/{shard_name(number, len(files), content)}",
                first=first,
                stop=stop,
                bytes=files[number].stat().st_size,
                header=headers[number],
            )
            for number, (first, stop) in enumerate(bounds)
        ]
        with self._building(index) as work:
            copy = _Copy(reader, work)
            copy.entities(range(self._contents.rows["entities"]), spread=False)
            copy.mentions()
            spread = spread_fields(self._contents)
            complete(work, copy.made, self._attributes | {ATTRIBUTE: encode_shards(shards)}, spread)
        return list(zip(files, shards, strict=True))


class _Reader:
    """Reads the arrays of the work file, and gives their space back.

    Args:
        descriptor: of the file, open for both.
    """

    def __init__(self, descriptor: int, contents: Contents) -> None:
        self._descriptor = descriptor
        self.contents = contents

    def bytes(self, start: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, start)

    def values(self, extent: Extent, rows: range) -> np.ndarray:
        """Consecutive rows of an array."""
        size = row_bytes(extent)
        data = self.bytes(extent.offset + rows.start * size, len(rows) * size)
        return np.frombuffer(data, extent.dtype).reshape(len(rows), *extent.shape[1:])

    def id_offsets(self) -> np.ndarray:
        """(N + 1,) int64 where each id begins: a map of the file."""
        offsets = self.contents.fields["entities"]["id"].offsets
        assert offsets is not None
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            return np.memmap(file, offsets.dtype, "r", offsets.offset, offsets.shape)

    def give_back(self, rows: range) -> None:
        """Punch holes where these rows of the features of entities stand."""
        pieces = []
        for stored in spread_fields(self.contents):
            if stored.extent is not None:
                size = row_bytes(stored.extent)
                start = stored.extent.offset + rows.start * size
                punch(self._descriptor, start, start + len(rows) * size)
            else:
                pieces.append(self.contents.records[stored.schema.path].table)
        for first in range(rows.start, rows.stop, _RECORDS):
            last = min(first + _RECORDS, rows.stop)
            if pieces:
                table = np.concatenate([np.asarray(piece[first:last]) for piece in pieces])
                for start, stop in _runs(table):
                    punch(self._descriptor, start, stop)


def _runs(table: np.ndarray) -> Iterator[tuple[int, int]]:
    """The places of the file that chunks take; those that lie side by side as one."""
    ordered = table[np.argsort(table[:, 0])]
    starts, stops = ordered[:, 0], ordered.sum(axis=1)
    breaks = np.flatnonzero(starts[1:] - stops[:-1] >= LINE)  # nothing fits into less
    firsts, lasts = np.append(0, breaks + 1), np.append(breaks, len(ordered) - 1)
    return zip(starts[firsts].tolist(), stops[lasts].tolist(), strict=True)


class _Copy:
    """Copies arrays of the work file to another file.

    ``made``: what is there by now.
    """

    def __init__(self, reader: _Reader, work: Work) -> None:
        self._reader = reader
        self._all = reader.contents
        self._work = work
        self.made = Contents()

    def entities(self, rows: range, *, spread: bool) -> None:
        """The table of some entities: with the features, or all but those."""
        index = self._all.index["entities"]
        whole = len(rows) == self._all.rows["entities"]
        pair = self._whole_index("entities") if whole else self._part_index(index, rows)
        self.made.begin("entities", len(rows), pair)
        for stored in kept_fields(self._all):
            if stored.offsets is None:
                self.made.add(self._rows(stored, rows))
            elif stored.name == "id" or not spread:
                self.made.add(self._text(stored, rows))
        for stored in spread_fields(self._all) if spread else ():
            self._add_feature(stored, rows)

    def mentions(self) -> None:
        """The whole table."""
        count = self._all.rows["mentions"]
        self.made.begin("mentions", count, self._whole_index("mentions"))
        self.made.splits = dict(self._all.splits)
        for stored in self._all.fields["mentions"].values():
            if stored.offsets is not None:
                self.made.add(self._text(stored, range(count)))
            else:
                self._add_feature(stored, range(count))

    def no_mentions(self) -> None:
        """A table without rows, with the fields that every store has."""
        hashes, numbers = self._all.index["mentions"]
        pair = (self._rows_of("hash", hashes, range(0)), self._rows_of("row", numbers, range(0)))
        self.made.begin("mentions", 0, pair)
        for stored in self._all.fields["mentions"].values():
            if not stored.schema.made_by:
                none = range(0)
                self.made.add(
                    self._rows(stored, none) if stored.offsets is None else self._text(stored, none)
                )

    def _add_feature(self, stored: StoredField, rows: range) -> None:
        if stored.extent is not None:
            self.made.add(self._rows(stored, rows))
            return
        old = self._all.records[stored.schema.path]
        new = self._records(old, rows)
        self.made.records[stored.schema.path] = new
        self.made.add(replace(stored, shape=new.shape, stored_bytes=new.stored_bytes))

    # arrays -------------------------------------------------------------------------------------

    def _rows(self, stored: StoredField, rows: range) -> StoredField:
        assert stored.extent is not None
        extent = self._rows_of(stored.schema.path, stored.extent, rows)
        return replace(stored, shape=extent.shape, stored_bytes=extent.nbytes, extent=extent)

    def _rows_of(self, name: str, extent: Extent, rows: range) -> Extent:
        """Consecutive rows of an array, as they are."""
        size = row_bytes(extent)
        offset = self._bytes(name, extent.offset + rows.start * size, len(rows) * size)
        return Extent(offset, (len(rows), *extent.shape[1:]), extent.dtype)

    def _bytes(self, name: str, start: int, size: int) -> int:
        """Copy bytes to a place of their own; where it is."""
        offset = self._work.reserve(name, size)
        for done in range(0, size, _STEP):
            data = self._reader.bytes(start + done, min(_STEP, size - done))
            self._work.file.write(offset + done, data)
        return offset

    def _text(self, stored: StoredField, rows: range) -> StoredField:
        assert stored.extent is not None
        assert stored.offsets is not None
        path = stored.schema.path
        ends = range(rows.start, rows.stop + 1)
        first, last = (
            int(self._reader.values(stored.offsets, range(row, row + 1))[0])
            for row in (rows.start, rows.stop)
        )
        begin = self._bytes(f"{path}/bytes", stored.extent.offset + first, last - first)
        place = self._work.reserve(f"{path}/offsets", 8 * len(ends))
        step = _STEP // 8
        for done in range(0, len(ends), step):
            block = self._reader.values(stored.offsets, ends[done : done + step])
            self._work.file.write(place + 8 * done, bytes_of(block - first))
        extent = Extent(begin, (last - first,), stored.extent.dtype)
        offsets = Extent(place, (len(ends),), stored.offsets.dtype)
        size = extent.nbytes + offsets.nbytes
        return replace(
            stored, shape=(len(rows),), stored_bytes=size, extent=extent, offsets=offsets
        )

    def _whole_index(self, table: str) -> tuple[Extent, Extent]:
        hashes, numbers = self._all.index[table]
        rows = range(self._all.rows[table])
        return (
            self._rows_of(f"{table}/id_index/hash", hashes, rows),
            self._rows_of(f"{table}/id_index/row", numbers, rows),
        )

    def _part_index(self, index: tuple[Extent, Extent], rows: range) -> tuple[Extent, Extent]:
        """The index of some rows: those of the whole one that lead there, in its order."""
        hashes, numbers = index
        made = (
            Extent(self._work.reserve("hash", 8 * len(rows)), (len(rows),), hashes.dtype),
            Extent(self._work.reserve("row", 4 * len(rows)), (len(rows),), numbers.dtype),
        )
        done, step = 0, _STEP // 8
        for first in range(0, self._all.rows["entities"], step):
            block = range(first, min(first + step, self._all.rows["entities"]))
            of = self._reader.values(numbers, block)
            chosen = (of >= rows.start) & (of < rows.stop)
            found = self._reader.values(hashes, block)[chosen], of[chosen] - np.int32(rows.start)
            for extent, values in zip(made, found, strict=True):
                place = extent.offset + done * extent.dtype.itemsize
                self._work.file.write(place, bytes_of(values))
            done += len(found[0])
        return made

    def _records(self, old: RecordArray, rows: range) -> RecordArray:
        """Chunks of consecutive records, as they are stored.

        Raises:
            StoreError: one is not what was written.
        """
        new = RecordArray(self._work, old.name, (len(rows), *old.shape[1:]), old.dtype, old.codec)
        first = rows.start
        while first < rows.stop:
            ahead = min(rows.stop, first + _RECORDS)
            sizes = np.cumsum(old.table[first:ahead, 1])
            last = first + max(1, int(np.searchsorted(sizes, _STEP)))
            last = min(last, ahead)
            places = old.table[first:last].tolist()
            packed = pack(
                [np.frombuffer(self._reader.bytes(start, size), np.uint8) for start, size in places]
            )
            wrong = np.flatnonzero(packed.sums != old.sums[first:last])
            if len(wrong):
                raise StoreError(
                    "bytes are not what was written",
                    where=f"{old.name}[{first + int(wrong[0])}]",
                    hint="see that the disk is sound, then pass --restart",
                )
            new.write(np.arange(first, last) - rows.start, packed)
            first = last
        return new
