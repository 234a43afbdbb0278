"""Checks of the knowledge base: descriptions and duplicates."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

import numpy as np

from featurestore.audit.equals import digests, equal_groups
from featurestore.audit.finding import (
    Finding,
    Severity,
    equal_rows,
    examples_of,
    found,
    not_looked_at,
)
from featurestore.audit.look import Look, row_blocks
from featurestore.schema import NO_ROW

#: Share of rows from which on a missing description or picture is a warning (chosen here: a tenth of
#: the rows is more than the models of the published tables differ by).
MISSING = 0.1

_NO_DESCRIPTION = "of such an entity a model reads the title only"


def missing_severity(count: int, of: int) -> Severity:
    """A warning from a share of :data:`MISSING` on."""
    return "warning" if count >= MISSING * of else "note"


def missing_descriptions(look: Look) -> Iterator[Finding]:
    """Entities without description, and for each split the mentions whose gold has none."""
    if "description" not in look.entities:
        yield not_looked_at("the store has no entities/description", _NO_DESCRIPTION)
        return
    lengths = np.diff(look.entities.offsets("description"))
    bare = (lengths == 0) & look.is_entity
    count, of = int(bare.sum()), int(look.is_entity.sum())
    if count:
        shown = examples_of(look.entities, np.flatnonzero(bare))
        severity = missing_severity(count, of)
        yield found(severity, count, of, "entities have no description", _NO_DESCRIPTION, shown)
    for split, rows in look.mentions.splits.items():
        gold = look.gold[rows.start : rows.stop]
        known = np.flatnonzero(gold != NO_ROW)
        hit = known[bare[gold[known]]]
        if len(hit):
            what = f"mentions of {split} have a gold without description"
            shown = examples_of(look.mentions, rows.start + hit)
            severity = missing_severity(len(hit), len(rows))
            yield found(severity, len(hit), len(rows), what, _NO_DESCRIPTION, shown)


def duplicate_entities(look: Look) -> Iterator[Finding]:
    """Entities that say the same: title and description, or the title in another spelling."""
    why = "two rows stand for one thing: a model that picks the other one is counted wrong"
    if "title" not in look.entities:
        yield not_looked_at("the store has no entities/title", why)
        return
    rows = np.flatnonzero(look.is_entity & (np.diff(look.entities.offsets("title")) > 0))
    whole, titles = _text_digests(look)
    groups = equal_groups(whole[rows], rows)
    if len(groups):
        what = f"entities have the title and description of another: {groups.said}"
        shown = equal_rows(look.entities, groups)
        yield found("warning", groups.rows, len(rows), what, why, shown)
    groups = equal_groups(titles[rows], rows)
    if len(groups):
        what = f"entities have the title of another, but for case, spaces and marks; {groups.said}"
        why = "a search by title cannot tell them apart; if they are one thing, scores are too low"
        shown = equal_rows(look.entities, groups)
        yield found("note", groups.rows, len(rows), what, why, shown)


def _text_digests(look: Look) -> tuple[np.ndarray, np.ndarray]:
    """(entities,) uint64 each: digests of title and description, and of the normalised title."""
    whole = np.zeros(len(look.entities), np.uint64)
    titles = np.zeros(len(look.entities), np.uint64)
    fields = [name for name in ("title", "description") if name in look.entities]
    for rows in row_blocks(range(len(look.entities))):
        texts = look.entities.gather_all(fields, rows)
        both = map("\0".join, zip(*(texts[name] for name in fields), strict=True))
        whole[rows] = digests(map(str.encode, both), len(rows))
        plain = map(normalised_title, texts["title"])
        titles[rows] = digests(map(str.encode, plain), len(rows))
    return whole, titles


def normalised_title(title: str) -> str:
    """A title without case, accents' encoding, marks and doubled spaces; brackets' words stay.

    A title of marks only stays as it is.
    """
    folded = unicodedata.normalize("NFKC", title).casefold()
    return " ".join(re.sub(r"[\W_]+", " ", folded).split()) or folded
