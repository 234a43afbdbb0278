"""Ranks and metrics against a naive loop, ties and NaN included."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import linker.metrics
from featurestore.errors import ConfigError, DataError
from linker.metrics import rank_gold, reference_hits
from linker.ranks import Ranks, summarise
from tests.model_batches import check_shapes

TIES: tuple[Any, ...] = ("optimistic", "expected", "pessimistic")


@st.composite
def scored(draw: st.DrawFn) -> tuple[Tensor, Tensor, int]:
    """Scores with many ties, some NaN and infinite, and a gold slot now and then; golds; K."""
    mentions, retrieved = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    columns = retrieved + draw(st.integers(0, 1))
    score = st.sampled_from([-1.0, 0.0, 0.5, 1.0, math.nan, math.inf, -math.inf])
    row = st.lists(score, min_size=columns, max_size=columns)
    rows = draw(st.lists(row, min_size=mentions, max_size=mentions))
    gold = st.lists(st.integers(0, retrieved), min_size=mentions, max_size=mentions)
    return torch.tensor(rows), torch.tensor(draw(gold)), retrieved


def naive_rank(row: list[float], gold: int, retrieved: int, ties: str) -> float:
    """Rank of one mention's gold, by counting; inf where it has none."""
    if gold >= retrieved or math.isnan(row[gold]):
        return math.inf
    better = tied = 0
    for k in range(retrieved):
        if k == gold:
            continue
        if math.isnan(row[k]) or row[k] > row[gold]:
            better += 1
        elif row[k] == row[gold]:
            tied += 1
    return 1 + better + {"optimistic": 0.0, "expected": 0.5, "pessimistic": 1.0}[ties] * tied


@settings(deadline=None)
@given(case=scored())
def test_ranks_are_those_of_a_naive_count(case: tuple[Tensor, Tensor, int]) -> None:
    scores, answer, retrieved = case
    ranks = rank_gold(scores, answer, retrieved=retrieved)
    golds = list(zip(scores.tolist(), answer.tolist(), strict=True))
    for ties in TIES:
        expected = [naive_rank(row, gold, retrieved, ties) for row, gold in golds]
        assert ranks.under(ties).tolist() == expected
    assert ranks.retrieved.tolist() == [gold < retrieved for _, gold in golds]


@settings(deadline=None)
@given(case=scored(), k=st.integers(1, 8))
def test_the_reference_top_k_is_the_optimistic_rank(
    case: tuple[Tensor, Tensor, int], k: int
) -> None:
    scores, answer, retrieved = case
    hits = reference_hits(scores, answer, retrieved=retrieved, k=k)
    optimistic = rank_gold(scores, answer, retrieved=retrieved).optimistic
    assert hits.tolist() == (optimistic <= k).tolist()


@settings(deadline=None)
@given(case=scored(), ties=st.sampled_from(TIES))
def test_metrics_are_those_of_a_naive_loop(case: tuple[Tensor, Tensor, int], ties: Any) -> None:
    scores, answer, retrieved = case
    ranks = rank_gold(scores, answer, retrieved=retrieved)
    golds = list(zip(scores.tolist(), answer.tolist(), strict=True))
    every = [naive_rank(row, gold, retrieved, ties) for row, gold in golds]
    found = [rank for rank, (_, gold) in zip(every, golds, strict=True) if gold < retrieved]
    cases: list[tuple[Any, list[float]]] = [("all", every), ("retrieved", found)]
    for denominator, counted in cases:
        if not counted:
            continue
        metrics = summarise(ranks, ks=[1, 3], denominator=denominator, ties=ties)
        for k in (1, 3):
            hits = sum(rank <= k for rank in counted)
            assert metrics.hits[k] == pytest.approx(hits / len(counted))
        mrr = sum(Fraction(0) if math.isinf(r) else 1 / Fraction(r) for r in counted)
        assert metrics.mrr == pytest.approx(float(mrr / len(counted)))
        mean = sum(counted) / len(counted)
        assert metrics.mean_rank == (None if math.isinf(mean) else pytest.approx(mean))
        assert (metrics.mentions, metrics.retrieved) == (len(every), len(found))
        assert (metrics.ties, metrics.denominator) == (ties, denominator)


