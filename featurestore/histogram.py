"""How numbers are distributed: counts in bins of equal width, and quantiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: The shares of the quantiles that are told (chosen here: the tails, the quarters, the median).
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """``counts``: (bins,) numbers from ``edges[i]`` to below ``edges[i + 1]``; the last reach it."""

    edges: tuple[float, ...] | tuple[int, ...]
    counts: tuple[int, ...]


def histogram(values: np.ndarray, bins: int) -> Histogram | None:
    """Count the finite values in bins from the least to the greatest, as ``numpy.histogram`` does.

    Equal values make one bin.

    Args:
        values: numbers of any shape; norms and the like in float32 or less, so that neighbouring
            numbers leave room for bins.

    Returns:
        ``None`` where no value is finite.
    """
    flat = values.reshape(-1).astype(np.float64)
    flat = flat[np.isfinite(flat)]
    if not len(flat):
        return None
    if flat.min() == flat.max():  # numpy.histogram would make up a range
        return Histogram(edges=(float(flat[0]), float(flat[0])), counts=(len(flat),))
    counts, edges = np.histogram(flat, bins=bins)
    return Histogram(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()))


def whole_histogram(
    values: np.ndarray, bins: int, weights: np.ndarray | None = None
) -> Histogram | None:
    """Count integers in at most so many bins of a whole width, the first of which begins at the least.

    Args:
        values: (n,) integers.
        weights: (n,) how often each of them occurs; once if not given.

    Returns:
        ``None`` where there is no value.
    """
    if not len(values):
        return None
    least, most = int(values.min()), int(values.max())
    width = -(-(most - least + 1) // bins)
    edges = least + width * np.arange((most - least) // width + 2)
    counts, _ = np.histogram(values, bins=edges, weights=weights)
    return Histogram(edges=tuple(edges.tolist()), counts=tuple(counts.astype(np.int64).tolist()))


def quantiles(values: np.ndarray) -> dict[str, float]:
    """``{"50%": …}`` of the finite values, for :data:`QUANTILES`; empty where none is finite."""
    flat = values.reshape(-1).astype(np.float64)
    flat = flat[np.isfinite(flat)]
    if not len(flat):
        return {}
    found = np.quantile(flat, QUANTILES).tolist()
    return {f"{share:.0%}": value for share, value in zip(QUANTILES, found, strict=True)}
