"""Columns of mentions that point at something: read, and checked before anything follows them.

A store may be damaged or made to hurt; what points outside of its rows or tokens is an error here, with
its place, instead of a wrong row, a crash or gigabytes of memory there.
"""

from __future__ import annotations

import numpy as np

from featurestore.errors import StoreError
from featurestore.schema import NO_ROW
from linker.tables import Tables


def candidate_rows(store: Tables, rows: np.ndarray, *, gold_slot: bool) -> np.ndarray:
    """(B, C) entity rows that a forward pass sees; -1 = no entity.

    Args:
        gold_slot: with the gold entity as one more, last.

    Raises:
        StoreError: one of them is no row of the entity table.
    """
    candidates = store.mentions.gather("candidates", rows)
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
    return np.asarray(candidates)


def answer_places(store: Tables, rows: np.ndarray, most: int) -> np.ndarray:
    """(B,) places of the golds among ``most`` candidates; that number = not retrieved.

    Raises:
        StoreError: a place is behind them.
    """
    answers = store.mentions.gather("answer", rows)
    outside = (answers < 0) | (answers > most)
    if outside.any():
        place = int(np.argmax(outside))
        raise _damaged(f"{answers[place]} of {most} candidates", f"answer[{rows[place]}]")
    return np.asarray(answers)


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
