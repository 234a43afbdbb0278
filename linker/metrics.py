"""The rank of each gold entity, computed where the scores are; what it means: ``linker.ranks``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from linker.ranks import Ranks

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


def rank_gold(scores: Float[Tensor, "B C"], answer: Int[Tensor, " B"], *, retrieved: int) -> Ranks:
    """Rank the gold of each mention of a batch.

    Args:
        scores: higher is better; columns from ``retrieved`` on (the gold slot) are dropped.
        answer: index of the gold among the retrieved candidates, ``retrieved`` where it is absent.
        retrieved: K.
    """
    block = (0, scores[:, :retrieved])
    return rank_gold_in_blocks([block], answer, candidates=retrieved, waiting=0)


def rank_gold_in_blocks(
    blocks: Iterable[tuple[int, Float[Tensor, "B _"]]],
    answer: Int[Tensor, " B"],
    *,
    candidates: int,
    waiting: int,
) -> Ranks:
    """Rank the gold of each mention of a batch among candidates whose scores come in blocks.

    Scores wait in memory until that of every gold is known: blocks that hold golds should come
    first. They wait in one buffer, because many small tensors between the large ones of a model
    would keep the allocator from using memory again (measured: 1 GB more).

    Args:
        blocks: the number of its first candidate, and the scores of each block, once each.
        answer: number of the gold among all candidates, ``candidates`` where it is absent.
        candidates: how many there are.
        waiting: how many of them, at most, have come before the block with the last gold.
    """
    found = answer < candidates
    gold = torch.full(answer.shape, torch.nan, dtype=torch.float32, device=answer.device)
    beaten_by, tied = torch.zeros_like(answer), torch.zeros_like(answer)
    unseen = int(found.sum())
    held, filled = torch.empty(len(answer), waiting, device=answer.device), 0
    for first, scores in blocks:
        place = answer - first
        inside = found & (place >= 0) & (place < scores.shape[1])
        own = scores.gather(1, place.clamp(0, scores.shape[1] - 1).unsqueeze(1)).squeeze(1)
        gold = torch.where(inside, own, gold)
        unseen -= int(inside.sum()) if unseen else 0
        if unseen:
            held[:, filled : filled + scores.shape[1]] = scores
            filled += scores.shape[1]
            continue
        for rivals in (held[:, :filled], scores):
            beaten_by += ((rivals > gold[:, None]) | rivals.isnan()).sum(dim=1)
            tied += (rivals == gold[:, None]).sum(dim=1)
        filled = 0
    ranked = found & ~gold.isnan()
    optimistic = torch.where(ranked, beaten_by.double() + 1, torch.inf)
    pessimistic = torch.where(ranked, beaten_by.double() + tied, torch.inf)  # tied with itself
    return Ranks(
        optimistic=optimistic.cpu().numpy(),
        pessimistic=pessimistic.cpu().numpy(),
        retrieved=found.cpu().numpy(),
    )


def reference_hits(
    scores: Float[Tensor, "B C"], answer: Int[Tensor, " B"], *, retrieved: int, k: int
) -> Bool[Tensor, " B"]:
    """The published evaluation's hit: s_gold ≥ the k-th largest of the K scores, ties are hits.

    It agrees with ``optimistic`` rank ≤ k, and is here as the definition to compare with. Papers
    divide the number of hits by the number of retrieved golds for WikiDiverse, and by the number
    of mentions for WikiMEL.
    """
    scores = scores[:, :retrieved]
    gold = scores.gather(1, answer.clamp(max=retrieved - 1).unsqueeze(1)).squeeze(1)
    threshold = scores.topk(min(k, retrieved), dim=1).values[:, -1]  # NaN is larger than any number
    return (answer < retrieved) & (gold >= threshold)
