"""Reduced features against a naive reading of their definitions (MODELS.md, "Shared pieces")."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.views import inner_tokens, region_mean, span_mean, token_max, token_mean

LENGTHS = st.integers(1, 9)


def tokens_of(count: int, dtype: str = "float32") -> np.ndarray:
    rng = np.random.default_rng(count)
    return rng.standard_normal((count, 3)).astype(dtype)


@given(LENGTHS)
def test_inner_tokens_leave_out_cls_and_sep(count: int) -> None:
    tokens = tokens_of(count)
    expected = [tokens[i] for i in range(count) if 1 <= i <= count - 2] or [tokens[0]]
    assert np.array_equal(inner_tokens(tokens), expected)
    assert np.allclose(token_mean(tokens), np.mean(expected, axis=0))
    assert np.array_equal(token_max(tokens), np.max(expected, axis=0))


@given(LENGTHS, st.integers(0, 10), st.integers(0, 4))
def test_a_span_is_the_mean_of_its_tokens_or_cls_where_truncation_left_none(
    count: int, start: int, length: int
) -> None:
    tokens = tokens_of(count)
    inside = [tokens[i] for i in range(count) if start + 1 <= i < start + length + 1]
    mean, empty = span_mean(tokens, start, start + length)
    assert empty == (not inside)
    assert np.allclose(mean, np.mean(inside, axis=0) if inside else tokens[0])


def test_sums_run_in_float32_whatever_the_tokens() -> None:
    tokens = np.full((300, 1), 400.0, np.float16)  # the sum, 119200, is beyond float16
    for value in (token_mean(tokens), span_mean(tokens, 0, 298)[0], region_mean(tokens)):
        assert value.dtype == np.float32
        assert value.tolist() == [400.0]


@pytest.mark.parametrize("shape", [(4, 5), (2, 4, 5)])
def test_region_mean_runs_over_the_axis_before_the_last(shape: tuple[int, ...]) -> None:
    regions = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    assert np.array_equal(region_mean(regions), regions.mean(axis=len(shape) - 2))
