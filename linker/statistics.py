"""Paired comparison of figures over the same mentions. NumPy alone: imports no torch, no scipy.

A figure is a mean over n mentions of a value each of them has: 1 or 0 for a hit, 1/rank for MRR.
``values`` holds them as (n, C): a row a mention, a column a figure of a model.

Sources:
    Noreen 1989, "Computer-Intensive Methods for Testing Hypotheses": approximate randomisation, and
        (1 + as extreme) / (1 + resamples) as its p-value, which is never 0.
    Yeh 2000, "More accurate tests for the statistical significance of result differences" (COLING):
        why paired and why randomisation, for figures of language processing.
    Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapters 13 and 15: percentile
        intervals; permutation tests.
    Holm 1979, "A simple sequentially rejective multiple test procedure" (Scand. J. Statist. 6).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featurestore.errors import ConfigError

Floats = NDArray[np.float64]

#: Resamples of a test or a bootstrap. Chosen here, because the smallest p, 1/10,001, stays below 0.01
#: after correction for 100 comparisons, and because 5,000 mentions take about a second.
RESAMPLES = 10_000

#: Mentions whose signs are drawn at once. Chosen here: a part of them fits the processor's cache. It
#: is a part of the definition of a seed: another number draws other signs.
_MENTIONS = 1024

#: Resamples that stand in memory at once, as float64 beside the mentions above: 8 MB.
_ROWS = 1024

#: Draws of a bootstrap in memory at once: 8 MB a million.
_DRAWS = 1 << 20

#: Sums that differ by less than this share of all that is summed are equal: they differ by rounding.
#: Chosen here: far above the rounding of a million terms, far below one mention's part.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Randomisation:
    """Outcome of :func:`paired_randomisation`.

    p: (C,) two-sided p-values in (0, 1].
    exact: (C,) whether all sign changes were counted, so that p is no estimate.
    """

    p: Floats
    exact: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """``low`` and ``high`` end, in the unit of the figure."""

    low: float
    high: float


def paired_randomisation(
    differences: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> Randomisation:
    """Test whether means of paired differences are 0, by changing signs at random.

    If two models are equally good, which of them a mention's two values belong to is arbitrary: each
    difference is as likely with the other sign. p is the share of sign changes whose mean lies at
    least as far from 0 as the one that was found; ties count, and so does the one found. The signs of
    a mention are the same in every column, so that a p-value depends on its column and the seed alone.
    Where few differences are not 0, so that there are at most ``resamples`` sign changes, all of them
    are counted instead.

    Args:
        differences: (n, C) or (n,), finite; n ≥ 1.
        resamples: sign changes that are drawn, ≥ 1.
        seed: what they are drawn with.

    Returns:
        p-values (C,). Memory: ``resamples`` × C float64 and some blocks of 8 MB. Time: 2 · n ·
        ``resamples`` · C operations.

    Raises:
        ConfigError: ``resamples`` is below 1.
        ValueError: another shape, no mention, or a value that is not finite.
    """
    values = _columns(differences)
    _check_resamples(resamples)
    found = np.abs(values.sum(axis=0))
    slack = _ROUNDING * np.abs(values).sum(axis=0)
    moving = np.count_nonzero(values, axis=0)
    exact = moving <= int(resamples).bit_length() - 1  # 2^moving ≤ resamples
    p = np.ones(values.shape[1])
    for column in np.flatnonzero(exact):
        present = values[values[:, column] != 0, column]
        p[column] = _share_as_extreme(present, found[column] - slack[column])
    drawn = np.flatnonzero(~exact)
    if len(drawn):
        sums = _signed_sums(values[:, drawn], resamples=resamples, seed=seed)
        extreme = np.count_nonzero(np.abs(sums) >= found[drawn] - slack[drawn], axis=0)
        p[drawn] = (1 + extreme) / (1 + resamples)
    return Randomisation(p=p, exact=exact)


def _share_as_extreme(present: Floats, limit: float) -> float:
    """The share of all 2^m sign changes of (m,) differences whose sum is ``limit`` or more from 0."""
    sums = np.zeros(1)
    for difference in present:
        sums = np.concatenate([sums + difference, sums - difference])
    return float(np.mean(np.abs(sums) >= limit))


def _signed_sums(values: Floats, *, resamples: int, seed: int) -> Floats:
    """(resamples, C) sums of the columns with random signs: Σ ±v = 2 Σ kept − Σ v."""
    random = np.random.default_rng(seed)
    kept = np.zeros((resamples, values.shape[1]))
    for first in range(0, len(values), _MENTIONS):
        part = values[first : first + _MENTIONS]
        bits = random.integers(0, 256, (resamples, _MENTIONS // 8), dtype=np.uint8)
        for rows in _blocks(resamples, _ROWS):
            signs = np.unpackbits(bits[rows], axis=1, count=len(part))
            kept[rows] += signs.astype(np.float64) @ part
    result: Floats = 2 * kept - values.sum(axis=0)
    return result


def bootstrap_means(values: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Means of the columns over n mentions that are drawn from the n with replacement, many times.

    The same mentions are drawn for every column, so that the difference of two columns is the paired
    bootstrap of the difference.

    Args:
        values: (n, C) or (n,), finite; n ≥ 1.

    Returns:
        (resamples, C) means. Memory: those, and blocks of some 8 MB.

    Raises:
        ConfigError: ``resamples`` is below 1.
        ValueError: another shape, no mention, or a value that is not finite.
    """
    columns = _columns(values)
    _check_resamples(resamples)
    random, count = np.random.default_rng(seed), len(columns)
    means = np.empty((resamples, columns.shape[1]))
    for rows in _blocks(resamples, max(1, _DRAWS // count)):
        block = rows.stop - rows.start
        drawn = random.integers(0, count, (block, count))
        drawn += count * np.arange(block)[:, None]
        times = np.bincount(drawn.ravel(), minlength=block * count).reshape(block, count)
        means[rows] = times.astype(np.float64) @ columns / count
    return means


def percentile_interval(means: Floats, *, confidence: float = 0.95) -> tuple[Interval, ...]:
    """The middle ``confidence`` of the resampled means (resamples, C), for each of the C columns.

    Raises:
        ConfigError: ``confidence`` is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ConfigError(
            f"an interval of {confidence:g} does not exist", where="confidence", hint="0 < … < 1"
        )
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return tuple(Interval(low=float(a), high=float(b)) for a, b in zip(low, high, strict=True))


def holm(p: ArrayLike) -> Floats:
    """p-values corrected for how many there are, so that p < α keeps *any* false find below α.

    The smallest of m is multiplied by m, the next by m − 1, …; none becomes smaller than one before
    it, none larger than 1. Holds whatever the tests have to do with each other.

    Args:
        p: (m,) p-values in any order.

    Returns:
        (m,) corrected p-values in the same order.

    Raises:
        ValueError: a value is not in [0, 1], or the shape is another.
    """
    values = np.asarray(p, np.float64)
    if values.ndim != 1 or not np.all((values >= 0) & (values <= 1)):
        raise ValueError("p-values are (m,) and lie between 0 and 1")
    order = np.argsort(values, kind="stable")
    corrected = np.empty_like(values)
    times = np.arange(len(values), 0, -1)
    corrected[order] = np.minimum(1, np.maximum.accumulate(times * values[order]))
    return corrected


def _columns(values: ArrayLike) -> Floats:
    """As (n, C) float64."""
    columns = np.asarray(values, np.float64)
    columns = columns[:, None] if columns.ndim == 1 else columns
    if columns.ndim != 2 or not len(columns):
        raise ValueError(f"values are (n, C) with n ≥ 1, not {columns.shape}")
    if not np.all(np.isfinite(columns)):
        raise ValueError("values are finite")
    return np.ascontiguousarray(columns)


def _check_resamples(resamples: int) -> None:
    if resamples < 1:
        raise ConfigError(f"{resamples} resamples are none", where="--resamples", hint="1 or more")


def _blocks(count: int, size: int) -> Iterator[slice]:
    """``range(count)`` in slices of at most ``size``."""
    for first in range(0, count, size):
        yield slice(first, min(first + size, count))
