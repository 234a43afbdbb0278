"""The pieces that HDF5's metadata is made of: object headers and the messages in them.

Written from the HDF5 file format specification, version 3: superblock 2, object headers 2, no more kinds
of message than a store needs. Numbers are little-endian, addresses and lengths have 8 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import numpy as np

from featurestore.lookup3 import lookup3

#: The address of what is not there.
UNDEFINED = (1 << 64) - 1

_DATASPACE, _LINK_INFO, _DATATYPE, _FILL_VALUE, _LINK, _LAYOUT = 0x01, 0x02, 0x03, 0x05, 0x06, 0x08
_GROUP_INFO, _FILTERS, _ATTRIBUTE = 0x0A, 0x0B, 0x0C

#: Selections of elements: all of them, and blocks of them.
_ALL, _HYPERSLAB = 3, 2

#: Fill value: space is allocated late, written if a value was set, and none is.
_NO_FILL_VALUE = 0x0A

#: Floats: bytes → place of the sign, of the exponent, its size, size of the mantissa, bias.
_FLOATS = {2: (15, 10, 5, 10, 15), 4: (31, 23, 8, 23, 127), 8: (63, 52, 11, 52, 1023)}


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("<BHB", kind, len(body), 0) + body


def object_header(messages: Iterable[bytes]) -> bytes:
    """An object: a group or a dataset."""
    body = b"".join(messages)
    return with_checksum(b"OHDR" + struct.pack("<BBI", 2, 0x02, len(body)) + body)


def with_checksum(data: bytes) -> bytes:
    return data + struct.pack("<I", lookup3(data))


# messages of datasets -------------------------------------------------------------------------------


def dataspace(shape: Sequence[int]) -> bytes:
    return message(_DATASPACE, _dataspace(shape))


def _dataspace(shape: Sequence[int]) -> bytes:
    return struct.pack(f"<BBBB{len(shape)}Q", 2, len(shape), 0, 1 if shape else 0, *shape)


def datatype(dtype: np.dtype) -> bytes:
    return message(_DATATYPE, _datatype(dtype))


def _datatype(dtype: np.dtype) -> bytes:
    """A little-endian integer or float."""
    bits = 8 * dtype.itemsize
    if dtype.kind == "f":
        sign, exponent, exponent_size, mantissa, bias = _FLOATS[dtype.itemsize]
        head = struct.pack("<BBBBI", 0x11, 0x20, sign, 0, dtype.itemsize)
        return head + struct.pack("<HHBBBBI", 0, bits, exponent, exponent_size, 0, mantissa, bias)
    if dtype.kind not in "iu":
        raise ValueError(f"no HDF5 type for {dtype}")
    signed = 0x08 if dtype.kind == "i" else 0
    return struct.pack("<BBBBIHH", 0x10, signed, 0, 0, dtype.itemsize, 0, bits)


#: UTF-8 text of any length, whose bytes stand in a global heap.
_TEXT = struct.pack("<BBBBI", 0x19, 0x01, 0x01, 0, 16) + _datatype(np.dtype("u1"))


def fill_value() -> bytes:
    return message(_FILL_VALUE, struct.pack("<BB", 3, _NO_FILL_VALUE))


def contiguous(address: int, size: int) -> bytes:
    return message(_LAYOUT, struct.pack("<BBQQ", 3, 1, address, size))


def chunked(index: int, chunk: Sequence[int], item: int) -> bytes:
    """A dataset in chunks that a B-tree at the address ``index`` leads to."""
    rank = len(chunk) + 1
    return message(_LAYOUT, struct.pack(f"<BBBQ{rank}I", 3, 2, rank, index, *chunk, item))


def virtual(heap_object: tuple[int, int]) -> bytes:
    """A dataset whose rows stand in other files, as an object of the heap says: collection, number."""
    return message(_LAYOUT, struct.pack("<BBQI", 4, 3, *heap_object))


def virtual_sources(sources: Sequence[tuple[str, str, int, int]], shape: Sequence[int]) -> bytes:
    """Of a virtual dataset: file, path in it, first and last row of what all its rows are in this one."""
    body = struct.pack("<BQ", 0, len(sources))
    for file, path, first, last in sources:
        everything = struct.pack("<II8x", _ALL, 1)
        starts, ends = [first, *[0] * len(shape[1:])], [last, *(n - 1 for n in shape[1:])]
        rank = len(shape)
        rows = struct.pack("<III", _HYPERSLAB, 1, 0) + struct.pack(
            f"<III{2 * rank}I", 8 + 8 * rank, rank, 1, *starts, *ends
        )
        body += file.encode() + b"\0" + path.encode() + b"\0" + everything + rows
    return with_checksum(body)


def filters(pipeline: Sequence[tuple[int, Sequence[int]]]) -> bytes:
    """Filters by number, each with its client values, in the order in which they are applied."""
    body = struct.pack("<BB", 2, len(pipeline))
    for number, values in pipeline:
        name = struct.pack("<H", 0) if number >= 256 else b""
        body += struct.pack("<H", number) + name + struct.pack("<HH", 0, len(values))
        body += struct.pack(f"<{len(values)}I", *values)
    return message(_FILTERS, body)


# messages of groups ---------------------------------------------------------------------------------


def group_info() -> list[bytes]:
    """What every group says of itself: links stand in its header, in no order."""
    return [
        message(_LINK_INFO, struct.pack("<BBQQ", 0, 0, UNDEFINED, UNDEFINED)),
        message(_GROUP_INFO, struct.pack("<BB", 0, 0)),
    ]


def link(name: str, address: int) -> bytes:
    encoded = name.encode()
    head = struct.pack("<BBBH", 1, 0x11, 1, len(encoded))  # UTF-8, length in two bytes
    return message(_LINK, head + encoded + struct.pack("<Q", address))


# attributes -----------------------------------------------------------------------------------------


def attribute(name: str, value: int | float | str, heap: Heap) -> bytes:
    """A number, or a text, which goes to the heap."""
    if isinstance(value, str):
        kind, data = _TEXT, heap.add(value)
    else:
        number = np.asarray(value, np.int64 if isinstance(value, int) else np.float64)
        kind, data = _datatype(number.dtype), number.tobytes()
    encoded, space = name.encode() + b"\0", _dataspace(())
    head = struct.pack("<BBHHHB", 3, 0, len(encoded), len(kind), len(space), 1)
    return message(_ATTRIBUTE, head + encoded + kind + space + data)


class Heap:
    """Texts of attributes, and sources of virtual datasets, in global heap collections.

    Args:
        address: where the first one will stand.
    """

    _HEAD, _SMALLEST, _MOST = 16, 4096, 60_000

    def __init__(self, address: int) -> None:
        self._address = address
        self._collections: list[bytes] = []
        self._objects: list[bytes] = []

    def add(self, text: str) -> bytes:
        """What an attribute says of a text: length, address of its collection, number in it."""
        data = text.encode()
        return struct.pack("<IQI", len(data), *self.put(data))

    def put(self, data: bytes) -> tuple[int, int]:
        """Where an object will stand: the address of its collection, the number in it."""
        if len(self._objects) == self._MOST:
            self._close()
        self._objects.append(data)
        return self._address, len(self._objects)

    def encode(self) -> bytes:
        """All collections; nothing may be added any more."""
        if self._objects:
            self._close()
        return b"".join(self._collections)

    def _close(self) -> None:
        body = b"".join(
            struct.pack("<HHIQ", number, 0, 0, len(data)) + data + bytes(-len(data) % 8)
            for number, data in enumerate(self._objects, 1)
        )
        size = max(self._SMALLEST, self._HEAD + len(body) + self._HEAD)
        free = size - self._HEAD - len(body)
        head = b"GCOL" + struct.pack("<BBBBQ", 1, 0, 0, 0, size)
        rest = struct.pack("<HHIQ", 0, 0, 0, free) + bytes(free - self._HEAD)
        self._collections.append(head + body + rest)
        self._address += size
        self._objects = []
