"""The mentions that a run got wrong, the most confident first, grouped by why. Imports no torch.

    with featurestore.open("wikimel.h5") as store:
        for group in mistakes(store, "runs/drin").groups:
            print(group.words, group.count)

What is wrong, and how sure of it the run is (the margin): ``linker.verdicts``. Several reasons may
hold for a mistake, and all are listed; it is counted under the first of :data:`REASONS` that holds.
A lack of pictures that nearly all mistakes share sets none of them apart, and none is counted under it.
A reason is what the store says of the mention, not what the model read: that a picture is missing
holds for a model of texts too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore import Store, Table
from featurestore.candidates import bare_name
from featurestore.schema import NO_PICTURE, NO_ROW
from featurestore.views import is_cut
from linker.recorded import RecordedRun
from linker.verdicts import Verdicts, judge

#: Reason → what it means, in the order in which the first that holds is the primary one: what no
#: model can answer, what is hard about the entity, what the store lacks, how near the run came.
REASONS: Mapping[str, str] = {
    "gold_unknown": "gold not in the entity table",
    "gold_not_retrieved": "gold not among the candidates",
    "same_title": "a namesake of the gold was taken",
    "mention_picture": "no picture of the mention",
    "gold_picture": "no picture of the gold entity",
    "span_cut": "mention cut off with its sentence, or empty",
    "rank_2_5": "gold ranked 2–5, or tied with the first",
    "rank_6_20": "gold ranked 6–20",
    "rank_beyond": "gold ranked beyond 20, or without a score",
}

#: Reason → the fields without which nobody knows whether it holds.
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "same_title": ("entities/title",),
    "mention_picture": ("mentions/image_status",),
    "gold_picture": ("entities/image_status",),
    "span_cut": tuple(f"mentions/{n}" for n in ("token_start", "token_end", "token_count")),
}

#: Reasons that may hold for nearly everything, and from which share of the mistakes on they do
#: (chosen here).
_LACKS, _NEARLY_ALL = ("mention_picture", "gold_picture"), 0.9

#: What is to be said where there is such a lack.
SHARED_LACK = "A lack that nearly all mistakes share sets none apart; none is counted under it."

#: Mistakes that are looked into at once (chosen here: their texts are a few megabytes).
_BLOCK = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An entity with the score that the run gave it.

    ``row`` and ``id``: None for a gold that is not in the table, and for an empty place among the
    candidates. ``score``: None where it was not scored.
    """

    row: int | None
    id: str | None
    title: str | None
    score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A mention that the run got wrong.

    ``span``: characters of the mention in ``sentence``, where the source has them. ``taken``: the
    best wrong candidate, None where no candidate has a score. ``rank``: of the gold, None = not
    retrieved, or without a score. ``margin``: see ``linker.verdicts``; None where there is none.
    ``reasons``: all that hold, the primary one first.
    """

    mention: str
    row: int
    sentence: str
    span: tuple[int, int] | None
    gold: Answer
    taken: Answer | None
    rank: float | None
    margin: float | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MistakeGroup:
    """The mistakes with one primary reason.

    ``holds``: mistakes for which the reason holds, primary or not. ``mistakes``: the most confident.
    """

    reason: str
    words: str
    count: int
    holds: int
    mistakes: tuple[Mistake, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistakes:
    """What a run got wrong in a split.

    ``candidates``: so many of each list, the first ones, were seen; None = all.
    ``groups``: in the order of :data:`REASONS`, those without a mistake left out, but not lacks
    that nearly all share. ``not_known``:
    reasons of which the store cannot tell whether they hold, each with the fields that it lacks.
    """

    run: str
    model: str
    protocol: str
    candidates: int | None
    tie_rule: str
    split: str
    mentions: int
    wrong: int
    groups: tuple[MistakeGroup, ...]
    not_known: dict[str, str]


def mistakes(
    store: Store,
    run: RecordedRun | str | os.PathLike[str],
    *,
    split: str = "test",
    limit: int = 10,
) -> Mistakes:
    """The mistakes of a run in a split: all counted, ``limit`` of each group described.

    Reads the run's scores and a few columns of the store, some thousand mentions at a time.

    Raises:
        RunError: no finished run, another store, or damaged records.
        NotRecorded: the run has no scores of the split; says how to get them.
        UnknownId: no such split.
    """
    run = run if isinstance(run, RecordedRun) else RecordedRun(run)
    verdicts = judge(store, run, split=split)
    wrong = np.flatnonzero(verdicts.wrong)
    not_known = _not_known(store)
    known = [reason for reason in REASONS if reason not in not_known]
    held = np.zeros((len(wrong), len(known)), bool)
    for first in range(0, len(wrong), _BLOCK):
        places = wrong[first : first + _BLOCK]
        found = _holding(store, verdicts, places)
        held[first : first + _BLOCK] = np.stack([found[name] for name in known], axis=1)
    telling = held.copy()
    shared = {name for name in _LACKS if name in known and _is_usual(held[:, known.index(name)])}
    telling[:, [known.index(name) for name in shared]] = False
    primary = telling.argmax(axis=1)  # the first that holds: one of a rank or a lack of it does
    groups = []
    for number, reason in enumerate(known):
        own = np.flatnonzero(primary == number)
        best = own[np.argsort(-verdicts.margins[wrong[own]], kind="stable")[:limit]]
        reasons = [(reason, *others) for others in _others(held[best], known, number)]
        described = _described(store, verdicts, wrong[best], reasons)
        groups.append(
            MistakeGroup(
                reason=reason,
                words=REASONS[reason],
                count=len(own),
                holds=int(held[:, number].sum()),
                mistakes=tuple(described),
            )
        )
    return Mistakes(
        run=str(run.path),
        model=run.model,
        protocol=run.protocol,
        candidates=run.candidates,
        tie_rule=run.tie_rule,
        split=split,
        mentions=len(verdicts.rows),
        wrong=len(wrong),
        groups=tuple(group for group in groups if group.count or group.reason in shared),
        not_known=not_known,
    )


def _is_usual(holds: NDArray[np.bool_]) -> bool:
    return bool(holds.sum() > _NEARLY_ALL * len(holds))


def _not_known(store: Store) -> dict[str, str]:
    lacking = {
        reason: [field for field in fields if not store.has(field)]
        for reason, fields in _NEEDS.items()
    }
    return {reason: ", ".join(fields) for reason, fields in lacking.items() if fields}


def _holding(store: Store, verdicts: Verdicts, places: NDArray[np.intp]) -> dict[str, Any]:
    """Reason → (n,) whether it holds for the mistakes at these places of the split.

    Those of which the store cannot tell are left out.
    """
    rows = places + verdicts.rows.start
    gold = store.mentions.gather("gold", rows)
    rank, retrieved = verdicts.ranks[places], verdicts.retrieved[places]
    holds: dict[str, Any] = {
        "gold_unknown": ~retrieved & (gold == NO_ROW),
        "gold_not_retrieved": ~retrieved & (gold != NO_ROW),
        "rank_2_5": retrieved & (rank <= 5),
        "rank_6_20": retrieved & (rank > 5) & (rank <= 20),
        "rank_beyond": retrieved & (rank > 20),
    }
    if "title" in store.entities:
        holds["same_title"] = _same_title(store.entities, gold, _taken(store, verdicts, places))
    if "image_status" in store.mentions:
        holds["mention_picture"] = np.isin(store.mentions.gather("image_status", rows), NO_PICTURE)
    if "image_status" in store.entities:
        known = np.flatnonzero(gold != NO_ROW)
        holds["gold_picture"] = np.zeros(len(rows), bool)
        status = store.entities.gather("image_status", gold[known])
        holds["gold_picture"][known] = np.isin(status, NO_PICTURE)
    if all(store.has(field) for field in _NEEDS["span_cut"]):
        columns = store.mentions.gather_all(("token_start", "token_end", "token_count"), rows)
        start, end, count = columns.values()
        holds["span_cut"] = (end <= start) | is_cut(end, count)
    return holds


def _same_title(
    entities: Table, gold: NDArray[np.integer], taken: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """Whether two entities are namesakes: their titles are equal but for a trailing bracket.

    Not where one of them is none.
    """
    both = np.flatnonzero((gold != NO_ROW) & (taken != NO_ROW) & (gold != taken))
    names = [
        [bare_name(title) for title in entities.gather("title", rows[both])]
        for rows in (gold, taken)
    ]
    same = np.zeros(len(gold), bool)
    same[both] = [one == other != "" for one, other in zip(*names, strict=True)]
    return same


def _taken(store: Store, verdicts: Verdicts, places: NDArray[np.intp]) -> NDArray[np.integer]:
    """(n,) entity row of the best wrong candidate; -1 = none, or an empty place."""
    candidates = store.mentions.gather("candidates", places + verdicts.rows.start)
    rivals = verdicts.rivals[places]
    found = np.full(len(places), NO_ROW, np.int64)
    some = np.flatnonzero(rivals >= 0)
    found[some] = candidates[some, rivals[some]]
    return found


def _others(
    held: NDArray[np.bool_], names: Sequence[str], primary: int
) -> Iterator[tuple[str, ...]]:
    """The reasons that hold for each mistake beside the primary one."""
    for line in held:
        yield tuple(names[place] for place in np.flatnonzero(line).tolist() if place != primary)


def _described(
    store: Store,
    verdicts: Verdicts,
    places: NDArray[np.intp],
    reasons: Sequence[tuple[str, ...]],
) -> Iterator[Mistake]:
    rows = places + verdicts.rows.start
    gold, taken = store.mentions.gather("gold", rows), _taken(store, verdicts, places)
    spans = _spans(store.mentions, rows)
    sentences = store.mentions.gather("sentence", rows)
    for number, (place, mention) in enumerate(
        zip(places.tolist(), store.mentions.ids(rows), strict=True)
    ):
        rank = float(verdicts.ranks[place])
        yield Mistake(
            mention=mention,
            row=int(rows[number]),
            sentence=sentences[number],
            span=spans[number],
            gold=_answer(store.entities, int(gold[number]), verdicts.gold_scores[place]),
            taken=_answer(store.entities, int(taken[number]), verdicts.rival_scores[place])
            if verdicts.rivals[place] >= 0
            else None,
            rank=rank if np.isfinite(rank) else None,
            margin=_number(verdicts.margins[place]),
            reasons=reasons[number],
        )


def _spans(mentions: Table, rows: NDArray[np.integer]) -> list[tuple[int, int] | None]:
    if not {"char_start", "char_end"} <= mentions.fields.keys():
        return [None] * len(rows)
    starts, ends = (mentions.gather(name, rows).tolist() for name in ("char_start", "char_end"))
    return list(zip(starts, ends, strict=True))


def _answer(entities: Table, row: int, score: np.float32) -> Answer:
    known = row != NO_ROW
    values = entities[row] if known else {}
    return Answer(
        row=row if known else None,
        id=values.get("id"),
        title=values.get("title"),
        score=_number(score),
    )


def _number(value: np.float32) -> float | None:
    return None if np.isnan(value) else float(value)
