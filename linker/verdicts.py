"""Which mentions a run got right, by the scores that it recorded. Imports no torch.

A mention is wrong where the rank of its gold is above 1 under the tie rule of the run's figures, or
where the gold was not retrieved; so the share that is right is the run's hits@1 over all mentions.

The margin says how sure a wrong answer is: how far the best wrong candidate is above the gold; where
the gold was not retrieved, how far the best candidate is above the second. NaN where there is no
second, or no score; a score of -inf counts as none.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore import Store
from featurestore.errors import DataError
from linker.pointers import answer_places
from linker.ranks import Ranks, TieRule, rank_scores
from linker.recorded import RecordedRun
from linker.run_folder import RunError

#: Mentions whose scores are compared at once (chosen here: with 100 candidates, 3 MB of them).
_BLOCK = 8192

#: What is judged of each mention beside its rank → its type.
_KINDS = {
    "rivals": np.int64,
    "gold_scores": np.float32,
    "rival_scores": np.float32,
    "margins": np.float32,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """What a run made of every mention of a split, (n,) arrays in the order of ``rows``.

    ``ranks``: of the gold, ``inf`` = none. ``rivals``: place of the best wrong candidate, -1 = none.
    ``gold_scores``, ``rival_scores``, ``margins``: NaN where there is none.
    """

    rows: range
    ranks: NDArray[np.float64]
    retrieved: NDArray[np.bool_]
    rivals: NDArray[np.int64]
    gold_scores: NDArray[np.float32]
    rival_scores: NDArray[np.float32]
    margins: NDArray[np.float32]

    @property
    def wrong(self) -> NDArray[np.bool_]:
        return self.ranks > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MentionVerdict:
    """What a run made of one mention.

    ``candidates``: how many of the K that the store lists the run saw, the first ones. ``rank``: of the
    gold, None = not retrieved, or without a score. ``margin``: of the best wrong candidate, negative
    where the run is right. ``scores`` (K,) and ``ranks`` (K,): of the candidates in the order of
    retrieval; NaN = no score, and so no rank: the model gave none, or did not see the candidate.
    """

    run: str
    name: str
    model: str
    protocol: str
    tie_rule: str
    right: bool
    candidates: int
    rank: float | None
    margin: float
    scores: NDArray[np.float32]
    ranks: NDArray[np.float64]

    @property
    def order(self) -> list[int]:
        """The places of the candidates, best first; those that tie as they were retrieved."""
        best_first: list[int] = np.argsort(-self.scores, kind="stable").tolist()  # NaN is last
        return best_first


def judge(store: Store, run: RecordedRun | str | os.PathLike[str], *, split: str) -> Verdicts:
    """The verdicts on a split, from the run's scores; some megabytes of these at a time.

    Raises:
        RunError: no finished run, another store, or scores that are not those of the run's ranks.
        NotRecorded: the run has no scores or ranks of the split.
        UnknownId: no such split.
    """
    run = _opened(run)
    run.check_store(store)
    rows, scores = store.mentions.split(split), _scores(store, run, split)
    parts = [
        _judged(scores[first : first + _BLOCK], _answers(store, run, rows[first : first + _BLOCK]))
        for first in range(0, len(rows), _BLOCK)
    ]
    ranks = Ranks.concatenate(part for part, _ in parts)
    _check_ranks(run, split, ranks)
    joined = {
        name: np.concatenate([np.empty(0, kind), *(values[name] for _, values in parts)])
        for name, kind in _KINDS.items()
    }
    return Verdicts(rows=rows, ranks=ranks.under(run.tie_rule), retrieved=ranks.retrieved, **joined)


def judge_mention(
    store: Store, run: RecordedRun | str | os.PathLike[str], row: int
) -> MentionVerdict:
    """The verdict on one mention; reads its scores alone.

    Raises:
        RunError, NotRecorded: as :func:`judge`; ranks are not compared.
        DataError: the mention is in no split.
    """
    run = _opened(run)
    run.check_store(store)
    split = _split_of(store, row)
    first = store.mentions.split(split).start
    scores = np.array(_scores(store, run, split)[row - first])
    ranks, values = _judged(scores[None], _answers(store, run, range(row, row + 1)))
    rank = float(ranks.under(run.tie_rule)[0])
    return MentionVerdict(
        run=str(run.path),
        name=run.name,
        model=run.model,
        protocol=run.protocol,
        tie_rule=run.tie_rule,
        right=rank <= 1,
        candidates=len(scores),
        rank=rank if np.isfinite(rank) else None,
        margin=float(values["margins"][0]),
        scores=_of_all(scores, store),
        ranks=_of_all(candidate_ranks(scores, run.tie_rule), store),
    )


def candidate_ranks(scores: NDArray[np.float32], ties: TieRule) -> NDArray[np.float64]:
    """The rank (K,) of each candidate if it were the gold; NaN for a score that is NaN."""
    ordered = np.sort(scores)  # NaN is last
    below, up_to = (np.searchsorted(ordered, scores, side) for side in ("left", "right"))
    count = float(len(scores))
    optimistic, pessimistic = count - up_to + 1, count - below
    ranks = {
        "optimistic": optimistic,
        "pessimistic": pessimistic,
        "expected": (optimistic + pessimistic) / 2,
    }
    return np.where(np.isnan(scores), np.nan, ranks[ties])


def _judged(
    scores: NDArray[np.float32], answer: NDArray[np.integer]
) -> tuple[Ranks, dict[str, NDArray]]:
    """Ranks, and the values of ``_KINDS``, of some mentions."""
    ranks = rank_scores(scores, answer)
    held = np.flatnonzero(ranks.retrieved)
    own = np.full(len(scores), np.nan, np.float32)
    own[held] = scores[held, answer[held]]
    wrong = np.where(np.isnan(scores), np.float32(-np.inf), scores)
    wrong[held, answer[held]] = -np.inf
    rivals, best = _best(wrong)
    some = np.flatnonzero(rivals >= 0)
    wrong[some, rivals[some]] = -np.inf
    second = _best(wrong)[1]
    with np.errstate(invalid="ignore"):  # infinity less infinity is NaN
        margins = best - np.where(ranks.retrieved, own, second)
    return ranks, {
        "rivals": rivals,
        "gold_scores": own,
        "rival_scores": best,
        "margins": margins,
    }


def _best(scores: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Place and score of the best of each row, the first of equals; -1 and NaN where there is none."""
    if not scores.shape[1]:
        return np.full(len(scores), -1), np.full(len(scores), np.nan, np.float32)
    places = scores.argmax(axis=1)
    best = scores[np.arange(len(scores)), places]
    none = np.isneginf(best)
    return np.where(none, -1, places), np.where(none, np.float32(np.nan), best)


