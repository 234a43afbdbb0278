"""Recorded ``.npy`` arrays: opened memory-mapped, checked before a byte is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featurestore.errors import NotFinite, SourceError

#: What an array may hold → the NumPy kinds of it.
KINDS = {"features": "f", "integers": "iu", "a mask": "iub", "boxes": "fiu", "text": "U"}


def load(
    path: Path, *, holds: str = "features", ndim: tuple[int, ...] = (), rows: int | None = None
) -> np.ndarray:
    """A memory-mapped array.

    Args:
        holds: a key of ``KINDS``.
        ndim: allowed numbers of axes; any if empty.
        rows: required length of the first axis.

    Raises:
        SourceError: missing, truncated, pickled, or of another shape; names file and numbers.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise SourceError(
            "the file is missing", where=str(path), hint="is the dataset complete?"
        ) from error
    except (ValueError, EOFError, OSError) as error:
        raise SourceError(
            f"not a complete .npy array of plain values: {error}{_cut_off(path)}",
            where=str(path),
            hint="copy or unpack it again; Python objects are never read",
        ) from error
    if array.dtype.kind not in KINDS[holds]:
        raise SourceError(f"dtype {array.dtype} where {holds} belongs", where=str(path))
    if ndim and array.ndim not in ndim:
        raise SourceError(
            f"shape {array.shape} where {' or '.join(map(str, ndim))} axes belong", where=str(path)
        )
    if rows is not None and len(array) != rows:
        raise SourceError(
            f"{len(array)} rows where {rows} belong",
            where=str(path),
            hint="do the files fit together?",
        )
    return array


def _cut_off(path: Path) -> str:
    """For a file that ends early: in which row; nothing for any other fault."""
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0
            if version != (1, 0):
                read = np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
            present = path.stat().st_size - file.tell()
    except (ValueError, OSError, EOFError):
        return ""
    row_bytes = dtype.itemsize * int(np.prod(shape[1:]))
    if dtype.hasobject or not shape or not row_bytes or present >= shape[0] * row_bytes:
        return ""
    return f"; shape {shape}, cut off in row {present // row_bytes}"


def counts_of(mask: np.ndarray, path: Path, source_rows: np.ndarray) -> np.ndarray:
    """(n,) int32 real tokens of each row of a 0/1 attention mask.

    Raises:
        SourceError: a row that is empty, or not ones followed by zeros.
    """
    mask = np.asarray(mask)
    counts = mask.sum(axis=1).astype(np.int32)
    expected = np.arange(mask.shape[1]) < counts[:, None]
    bad = np.flatnonzero((mask != expected).any(axis=1) | (counts == 0))
    if len(bad):
        row = int(source_rows[bad[0]])
        raise SourceError("the mask is not ones followed by zeros", where=f"{path}[{row}]")
    return counts


def squeeze_boxes(array: np.ndarray, path: Path) -> np.ndarray:
    """(n, O, V) object features; an axis of length 1 before V is dropped.

    Raises:
        SourceError: that axis is longer.
    """
    return _one_vector(array, path, axes=3, of="an object")


def pooled(array: np.ndarray, path: Path) -> np.ndarray:
    """(n, V) pooled picture features; an axis of length 1 is dropped.

    Raises:
        SourceError: that axis is longer.
    """
    return _one_vector(array, path, axes=2, of="a picture")


def _one_vector(array: np.ndarray, path: Path, *, axes: int, of: str) -> np.ndarray:
    """The array with ``axes`` axes: one more, of length 1, may stand before the last."""
    if array.ndim <= axes:
        return array
    if array.shape[-2] != 1:
        raise SourceError(f"shape {array.shape}: one vector {of} belongs here", where=str(path))
    return array[..., 0, :]


@dataclass(frozen=True)
class Block:
    """Rows of one file on their way into the store."""

    path: Path
    source_rows: np.ndarray  # (b,) rows of the file
    rows: np.ndarray  # (b,) rows of the store
    values: np.ndarray  # (b, …)

    @contextmanager
    def located(self) -> Iterator[None]:
        """Name the file and its row, not the store's, when a feature written here is not finite."""
        try:
            yield
        except NotFinite as error:
            row = int(self.source_rows[np.flatnonzero(self.rows == error.row)[0]])
            raise SourceError(error.what, where=f"{self.path}[{row}]", hint=error.hint) from error


def check_finite(array: np.ndarray, path: Path) -> np.ndarray:
    """The array itself, (n, …).

    Raises:
        SourceError: NaN or infinite values; names the first row.
    """
    axes = tuple(range(1, array.ndim))
    bad = np.flatnonzero(~np.isfinite(array).all(axis=axes))
    if len(bad):
        raise SourceError("NaN or infinite values", where=f"{path}[{int(bad[0])}]")
    return array


def check_spans(starts: np.ndarray, ends: np.ndarray, path: Path) -> None:
    """Refuse token positions that are negative or end before they start.

    Raises:
        SourceError: names the first row.
    """
    bad = np.flatnonzero((starts < 0) | (ends < starts))
    if len(bad):
        row = int(bad[0])
        raise SourceError(
            f"the mention spans tokens {int(starts[row])} to {int(ends[row])}",
            where=f"{path}[{row}]",
        )
