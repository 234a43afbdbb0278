"""Rows of finished shards, handed to the store that is assembled of them; their bytes are compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from featurestore.errors import WriteError
from featurestore.features import ERROR
from featurestore.ingest_shards import Kept
from featurestore.manifest import Manifest
from featurestore.parts import restore
from featurestore.progress import Stage
from featurestore.record_arrays import RecordArray, pack
from featurestore.row_arrays import KeptRows, PartArray, RowArray
from featurestore.work import Claim, Work

#: Bytes that are copied at once.
_STEP = 4 << 20

_FLOAT16, _FLOAT32 = ".float16", ".float32"


class Assembled:
    """Implements :class:`~featurestore.filling.Filling` for shards.

    One shard and one array at a time are open, so that neither memory nor files grow with their number.

    Args:
        shards: all of one n, complete, in order; with the right to each.
        stage: is told of every array that was copied from a shard.
    """

    def __init__(self, shards: Sequence[tuple[Kept, Claim]], stage: Stage) -> None:
        self._stage = stage
        self._shards = [(kept, claim) for kept, claim in shards if kept.parts]
        self.found: Mapping[str, Any] = _together([kept.found or {} for kept, _ in shards])
        self._held = [_names_in(kept) for kept, _ in self._shards]

    @staticmethod
    def steps(shards: Sequence[Kept]) -> int:
        """Arrays that are copied, of all shards."""
        return sum(len(_names_in(kept)) for kept in shards)

    def dtype(self, path: str) -> str:
        """float32 if one of the shards had to hold the feature so."""
        for ending in (_FLOAT32, _FLOAT16):
            if any(f"{path}{ending}" in held for held in self._held):
                return ending[1:]
        return ""

    def fill(self, array: PartArray) -> None:
        """Copy the rows of an array from every shard that has some.

        Raises:
            WriteError: what a shard holds is not what was written to it; names the shard.
        """
        for (kept, claim), held in zip(self._shards, self._held, strict=True):
            name = _name_in(held, array.name)
            first, stop = kept.run["rows"][array.name.partition("/")[0]]
            if name is None:
                continue
            with _opened(kept, claim) as work:
                part = _like(array, work, name, stop - first)
                damaged = restore(part, work)
                if damaged:
                    raise WriteError(
                        f"{damaged:,} rows of {name} in shard {kept.shard} are not what was written",
                        where=str(kept.folder),
                        hint="run the command of that shard again: it makes them again",
                    )
                _copy(part, array, first)
            self._stage.advance(1)

    def text(self, path: str) -> list[str] | None:
        """None: texts are those of the source."""
        return None

    def column(self, path: str) -> np.ndarray | None:
        """None: whole columns are those of the source."""
        return None

    def picture_status(self, table: str, first_files: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """None: the shards tell it of every file that was looked at, as of any row."""
        return np.zeros(0, np.int64), np.zeros(0, np.uint8)


def _together(found: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Name → what each shard found."""
    return {name: [each[name] for each in found] for name in (found[0] if found else {})}


@contextmanager
def _opened(kept: Kept, claim: Claim) -> Iterator[Work]:
    work = Work(claim, kept.identity)
    try:
        yield work
    finally:
        work.close()


def _names_in(kept: Kept) -> set[str]:
    """Names of the arrays that a shard holds rows of; of one that fell back, the last."""
    entries = Manifest.read(kept.folder / "manifest")[1:]
    names = {name for entry in entries for name in entry.plain["arrays"]}
    return {
        name for name in names if f"{name.removesuffix(_FLOAT16)}{_FLOAT32}" not in names - {name}
    }


def _name_in(held: set[str], name: str) -> str | None:
    """The name under which a shard holds an array: it may have been rounded there, and not here."""
    if name.endswith(_FLOAT32) and name not in held:
        name = name.removesuffix(_FLOAT32) + _FLOAT16
    return name if name in held else None


def _like(array: PartArray, work: Work, name: str, rows: int) -> PartArray:
    """The array of a shard that some rows of an array stand in."""
    if isinstance(array, KeptRows):
        return KeptRows(work, name, (rows, *array.values.shape[1:]), array.values.dtype)
    assert isinstance(array, RowArray | RecordArray)
    shape = (rows, *array.shape[1:])
    dtype = np.dtype(np.float16) if name.endswith(_FLOAT16) else array.dtype
    if isinstance(array, RecordArray):
        return RecordArray(work, name, shape, dtype, array.codec)
    return RowArray(work, name, shape, dtype)


def _copy(part: PartArray, array: PartArray, first: int) -> None:
    """Copy what a shard has to the rows from ``first`` on; as float32 where the field became that."""
    rows = np.flatnonzero(part.written.done)
    if isinstance(part, KeptRows) and isinstance(array, KeptRows):
        step = max(1, _STEP // max(part.values[:1].nbytes, 1))
        for chosen in _steps(rows, step):
            array.write(first + chosen, np.asarray(part.values[chosen]))
    elif isinstance(part, RowArray) and isinstance(array, RowArray):
        for block, values in part.blocks():
            chosen = np.flatnonzero(part.written.done[block.start : block.stop])
            array.write(first + block.start + chosen, values[chosen].astype(array.dtype))
    elif isinstance(part, RecordArray) and isinstance(array, RecordArray):
        rows = rows[array.written.missing(first + rows)]
        step = max(1, _STEP // max(part.stored_bytes // max(len(part.sums), 1), 1))
        for chosen in _steps(rows, step):
            array.write(first + chosen, pack(_chunks(part, array, chosen)))
    if ERROR in part.facts and not array.name.endswith(_FLOAT32):
        array.facts[ERROR] = max(array.facts.get(ERROR, 0.0), part.facts[ERROR])


def _steps(rows: np.ndarray, step: int) -> Iterator[np.ndarray]:
    return (rows[first : first + step] for first in range(0, len(rows), step))


def _chunks(part: RecordArray, array: RecordArray, rows: np.ndarray) -> list[np.ndarray]:
    """The stored bytes of records, compressed again only where their dtype changes."""
    if part.dtype == array.dtype:
        return [part.chunk(row) for row in rows.tolist()]
    records = (part.read(row).astype(array.dtype) for row in rows.tolist())
    return [array.codec.encode(record) for record in records]
