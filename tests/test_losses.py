"""The triplet loss against its formula, one comparison at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import linker.losses
from linker.losses import triplet_loss
from tests.model_batches import check_shapes


def naive_loss(
    scores: Tensor, answer: Tensor, *, retrieved: int, negatives: str, margin: float
) -> Tensor:
    terms = []
    for i, gold in enumerate(answer.tolist()):
        positive = scores[i, gold] if gold < retrieved else torch.tensor(0.0)
        rows = range(len(scores)) if negatives == "batch" else [i]
        terms.append(
            torch.stack(
                [
                    torch.clamp(scores[b, k] - positive + margin, min=0.0)
                    for b in rows
                    for k in range(retrieved)
                ]
            ).mean()
        )
    return torch.stack(terms).mean()


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    """Scores with or without a gold slot, and golds that may be missing."""
    mentions, retrieved = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    columns = retrieved + draw(st.integers(0, 1))
    row = st.lists(st.floats(-1, 1, width=32), min_size=columns, max_size=columns)
    rows = draw(st.lists(row, min_size=mentions, max_size=mentions))
    gold = st.lists(st.integers(0, retrieved), min_size=mentions, max_size=mentions)
    return {
        "scores": torch.tensor(rows, dtype=torch.float64),
        "answer": torch.tensor(draw(gold)),
        "retrieved": retrieved,
        "negatives": draw(st.sampled_from(["batch", "row"])),
        "margin": draw(st.sampled_from([0.0, 0.25, 1.5])),
    }


@settings(deadline=None)
@given(case=cases())
def test_the_loss_and_its_gradient_are_those_of_the_formula(case: dict[str, Any]) -> None:
    ours, naive = (case["scores"].clone().requires_grad_() for _ in range(2))
    loss = triplet_loss(**{**case, "scores": ours})
    expected = naive_loss(**{**case, "scores": naive})
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-12)
    if expected.requires_grad:
        loss.backward()
        expected.backward()
        assert ours.grad is not None
        # Where a comparison is exactly at the margin, either one-sided slope is right.
        if not is_at_the_margin(case):
            torch.testing.assert_close(ours.grad, naive.grad, rtol=0, atol=1e-12)


def is_at_the_margin(case: dict[str, Any]) -> bool:
    kept = case["scores"][:, : case["retrieved"]]
    golds = [r[a] if a < len(r) else r[0] * 0 for r, a in zip(kept, case["answer"], strict=True)]
    return any(bool((kept - gold + case["margin"] == 0).any()) for gold in golds)


SCORES = torch.tensor([[0.9, 0.5, 0.1], [0.2, 0.8, -0.4]])


@pytest.mark.parametrize("negatives", ["batch", "row"])
def test_the_gold_slot_takes_no_part(negatives: Any) -> None:
    scores = torch.cat([SCORES, torch.tensor([[7.0], [-7.0]])], dim=1).requires_grad_()
    answer = torch.tensor([0, 3])
    loss = triplet_loss(scores, answer, retrieved=3, negatives=negatives)
    assert loss == triplet_loss(SCORES, answer, retrieved=3, negatives=negatives)
    loss.backward()
    assert scores.grad is not None
    assert not scores.grad[:, 3].any()


def test_row_negatives_are_a_mention_s_own_candidates() -> None:
    # mention 0: gold 0.9; margins 0.25, max(0, 0.5-0.9+0.25), max(0, 0.1-0.9+0.25)
    # mention 1: gold -0.4; margins 0.2+0.4+0.25, 0.8+0.4+0.25, 0.25
    expected = ((0.25 + 0 + 0) / 3 + (0.85 + 1.45 + 0.25) / 3) / 2
    loss = triplet_loss(SCORES, torch.tensor([0, 2]), retrieved=3, negatives="row")
    assert loss.item() == pytest.approx(expected)


def test_a_gold_that_was_not_retrieved_counts_as_zero() -> None:
    alone = SCORES[:1]
    loss = triplet_loss(alone, torch.tensor([3]), retrieved=3)
    assert loss.item() == pytest.approx((0.9 + 0.5 + 0.1 + 3 * 0.25) / 3)


def test_batch_negatives_are_the_default_with_the_papers_margin() -> None:
    answer = torch.tensor([0, 2])
    explicit = triplet_loss(SCORES, answer, retrieved=3, negatives="batch", margin=0.25)
    assert triplet_loss(SCORES, answer, retrieved=3) == explicit
    assert explicit != triplet_loss(SCORES, answer, retrieved=3, negatives="row")


def test_a_nan_score_makes_the_loss_nan() -> None:
    scores = SCORES.clone()
    scores[0, 2] = torch.nan
    assert triplet_loss(scores, torch.tensor([0, 1]), retrieved=3).isnan()


def test_negatives_of_another_name_are_an_error() -> None:
    name: Any = "rows"
    with pytest.raises(AssertionError, match="rows"):
        triplet_loss(SCORES, torch.tensor([0, 1]), retrieved=3, negatives=name)


def test_the_shapes_are_those_annotated(monkeypatch: pytest.MonkeyPatch) -> None:
    check_shapes(monkeypatch, linker.losses)
    linker.losses.triplet_loss(SCORES, torch.tensor([0, 1]), retrieved=3)
    with pytest.raises(Exception, match="answer"):
        linker.losses.triplet_loss(SCORES, torch.tensor([0, 1, 2]), retrieved=3)
