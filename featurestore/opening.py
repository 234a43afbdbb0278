"""Find out what a file is, and read its catalog, believing nothing that has not been checked."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from featurestore.catalog import Catalog
from featurestore.catalog_json import decode_catalog
from featurestore.errors import AGAIN, StoreError
from featurestore.filemap import identity_of
from featurestore.header import read_catalog_bytes, read_header
from featurestore.headerless import catalog_by_hdf5
from featurestore.place import StoreUrl, fetch_hint, place_of, url_behind
from featurestore.schema import SIMILARITIES


def read_catalog(path: str | os.PathLike[str]) -> Catalog:
    """Read the metadata of a store.

    Raises:
        StoreError: missing file, no drin-fs store, damaged, or of a later format.
    """
    path = Path(path)
    if path.is_dir():
        raise StoreError(
            "a folder, not a store",
            where=str(path),
            hint=f"if it is a dataset: drin-fs ingest {path} -o STORE.h5",
        )
    if not path.exists() and (url := url_behind(path)):
        raise StoreError(
            "this is a URL, and the command needs the store on this machine",
            where=url,
            hint=fetch_hint(url),
        )
    if not path.is_file():
        raise StoreError("no such store", where=str(path), hint=_nearby_stores(path))
    try:
        with path.open("rb") as file:
            identity = identity_of(os.fstat(file.fileno()))
            header = read_header(file, path)
            if header is not None:
                plain = read_catalog_bytes(file, header, path)
                catalog = decode_catalog(plain, path, header.file_bytes)
                return replace(checked(catalog), identity=identity)
    except OSError as error:
        raise StoreError(
            f"cannot be read ({error.strerror})", where=str(path), hint="see who may read it"
        ) from error
    return replace(checked(catalog_by_hdf5(path)), identity=identity)


def refuse_remote(store: str | os.PathLike[str], why: str) -> None:
    """Refuse a URL where the work would fetch all of a store, perhaps many times.

    Raises:
        StoreError: it is one.
    """
    place = place_of(store)
    if isinstance(place, StoreUrl):
        raise StoreError(f"not over a network: {why}", where=str(place), hint=fetch_hint(place))


def checked(catalog: Catalog) -> Catalog:
    """The catalog, if similarities have a slot for each candidate and one for the gold.

    Raises:
        StoreError: they have not.
    """
    mentions = catalog.fields["mentions"]
    if "candidates" in mentions:
        slots = mentions["candidates"].shape[1] + 1
        for name in SIMILARITIES:
            if name in mentions and mentions[name].shape[1] != slots:
                raise StoreError(
                    f"{mentions[name].shape[1]} slots for {slots - 1} candidates and the gold",
                    where=f"{catalog.path}::/mentions/{name}",
                    hint=AGAIN,
                )
    return catalog


def _nearby_stores(path: Path) -> str:
    folder = path.parent
    found = sorted(p.name for p in folder.glob("*.h5"))[:5] if folder.is_dir() else []
    if found:
        return f"stores in {folder}: {', '.join(found)}"
    return "make one with: drin-fs ingest SOURCE -o STORE.h5"
