"""Checks of mentions: cut off spans, repetitions, and what splits share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations

import numpy as np

from featurestore.audit.equals import equal_groups
from featurestore.audit.finding import (
    Examples,
    Finding,
    Severity,
    equal_rows,
    examples_of,
    found,
    not_looked_at,
)
from featurestore.audit.look import Look
from featurestore.schema import NO_ROW
from featurestore.views import is_cut

_CUT = "the mention's feature is made of a part of its tokens, of [SEP] or [CLS]: it says little"


# spans ------------------------------------------------------------------------------------------


def cut_spans(look: Look) -> Iterator[Finding]:
    """Mentions that truncation cut off, wholly or in part, and mentions without a character."""
    yield from _without_text(look)
    needed = ("token_start", "token_end", "token_count", "span_empty")
    if not all(name in look.mentions for name in needed):
        yield not_looked_at("the store has no tokens (--text-encoder)", _CUT)
        return
    start, end, count, empty = (np.asarray(look.mentions.view(name)) for name in needed)
    nothing = end <= start
    wholly = ~nothing & ((empty != 0) | (start + 1 >= count - 1))
    partly = ~nothing & ~wholly & is_cut(end, count)
    for rows, what in (
        (nothing, "mentions have no token of their own"),
        (wholly, "mentions are cut off with the end of their sentence: no token is left"),
        (partly, "mentions are cut off in part: their tokens end beyond those of the sentence"),
    ):
        if rows.any():
            each = ((name, rows[part.start : part.stop])
                    for name, part in look.mentions.splits.items())  # fmt: skip
            by_split = ", ".join(f"{int(cut.sum()):,} of {name}" for name, cut in each if cut.any())
            shown = examples_of(look.mentions, np.flatnonzero(rows))
            yield found("warning", int(rows.sum()), len(rows), f"{what} ({by_split})", _CUT, shown)


def _without_text(look: Look) -> Iterator[Finding]:
    """Mentions of no characters."""
    empty = np.zeros(len(look.mentions), bool)
    if "mention" in look.mentions:
        empty |= np.diff(look.mentions.offsets("mention")) == 0
    if "char_start" in look.mentions and "char_end" in look.mentions:
        empty |= look.mentions.view("char_end") <= look.mentions.view("char_start")
    if empty.any():
        why = "there is nothing to link: any answer is a guess"
        shown = examples_of(look.mentions, np.flatnonzero(empty))
        yield found(
            "warning", int(empty.sum()), len(empty), "mentions have no character", why, shown
        )


# repetitions ------------------------------------------------------------------------------------


def repeated_mentions(look: Look) -> Iterator[Finding]:
    """Mentions that stand twice within a split: same sentence, mention, gold, and place if known."""
    keys = look.triples
    if "char_start" in look.mentions:
        starts = look.mentions.view("char_start").astype(np.uint64)
        keys = keys + starts * np.uint64(0x9E3779B97F4A7C15)  # golden ratio: spreads small numbers
    for split, rows in look.mentions.splits.items():
        golds = look.gold[rows.start : rows.stop]
        kept = rows.start + np.flatnonzero(golds != NO_ROW)
        groups = equal_groups(keys[kept], kept)
        if len(groups):
            what = f"mentions of {split} stand there twice or more ({_key(look)}), {groups.said}"
            why = "they are learnt from, or counted in scores, more than once"
            severity: Severity = "note" if split == "train" else "warning"
            shown = equal_rows(look.mentions, groups)
            yield found(severity, groups.rows, len(rows), what, why, shown)


def shared_mentions(look: Look) -> Iterator[Finding]:
    """Mentions that several splits have: same sentence, mention and gold."""
    rows = np.flatnonzero(look.gold != NO_ROW)
    groups = equal_groups(look.triples[rows], rows)
    shared = [group for group in groups if len(set(_splits_of(look, group))) > 1]
    if not shared:
        return
    distinct = len(rows) - groups.rows + len(groups)
    pairs = Counter(
        pair for group in shared for pair in combinations(dict.fromkeys(_splits_of(look, group)), 2)
    )
    by_pair = ", ".join(f"{a} and {b} {number:,}" for (a, b), number in pairs.items())
    what = f"triples ({_key(look)}) stand in more than one split: {by_pair}"
    why = "a model is asked what it was taught, so scores are too high"
    yield found("warning", len(shared), distinct, what, why, _shared_examples(look, shared))


def _shared_examples(look: Look, shared: list[np.ndarray]) -> Examples:
    """Of each group the first mention of each split."""
    firsts = []
    for group in shared:
        first: dict[str, int] = {}
        for row, split in zip(group.tolist(), _splits_of(look, group), strict=True):
            first.setdefault(split, row)
        firsts.append(np.array(list(first.values()), np.int64))
    return equal_rows(look.mentions, firsts)


def _splits_of(look: Look, rows: np.ndarray) -> list[str]:
    """The split of each row, ascending; rows of no split are a split of their own: ``""``."""
    splits = look.mentions.splits.items()
    return [next((name for name, part in splits if row in part), "") for row in rows.tolist()]


def _key(look: Look) -> str:
    """What makes mentions equal, in words."""
    has_text = "mention" in look.mentions
    return "same sentence, mention and gold" if has_text else "same sentence and gold"


# sentences --------------------------------------------------------------------------------------


def shared_sentences(look: Look) -> Iterator[Finding]:
    """Sentences that two splits share, and splits that share all of them."""
    each = {
        name: np.unique(look.sentences[rows.start : rows.stop])
        for name, rows in look.mentions.splits.items()
    }
    for (a, first), (b, second) in combinations(each.items(), 2):
        both = np.intersect1d(first, second, assume_unique=True)
        if not len(both):
            continue
        smaller, of = (a, len(first)) if len(first) < len(second) else (b, len(second))
        rows = look.mentions.split(smaller)
        hit = rows.start + np.flatnonzero(np.isin(look.sentences[rows.start : rows.stop], both))
        whole = len(both) == of
        what = f"{'all ' if whole else ''}sentences of {smaller} stand in {b if smaller == a else a} too"
        why = (
            "the splits are not independent: what is learnt of a sentence is known when it is asked"
        )
        severity: Severity = "warning" if whole else "note"
        yield found(severity, len(both), of, what, why, examples_of(look.mentions, hit))
