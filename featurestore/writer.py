"""Build a store: rows written in any order to a hidden file beside the target, published by one rename.

A file being written is never the file being read: until ``publish`` has synced everything and renamed it,
there is nothing at the target path, whatever happens. What is finished survives an interruption
(:mod:`featurestore.work`): the next writer for the same target, with the same identity, goes on there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from featurestore import threads
from featurestore.catalog import Extent, StoredField
from featurestore.codecs import DEFAULT_COMPRESSION, Codec, Compression
from featurestore.disk import bytes_of, free_bytes, write_errors
from featurestore.errors import ConfigError, SourceError, WriteError
from featurestore.features import FeatureWriter
from featurestore.filling import Filling
from featurestore.holes import can_punch
from featurestore.ids import build_index
from featurestore.options import FeatureDtype
from featurestore.parts import PART_BYTES, PART_SECONDS, Parts
from featurestore.placing import put_in_place
from featurestore.progress import Progress, Silent
from featurestore.publish import Contents, complete
from featurestore.record_arrays import RecordArray
from featurestore.row_arrays import KeptRows, RowArray, check_complete
from featurestore.schema import BY_PATH, Field
from featurestore.shard_plan import Sharding, check_one_fits, spread_fields
from featurestore.splitting import INDEX, Splitter, moved_rows
from featurestore.table import Table
from featurestore.target import check_target
from featurestore.work import Claim, Work

Result = TypeVar("Result")

#: Vectors derived in one task (chosen here: handing it out takes as long as deriving one).
_TASK = 16

#: Texts that are encoded at once, and bytes of an array that are copied at once (chosen here: some
#: megabytes, where texts are articles).
_TEXTS, _COPIED = 4096, 4 << 20

#: Share of its size that a compressed record keeps: at best, and likely (chosen here: texts are a third
#: of their padded length, and features compress to nine tenths).
_BEST, _LIKELY = 0.05, 0.5

_GO_ON = "free some space and run the command again: it goes on where it stopped"
_SMALLER = "free some space, or use --limit, --dtype float16, --compression zstd"


class StoreWriter:
    """Writes one new store. Use :meth:`create` in a ``with`` block, then :meth:`publish`.

    Leaving the block without ``publish`` keeps the finished parts, if there are any.
    """

    def __init__(
        self,
        claim: Claim,
        *,
        dtype: FeatureDtype,
        compression: Compression,
        overwrite: bool,
        identity: Mapping[str, Any],
        part_seconds: float,
        part_bytes: int,
        note: Callable[[str], None],
        salvage: Filling | None,
        run: Mapping[str, Any] | None,
        sharding: Sharding | None,
    ) -> None:
        self.target = claim.target
        self.dtype = np.dtype(dtype)
        self.codec = Codec(compression)
        self._claim = claim
        self._overwrite = overwrite
        self._contents = Contents()
        self._features: dict[str, FeatureWriter] = {}
        self._columns: dict[str, RowArray] = {}
        self._records: dict[str, RecordArray] = {}
        self._digest = blake2b(digest_size=16)
        self._work = Work(claim, identity, run)
        self._note = note
        self.salvage = salvage
        self._sharding = sharding
        self._parts = Parts(
            self._work, seconds=part_seconds, size=part_bytes, note=note, salvage=salvage
        )
        self._pool = ThreadPoolExecutor(
            threads.available_processors(), thread_name_prefix="compress"
        )

    @classmethod
    @contextmanager
    def create(
        cls,
        target: str | os.PathLike[str],
        *,
        dtype: FeatureDtype = "float16",
        compression: Compression = DEFAULT_COMPRESSION,
        overwrite: bool = False,
        sharding: Sharding | None = None,
    ) -> Iterator[Self]:
        """Start a store that will be published at ``target``, from nothing.

        Args:
            sharding: cut it into several files.

        Raises:
            WriteError: the target exists (and ``overwrite`` is false), is being written by another
                process, or cannot be written.
        """
        target = Path(target)
        check_target(target, overwrite=overwrite)
        claim = Claim(target)
        try:
            claim.discard()
            with cls.on(
                claim,
                dtype=dtype,
                compression=compression,
                overwrite=overwrite,
                identity={},
                sharding=sharding,
            ) as writer:
                yield writer
        finally:
            claim.discard()
            claim.release()

    @classmethod
    @contextmanager
    def on(
        cls,
        claim: Claim,
        *,
        dtype: FeatureDtype,
        compression: Compression,
        overwrite: bool,
        identity: Mapping[str, Any],
        part_seconds: float = PART_SECONDS,
        part_bytes: int = PART_BYTES,
        note: Callable[[str], None] = lambda text: None,
        salvage: Filling | None = None,
        run: Mapping[str, Any] | None = None,
        sharding: Sharding | None = None,
    ) -> Iterator[Self]:
        """Go on with the store of a claim, or start it.

        Args:
            identity: decides the content; that of an interrupted ingest must be equal.
            part_seconds, part_bytes: what is finished becomes a part when it took so long, or is so much.
            note: is told what is not done again, and what has to be.
            salvage: hands over rows that need not be made; they are taken as they are.
            run: what else is told of an ingest that begins, for who ends it.
            sharding: cut it into several files when it is published.

        Raises:
            WriteError: it cannot be written.
        """
        writer: Self | None = None
        try:
            with write_errors(claim.target, when_full=_SMALLER):
                writer = cls(
                    claim,
                    dtype=dtype,
                    compression=compression,
                    overwrite=overwrite,
                    identity=identity,
                    part_seconds=part_seconds,
                    part_bytes=part_bytes,
                    note=note,
                    salvage=salvage,
                    run=run,
                    sharding=sharding,
                )
            with write_errors(
                claim.target,
                when_full=_GO_ON if identity else _SMALLER,
                needed=partial(writer._left, _LIKELY),
            ):
                yield writer
        finally:
            if writer is not None:
                writer._pool.shutdown(cancel_futures=True)
                writer._parts.close()

    # what a table holds ------------------------------------------------------------------------

    def table(self, name: str, ids: Sequence[str]) -> None:
        """Create a table with its ids and their index.

        Args:
            ids: asked for in slices, several times; they need not be in memory.

        Raises:
            SourceError: an id occurs twice.
        """
        self._index(name, ids)
        self.text(f"{name}/id", ids)

    def _index(self, name: str, ids: Sequence[str]) -> None:
        hashes, rows = build_index(ids)
        _refuse_duplicates(name, ids, hashes, rows)
        self._begin(name, hashes, rows)

    def table_like(self, table: Table) -> None:
        """Create a table with the ids of one of another store, and their index."""
        self._begin(table.name, *table.index_arrays())
        self.text_like(table, "id")

    def _begin(self, name: str, hashes: np.ndarray, rows: np.ndarray) -> None:
        index = (
            self._whole(f"{name}/id_index/hash", hashes),
            self._whole(f"{name}/id_index/row", rows),
        )
        self._contents.begin(name, len(rows), index)
        self._digest.update(f"{name}:{len(rows)}".encode())
        self._digest.update(bytes_of(hashes))
        self._digest.update(bytes_of(rows))

    def some_rows(self, table: str, count: int) -> None:
        """Take a table to have so many rows, which are some of the store's: what a shard does of it.

        It has no ids, and cannot be published.
        """
        self._contents.rows[table] = count

    @property
    def kept_in(self) -> Path:
        """The folder of what is finished."""
        return self._claim.folder

    def rows(self, table: str) -> int:
        return self._contents.rows[table]

    def splits(self, splits: Mapping[str, range]) -> None:
        """Record which rows of the mention table form each split."""
        plain = {name: [r.start, r.stop] for name, r in splits.items()}
        self._contents.splits = {name: (r.start, r.stop) for name, r in splits.items()}
        self._digest.update(json.dumps(plain).encode())

    def text(self, path: str, values: Sequence[str]) -> None:
        """Write a whole text field.

        Args:
            values: asked for in slices, twice; they need not be in memory.
        """
        field = self._schema(path, len(values))
        if self.salvage is not None:
            values = self.salvage.text(path) or values
        offsets = np.zeros(len(values) + 1, np.int64)
        for first, encoded in _encoded(values):
            offsets[first + 1 : first + 1 + len(encoded)] = [len(part) for part in encoded]
        np.cumsum(offsets, out=offsets)
        size = int(offsets[-1])
        data = Extent(self._work.reserve(f"{path}/bytes", size), (size,), np.dtype(np.uint8))
        for first, encoded in _encoded(values):
            self._work.file.write(data.offset + int(offsets[first]), b"".join(encoded))
        self._add_texts(field, data, offsets)

    def text_like(self, table: Table, name: str) -> None:
        """Write a text field as another store has it."""
        data, offsets = table.text_arrays(name)
        path = f"{table.name}/{name}"
        self._add_texts(self._schema(path, len(table)), self._whole(f"{path}/bytes", data), offsets)

    def _add_texts(self, field: Field, data: Extent, offsets: np.ndarray) -> None:
        """Texts whose bytes are written, and where each begins."""
        places = self._whole(f"{field.path}/offsets", offsets)
        size, rows, dtype = data.nbytes + places.nbytes, (len(offsets) - 1,), np.dtype(np.uint8)
        self._contents.add(StoredField(field, rows, dtype, size, data, places))

    def column(self, path: str, values: np.ndarray) -> None:
        """Write a whole column: (rows, *axes)."""
        field = self._schema(path, len(values))
        if self.salvage is not None and (sound := self.salvage.column(path)) is not None:
            values = sound
        extent = self._whole(path, np.asarray(values, field.dtype))
        self._contents.add(StoredField(field, extent.shape, extent.dtype, extent.nbytes, extent))

    def _whole(self, name: str, values: np.ndarray) -> Extent:
        """Write an array that is made again after an interruption, to the same place."""
        offset = self._work.reserve(name, values.nbytes)
        row_bytes = values.nbytes // max(len(values), 1)
        step = max(1, _COPIED // max(row_bytes, 1))
        for first in range(0, len(values), step):
            block = np.array(values[first : first + step])  # a copy: the caller may go on
            self._work.file.write(offset + first * row_bytes, bytes_of(block))
        return Extent(offset, values.shape, values.dtype)

    def feature(
        self,
        path: str,
        shape: tuple[int, ...],
        *,
        dtype: np.dtype | None = None,
        codec: Codec | None = None,
    ) -> FeatureWriter:
        """Start a view or record field whose rows have ``shape``; rows are written in any order.

        Args:
            dtype, codec: other ones than those of the store.
        """
        field = self._schema(path, None)
        whole = (self.rows(field.table), *shape)
        wanted, codec = dtype or self.dtype, codec or self.codec
        chunked = field.layout == "record" and codec.compression != "none" and whole[0] > 0

        def begin(dtype: np.dtype) -> RowArray | RecordArray:
            name = f"{path}.{dtype.name}"
            if dtype != wanted:
                self._parts.forget(f"{path}.{wanted.name}")
            if chunked:
                return self._parts.take_up(RecordArray(self._work, name, whole, dtype, codec))
            return self._parts.take_up(RowArray(self._work, name, whole, dtype))

        fell_back = self._parts.hold(f"{path}.float32")  # before an interruption
        if self.salvage is not None:
            fell_back |= self.salvage.dtype(path) == "float32"
        writer = FeatureWriter(
            field,
            whole,
            dtype=np.dtype(np.float32) if fell_back else wanted,
            rounds=wanted == np.float16,
            codec=codec,
            pool=self._pool,
            begin=begin,
        )
        self._features[path] = writer
        return writer

    def records(self, path: str, shape: tuple[int, ...], codec: Codec) -> RecordArray | None:
        """Start a compressed record field that is no feature: its dtype is the schema's.

        None where the table has no rows, and nothing is to be written.
        """
        if not self.rows(BY_PATH[path].table):
            self.growing_column(path, shape)
            return None
        field = self._schema(path, None)
        whole, dtype = (self.rows(field.table), *shape), np.dtype(field.dtype)
        array = self._parts.take_up(RecordArray(self._work, path, whole, dtype, codec))
        self._records[path] = array
        return array

    def growing_column(self, path: str, shape: tuple[int, ...] = ()) -> RowArray:
        """Start a column whose rows are written in any order."""
        field = self._schema(path, None)
        whole, dtype = (self.rows(field.table), *shape), np.dtype(field.dtype)
        array = self._parts.take_up(RowArray(self._work, path, whole, dtype))
        self._columns[path] = array
        return array

    def kept(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> KeptRows:
        """Start an array that the work needs, and the store does not hold as it is.

        Raises:
            OSError: no space for it.
        """
        return self._parts.take_up(KeptRows(self._work, name, shape, dtype))

    def check_room(self) -> None:
        """Before the long work: is there room for what is left to be written?

        Raises:
            WriteError: there is not, however well it compresses.
            ConfigError: not even the views of one entity fit into a shard.
        """
        if self._sharding is not None:
            views = [f for f in self._features.values() if f.path.startswith("entities/")]
            check_one_fits(self._sharding, sum(f.row_bytes for f in views if not f.is_compressed))
        least, likely = (left + self._twice(left) for left in map(self._left, (_BEST, _LIKELY)))
        free = free_bytes(self.target.parent)
        if free < least:
            raise WriteError(
                f"no room: at least {least / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free",
                where=str(self.target.parent),
                hint=_SMALLER,
            )
        if free < likely:
            self._note(
                f"WARNING: about {likely / 1e9:.1f} GB may be needed, {free / 1e9:.1f} GB are free"
            )

    def _twice(self, left: int) -> int:
        """Bytes that are there twice at some moment, while a store of so many is cut into shards."""
        if self._sharding is None:
            return 0
        if can_punch(self._claim.folder):
            return min(left, self._sharding.max_bytes or left)
        self._note(
            "WARNING: this file system cannot give back space inside a file: while the store is cut into "
            "shards it is there twice"
        )
        return left

    def _left(self, compressed: float) -> int:
        """Bytes of the rows that are not written yet.

        Args:
            compressed: share of its size that a record keeps, unless some are there to tell.
        """
        features = sum(feature.bytes_left(compressed) for feature in self._features.values())
        return features + sum(records.bytes_left(compressed) for records in self._records.values())

    def every(self, derive: Callable[..., Result], *items: Iterable[Any]) -> Iterator[Result]:
        """``derive`` of each of the items, in their order; every core begins with it at once."""
        together = list(zip(*items, strict=True))
        begun = [
            self._pool.submit(_each, derive, together[first : first + _TASK])
            for first in range(0, len(together), _TASK)
        ]
        return (result for part in begun for result in part.result())

    def _schema(self, path: str, rows: int | None) -> Field:
        field = BY_PATH[path]
        if rows is not None and rows != self.rows(field.table):
            raise SourceError(
                f"{rows} values for a table of {self.rows(field.table)} rows", where=path
            )
        return field

    def finished(self) -> None:
        """Nothing is half done now; what was written since the last time may become a part.

        Raises:
            OSError: the disk is full, or another write error.
        """
        self._parts.mark()

    def keep(self, found: Mapping[str, Any]) -> None:
        """Finish a shard: all its rows are on disk and on record, for :mod:`featurestore.assemble`.

        Args:
            found: what was found out that is no row.

        Raises:
            SourceError: a field was started and not every row was written.
            OSError: the disk is full, or another write error.
        """
        self._check_complete()
        self._parts.complete(found)

    def _check_complete(self) -> None:
        arrays = {path: feature.array for path, feature in self._features.items()}
        for path, array in {**self._columns, **arrays, **self._records}.items():
            check_complete(array.written, path)

    # the end -----------------------------------------------------------------------------------

    def publish(
        self,
        *,
        dataset: str,
        provenance: Mapping[str, Any],
        must_be: str | None = None,
        fingerprint: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Finish, sync, and rename the file to its target; cut it into shards if that was asked for.

        Args:
            must_be: the fingerprint that the store must have.
            fingerprint: of a store that has the same content, in place of one that is computed.
            progress: is told of shards.

        Raises:
            ConfigError: not even one row fits into a file of the greatest size.
            SourceError: a feature field was started and not every row was written, or the fingerprint
                is another.
            WriteError: disk full, or the target appeared meanwhile.
        """
        self.finished()
        self._check_complete()
        for path, column in self._columns.items():
            extent = column.extent
            self._contents.add(
                StoredField(BY_PATH[path], extent.shape, extent.dtype, extent.nbytes, extent)
            )
        for path, feature in self._features.items():
            self._contents.add_feature(BY_PATH[path], feature.array)
        for path, records in self._records.items():
            self._contents.add_feature(BY_PATH[path], records)
        made = {key: provenance[key] for key in sorted(provenance) if key != "run"}
        self._digest.update(json.dumps(made, sort_keys=True).encode())
        fields = sorted((path, str(f.dtype), list(f.shape)) for path, f in self._features.items())
        self._digest.update(json.dumps(fields).encode())
        attributes = {
            "dataset": dataset,
            "fingerprint": fingerprint or self._digest.hexdigest(),
            "provenance": json.dumps(provenance),
        }
        if must_be not in (None, attributes["fingerprint"]):
            raise SourceError(
                "the source makes another store than the one that is repaired",
                where=str(self.target),
                hint="was it changed since? ingest it again, to another file",
            )
        self._place(attributes, progress or Silent())
        self._parts.publish()
        self._claim.discard()

    def _place(self, attributes: Mapping[str, str], progress: Progress) -> None:
        """Complete what was written, and put it in place."""
        folder = self._claim.folder
        if self._sharding is None and moved_rows(folder):
            raise ConfigError(
                "the interrupted work was cutting the store into shards",
                where=str(folder),
                hint="give --max-file-size as before, or --restart to give up what was finished",
            )
        spread = self.rows("entities") and spread_fields(self._contents)
        if self._sharding is None or not spread:
            complete(self._work, self._contents, attributes)
            check_target(self.target, overwrite=self._overwrite)
            put_in_place(folder, self.target, "data")
            return
        self._parts.settle()
        splitter = Splitter(self._work, self._contents, attributes)
        shards = splitter.split(self._sharding, self.target, progress)
        check_target(self.target, overwrite=self._overwrite)
        put_in_place(folder, self.target, INDEX, shards)


def _encoded(values: Sequence[str]) -> Iterator[tuple[int, list[bytes]]]:
    """UTF-8 of some texts at a time, with the number of the first."""
    for first in range(0, len(values), _TEXTS):
        yield first, [value.encode() for value in values[first : first + _TEXTS]]


def _each(derive: Callable[..., Result], items: Sequence[tuple[Any, ...]]) -> list[Result]:
    return [derive(*item) for item in items]


def _refuse_duplicates(name: str, ids: Sequence[str], hashes: np.ndarray, rows: np.ndarray) -> None:
    same = np.flatnonzero(hashes[1:] == hashes[:-1])
    suspects = np.unique(rows[np.concatenate([same, same + 1])])  # equal ids, or a collision
    seen: dict[str, int] = {}
    for second in suspects.tolist():
        first = seen.setdefault(ids[second], second)
        if first != second:
            raise SourceError(
                f"the id {ids[first]!r} occurs twice",
                where=f"{name}[{first}] and {name}[{second}]",
                hint="ids must be unique; rename or drop one of them",
            )
