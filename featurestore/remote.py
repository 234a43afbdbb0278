"""Open a store that is elsewhere: ``featurestore.open("https://…")`` comes here.

Two requests: the first page, whose header says what the store holds, and the catalog. Everything else is
fetched in blocks when it is read, and kept (:mod:`featurestore.remote_cache`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featurestore.catalog import Catalog
from featurestore.catalog_json import decode_catalog
from featurestore.errors import StoreError
from featurestore.header import Header, catalog_size, checked_catalog, parse_header
from featurestore.opening import checked
from featurestore.place import StoreUrl, fetch_hint
from featurestore.remote_cache import BlockCache, cache_folder
from featurestore.remote_map import PAGE, RemoteMap
from featurestore.remote_source import Head
from featurestore.remote_transfer import Traffic, Transfer

_HDF5 = b"\x89HDF"


@dataclass(frozen=True, slots=True)
class Usage:
    """One remote store that this process opened.

    ``dropped``: bytes of the cache of an earlier state of it; None if there was none.
    """

    url: StoreUrl
    traffic: Traffic
    dropped: int | None


#: Of every store that was opened, for a line at the end of a command.
_used: list[Usage] = []


def take_used() -> list[Usage]:
    """What this process read of remote stores since this was asked last."""
    taken = list(_used)
    _used.clear()
    return taken


def open_remote(url: StoreUrl) -> tuple[Catalog, RemoteMap]:
    """The catalog of a store, and the file to read it from.

    Raises:
        StoreError: not there, no store, damaged, of a later format, or from a server that sends only
            whole files.
        ConfigError: a protocol that is not known here.
    """
    transfer = Transfer(url)
    try:
        head = transfer.head(PAGE)
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


__all__ = ["Usage", "cache_folder", "header_of", "open_remote", "take_used"]
