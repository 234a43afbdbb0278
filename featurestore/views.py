"""Reduced features, computed once at ingest from records (MODELS.md, "Shared pieces").

All take the tokens of one text, shape (n, D) with n real tokens, [CLS] first and [SEP] last.
Sums run in float32, whatever the dtype of the tokens.
"""

from __future__ import annotations

import numpy as np


def inner_tokens(tokens: np.ndarray) -> np.ndarray:
    """(m, D) tokens 1 … n-2: without [CLS] and [SEP]. Where nothing is left, [CLS] itself."""
    return tokens[1:-1] if len(tokens) > 2 else tokens[:1]


def token_mean(tokens: np.ndarray) -> np.ndarray:
    """(D,) mean of tokens 1 … n-2."""
    return inner_tokens(tokens).mean(axis=0, dtype=np.float32)


def token_max(tokens: np.ndarray) -> np.ndarray:
    """(D,) maximum of tokens 1 … n-2."""
    return inner_tokens(tokens).max(axis=0).astype(np.float32)


def span_mean(tokens: np.ndarray, start: int, end: int) -> tuple[np.ndarray, bool]:
    """Mean of the mention's tokens ``[start+1, end+1)``; ``start`` does not count [CLS].

    Returns:
        The (D,) mean, and whether the span was empty (the mention was cut off with the end of the
        sentence): then the vector is [CLS], and the caller counts it.
    """
    span = tokens[start + 1 : end + 1]
    if not len(span):
        return tokens[0].astype(np.float32), True
    return span.mean(axis=0, dtype=np.float32), False


def is_cut(end: np.ndarray, token_count: np.ndarray) -> np.ndarray:
    """(n,) bool: truncation cut the mention's tokens ``[start+1, end+1)``: they reach [SEP] or beyond."""
    cut: np.ndarray = end + 1 > token_count - 1
    return cut


def region_mean(regions: np.ndarray) -> np.ndarray:
    """Mean over the regions axis: (…, R, V) → (…, V)."""
    return regions.mean(axis=-2, dtype=np.float32)
