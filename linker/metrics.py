"""Ranks of the gold entities, and hits@k, MRR and mean rank from them.

Ranks are computed once, where the scores are (``rank_gold``); every figure follows from them
(``summarise``) under a named tie rule and a named denominator.

=============  ==========================================================================
tie rule       rank of a gold that t rivals tie with and b rivals beat
=============  ==========================================================================
optimistic     b + 1: ties count for the gold. Equal to the reference top-k (``reference_hits``)
pessimistic    b + 1 + t
expected       the mean of both, the expected rank when ties are broken at random
=============  ==========================================================================

=============  ==========================================================================
denominator    mentions that a figure is a mean over
=============  ==========================================================================
retrieved      those whose gold is among the retrieved candidates
all            every mention; a gold that was not retrieved is never a hit
=============  ==========================================================================

NaN never helps: a rival whose score is NaN beats the gold, and a gold whose score is NaN has no
rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from featurestore.errors import ConfigError, DataError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

TieRule: TypeAlias = Literal["optimistic", "expected", "pessimistic"]
Denominator: TypeAlias = Literal["retrieved", "all"]


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """The rank of each mention's gold among its K retrieved candidates, 1 = best, as (n,) arrays.

    ``inf`` = the gold has no rank: it was not retrieved, or its score is NaN.
    """

    optimistic: NDArray[np.float64]
    pessimistic: NDArray[np.float64]
    retrieved: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.retrieved)

    @property
    def expected(self) -> NDArray[np.float64]:
        """Expected rank when ties are broken at random."""
        return (self.optimistic + self.pessimistic) / 2

    @property
    def nan_golds(self) -> int:
        """Mentions whose gold was retrieved but scored NaN: anything but 0 is a broken model."""
        return int(np.count_nonzero(self.retrieved & np.isinf(self.optimistic)))

    def under(self, ties: TieRule) -> NDArray[np.float64]:
        """The ranks under one tie rule."""
        if ties == "optimistic":
            return self.optimistic
        if ties == "pessimistic":
            return self.pessimistic
        if ties == "expected":
            return self.expected
        assert_never(ties)

    @classmethod
    def concatenate(cls, parts: Iterable[Ranks]) -> Ranks:
        """The ranks of several batches, in order."""
        parts = list(parts)
        return cls(
            optimistic=np.concatenate([np.empty(0), *(part.optimistic for part in parts)]),
            pessimistic=np.concatenate([np.empty(0), *(part.pessimistic for part in parts)]),
            retrieved=np.concatenate([np.empty(0, bool), *(part.retrieved for part in parts)]),
        )


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


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Figures over a set of mentions, with what one has to know to read them."""

    hits: dict[int, float]  # k → share of golds ranked k or better, 0 … 1
    mrr: float  # mean of 1/rank, 0 … 1
    mean_rank: float | None  # None: a counted gold has no rank, so the mean does not exist
    mentions: int
    retrieved: int  # of them with their gold among the candidates
    nan_golds: int  # of these with a NaN score, which is never a hit
    ties: TieRule
    denominator: Denominator


def summarise(
    ranks: Ranks,
    *,
    ks: Sequence[int],
    denominator: Denominator,
    ties: TieRule = "expected",
) -> Metrics:
    """Hits at each of ``ks``, MRR and mean rank.

    Raises:
        ConfigError: a k is below 1.
        DataError: there is nothing to take a mean over.
    """
    if any(k < 1 for k in ks):
        raise ConfigError(f"hits@k needs k of 1 or more, got {', '.join(map(str, ks))}", where="ks")
    if denominator == "all":
        counted = ranks.under(ties)
    elif denominator == "retrieved":
        counted = ranks.under(ties)[ranks.retrieved]
    else:
        assert_never(denominator)
    if not len(counted):
        what = "no mention was ranked" if not len(ranks) else "no gold entity was retrieved"
        raise DataError(
            f"{what}: a mean over {denominator!r} mentions does not exist",
            hint="check the split and its candidate lists with drin-fs inspect",
        )
    mean_rank = float(np.mean(counted))
    return Metrics(
        hits={k: float(np.mean(counted <= k)) for k in ks},
        mrr=float(np.mean(1.0 / counted)),
        mean_rank=mean_rank if np.isfinite(mean_rank) else None,
        mentions=len(ranks),
        retrieved=int(np.count_nonzero(ranks.retrieved)),
        nan_golds=ranks.nan_golds,
        ties=ties,
        denominator=denominator,
    )
