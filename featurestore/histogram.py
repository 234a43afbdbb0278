"""How numbers are distributed: counts in bins of equal width, and quantiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: The shares of the quantiles that are told (chosen here: the tails, the quarters, the median).
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """``counts``: (bins,) how many numbers lie in ``edges[i] … edges[i + 1]``; the last bin is closed."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


def histogram(values: np.ndarray, bins: int, weights: np.ndarray | None = None) -> Histogram | None:
    """Count the finite values in bins from the least to the greatest, as ``numpy.histogram`` does.

    Args:
        values: numbers of any shape; norms and the like in float32 or less, so that neighbouring
            numbers leave room for bins.
        weights: how often each of them occurs.

    Returns:
        ``None`` where no value is finite.
    """
    flat = values.reshape(-1).astype(np.float64)
    finite = np.isfinite(flat)
    flat = flat[finite]
    if not len(flat):
        return None
    often = None if weights is None else weights.reshape(-1)[finite]
    counts, edges = np.histogram(flat, bins=bins, weights=often)
    return Histogram(edges=tuple(edges.tolist()), counts=tuple(counts.astype(np.int64).tolist()))


def quantiles(values: np.ndarray) -> dict[str, float]:
    """``{"50%": …}`` of the finite values, for :data:`QUANTILES`; empty where none is finite."""
    flat = values.reshape(-1).astype(np.float64)
    flat = flat[np.isfinite(flat)]
    if not len(flat):
        return {}
    found = np.quantile(flat, QUANTILES).tolist()
    return {f"{share:.0%}": value for share, value in zip(QUANTILES, found, strict=True)}
