"""Does a store obey the schema, do its rows refer to each other, is every byte what was written?

Three levels: ``quick`` looks at columns, texts and ids; ``normal`` also at every value of the views;
``full`` also compares every stored byte with its checksum.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from featurestore.catalog import Extent, StoredField
from featurestore.checksums import Pieces, blocks_of, checksum_all, stored_sums
from featurestore.errors import StoreError
from featurestore.header import read_header, tail_digest
from featurestore.headerless import catalog_by_hdf5
from featurestore.opening import read_catalog, refuse_remote
from featurestore.progress import Progress, Silent, Stage
from featurestore.store import Store
from featurestore.verify_rows import check_rows, check_views

_MEGABYTE = 1_000_000

Level: TypeAlias = Literal["quick", "normal", "full"]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong with a field; ``row``: the first row it concerns, if it concerns rows.

    ``file``: of a store in several files, the shard in which it is; rows count from the shard's first.
    """

    path: str
    what: str
    row: int | None = None
    file: str = ""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was looked at, and what was found. The store is sound if there are no ``problems``.

    ``content``: equal for stores that hold the same bytes in every field
    (:func:`content_digest`); empty below ``full``.
    """

    store: str
    level: Level
    rows: dict[str, int]
    bytes_compared: int  # with their checksums; 0 below ``full``
    content: str = ""
    problems: list[Problem] = field(default_factory=list)


def verify(
    path: str | os.PathLike[str], level: Level = "normal", *, progress: Progress | None = None
) -> Verification:
    """Look for damage and contradictions.

    Raises:
        StoreError: it cannot be opened as a store at all, it is remote, or it has no checksums to
            compare with.
    """
    progress = progress or Silent()
    refuse_remote(path, "every byte would be fetched")
    with Store(path) as store:
        findings = list(check_rows(store))
        if level != "quick":
            findings += check_views(store, progress)
        problems = [Problem(path=where, what=what, row=row) for where, what, row in findings]
        rows = {"entities": len(store.entities), "mentions": len(store.mentions)}
        compared, content = 0, ""
        if level == "full":
            for part in store.files:
                damage, bytes_of_file = _compare(part, progress)
                file = "" if part is store else part.path.name
                found = [*damage, *_metadata(Path(part.path)), *_of_shard(part, file)]
                problems += [replace(problem, file=file) for problem in found]
                compared += bytes_of_file
            content = content_digest(store)
    return Verification(
        store=str(path),
        level=level,
        rows=rows,
        bytes_compared=compared,
        content=content,
        problems=problems,
    )


def _of_shard(shard: Store, file: str) -> Iterator[Problem]:
    """What a shard holds beside features, which are looked at as those of the whole store: its ids."""
    if file:
        for where, what, row in check_rows(shard):
            yield Problem(path=where, what=what, row=row)


def _compare(store: Store, progress: Progress) -> tuple[list[Problem], int]:
    """Compare every stored byte with its checksum: the damage, and how many bytes."""
    problems: list[Problem] = []
    compared = 0
    for pieces, damaged in compare(store, progress):
        problems += _damaged(pieces, damaged)
        compared += int(pieces.sizes.sum())
    return problems, compared


def compare(store: Store, progress: Progress) -> Iterator[tuple[Pieces, np.ndarray]]:
    """The pieces of every array of one file, and which of them are not what their checksums say.

    Raises:
        StoreError: the store has no checksums.
    """
    arrays = [pieces_of(store, path, array) for path, array in store.catalog.arrays()]
    total = sum(int(pieces.sizes.sum()) for pieces, _ in arrays)
    with (
        Path(store.path).open("rb", buffering=0) as file,
        progress.stage("checksums", total // _MEGABYTE, "MB") as stage,
    ):
        read, advance = partial(_read, file.fileno()), _in_megabytes(stage)
        for pieces, sums in arrays:
            found = checksum_all(pieces, read, on_read=advance)
            yield pieces, np.flatnonzero(found != sums)


def pieces_of(store: Store, path: str, array: Extent | StoredField) -> tuple[Pieces, np.ndarray]:
    """The pieces of an array, and (n,) uint64 the checksums that the store holds of them.

    Raises:
        StoreError: it holds none.
    """
    if isinstance(array, Extent):
        pieces = blocks_of(path, array)
    else:
        table = store.table(array.schema.table).chunk_table(array.name)
        starts, sizes = table[:, 0], table[:, 1]
        inside = (starts >= 0) & (sizes >= 0) & (sizes <= len(store.bytes) - starts)
        pieces = Pieces(path, np.where(inside, starts, 0), np.where(inside, sizes, 0), 0)
    where = f"{store.path}::/{path}"
    return pieces, stored_sums(store.array, array.sums, len(pieces.starts), where)


def content_digest(store: Store) -> str:
    """32 hex digits over every array's path, dtype, shape and checksums, the splits and the fingerprint.

    Stores of equal digests hold the same bytes in every field; when and where they were made does not
    matter, but into which shards they are cut does. It believes the checksums: ``verify --full`` compares
    them with the bytes.

    Raises:
        StoreError: the store has no checksums.
    """
    digest = blake2b(digest_size=16)
    catalog = store.catalog
    digest.update(json.dumps([store.fingerprint, catalog.splits], sort_keys=True).encode())
    for path, array in sorted(catalog.arrays()):
        digest.update(json.dumps([path, array.dtype.str, array.shape]).encode())
        digest.update(pieces_of(store, path, array)[1].tobytes())
    for shard in store.shards:
        digest.update(content_digest(shard).encode())
    return digest.hexdigest()


def _read(descriptor: int, start: int, size: int) -> bytes:
    return os.pread(descriptor, size, start)


def _metadata(path: Path) -> Iterator[Problem]:
    """What is no field data: its digest, and whether HDF5 sees what our catalog says."""
    with path.open("rb") as file:
        header = read_header(file, path)
        if header is None:
            return
        if tail_digest(file, header.tail_start) != header.tail_digest:
            yield Problem(path="(metadata)", what="bytes are not what was written")
            return
    try:
        by_hdf5, ours = catalog_by_hdf5(path), read_catalog(path)
    except StoreError as error:
        yield Problem(path="(metadata)", what=f"HDF5 cannot read the file: {error.what}")
        return
    theirs = dict(by_hdf5.arrays())
    for name, array in ours.arrays():
        if not _same(array, theirs.get(name)):
            yield Problem(path=name, what="HDF5 finds another array than the catalog names")


def _same(ours: Extent | StoredField, theirs: Extent | StoredField | None) -> bool:
    if isinstance(ours, Extent):
        if isinstance(theirs, Extent) and not ours.nbytes:  # an empty array is nowhere
            return (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        return ours == theirs
    return (
        isinstance(theirs, StoredField)
        and (ours.shape, ours.dtype, ours.codec) == (theirs.shape, theirs.dtype, theirs.codec)
        and ours.stored_bytes == theirs.stored_bytes
    )


def _in_megabytes(stage: Stage) -> Callable[[int], None]:
    left = 0

    def advance(size: int) -> None:
        nonlocal left
        whole, left = divmod(left + size, _MEGABYTE)
        if whole:
            stage.advance(whole)

    return advance


def _damaged(pieces: Pieces, damaged: np.ndarray) -> Iterator[Problem]:
    """One problem an array; a damaged piece of a view or column holds several rows."""
    if not len(damaged):
        return
    first, last = pieces.rows(int(damaged[0]))
    rows = f"row {first}" if last - first == 1 else f"rows {first} to {last - 1}"
    more = f", and {len(damaged) - 1} more places" if len(damaged) > 1 else ""
    what = f"bytes are not what was written: {rows}{more}"
    yield Problem(path=pieces.path, what=what, row=first)