@settings(deadline=None)
@given(case=scored(), k=st.integers(1, 9))
def test_a_nan_is_never_a_hit_and_never_helps(case: tuple[Tensor, Tensor, int], k: int) -> None:
    scores, answer, retrieved = case
    before = rank_gold(scores, answer, retrieved=retrieved)
    for column in range(retrieved):
        spoilt = scores.clone()
        spoilt[:, column] = torch.nan
        after = rank_gold(spoilt, answer, retrieved=retrieved)
        for ties in TIES:
            assert (after.under(ties) >= before.under(ties)).all()
        own = (answer == column).numpy()
        assert not (after.optimistic[own] <= k).any()
        assert not reference_hits(spoilt, answer, retrieved=retrieved, k=k)[own].any()
        assert after.nan_golds >= own.sum()


def test_the_gold_slot_is_no_rival() -> None:
    scores = torch.tensor([[0.1, 0.3, 0.9], [0.1, 0.3, 0.9]])
    ranks = rank_gold(scores, torch.tensor([1, 2]), retrieved=2)
    assert ranks.optimistic.tolist() == [1.0, math.inf]
    assert reference_hits(scores, torch.tensor([1, 2]), retrieved=2, k=2).tolist() == [True, False]


def test_batches_can_be_ranked_apart_and_put_together() -> None:
    scores = torch.rand(7, 5, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    answer = torch.tensor([0, 5, 2, 3, 4, 1, 0])
    whole = rank_gold(scores, answer, retrieved=5)
    parts = [rank_gold(scores[i : i + 3], answer[i : i + 3], retrieved=5) for i in (0, 3, 6)]
    joined = Ranks.concatenate(parts)
    for name in ("optimistic", "pessimistic", "retrieved"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))
    assert len(joined) == 7
    assert len(Ranks.concatenate([])) == 0


def test_a_gold_without_a_rank_leaves_no_mean_rank_but_counts_in_the_other_figures() -> None:
    scores = torch.tensor([[0.9, 0.1], [0.9, 0.1]])
    ranks = rank_gold(scores, torch.tensor([0, 2]), retrieved=2)
    every = summarise(ranks, ks=[1], denominator="all")
    found = summarise(ranks, ks=[1], denominator="retrieved")
    assert (every.hits[1], every.mrr, every.mean_rank) == (0.5, 0.5, None)
    assert (found.hits[1], found.mrr, found.mean_rank) == (1.0, 1.0, 1.0)
    assert every.ties == "expected"


def test_figures_that_do_not_exist_are_refused() -> None:
    none = Ranks.concatenate([])
    with pytest.raises(DataError, match="no mention was ranked"):
        summarise(none, ks=[1], denominator="all")
    absent = rank_gold(torch.zeros(1, 2), torch.tensor([2]), retrieved=2)
    with pytest.raises(DataError, match="no gold entity was retrieved"):
        summarise(absent, ks=[1], denominator="retrieved")
    assert summarise(absent, ks=[1], denominator="all").hits == {1: 0.0}
    with pytest.raises(ConfigError, match="k of 1 or more, got 5, 0"):
        summarise(absent, ks=[5, 0], denominator="all")


def test_rules_of_another_name_are_errors() -> None:
    ranks = rank_gold(torch.zeros(1, 2), torch.tensor([0]), retrieved=2)
    other: Any = "mean"
    with pytest.raises(AssertionError, match="mean"):
        ranks.under(other)
    with pytest.raises(AssertionError, match="mean"):
        summarise(ranks, ks=[1], denominator=other)


def test_the_shapes_are_those_annotated(monkeypatch: pytest.MonkeyPatch) -> None:
    check_shapes(monkeypatch, linker.metrics)
    scores, answer = torch.rand(3, 4), torch.tensor([0, 3, 1])
    linker.metrics.rank_gold(scores, answer, retrieved=3)
    linker.metrics.reference_hits(scores, answer, retrieved=3, k=2)
    with pytest.raises(Exception, match="answer"):
        linker.metrics.rank_gold(scores, answer[:2], retrieved=3)
