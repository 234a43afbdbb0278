"""Open a store that is elsewhere: ``featurestore.open("https://…")`` comes here.

Two requests: the first page, whose header says what the store holds, and the catalog. Everything else is
fetched in blocks when it is read, and kept (:mod:`featurestore.remote_cache`).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from featurestore.catalog import Catalog
from featurestore.catalog_json import decode_catalog
from featurestore.errors import StoreError
from featurestore.filemap import FileMap
from featurestore.header import FIRST_PAGE, Header, catalog_size, checked_catalog, parse_header
from featurestore.opening import checked
from featurestore.place import StoreUrl, fetch_hint
from featurestore.remote_cache import BlockCache, cache_folder
from featurestore.remote_map import RemoteMap
from featurestore.remote_source import Head
from featurestore.remote_transfer import Traffic, Transfer

_HDF5 = b"\x89HDF"


@dataclass(frozen=True, slots=True)
class Usage:
    """One remote store that this process opened, with its shards.

    ``dropped``: bytes of the cache of an earlier state of it; None if there was none.
    """

    url: StoreUrl
    traffic: Traffic
    dropped: int | None


#: Of every store that was opened, for a line at the end of a command.
_used: list[Usage] = []

_counting = threading.Lock()


def take_used() -> list[Usage]:
    """What this process read of remote stores since this was asked last."""
    taken: dict[str, Usage] = {}
    while _used:
        one = _used.pop(0)
        if (before := taken.setdefault(one.url.bare, one)) is not one:
            taken[one.url.bare] = _together(before, one)
    return list(taken.values())


def count_with(index: FileMap, shard: FileMap) -> None:
    """From now on count what is read of a shard, and what opening it took, as read of its index."""
    if not isinstance(index, RemoteMap) or not isinstance(shard, RemoteMap):
        return
    with _counting:
        alone, whole = shard.transfer.traffic, index.transfer.traffic
        shard.transfer.traffic = whole
        own = next((one for one in _used if one.traffic is alone), None)
        place = next((at for at, one in enumerate(_used) if one.traffic is whole), None)
        if own is None or place is None:
            whole.add(alone)
            return
        _used[place] = _together(_used[place], own)
        _used.remove(own)


def _together(first: Usage, second: Usage) -> Usage:
    first.traffic.add(second.traffic)
    dropped = [one.dropped for one in (first, second) if one.dropped is not None]
    return Usage(first.url, first.traffic, sum(dropped) if dropped else None)


def open_remote(url: StoreUrl) -> tuple[Catalog, RemoteMap]:
    """The catalog of a store, and the file to read it from.

    Raises:
        StoreError: not there, no store, damaged, of a later format, or from a server that sends only
            whole files.
        ConfigError: a protocol that is not known here.
    """
    transfer = Transfer(url)
    try:
        head = transfer.head(FIRST_PAGE)
        header = header_of(head, url)
        if not head.ranges:
            raise StoreError(
                "this server sends only whole files, and reading needs parts",
                where=str(url),
                hint=fetch_hint(url),
            )
        cache = BlockCache(url, size=header.file_bytes, header=head.data)
    except BaseException:
        transfer.close()
        raise
    file = RemoteMap(url, transfer, cache, page=head.data, version=head.version)
    _used.append(Usage(url, transfer.traffic, cache.dropped))
    try:
        catalog = decode_catalog(_catalog(file, header, url), url, header.file_bytes)
        return checked(catalog), file
    except BaseException:
        file.close()
        raise


def header_of(head: Head, url: StoreUrl) -> Header:
    """The header in the first page of a file.

    Raises:
        StoreError: it is no store with one, or damaged.
    """
    if head.size is None:
        raise StoreError(
            "the server does not say how long the file is", where=str(url), hint=fetch_hint(url)
        )
    header = parse_header(head.data, head.size, url)
    if header is None and head.data.startswith(_HDF5):
        raise StoreError(
            "an HDF5 file without a header of drin-fs, which can only be read on this machine",
            where=str(url),
            hint=fetch_hint(url),
        )
    if header is None:
        raise StoreError("not a drin-fs store", where=str(url), hint="see that the URL is right")
    return header


def _catalog(file: RemoteMap, header: Header, url: StoreUrl) -> bytes:
    start, size = header.catalog_start, catalog_size(header, url)

    def read() -> bytes:
        return file.pieces(np.array([start]), size)[start : start + size].tobytes()

    try:
        return checked_catalog(read(), header, url)
    except StoreError:
        file.again(start, start + size)  # damaged on its way
        return checked_catalog(read(), header, url)


__all__ = ["Usage", "cache_folder", "count_with", "header_of", "open_remote", "take_used"]
