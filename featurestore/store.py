"""Open and read a store.

    with featurestore.open("wikimel.h5") as store:
        rows = store.entities.rows(["Q42", "Q1"])
        vectors = store.entities.gather("text_mean", rows)      # (2, D)
        mention = store.mentions["46351-0"]
        mention["sentence"], mention["candidates"]
        for row in store.mentions.split("train"): ...

A store is opened by path, holds no HDF5 handle, takes no lock, and may be pickled, forked and shared
among threads and processes; all of them share the page cache.
"""

from __future__ import annotations

import json
import os
from functools import partial
from typing import Any, Self

import numpy as np

from featurestore import threads
from featurestore.catalog import Catalog, Extent
from featurestore.errors import AGAIN, StoreAbsent, StoreError
from featurestore.filemap import FileMap, identity_of
from featurestore.opening import read_catalog
from featurestore.place import Place, StoreUrl, place_of
from featurestore.sharded import ShardedTable
from featurestore.shards import (
    Shard,
    absent_shard,
    check_remote_shard,
    check_shard,
    decode_shards,
)
from featurestore.table import Table


class Store:
    """A published store, open for reading. See the module's example.

    Args:
        path: of a file, or a URL (docs/remote.md).
        alone: of a store in several files, open the index file only, without what stands in shards.
        verify_reads: compare what ``gather`` reads with its checksums, each piece when it is read for the
            first time: whole arrays of texts and ids, a MiB of a view or column, a record.

    ``shards``: of a store in several files, those that hold the features of the entities, in the order of
    their rows, each a store of its own; otherwise none.

    Raises:
        StoreError: missing file, no store, damaged, or of a later format; a shard is missing, cut off or
            another one.
    """

    shards: tuple[Store, ...]

    def __init__(
        self, path: str | os.PathLike[str], *, verify_reads: bool = False, alone: bool = False
    ) -> None:
        self._catalog, self._file, self.shards = _opened(place_of(path), verify_reads, alone)
        self.verify_reads, self._alone = verify_reads, alone
        self.mentions = Table("mentions", self._catalog, self._file, verify=verify_reads)
        self.entities = self._entities()

    def _entities(self) -> Table:
        if not self.shards:
            return Table("entities", self._catalog, self._file, verify=self.verify_reads)
        tables = [shard.entities for shard in self.shards]
        return ShardedTable(self._catalog, self._file, tables, verify=self.verify_reads)

    @property
    def path(self) -> Place:
        return self._catalog.path

    @property
    def catalog(self) -> Catalog:
        """What the file holds, and where; of a sharded store, the index file."""
        return self._catalog

    @property
    def is_remote(self) -> bool:
        """Whether it is read over a network."""
        return self._file.remote

    @property
    def bytes(self) -> np.ndarray:
        """(file_bytes,) uint8 the whole file as it is mapped, read-only; of a sharded store, the index.

        Raises:
            StoreError: it is remote: not all of it is here.
        """
        return self._file.bytes

    def array(self, extent: Extent) -> np.ndarray:
        """A read-only view of an array of the file that the catalog names."""
        return self._file.array(extent)

    @property
    def file_bytes(self) -> int:
        """Bytes of all files of the store."""
        return self._catalog.file_bytes + sum(shard.file_bytes for shard in self.shards)

    @property
    def files(self) -> list[Store]:
        """Every file of the store as a store: the index file as this one, then the shards."""
        return [self, *self.shards]

    @property
    def dataset(self) -> str:
        """Name of the dataset, as the source calls it."""
        return str(self._catalog.attributes["dataset"])

    @property
    def format_version(self) -> int:
        return int(self._catalog.attributes["format_version"])

    @property
    def created(self) -> str:
        """When the store was published: ISO 8601, UTC."""
        return str(self._catalog.attributes["created"])

    @property
    def fingerprint(self) -> str:
        """Hex digest of ids, fields, encoders and options: equal stores have equal fingerprints."""
        return str(self._catalog.attributes["fingerprint"])

    @property
    def provenance(self) -> dict[str, Any]:
        """How the store was made: source, encoders, options, counts, program versions."""
        return json.loads(self._catalog.attributes["provenance"])

    def table(self, name: str) -> Table:
        """``entities`` or ``mentions`` by name."""
        return {"entities": self.entities, "mentions": self.mentions}[name]

    def has(self, path: str) -> bool:
        """Whether a field ``table/name`` is stored."""
        table, _, name = path.partition("/")
        return name in self.table(table)

    def width(self, path: str) -> int:
        """Length of the last axis of ``table/name``.

        Raises:
            FieldMissing: the store has no such field.
        """
        table, _, name = path.partition("/")
        return int(self.table(table).stored(name).shape[-1])

    def release_pages(self) -> None:
        """Give back the memory of what was read so far, for who passes over a whole store once.

        Pages of the map count as this program's memory as long as there is room for them. They stay
        in the page cache, and all that was gathered or viewed stays valid.
        """
        self._file.release_pages()
        for shard in self.shards:
            shard.release_pages()

    def close(self) -> None:
        """Drop the memory map: reading is a StoreError from here on. Gathered arrays stay valid."""
        self.entities.drop_views()
        self.mentions.drop_views()
        self._file.close()
        for shard in self.shards:
            shard.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self.fingerprint, self.verify_reads, self._alone)

    def __repr__(self) -> str:
        return (
            f"<Store {str(self.path)!r}: {self.dataset}, {len(self.mentions)} mentions, "
            f"{len(self.entities)} entities>"
        )


