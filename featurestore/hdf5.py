"""HDF5's metadata for arrays that already stand in the file: superblock, groups, datasets, chunk indexes.

libhdf5 has no journal: while it writes, nothing in the file can be relied on. So a store's data are
written first, each array where it will stay, and what makes the file HDF5 is added at the end in one
piece, to which one digest belongs (docs/decisions/writing.md). Any HDF5 program reads the result.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from featurestore import hdf5_messages as messages
from featurestore.hdf5_index import ChunkIndex, chunk_shape

SIGNATURE = b"\x89HDF\r\n\x1a\n"
SUPERBLOCK_BYTES = 48

Attributes: TypeAlias = Mapping[str, int | float | str]


@dataclass(frozen=True, slots=True)
class Array:
    """A dataset: one contiguous array at ``offset`` of the file, or chunks of one row each.

    ``chunks``: (rows, 2) int64 byte offset in the file and stored size of each chunk.
    ``filters``: number and client values of each, in the order in which they were applied.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int = 0
    chunks: np.ndarray | None = None
    filters: Sequence[tuple[int, Sequence[int]]] = ()
    attributes: Attributes = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Virtual:
    """A dataset whose rows stand in other files.

    ``sources``: file, relative to the folder of this one; path of the dataset in it; and the first and
    last row that the rows of that dataset are in this one.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    sources: Sequence[tuple[str, str, int, int]]
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    members: Mapping[str, Node]
    attributes: Attributes = field(default_factory=dict)


Node: TypeAlias = Group | Array | Virtual


class Metadata:
    """All that turns a file of arrays into HDF5.

    Args:
        root: the tree of groups and arrays.
        start: where in the file the metadata will stand, but for the superblock.
    """

    def __init__(self, root: Group, *, start: int) -> None:
        self._heap = messages.Heap(start)
        self._attributes: dict[int, list[bytes]] = {}
        self._virtual: dict[int, tuple[int, int]] = {}
        self._note_attributes(root)
        self._pieces: list[bytes | ChunkIndex] = []
        self._end = start
        self._append(self._heap.encode())
        self._root = self._place(root)
        self.size = self._end - start

    def blocks(self) -> Iterator[bytes]:
        """The bytes, from ``start`` on."""
        for piece in self._pieces:
            if isinstance(piece, ChunkIndex):
                yield from piece.blocks()
            else:
                yield piece

    def superblock(self, file_bytes: int) -> bytes:
        """What stands at the beginning of a file of so many bytes in all."""
        head = SIGNATURE + struct.pack("<BBBB", 2, 8, 8, 0)
        places = struct.pack("<4Q", 0, messages.UNDEFINED, file_bytes, self._root)
        return messages.with_checksum(head + places)

    def _note_attributes(self, node: Node) -> None:
        self._attributes[id(node)] = [
            messages.attribute(name, value, self._heap) for name, value in node.attributes.items()
        ]
        if isinstance(node, Virtual):
            sources = messages.virtual_sources(node.sources, node.shape)
            self._virtual[id(node)] = self._heap.put(sources)
        if isinstance(node, Group):
            for member in node.members.values():
                self._note_attributes(member)

    def _append(self, piece: bytes | ChunkIndex) -> int:
        """The address of a piece that is put behind the others."""
        address = self._end
        self._pieces.append(piece)
        self._end += piece.size if isinstance(piece, ChunkIndex) else len(piece)
        return address

    def _place(self, node: Node) -> int:
        """The address of an object, whose members stand before it."""
        if isinstance(node, Group):
            links = [messages.link(n, self._place(member)) for n, member in node.members.items()]
            body = [*messages.group_info(), *links]
        else:
            body = self._dataset(node)
        return self._append(messages.object_header([*body, *self._attributes[id(node)]]))

    def _dataset(self, array: Array | Virtual) -> list[bytes]:
        body = [
            messages.dataspace(array.shape),
            messages.datatype(array.dtype),
            messages.fill_value(),
        ]
        if isinstance(array, Virtual):
            return [*body, messages.virtual(self._virtual[id(array)])]
        if array.chunks is None:
            address = array.offset if array.nbytes else messages.UNDEFINED
            return [*body, messages.contiguous(address, array.nbytes)]
        index = ChunkIndex(array.chunks, len(array.shape), self._end)
        self._append(index)
        chunk = messages.chunked(index.root, chunk_shape(array.shape), array.dtype.itemsize)
        return [*body, messages.filters(array.filters), chunk]
