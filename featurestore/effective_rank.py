"""Effective rank: how many directions a set of vectors really uses.

    erank(A) = exp(H(p)),   p_k = σ_k / Σ σ,   H(p) = -Σ p_k ln p_k

with σ the singular values of the matrix A whose rows are the vectors, as they are (not centred).
Roy & Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007, definition 1.
It is 1 where all vectors are multiples of one, and min(n, D) where all singular values are equal.
"""

from __future__ import annotations

import numpy as np


def effective_rank(vectors: np.ndarray) -> float | None:
    """The effective rank of (n, D) vectors, those that are not finite left out.

    The singular values are roots of the eigenvalues of the smaller Gram matrix in float64, so those
    below 1e-8 of the greatest are not resolved; they would add less than 1e-6.

    Returns:
        Between 1 and min(n, D); ``None`` where every vector is zero, or there is none.
    """
    exact = vectors.astype(np.float64)
    exact = exact[np.isfinite(exact).all(axis=1)]
    largest = np.abs(exact).max(initial=0.0)
    if largest == 0:
        return None
    exact /= largest  # squares stay in the range of float64
    gram = exact.T @ exact if exact.shape[0] > exact.shape[1] else exact @ exact.T
    eigenvalues = np.linalg.eigvalsh(gram)
    kept = eigenvalues[eigenvalues > eigenvalues[-1] * len(gram) * np.finfo(np.float64).eps]
    singular = np.sqrt(kept)
    share = singular / singular.sum()
    return float(np.exp(-(share * np.log(share)).sum()))
