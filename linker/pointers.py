"""Columns of mentions that point at something: read, and checked before anything follows them.

A store may be damaged or made to hurt; what points outside of its rows or tokens is an error here, with
its place, instead of a wrong row, a crash or gigabytes of memory there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from featurestore.errors import ConfigError, StoreError
from featurestore.schema import NO_ROW
from linker.tables import Tables


class Slots(NamedTuple):
    """The entities that a forward pass sees of some mentions.

    ``entities``: (B, C) rows; -1 = no entity. ``retrieved``: those of them that were retrieved; a gold
    slot stands behind. ``listed``: K, the candidates that the store lists.
    """

    entities: np.ndarray
    retrieved: int
    listed: int


def check_first(first: int | None, listed: int, *, where: str) -> None:
    """Refuse more candidates than there are.

    Args:
        first: so many of each list are asked for; None = all.
        listed: K.
        where: the store, for the message.

    Raises:
        ConfigError: names K.
    """
    if first is not None and first > listed:
        raise ConfigError(
            f"the first {first} candidates of each mention were asked for, and the store lists {listed}",
            where=where,
            hint=f"give --candidates {listed} or fewer; without it a model sees the whole list",
        )


def candidate_rows(
    store: Tables, rows: np.ndarray, *, gold_slot: bool, first: int | None = None
) -> Slots:
    """The entities that a forward pass sees.

    Args:
        gold_slot: with the gold entity as one more, last.
        first: so many of each list, in the order of retrieval; None = all.

    Raises:
        StoreError: one of them is no row of the entity table.
    """
    candidates = store.mentions.gather("candidates", rows)
    listed = candidates.shape[1]
    candidates = candidates[:, :first]
    retrieved = candidates.shape[1]
    if gold_slot:
        gold = store.mentions.gather("gold", rows)
        candidates = np.concatenate([candidates, gold[:, None]], axis=1)
    outside = (candidates < NO_ROW) | (candidates >= len(store.entities))
    if outside.any():
        mention, place = np.argwhere(outside)[0].tolist()
        raise _damaged(
            f"{candidates[mention, place]} is no row of {len(store.entities)} entities",
            f"candidates[{rows[mention]}, {place}]",
        )
    return Slots(np.asarray(candidates), retrieved, listed)


def answer_places(
    store: Tables, rows: np.ndarray, listed: int, *, first: int | None = None
) -> np.ndarray:
    """(B,) places of the golds among the candidates; their number = not retrieved.

    Args:
        listed: K, the candidates that the store lists.
        first: only so many of them count; None = all. A gold behind these was not retrieved.

    Raises:
        StoreError: a place is behind K.
    """
    answers = store.mentions.gather("answer", rows)
    outside = (answers < 0) | (answers > listed)
    if outside.any():
        place = int(np.argmax(outside))
        raise _damaged(f"{answers[place]} of {listed} candidates", f"answer[{rows[place]}]")
    return np.asarray(answers if first is None else np.minimum(answers, first))


def check_spans(start: np.ndarray, end: np.ndarray, rows: np.ndarray) -> None:
    """Check where mentions stand among the tokens of their sentences, which may be cut off before.

    Raises:
        StoreError: a span begins before the sentence, or ends before it begins.
    """
    wrong = (start < 0) | (start > end)
    if wrong.any():
        place = int(np.argmax(wrong))
        raise _damaged(
            f"the tokens {start[place]} to {end[place]} are no span",
            f"token_end[{rows[place]}]",
        )


def check_counts(counts: np.ndarray, rows: np.ndarray) -> None:
    """Check that every sentence has tokens: an encoder makes two of an empty one.

    Raises:
        StoreError: one has none.
    """
    wrong = counts < 1
    if wrong.any():
        place = int(np.argmax(wrong))
        raise _damaged(f"{counts[place]} tokens", f"token_count[{rows[place]}]")


def _damaged(what: str, where: str) -> StoreError:
    return StoreError(
        what, where=f"mentions/{where}", hint="see what else is damaged: drin-fs verify STORE"
    )
