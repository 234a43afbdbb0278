"""The training loss: a triplet margin over the scores of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, assert_never

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Int

Negatives: TypeAlias = Literal["batch", "row"]

#: Margin of the DRIN and GHMFC training runs (the reference definition of the loss).
MARGIN = 0.25


def triplet_loss(
    scores: Float[Tensor, "B C"],
    answer: Int[Tensor, " B"],
    *,
    retrieved: int,
    negatives: Negatives = "batch",
    margin: float = MARGIN,
) -> Float[Tensor, ""]:
    """How far the scores of a batch are from placing each gold ``margin`` above its rivals.

    With the scores s (B, K) of the retrieved candidates and p_i the score of mention i's gold, or
    0 where the gold was not retrieved:

    - ``batch``: mean_i mean_{b,k} max(0, s_bk − p_i + margin): every mention is compared with all
      scores of the batch, those of other mentions' candidates included (the reference).
    - ``row``: mean_i mean_k max(0, s_ik − p_i + margin): with its own candidates alone.

    The gold itself takes part in both means, where it adds the constant ``margin``.

    Args:
        scores: one a candidate; columns from ``retrieved`` on (the gold slot) are dropped.
        answer: index of the gold among the retrieved candidates, ``retrieved`` where it is absent.
        retrieved: K.
    """
    scores = scores[:, :retrieved]
    found = answer < retrieved
    gold = scores.gather(1, answer.clamp(max=retrieved - 1).unsqueeze(1))
    positive = torch.where(found.unsqueeze(1), gold, 0.0)  # (B, 1)
    if negatives == "batch":
        # (B, 1) with (1, B·K): as many numbers as B/H of one DRIN vertex tensor (B, K, H), so
        # sorting the scores to save memory would save nothing that counts.
        rivals = scores.reshape(1, -1)
    elif negatives == "row":
        rivals = scores
    else:
        assert_never(negatives)
    return torch.relu(rivals - positive + margin).mean()
