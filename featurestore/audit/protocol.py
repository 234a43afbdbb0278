"""Checks of the protocol: what candidate lists and golds allow, and what they give away."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from featurestore.audit.finding import Finding, Severity, examples_of, found, not_looked_at
from featurestore.audit.look import Look, row_blocks
from featurestore.schema import NIL, NO_ROW
from featurestore.summary import blocks

#: Share of mentions whose gold must be among the candidates, else a warning. Chosen here: below it
#: retrieval costs every model a tenth of its score, more than published models differ by.
RECALL = 0.9

#: Mentions of a split from which on "all" and "always" are no accident. Chosen here: a list that misses
#: 3 % of the golds holds those of 100 mentions with a chance of 5 %.
ENOUGH = 100

#: Share of mentions equal to their gold's title from which on that is "mostly" so: a warning.
MOSTLY = 0.5


def candidate_recall(look: Look) -> Iterator[Finding]:
    """The share of golds that are not among the candidates, by split; also if none is missing."""
    for split, places in look.places.items():
        mentions = int(places.sum())
        if not mentions:
            continue
        missed = int(places[-1])
        recall = 1 - missed / mentions
        if missed:
            rows = look.mentions.split(split)
            hit = np.flatnonzero(look.mentions.view("answer")[rows.start : rows.stop] >= look.width)
            what = f"mentions of {split} do not have their gold among the {look.width} candidates"
            why = f"no model that ranks them scores above {100 * recall:.1f} %"
            severity: Severity = (
                "error" if missed == mentions else "warning" if recall < RECALL else "note"
            )
            yield found(
                severity, missed, mentions, what, why, examples_of(look.mentions, rows.start + hit)
            )
        elif mentions >= ENOUGH:
            what = f"mentions of {split}, without exception, have the gold among their candidates"
            why = (
                "the gold was put in by construction: scores are those of a retrieval "
                "that never fails, and do not compare with others"
            )
            yield found("warning", mentions, mentions, what, why)


def gold_place(look: Look) -> Iterator[Finding]:
    """Splits whose retrieved golds all stand at one place of their list."""
    for split, places in look.places.items():
        retrieved = int(places[:-1].sum())
        place = int(places[:-1].argmax()) if look.width else 0
        if look.width > 1 and retrieved >= ENOUGH and places[place] == retrieved:
            what = f"golds of {split} stand at place {place + 1} of {look.width}, always"
            why = "the place gives the answer away to any model that sees the order"
            yield found("warning", retrieved, retrieved, what, why)


def golds(look: Look) -> Iterator[Finding]:
    """Golds that are no rows of the entity table, and mentions without an entity (NIL)."""
    stored = np.asarray(look.mentions.view("gold"))
    wrong = np.flatnonzero((stored < NO_ROW) | (stored >= len(look.entities)))
    if len(wrong):
        what = "golds are row numbers that the entity table does not have"
        why = "the store contradicts itself; see drin-fs verify"
        yield found("error", len(wrong), len(stored), what, why, examples_of(look.mentions, wrong))
    absent = np.flatnonzero(stored == NO_ROW)
    if len(absent):
        what = "golds are not in the entity table"
        why = "such a mention is counted wrong whatever a model answers"
        shown = examples_of(look.mentions, absent)
        yield found("warning", len(absent), len(stored), what, why, shown)
    nil = int(look.entities.find([NIL])[0])
    if nil >= 0 and (stored == nil).any():
        rows = np.flatnonzero(stored == nil)
        what = f"mentions have no entity: their gold is {NIL}"
        why = "they count as not retrieved; papers differ in whether they are scored"
        yield found("note", len(rows), len(stored), what, why, examples_of(look.mentions, rows))


def candidate_lists(look: Look) -> Iterator[Finding]:
    """Lists that repeat an entity, that hold nothing but the gold, and empty ones."""
    repeats, only_gold, nothing = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
    first, every = 0, range(len(look.mentions))
    answers = look.mentions.view("answer")
    for block in blocks(look.mentions, "candidates", every):
        ordered = np.sort(block, axis=1)
        real = (ordered != NO_ROW) & (ordered != look.padding)
        again = (ordered[:, 1:] == ordered[:, :-1]) & real[:, 1:]
        distinct = real.sum(axis=1) - again.sum(axis=1)
        has_gold = answers[first : first + len(block)] < look.width
        repeats.append(first + np.flatnonzero(again.any(axis=1)))
        only_gold.append(first + np.flatnonzero((distinct == 1) & has_gold))
        nothing += int((distinct == 0).sum())
        first += len(block)
    rows, alone = np.concatenate(repeats), np.concatenate(only_gold)
    if len(rows):
        what = "candidate lists hold an entity more than once"
        why = (
            "there are fewer candidates than K, and the rank of the gold depends on which is meant"
        )
        shown = examples_of(look.mentions, rows)
        yield found("warning", len(rows), first, what, why, shown)
    if len(alone):
        what = "candidate lists hold the gold and no other entity"
        why = "any model is right there: such mentions raise every score alike"
        shown = examples_of(look.mentions, alone)
        yield found("warning", len(alone), first, what, why, shown)
    if nothing:
        why = "no model can be right there"
        yield found("note", nothing, first, "candidate lists are empty", why)


def title_leak(look: Look) -> Iterator[Finding]:
    """Mentions that are their gold's title, but for case, by split."""
    why = "looking up the title is enough there: scores say little about disambiguation"
    if "mention" not in look.mentions or "title" not in look.entities:
        yield not_looked_at("the store has no mentions' texts, or no titles", why)
        return
    for split, rows in look.mentions.splits.items():
        equal = [np.zeros(0, np.int64)]
        for block in row_blocks(rows):
            block = block[look.gold[block] != NO_ROW]
            mentions = look.mentions.gather("mention", block)
            titles = look.entities.gather("title", look.gold[block])
            same = [m.casefold() == t.casefold() for m, t in zip(mentions, titles, strict=True)]
            equal.append(block[np.array(same, bool)])
        hit = np.concatenate(equal)
        if len(hit):
            every = ", all of them" if len(hit) == len(rows) else ""
            what = f"mentions of {split} are their gold's title, but for case{every}"
            severity: Severity = "warning" if len(hit) >= MOSTLY * len(rows) else "note"
            shown = examples_of(look.mentions, hit)
            yield found(severity, len(hit), len(rows), what, why, shown)
