"""Recorded ``.npy`` arrays: their headers are checked before a byte of values is used."""

from __future__ import annotations

import io
import math
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from featurestore.derive import block_rows
from featurestore.errors import SourceError

#: Bytes of a header at most, as NumPy has it: what reads longer ones can exhaust the memory.
_LONGEST_HEADER = 10_000

#: What NumPy raises for a header that is none.
_HEADER_ERRORS = (
    ValueError, TypeError, KeyError, EOFError, OverflowError, SyntaxError, tokenize.TokenError,
    RecursionError, MemoryError,
)  # fmt: skip

#: Versions of the format that there are.
_VERSIONS = ((1, 0), (2, 0), (3, 0))

#: Axes and bytes that no array has, whatever its header says.
_MOST_AXES, _MOST_BYTES = 32, 2**62

#: What an array may hold → the NumPy kinds of it.
KINDS = {"features": "f", "integers": "iu", "a mask": "iub", "boxes": "fiu", "text": "U"}

#: The same in words.
_WORDS = {
    "features": "floating-point numbers",
    "integers": "whole numbers",
    "a mask": "0 and 1, or of truth values",
    "boxes": "numbers",
    "text": "Unicode strings (dtype <U…)",
}

#: What to do where the sizes of two files differ.
TOGETHER = "take all files of the dataset from one release: two of them do not belong together"


@dataclass(frozen=True, slots=True)
class Header:
    """What a ``.npy`` file says of itself. ``where``: how messages name the file."""

    where: str
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool  # values stand column by column
    start: int  # byte of the first value

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape[1:])

    def check(
        self, *, holds: str = "features", ndim: tuple[int, ...] = (), rows: int | None = None
    ) -> Header:
        """The header itself, if it is of such an array.

        Args:
            holds: a key of ``KINDS``.
            ndim: allowed numbers of axes; any if empty.
            rows: required length of the first axis.

        Raises:
            SourceError: another dtype or shape; names file and numbers.
        """
        if self.dtype.kind not in KINDS[holds]:
            raise SourceError(
                f"dtype {self.dtype} where {holds} belongs",
                where=self.where,
                hint=f"save it again as an array of {_WORDS[holds]}",
            )
        if ndim and len(self.shape) not in ndim:
            axes = " or ".join(map(str, ndim))
            raise SourceError(
                f"shape {self.shape} where {axes} axes belong",
                where=self.where,
                hint="save it again with these axes, rows first",
            )
        if 0 in self.shape[1:]:
            raise SourceError(
                f"shape {self.shape}: rows without values",
                where=self.where,
                hint="save it again with its values: no axis behind the rows may have length 0",
            )
        if rows is not None and self.shape[:1] != (rows,):
            raise SourceError(
                f"{self.shape[0] if self.shape else 'no'} rows where {rows} belong",
                where=self.where,
                hint=TOGETHER,
            )
        return self


def read_header(file: BinaryIO, size: int, where: str) -> Header:
    """The header at the beginning of a ``.npy`` file of ``size`` bytes.

    Raises:
        SourceError: not such a file, cut off (names the row), or one of Python objects.
    """
    head = io.BytesIO(file.read(_LONGEST_HEADER))  # whatever length the file claims
    try:
        version = np.lib.format.read_magic(head)
        if version not in _VERSIONS:
            raise ValueError(f"format version {version[0]}.{version[1]}")
        read = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read = np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(head)
    except _HEADER_ERRORS as error:
        raise _incomplete(str(error) or type(error).__name__, where) from error
    shape = tuple(map(int, shape))  # NumPy takes True for a length
    header = Header(where, shape, dtype, fortran, head.tell())
    if dtype.hasobject or not dtype.itemsize:
        raise _incomplete(f"dtype {dtype}", where)
    extent = dtype.itemsize * math.prod(max(1, abs(length)) for length in shape)
    if len(shape) > _MOST_AXES or min(shape, default=0) < 0 or extent > _MOST_BYTES:
        raise _incomplete(f"shape {str(shape)[:80]}", where)
    present = size - header.start
    if present < dtype.itemsize * math.prod(shape):
        row = f", cut off in row {present // header.row_bytes}" if shape else ""
        raise _incomplete(f"shape {shape}{row}", where)
    return header


def _incomplete(what: str, where: str) -> SourceError:
    return SourceError(
        f"not a complete .npy array of plain values: {what}",
        where=where,
        hint="copy or unpack it again; Python objects are never read",
    )


def missing(where: str) -> SourceError:
    """The error for a file that must be there."""
    return SourceError("the file is missing", where=where, hint="is the dataset complete?")


