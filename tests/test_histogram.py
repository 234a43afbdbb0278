"""Histograms and quantiles are NumPy's; whole bins hold whole numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from featurestore.effective_rank import effective_rank
from featurestore.histogram import QUANTILES, histogram, quantiles, whole_histogram

ANY_FLOAT = st.floats(width=32, allow_nan=True, allow_infinity=True)


@given(arrays(np.float32, st.integers(0, 60), elements=ANY_FLOAT), st.integers(1, 20))
def test_a_histogram_is_that_of_numpy_over_the_finite_values(values: np.ndarray, bins: int) -> None:
    finite = values[np.isfinite(values)].astype(np.float64)
    found = histogram(values, bins)
    if not len(finite):
        assert found is None
        assert quantiles(values) == {}
        return
    assert found is not None
    assert list(quantiles(values).values()) == np.quantile(finite, QUANTILES).tolist()
    if finite.min() == finite.max():
        assert (found.edges, found.counts) == ((finite[0], finite[0]), (len(finite),))
        return
    counts, edges = np.histogram(finite, bins=bins)
    assert list(found.counts) == counts.tolist()
    assert list(found.edges) == edges.tolist()


@given(arrays(np.int64, st.integers(1, 60), elements=st.integers(-99, 99)), st.integers(1, 20))
def test_whole_bins_cover_all_integers_once(values: np.ndarray, bins: int) -> None:
    distinct, counts = np.unique(values, return_counts=True)
    found = whole_histogram(distinct, bins, counts)
    assert found == whole_histogram(values, bins)
    assert found is not None
    assert len(found.counts) <= bins
    assert found.edges[0] == values.min()
    assert len({b - a for a, b in zip(found.edges, found.edges[1:], strict=False)}) == 1
    for first, last, count in zip(found.edges, found.edges[1:], found.counts, strict=False):
        assert count == ((values >= first) & (values < last)).sum()
    assert sum(found.counts) == len(values)


def naive_effective_rank(vectors: np.ndarray) -> float:
    singular = np.linalg.svd(vectors.astype(np.float64), compute_uv=False)
    share = singular / singular.sum()
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (20, 20), (1, 4)])
def test_the_effective_rank_is_that_of_the_singular_values(shape: tuple[int, int]) -> None:
    vectors = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    assert effective_rank(vectors) == pytest.approx(naive_effective_rank(vectors), rel=1e-6)
    assert effective_rank(vectors * 1e30) == pytest.approx(effective_rank(vectors))


def test_the_effective_rank_of_simple_matrices() -> None:
    assert effective_rank(np.eye(5)) == pytest.approx(5)
    assert effective_rank(np.outer(np.arange(1, 9), np.arange(1, 4))) == pytest.approx(1, abs=1e-6)
    assert effective_rank(np.zeros((3, 2))) is None
    assert effective_rank(np.empty((0, 2))) is None
    assert effective_rank(np.array([[np.nan, 1.0], [1.0, 0.0]])) == pytest.approx(1)