def _opened(
    place: Place, verify_reads: bool, alone: bool
) -> tuple[Catalog, FileMap, tuple[Store, ...]]:
    """The catalog and the map of one and the same file, though it be replaced meanwhile; its shards."""
    if isinstance(place, StoreUrl):
        from featurestore.remote import open_remote

        catalog, remote = open_remote(place)
        try:
            return catalog, remote, () if alone else _opened_shards(catalog, remote, verify_reads)
        except StoreError:
            remote.close()
            raise
    path = place
    while True:
        catalog = read_catalog(path)
        file = FileMap(path)
        same = file.identity == catalog.identity and file.size == catalog.file_bytes
        if same:
            try:
                return catalog, file, () if alone else _opened_shards(catalog, file, verify_reads)
            except StoreError:
                file.close()
                if path.exists() and identity_of(path.stat()) == catalog.identity:
                    raise
        file.close()


def _opened_shards(catalog: Catalog, file: FileMap, verify_reads: bool) -> tuple[Store, ...]:
    """The shards that an index file names; over a network several are asked for at once.

    Raises:
        StoreError: one is missing, cut off, another one, or not what the index says.
    """
    shards = decode_shards(catalog.attributes, catalog.rows["entities"], catalog.path)
    opened: dict[int, Store] = {}

    def open_one(shard: Shard) -> None:
        place = check_shard(shard, catalog.path)
        store = opened[shard.first] = _opened_shard(shard, place, file, verify_reads)
        if store.shards or len(store.entities) != len(shard):
            raise StoreError(
                f"{len(store.entities)} entities, the index says {len(shard)}",
                where=str(store.path),
                hint=AGAIN,
            )

    calls = [partial(open_one, shard) for shard in shards]
    try:
        if file.remote:
            threads.waiting(calls)
        else:
            for call in calls:
                call()
    except BaseException:
        for store in opened.values():
            store.close()
        raise
    return tuple(opened[shard.first] for shard in shards)


def _opened_shard(shard: Shard, place: Place, index: FileMap, verify_reads: bool) -> Store:
    """A shard, of which a file on this machine was looked at already."""
    if not isinstance(place, StoreUrl):
        return Store(place, verify_reads=verify_reads)
    from featurestore.remote import count_with

    try:
        store = Store(place, verify_reads=verify_reads)
    except StoreAbsent as error:
        raise absent_shard(shard, place) from error
    count_with(index, store._file)
    try:
        check_remote_shard(shard, place, store._file.first_page(), store.file_bytes)
    except StoreError:
        store.close()
        raise
    return store


def _reopen(path: Place, fingerprint: str, verify_reads: bool, alone: bool) -> Store:
    store = Store(path, verify_reads=verify_reads, alone=alone)
    if store.fingerprint != fingerprint:
        raise StoreError(
            "the store was replaced while it was in use", where=str(path), hint="start again"
        )
    return store


def open(path: str | os.PathLike[str], *, verify_reads: bool = False) -> Store:
    """Open a store for reading: ``Store(path, verify_reads=verify_reads)``.

    Raises:
        StoreError: missing file, not a store, or a newer format.
    """
    return Store(path, verify_reads=verify_reads)
