"""Records rounded, shuffled and decoded with the vector units of the processor, in C (``_records.c``).

hdf5plugin's wheels shuffle bits with SSE2 alone, which is more than half of what reading and a quarter
of what compressing a record costs. Here it is AVX-512 or AVX2, to the same bytes, and one call goes
through many records, without Python's lock. It is compiled when the package is built; where that could
not be done, or the processor has neither, :func:`bits` is None and hdf5plugin and NumPy do the work
(docs/decisions/records.md has both speeds).
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import NamedTuple

import numpy as np

from featurestore.filter_blocks import HEADER, WRONG_HEADER, Damage, library

#: Of ``bits_interface`` in ``_records.c``: another number when a function takes other arguments.
_INTERFACE = 1

#: What the processor is asked for, by the level that a library names.
LEVELS = ("none", "AVX2", "AVX-512")

#: Bytes of the values that the kernels take: float16 and float32.
ITEMS = (2, 4)


class Norms(NamedTuple):
    """The L2 norms of the shortest and of the longest of some vectors.

    The longest is NaN or infinite where a value is, and 0 where there is no vector.
    """

    least: float
    largest: float


class Rounded(NamedTuple):
    """Chunks of records that were rounded to float16, behind each other."""

    data: np.ndarray  # (bytes,) uint8
    starts: np.ndarray  # (n,) int64, in ``data``
    sizes: np.ndarray  # (n,) int64
    norms: Norms


@dataclass(frozen=True, slots=True)
class Bits:
    """The compiled kernels.

    ``level``: one of ``LEVELS``, above 0. ``decompress``, ``compress``: addresses of hdf5plugin's LZ4.
    """

    library: ctypes.CDLL
    level: int
    decompress: int
    compress: int

    @property
    def name(self) -> str:
        """What the processor is asked for."""
        return LEVELS[self.level]

    def encode(self, record: np.ndarray, out: np.ndarray, block: int) -> int:
        """Write the blocks of a C-contiguous record into ``out``; the bytes used, or a code below 0.

        Args:
            out: (room,) uint8.
            block: values a block, a multiple of 8.
        """
        source, target = record.ctypes.data, out.ctypes.data
        sizes = (len(out), record.size, block, record.itemsize)
        return int(self.library.bits_encode(source, target, *sizes, self.level, self.compress))

    def round_and_encode(
        self,
        records: Sequence[np.ndarray],
        *,
        whole: int,
        block: int,
        header: np.ndarray,
        most: int,
        align: int,
    ) -> Rounded:
        """The chunks of float32 records, each (n_i, W) and C-contiguous, as float16.

        Args:
            whole: values of a record; what it has beyond its own becomes zero.
            block: values a block, a multiple of 8.
            header: (12,) uint8 of each chunk.
            most: bytes that the blocks of a record may take.
            align: chunks begin at multiples of it.

        Raises:
            MemoryError: there was none.
        """
        count = len(records)
        addresses = [record.__array_interface__["data"][0] for record in records]
        pointers = np.array(addresses, np.int64)
        rows = np.array([len(record) for record in records], np.int64)
        out = np.empty(count * (-(-(HEADER + most) // align) * align), np.uint8)
        starts, sizes = np.empty(count, np.int64), np.empty(count, np.int64)
        squares = np.empty(2, np.float32)
        used = self.library.bits_pack(
            count,
            pointers.ctypes.data,
            rows.ctypes.data,
            records[0].shape[1],
            whole,
            block,
            header.ctypes.data,
            out.ctypes.data,
            len(out),
            align,
            starts.ctypes.data,
            sizes.ctypes.data,
            squares.ctypes.data,
            self.level,
            self.compress,
        )
        if used < 0:
            raise MemoryError(f"no memory to compress {count} records in")
        return Rounded(out[:used], starts, sizes, Norms(*np.sqrt(squares).tolist()))

    def rounded(self, values: np.ndarray) -> tuple[np.ndarray, Norms]:
        """C-contiguous float32 vectors (n, W) as float16, to the nearest; beyond its range, infinite."""
        out, squares = np.empty(values.shape, np.float16), np.empty(2, np.float32)
        source = values.__array_interface__["data"][0]
        addresses = (source, out.ctypes.data)
        self.library.bits_round(*addresses, *values.shape, squares.ctypes.data, self.level)
        return out, Norms(*np.sqrt(squares).tolist())


def compiled(folder: Path, name: str, *, interface: int) -> ctypes.CDLL | None:
    """A library that was built into the folder of a package; calls into it release Python's lock.

    None where it was not built, or from sources with another interface: those of a checkout may be newer
    than what was installed of it.
    """
    for suffix in EXTENSION_SUFFIXES:
        path = folder / f"_{name}{suffix}"
        if path.exists():
            library = ctypes.CDLL(str(path))
            return library if library[f"{name}_interface"]() == interface else None
    return None


@cache
def bits() -> Bits | None:
    """The best kernels that were built and that this processor has."""
    lib = compiled(Path(__file__).parent, "bits", interface=_INTERFACE)
    level = 0 if lib is None else lib.bits_level()
    if lib is None or not level:
        return None
    many, pointer, number = ctypes.c_int64, ctypes.c_void_p, ctypes.c_int
    for function in (lib.bits_decode, lib.bits_encode, lib.bits_pack):
        function.restype = many
    lib.bits_decode.argtypes = [many, *[pointer] * 4, many, many, many, number, pointer, pointer]
    lib.bits_encode.argtypes = [pointer, pointer, many, many, many, many, number, pointer]
    lib.bits_round.restype = None
    lib.bits_round.argtypes = [pointer, pointer, many, many, pointer, number]
    lib.bits_pack.argtypes = [many, *[pointer] * 2, *[many] * 3, *[pointer] * 2, many, many]
    lib.bits_pack.argtypes += [*[pointer] * 3, number, pointer]
    lz4 = library("h5lz4")
    return Bits(
        lib, level, _address(lz4, "LZ4_decompress_safe"), _address(lz4, "LZ4_compress_default")
    )


def _address(lib: ctypes.CDLL, name: str) -> int:
    address = ctypes.cast(getattr(lib, name), ctypes.c_void_p).value
    assert address is not None
    return address


#: What is wrong with a chunk, by the numbers of ``_records.c``.
_DAMAGES = {
    1: "it ends before its header does",
    2: WRONG_HEADER,
    3: "it ends before its last block",
    4: "the compressed record does not decode",
    5: "there is no memory to decode it in",
}


class Decoder:
    """Decodes prefixes of ``lz4`` records, a share a call. It checks what it reads while it does.

    Args:
        data: (bytes,) uint8, usually the memory map of the file.
        starts, sizes: (n,) int64 where the chunks are; all inside ``data``.
        values: (n,) int64 how many values of each record are wanted.
        whole: number of values of a whole record.
        out: (n, …) C-contiguous destination; what it has beyond the ``values`` becomes zero.
    """

    def __init__(
        self,
        kernels: Bits,
        data: np.ndarray,
        starts: np.ndarray,
        sizes: np.ndarray,
        values: np.ndarray,
        *,
        whole: int,
        out: np.ndarray,
    ) -> None:
        self._kernels = kernels
        self._alive = data, out  # their addresses are in the columns
        row = math.prod(out.shape[1:])
        self._sizes = whole, row, out.itemsize
        # where chunks begin and end, where to, how many values
        columns = np.empty((4, len(out)), np.int64)
        np.add(starts, data.ctypes.data, out=columns[0])
        np.add(columns[0], sizes, out=columns[1])
        columns[2] = np.arange(len(out)) * (row * out.itemsize) + out.ctypes.data
        columns[3] = values
        self._columns, self._address = columns, columns.ctypes.data

    def decode(self, records: range) -> Damage | None:
        """Decode some records; several threads may, each its own."""
        first, apart = self._address + 8 * records.start, 8 * self._columns.shape[1]
        kernels, why = self._kernels, ctypes.c_int()
        bad = kernels.library.bits_decode(
            len(records),
            *(first, first + apart, first + 2 * apart, first + 3 * apart),
            *self._sizes,
            kernels.level,
            kernels.decompress,
            ctypes.byref(why),
        )
        return None if bad < 0 else Damage(records.start + int(bad), _DAMAGES[why.value])
