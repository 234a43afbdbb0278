"""Two principal axes of a feature that is never in memory as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

#: Blocks of rows, (n, D); called once for every pass over them.
Blocks = Callable[[], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Projection:
    """A linear map to the plane.

    ``mean``: (D,) float64. ``axes``: (D, 2) float64, orthonormal, the one of most variance first.
    """

    mean: np.ndarray
    axes: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """(n, D) → (n, 2) float32 coordinates."""
        return ((rows - self.mean) @ self.axes).astype(np.float32)


def principal_plane(blocks: Blocks, width: int) -> Projection:
    """The plane in which the rows vary most: PCA, in two passes and D×D numbers of memory.

    The largest entry of each axis is positive, so that equal rows give equal pictures. An axis that
    there is none of (D = 1) is zero.
    """
    count, total = 0, np.zeros(width)
    for block in blocks():
        count += len(block)
        total += block.sum(axis=0, dtype=np.float64)
    mean = total / max(count, 1)
    scatter = np.zeros((width, width))
    for block in blocks():
        centred = block - mean
        scatter += centred.T @ centred
    _, vectors = np.linalg.eigh(scatter)  # ascending
    axes = np.zeros((width, 2))
    axes[:, : min(width, 2)] = vectors[:, ::-1][:, :2]
    largest = np.abs(axes).argmax(axis=0)
    axes[:, axes[largest, [0, 1]] < 0] *= -1
    return Projection(mean, axes)
