"""Memory for the features of batches: used again, once nothing holds the batch it was given to.

A fresh array costs a page fault every 4 KB when it is first written, which takes as long as the
copying itself. A batch of the same run needs the same memory as the one before.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

#: Smaller arrays are left to the allocator, which uses their memory again by itself.
_SMALLEST = 1 << 20

#: How much larger than needed a buffer is made: batches differ in their distinct entities.
_ROOM = 1.1


class Buffers:
    """Hands out arrays, and takes their memory back when the last reference to them is gone.

    Tensors made with ``torch.from_numpy``, and views of them, count as references.

    Args:
        pinned: memory that a GPU copies from without waiting. It is torch's, which keeps it until
            copies that were begun are done.
    """

    def __init__(self, *, pinned: bool = False) -> None:
        self.pinned = pinned
        self._free: list[np.ndarray] = []

    def array(self, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
        """An array with whatever stood in its memory before."""
        size = math.prod(shape) * dtype.itemsize
        if size < _SMALLEST:
            return np.empty(shape, dtype)
        if self.pinned:
            memory = torch.empty(size, dtype=torch.uint8, pin_memory=True).numpy()
            return memory.view(dtype).reshape(shape)
        memory = self._memory(size)
        array = memory[:size].view(dtype).reshape(shape)
        weakref.finalize(array, self._free.append, memory).atexit = False
        return array

    def _memory(self, size: int) -> np.ndarray:
        """The smallest free buffer that is large enough, or a new one instead of a smaller one."""
        fitting = [place for place, free in enumerate(self._free) if free.size >= size]
        if fitting:
            return self._free.pop(min(fitting, key=lambda place: self._free[place].size))
        if self._free:
            self._free.pop(max(range(len(self._free)), key=lambda place: self._free[place].size))
        return np.empty(int(size * _ROOM), np.uint8)

    def __reduce__(self) -> tuple[Any, ...]:
        return _fresh, (self.pinned,)


def _fresh(pinned: bool) -> Buffers:
    return Buffers(pinned=pinned)
