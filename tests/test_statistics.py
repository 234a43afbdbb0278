"""Statistics against scipy's, against numbers worked out by hand, and in what must hold of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from featurestore.errors import ConfigError
from linker.statistics import (
    bootstrap_means,
    holm,
    paired_randomisation,
    percentile_interval,
)
from tests.reported_for_tests import drawn_ranks


def _mean_difference(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.mean(a, axis=axis) - np.mean(b, axis=axis)


def _scipy_p(a: np.ndarray, b: np.ndarray, resamples: float = 9_999) -> float:
    tested = stats.permutation_test(
        (a, b),
        _mean_difference,
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        rng=np.random.default_rng(3),
    )
    return float(tested.pvalue)


def _values(share: float, seed: int, mentions: int = 400) -> dict[str, np.ndarray]:
    """What hits@1, hits@5 and MRR are means of, of one drawing of ranks."""
    ranks = drawn_ranks(share, mentions, seed=seed).expected
    return {"hits@1": (ranks <= 1) * 1.0, "hits@5": (ranks <= 5) * 1.0, "mrr": 1 / ranks}


# randomisation -------------------------------------------------------------------------------------


@pytest.mark.parametrize("figure", ["hits@1", "hits@5", "mrr"])
@pytest.mark.parametrize(("share", "other"), [(0.6, 0.61), (0.6, 0.68), (0.5, 0.5)])
def test_p_is_scipys_on_the_same_ranks(figure: str, share: float, other: float) -> None:
    ours, theirs = _values(share, 0)[figure], _values(other, 1)[figure]
    found = paired_randomisation(ours - theirs)
    assert not found.exact[0]
    expected = _scipy_p(ours, theirs)
    spread = 4 * np.sqrt(2 * max(expected, 1e-3) / 10_000)  # both draw 10,000 times
    assert found.p[0] == pytest.approx(expected, abs=spread)


@pytest.mark.parametrize("seed", range(8))
def test_few_differences_are_enumerated_as_scipy_does(seed: int) -> None:
    random = np.random.default_rng(seed)
    a, b = random.integers(0, 1_000, (2, 10)) / 1024  # whose sums do not round
    found = paired_randomisation(a - b)
    assert found.exact[0]
    assert found.p[0] == pytest.approx(_scipy_p(a, b, resamples=np.inf), abs=1e-12)


def test_mentions_without_a_difference_do_not_count() -> None:
    differences = np.concatenate([np.zeros(5_000), [1, 1, 1, -1]])
    found = paired_randomisation(differences)
    assert (found.p[0], found.exact[0]) == (10 / 16, True)  # sums of ±2 or ±4: 4 + 4 + 1 + 1


def test_it_enumerates_as_long_as_that_is_no_more_than_was_asked_for() -> None:
    ones = np.tril(np.ones((14, 14)))  # column c has 14 − c differences
    exact = paired_randomisation(ones, resamples=2**10).exact
    assert exact.tolist() == [False] * 4 + [True] * 10
    assert paired_randomisation(ones, resamples=2**10 - 1).exact.sum() == 9


@given(
    st.lists(st.sampled_from([-1.0, -1 / 3, 0.0, 0.25, 1.0]), min_size=1, max_size=60),
    st.integers(0, 5),
)
@settings(max_examples=40, deadline=None)
def test_p_is_in_its_range_and_the_same_from_both_sides(values: list[float], seed: int) -> None:
    differences = np.array(values)
    here = paired_randomisation(differences, resamples=200, seed=seed)
    there = paired_randomisation(-differences, resamples=200, seed=seed)
    assert 0 < here.p[0] <= 1
    assert here.p[0] == there.p[0]
    assert paired_randomisation(differences * 7, resamples=200, seed=seed).p[0] == here.p[0]


def test_equal_runs_have_p_1() -> None:
    assert paired_randomisation(np.zeros((3_000, 2))).p.tolist() == [1, 1]


def test_a_sum_of_0_is_never_a_find() -> None:
    assert paired_randomisation(np.tile([1.0, -1.0], 200)).p[0] == 1


def test_rounding_does_not_tell_equal_sums_apart() -> None:
    third = np.repeat([1 / 3, -1 / 3], [6, 2])  # as of three seeds
    whole = np.repeat([1.0, -1.0], [6, 2])
    assert paired_randomisation(third).p[0] == paired_randomisation(whole).p[0] == 74 / 256
    many = np.repeat([1 / 3, -1 / 3], [120, 100])
    scaled = np.repeat([1.0, -1.0], [120, 100])
    assert paired_randomisation(many).p[0] == paired_randomisation(scaled).p[0]


def test_a_planted_difference_is_found() -> None:
    random = np.random.default_rng(5)
    differences = (random.random(2_000) < 0.55) * 2.0 - 1
    assert paired_randomisation(differences).p[0] == 1 / 10_001
    assert paired_randomisation(differences, resamples=500).p[0] == 1 / 501


def test_nothing_is_not_found_too_often() -> None:
    """Of 400 comparisons of equals, 5 % come out below 0.05; six sigma more would be 46."""
    random = np.random.default_rng(7)
    differences = random.integers(-1, 2, (500, 400)).astype(float)
    p = paired_randomisation(differences, resamples=999).p
    assert 5 <= np.count_nonzero(p <= 0.05) <= 46
    assert 0.4 < np.median(p) < 0.6


def test_a_column_has_the_same_p_alone_and_beside_others() -> None:
    values = np.random.default_rng(2).normal(0.02, 1, (2_500, 6))  # more than one block
    together = paired_randomisation(values, resamples=1_500)
    alone = [paired_randomisation(values[:, c], resamples=1_500).p[0] for c in range(6)]
    assert together.p.tolist() == alone
    assert paired_randomisation(values, resamples=1_500, seed=1).p.tolist() != alone


# bootstrap -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("figure", ["hits@1", "mrr"])
def test_intervals_are_scipys_percentiles(figure: str) -> None:
    values = _values(0.6, 0)[figure]
    (found,) = percentile_interval(bootstrap_means(values, resamples=20_000))
    expected = stats.bootstrap(
        (values,),
        np.mean,
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(3),
    ).confidence_interval
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.03 * width)
    assert found.high == pytest.approx(expected.high, abs=0.03 * width)


def test_the_interval_of_a_difference_is_scipys_paired_one() -> None:
    ours, theirs = _values(0.66, 0)["mrr"], _values(0.6, 0)["mrr"]
    means = bootstrap_means(np.stack([ours, theirs], axis=1), resamples=20_000)
    (found,) = percentile_interval(means[:, :1] - means[:, 1:])
    expected = stats.bootstrap(
        (ours, theirs),
        _mean_difference,
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(3),
    ).confidence_interval
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.03 * width)
    assert found.high == pytest.approx(expected.high, abs=0.03 * width)
    apart = [percentile_interval(means[:, c : c + 1])[0] for c in range(2)]
    assert found.high - found.low < sum(each.high - each.low for each in apart) / 2


def test_a_bootstrap_of_one_mention_is_that_mention() -> None:
    assert np.all(bootstrap_means([[0.25, 1.0]], resamples=50) == [0.25, 1.0])


def test_every_mention_is_drawn_as_often_as_every_other() -> None:
    means = bootstrap_means(np.eye(7), resamples=4_000)
    assert means.sum(axis=1) == pytest.approx(np.ones(4_000))
    assert means.mean(axis=0) == pytest.approx(np.full(7, 1 / 7), abs=0.01)
    assert np.var(7 * means[:, 0]) == pytest.approx(6 / 7, abs=0.1)  # that of a binomial


def test_blocks_do_not_change_what_a_seed_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random((50, 2))
    whole = bootstrap_means(values, resamples=300), paired_randomisation(values - 0.5).p
    monkeypatch.setattr("linker.statistics._DRAWS", 120)
    monkeypatch.setattr("linker.statistics._ROWS", 7)
    assert np.allclose(bootstrap_means(values, resamples=300), whole[0], atol=1e-14)
    assert paired_randomisation(values - 0.5).p.tolist() == whole[1].tolist()


def test_an_interval_is_of_the_share_that_was_asked_for() -> None:
    means = np.linspace(0, 1, 1_001)[:, None]
    (half,) = percentile_interval(means, confidence=0.5)
    assert (half.low, half.high) == (pytest.approx(0.25), pytest.approx(0.75))
    with pytest.raises(ConfigError, match="an interval of 1 does not exist"):
        percentile_interval(means, confidence=1)


# Holm ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "corrected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # 3·0.01; 2·0.03; 1·0.04 is less, so 0.06
        ([0.005, 0.011, 0.02, 0.04, 0.13], [0.025, 0.044, 0.06, 0.08, 0.13]),
        ([0.6, 0.4], [0.8, 0.8]),
        ([0.9, 0.9], [1, 1]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holm_by_hand(p: list[float], corrected: list[float]) -> None:
    assert holm(p).tolist() == pytest.approx(corrected)


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(p: list[float]) -> None:
    corrected = holm(p)
    assert np.all(corrected >= p)
    assert np.all(corrected <= np.minimum(1, np.array(p) * len(p)) + 1e-15)
    for one, its in zip(p, corrected, strict=True):
        for other, others in zip(p, corrected, strict=True):
            assert its <= others or one > other


# what cannot be ------------------------------------------------------------------------------------


def test_what_is_no_value_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        paired_randomisation([0.0, np.nan])
    with pytest.raises(ValueError, match=r"\(n, C\)"):
        bootstrap_means(np.empty((0, 2)))
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.5, 1.5])
    with pytest.raises(ConfigError, match="0 resamples are none"):
        bootstrap_means([1.0], resamples=0)