def load(
    path: Path,
    *,
    holds: str = "features",
    ndim: tuple[int, ...] = (),
    rows: int | None = None,
    where: str | None = None,
) -> np.ndarray:
    """A memory-mapped array.

    Args:
        holds, ndim, rows: as :meth:`Header.check`.
        where: how messages name the file, if not by its path.

    Raises:
        SourceError: missing, truncated, pickled, of another shape, or with texts that are none;
            names file and numbers.
    """
    where = where or str(path)
    header = header_of(path, where).check(holds=holds, ndim=ndim, rows=rows)
    order: Literal["C", "F"] = "F" if header.fortran else "C"
    array = np.memmap(path, header.dtype, "r", header.start, header.shape, order)
    if header.dtype.kind == "U":
        _check_characters(array, where)
    return array


def _check_characters(texts: np.ndarray, where: str) -> None:
    """Refuse four bytes that are no character: Python makes a string of them that it cannot write.

    Raises:
        SourceError: names the first row.
    """
    step = block_rows(texts[:1].nbytes)
    codes = np.dtype(np.uint32).newbyteorder(texts.dtype.byteorder)
    for first in range(0, len(texts), step):
        block = np.ascontiguousarray(texts[first : first + step])
        letters = block.view(codes).reshape(len(block), -1)
        bad = (letters > 0x10FFFF) | ((letters >= 0xD800) & (letters <= 0xDFFF))
        if bad.any():
            row, place = np.argwhere(bad)[0].tolist()
            raise SourceError(
                f"the text holds {int(letters[row, place]):#x}, which is no character",
                where=f"{where}[{first + row}]",
                hint="copy or unpack it again, or write the array anew",
            )


def header_of(path: Path, where: str) -> Header:
    """The header of a file.

    Raises:
        SourceError: as :func:`read_header`, or the file is missing or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return read_header(file, path.stat().st_size, where)
    except FileNotFoundError as error:
        raise missing(where) from error
    except OSError as error:
        raise SourceError(
            f"cannot be read: {error.strerror or error}",
            where=where,
            hint="see who may read it, and that it is a file",
        ) from error


def check_tokens(mask: np.ndarray, where: str, features: Header) -> None:
    """Refuse a mask of another number of tokens than the features have.

    Raises:
        SourceError: names the mask.
    """
    if mask.shape[1] != features.shape[1]:
        raise SourceError(
            f"a mask of {mask.shape[1]} tokens for features of {features.shape[1]}",
            where=where,
            hint=TOGETHER,
        )


def counts_of(mask: np.ndarray, where: str, source_rows: np.ndarray) -> np.ndarray:
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
        raise SourceError(
            "the mask is not ones followed by zeros",
            where=f"{where}[{row}]",
            hint="write 1 for each real token, the first included, and 0 behind the last",
        )
    return counts


def one_vector(header: Header, *, axes: int, of: str) -> tuple[int, ...]:
    """Shape of a row that holds one vector ``of`` each: an axis of length 1 before it is dropped.

    Args:
        axes: of the array, without that axis.

    Raises:
        SourceError: that axis is longer.
    """
    row = header.shape[1:]
    if len(header.shape) <= axes:
        return row
    if row[-2] != 1:
        raise SourceError(
            f"shape {header.shape}: one vector of {of} belongs here",
            where=header.where,
            hint=f"keep one of the {row[-2]}, and save rows of that vector",
        )
    return (*row[:-2], row[-1])


def check_finite(array: np.ndarray, where: str) -> np.ndarray:
    """The array itself, (n, …).

    Raises:
        SourceError: NaN or infinite values; names the first row.
    """
    axes = tuple(range(1, array.ndim))
    bad = np.flatnonzero(~np.isfinite(array).all(axis=axes))
    if len(bad):
        raise SourceError(
            "NaN or infinite values",
            where=f"{where}[{int(bad[0])}]",
            hint="compute that row again: a feature must be finite",
        )
    return array


def check_spans(starts: np.ndarray, ends: np.ndarray, where: str) -> None:
    """Refuse token positions that are negative, end before they start, or fit no int32.

    Raises:
        SourceError: names the first row.
    """
    bad = np.flatnonzero((starts < 0) | (ends < starts) | (ends > np.iinfo(np.int32).max))
    if len(bad):
        row = int(bad[0])
        raise SourceError(
            f"the mention spans tokens {int(starts[row])} to {int(ends[row])}",
            where=f"{where}[{row}]",
            hint="positions count tokens from 0, and no end lies before its start: mend that row",
        )
