"""The index of a dataset in chunks, one a row: HDF5's B-tree, version 1, written in one pass.

It grows by some 50 bytes a row and is made some rows at a time, so that it never stands in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from featurestore.hdf5_messages import UNDEFINED

#: Children of a node: twice the rank that a superblock of version 2 stands for.
_CHILDREN = 64

#: Nodes made at once (chosen here: 3 MB of them).
_NODES = 1024


@dataclass(frozen=True, slots=True)
class ChunkIndex:
    """The B-tree over the chunks of one dataset.

    Args:
        table: (rows, 2) int64 offset in the file and stored size of each chunk; may be a map of a file.
        rank: axes of the dataset.
        address: where in the file the tree will stand.
    """

    table: np.ndarray
    rank: int
    address: int

    @property
    def size(self) -> int:
        return sum(self._levels) * self._node.itemsize

    @property
    def root(self) -> int:
        """The address of the node to begin with."""
        return self.address + self.size - self._node.itemsize

    @property
    def _levels(self) -> list[int]:
        """Nodes of each level; the last is the root."""
        counts = [-(-len(self.table) // _CHILDREN)]
        while counts[-1] > 1:
            counts.append(-(-counts[-1] // _CHILDREN))
        return counts

    @property
    def _key(self) -> np.dtype:
        return np.dtype([("size", "<u4"), ("mask", "<u4"), ("offset", "<u8", (self.rank + 1,))])

    @property
    def _node(self) -> np.dtype:
        entry = np.dtype([("key", self._key), ("child", "<u8")])
        head = [("signature", "S4"), ("type", "u1"), ("level", "u1"), ("used", "<u2")]
        sides = [("left", "<u8"), ("right", "<u8")]
        return np.dtype([*head, *sides, ("entries", entry, (_CHILDREN,)), ("last", self._key)])

    def blocks(self) -> Iterator[bytes]:
        """The bytes of all levels, leaves first."""
        address, span = self.address, 1  # span: rows under one child
        for level, count in enumerate(self._levels):
            below = address - (self._levels[level - 1] * self._node.itemsize if level else 0)
            for first in range(0, count, _NODES):
                nodes = range(first, min(first + _NODES, count))
                yield self._nodes(level, nodes, count, address, below, span).tobytes()
            address += count * self._node.itemsize
            span *= _CHILDREN

    def _nodes(
        self, level: int, nodes: range, count: int, address: int, below: int, span: int
    ) -> np.ndarray:
        """Some nodes of a level.

        Args:
            count: nodes of the level, the first of which stands at ``address``.
            below: where the first node of the level below stands.
        """
        size, rows = self._node.itemsize, len(self.table)
        made = np.zeros(len(nodes), self._node)
        made["signature"], made["type"], made["level"] = b"TREE", 1, level
        numbers = np.arange(nodes.start, nodes.stop, dtype=np.int64)
        made["left"] = made["right"] = np.uint64(UNDEFINED)
        made["left"][numbers > 0] = address + (numbers[numbers > 0] - 1) * size
        before_last = numbers < count - 1
        made["right"][before_last] = address + (numbers[before_last] + 1) * size
        children = -(-rows // span)
        made["used"] = np.minimum(_CHILDREN, children - numbers * _CHILDREN)
        child = numbers[:, None] * _CHILDREN + np.arange(_CHILDREN)
        there = child < children
        first_row = np.minimum(child * span, rows - 1)
        stored = self.table[first_row[:, 0].min() : first_row.max() + 1 : span]
        stored = stored[(first_row - first_row.min()) // span]
        entries = made["entries"]
        entries["key"]["size"] = np.where(there, stored[..., 1], 0)
        entries["key"]["offset"][..., 0] = np.where(there, first_row, 0)
        places = stored[..., 0] if level == 0 else below + child * size
        entries["child"] = np.where(there, places, 0)
        self._close(made, numbers, span)
        return made

    def _close(self, made: np.ndarray, numbers: np.ndarray, span: int) -> None:
        """The key behind the last child of each node: where the next one would begin."""
        ends = np.minimum((numbers + 1) * _CHILDREN * span, len(self.table))
        made["last"]["offset"][:, 0] = ends
        short = np.flatnonzero(made["used"] < _CHILDREN)
        if len(short):  # only the last node of a level
            used = made["used"][short]
            made["entries"]["key"]["offset"][short, used, 0] = ends[short]
            made["last"]["offset"][short, 0] = 0


def chunk_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """The chunk of a dataset whose chunks are rows."""
    return (1, *shape[1:])