def _opened(run: RecordedRun | str | os.PathLike[str]) -> RecordedRun:
    return run if isinstance(run, RecordedRun) else RecordedRun(run)


def _answers(store: Store, run: RecordedRun, rows: range) -> NDArray[np.integer]:
    every = np.arange(rows.start, rows.stop)
    return answer_places(store, every, _width(store), first=run.candidates)


def _of_all(values: NDArray[Any], store: Store) -> NDArray[Any]:
    """(K,) of the first candidates' values; NaN for those that the run did not see."""
    unseen = np.full(_width(store) - len(values), np.nan, values.dtype)
    return np.concatenate([values, unseen])


def _width(store: Store) -> int:
    return store.width("mentions/candidates")


def _scores(store: Store, run: RecordedRun, split: str) -> NDArray[np.float32]:
    scores, first, listed = run.scores(split), run.candidates, _width(store)
    if scores.shape[1] != (first or listed) or scores.shape[1] > listed:
        saw = f", of which the run saw the first {first}" if first else ""
        raise RunError(
            f"the run has scores of {scores.shape[1]} candidates a mention, "
            f"and the store lists {listed}{saw}",
            where=str(run.path),
            hint=f"make them again: drin-fs evaluate {run.path} --split {split} --record",
        )
    return scores


def _split_of(store: Store, row: int) -> str:
    for name, rows in store.mentions.splits.items():
        if row in rows:
            return name
    raise DataError(f"mention {row} is in no split, so no run scored it", where=str(store.path))


def _check_ranks(run: RecordedRun, split: str, found: Ranks) -> None:
    """Refuse scores that give other ranks than those recorded: one of the files is of another time."""
    recorded = run.ranks(split)
    differ = np.zeros(len(found), bool)
    for name in ("optimistic", "pessimistic", "retrieved"):
        differ |= getattr(recorded, name) != getattr(found, name)
    if differ.any():
        raise RunError(
            f"the run's scores of split {split!r} are not those of its ranks "
            f"({int(differ.sum())} of {len(differ)} mentions differ)",
            where=str(run.path),
            hint=f"make both again: drin-fs evaluate {run.path} --split {split} --record",
        )
