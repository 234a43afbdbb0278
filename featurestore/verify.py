"""Does a store obey the schema, do its rows refer to each other, is every byte what was written?

Three levels: ``quick`` looks at columns, texts and ids; ``normal`` also at every value of the views;
``full`` also compares every stored byte with its checksum.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import h5py
import numpy as np

from featurestore.checksums import (
    ALGORITHM,
    BLOCK,
    GROUP,
    Pieces,
    arrays_of,
    checksum_all,
    pieces_of,
)
from featurestore.errors import StoreError
from featurestore.progress import Progress, Silent, Stage
from featurestore.store import Store
from featurestore.verify_rows import check_rows, check_views

_MEGABYTE = 1_000_000

Level: TypeAlias = Literal["quick", "normal", "full"]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong with a field; ``row``: the first row it concerns, if it concerns rows."""

    path: str
    what: str
    row: int | None = None


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was looked at, and what was found. The store is sound if there are no ``problems``."""

    store: str
    level: Level
    rows: dict[str, int]
    bytes_compared: int  # with their checksums; 0 below ``full``
    problems: list[Problem] = field(default_factory=list)


def verify(
    path: str | os.PathLike[str], level: Level = "normal", *, progress: Progress | None = None
) -> Verification:
    """Look for damage and contradictions.

    Raises:
        StoreError: it cannot be opened as a store at all; or it has no checksums to compare with.
    """
    progress = progress or Silent()
    with Store(path) as store:
        findings = list(check_rows(store))
        if level != "quick":
            findings += check_views(store, progress)
        problems = [Problem(path=where, what=what, row=row) for where, what, row in findings]
        rows = {"entities": len(store.entities), "mentions": len(store.mentions)}
    compared = 0
    if level == "full":
        damage, compared = _compare(Path(path), progress)
        problems += damage
    return Verification(
        store=str(path), level=level, rows=rows, bytes_compared=compared, problems=problems
    )


def _compare(path: Path, progress: Progress) -> tuple[list[Problem], int]:
    """Compare every stored byte with its checksum: the damage, and how many bytes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with h5py.File(path, "r", locking=False) as file:
            pieces = [pieces_of(array) for array in arrays_of(file)]
            stored = [_stored(file, one, path) for one in pieces]
        total = sum(int(one.sizes.sum()) for one in pieces)
        problems: list[Problem] = []
        with progress.stage("checksums", total // _MEGABYTE, "MB") as stage:
            for one, sums in zip(pieces, stored, strict=True):
                found = checksum_all(one, _reader(descriptor), on_read=_in_megabytes(stage))
                problems += _damaged(one, np.flatnonzero(found != sums))
        return problems, total
    finally:
        os.close(descriptor)


def _in_megabytes(stage: Stage) -> Callable[[int], None]:
    left = 0

    def advance(size: int) -> None:
        nonlocal left
        whole, left = divmod(left + size, _MEGABYTE)
        if whole:
            stage.advance(whole)

    return advance


def _reader(descriptor: int) -> Callable[[int, int], bytes]:
    return lambda start, size: os.pread(descriptor, size, start)


def _stored(file: h5py.File, pieces: Pieces, path: Path) -> np.ndarray:
    """(n,) uint64 the checksums that a store holds of an array."""
    group = file.get(GROUP)
    if not isinstance(group, h5py.Group):
        raise StoreError(
            "the store has no checksums", where=str(path), hint="ingest it again to have some"
        )
    if group.attrs.get("algorithm") != ALGORITHM or group.attrs.get("block") != BLOCK:
        raise StoreError("checksums of another kind", where=f"{path}::/{GROUP}")
    sums = group.get(pieces.path)
    if not isinstance(sums, h5py.Dataset) or sums.shape != pieces.starts.shape:
        raise StoreError(
            f"not one checksum for each of {len(pieces.starts)} pieces",
            where=f"{path}::/{GROUP}/{pieces.path}",
            hint="copy the store again, or ingest again",
        )
    return np.asarray(sums[...], np.uint64)


def _damaged(pieces: Pieces, damaged: np.ndarray) -> Iterator[Problem]:
    """One problem an array; a damaged piece of a view or column holds several rows."""
    if not len(damaged):
        return
    first, last = pieces.rows(int(damaged[0]))
    rows = f"row {first}" if last - first == 1 else f"rows {first} to {last - 1}"
    more = f", and {len(damaged) - 1} more places" if len(damaged) > 1 else ""
    what = f"bytes are not what was written: {rows}{more}"
    yield Problem(path=pieces.path, what=what, row=first)
