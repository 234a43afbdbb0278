"""Ranks of the gold entities, and hits@k, MRR and mean rank from them.

Ranks are computed once, where the scores are (``linker.metrics.rank_gold``), or again from recorded
scores (:func:`rank_scores`); every figure follows from them
(``summarise``) under a named tie rule and a named denominator.

=============  ==========================================================================
tie rule       rank of a gold that t rivals tie with and b rivals beat
=============  ==========================================================================
optimistic     b + 1: ties count for the gold. Equal to the reference top-k
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
rank. Importing this module imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, assert_never

import numpy as np
from numpy.typing import NDArray

from featurestore.errors import ConfigError, DataError

TieRule: TypeAlias = Literal["optimistic", "expected", "pessimistic"]
Denominator: TypeAlias = Literal["retrieved", "all"]

#: What takes the scores (b, K) of the retrieved candidates of the next mentions, in their order.
ScoreSink: TypeAlias = Callable[[NDArray[np.float32]], None]

_Counts: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """The rank of each mention's gold among its K retrieved candidates, 1 = best, as (n,) arrays.

    ``inf`` = the gold has no rank: it was not retrieved, or its score is NaN. Where all entities are
    candidates, and a first stage chooses those that are scored, ``retrieved`` stands for the table of
    entities, and a gold in it that was not chosen has no rank.
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
        """Mentions whose gold was retrieved but has no rank: its score is NaN, and the model broken.

        Under protocol ``two-stage``: those that the first stage missed; a NaN is an error there.
        """
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


def _beaten_by(scores: NDArray[np.float32], own: NDArray[np.float32]) -> tuple[_Counts, _Counts]:
    """How many of the scores of each row (n, K) beat its ``own`` (n,), and how many equal it."""
    better = (scores > own[:, None]) | np.isnan(scores)
    return better.sum(axis=1), (scores == own[:, None]).sum(axis=1)


def rank_scores(scores: NDArray[np.float32], answer: NDArray[np.integer]) -> Ranks:
    """What ``linker.metrics.rank_gold`` gives, of scores in NumPy arrays.

    Args:
        scores: (n, K) of the retrieved candidates, higher is better.
        answer: (n,) place of the gold among them, K where it is absent.
    """
    candidates = scores.shape[1]
    found = answer < candidates
    gold = np.full(len(scores), np.nan, scores.dtype)
    gold[found] = scores[found, answer[found]]
    better, tied = _beaten_by(scores, gold)
    ranked = ~np.isnan(gold)
    return Ranks(
        optimistic=np.where(ranked, better + 1.0, np.inf),
        pessimistic=np.where(ranked, better + 0.0 + tied, np.inf),  # tied with itself
        retrieved=found,
    )


def recall(ranks: Ranks, denominator: Denominator) -> float:
    """The share of golds that have a rank, 0 … 1: no hits@k can be more.

    Of ranks after a first stage it is the recall of that.
    """
    ranked = np.isfinite(ranks.optimistic)
    return float(np.mean(ranked if denominator == "all" else ranked[ranks.retrieved]))


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Figures over a set of mentions, with what one has to know to read them."""

    hits: dict[int, float]  # k → share of golds ranked k or better, 0 … 1
    mrr: float  # mean of 1/rank, 0 … 1
    mean_rank: float | None  # None: a counted gold has no rank, so the mean does not exist
    mentions: int
    retrieved: int  # of them with their gold among the candidates
    nan_golds: int  # of these without a rank, which is never a hit
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
