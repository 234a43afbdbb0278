"""What an audit finds, in plain values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from featurestore.table import Table

#: ``error``: results computed from this store are wrong or cannot be computed. ``warning``: results
#: are likely to mislead who does not know this. ``note``: worth knowing, or not looked at.
Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

#: How many examples a finding names.
EXAMPLES = 5

#: How many ids of one group of equals an example names.
_OF_GROUP = 3


@dataclass(frozen=True, slots=True)
class Examples:
    """Examples of a finding: ``texts`` are ids, or ids set equal where the finding is about pairs.

    ``rows``: table and row of every id that the texts name, in their order.
    """

    texts: tuple[str, ...] = ()
    rows: tuple[tuple[str, int], ...] = ()


NO_EXAMPLES = Examples()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a check found.

    ``count`` of the ``of`` things that were looked at are concerned. ``what`` says what was found and
    ``why`` why it matters, one sentence each. ``check`` is the name in the registry. ``skipped``: the
    check could not look, ``what`` says why; ``count`` and ``of`` are 0 then.
    """

    severity: Severity
    count: int
    of: int
    what: str
    why: str
    check: str = ""
    examples: tuple[str, ...] = ()
    rows: tuple[tuple[str, int], ...] = ()
    skipped: bool = False


def found(
    severity: Severity,
    count: int,
    of: int,
    what: str,
    why: str,
    examples: Examples = NO_EXAMPLES,
) -> Finding:
    """A finding; the audit adds the name of its check."""
    return Finding(
        severity=severity,
        count=count,
        of=of,
        what=what,
        why=why,
        examples=examples.texts,
        rows=examples.rows,
    )


def not_looked_at(reason: str, why: str) -> Finding:
    """A note that a check had nothing to look at."""
    return Finding(
        severity="note", count=0, of=0, what=f"not looked at: {reason}", why=why, skipped=True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Everything an audit found, the worst first; ``checks``: the names of all that were made.

    ``severities``: severity → findings; what was not looked at is not counted.
    """

    store: str
    dataset: str
    mentions: int
    entities: int
    checks: tuple[str, ...]
    severities: dict[Severity, int]
    findings: tuple[Finding, ...]

    @property
    def is_clean(self) -> bool:
        """Whether there is neither an error nor a warning."""
        return not (self.severities["error"] or self.severities["warning"])


# examples ---------------------------------------------------------------------------------------


def examples_of(table: Table, rows: Sequence[int] | np.ndarray) -> Examples:
    """The first few of some rows, by id."""
    some = np.asarray(rows[:EXAMPLES], np.int64)
    return Examples(tuple(table.ids(some)), tuple((table.name, row) for row in some.tolist()))


def equal_rows(table: Table, groups: Iterable[np.ndarray]) -> Examples:
    """The first few groups of rows of one table that are equal: ``Q1 = Q2``."""
    texts, places = [], []
    for rows, _ in zip(groups, range(EXAMPLES), strict=False):
        named = rows[:_OF_GROUP]
        more = f" = … ({len(rows)} in all)" if len(rows) > len(named) else ""
        texts.append(" = ".join(table.ids(named)) + more)
        places += [(table.name, row) for row in named.tolist()]
    return Examples(tuple(texts), tuple(places))


def pairs(first: Table, second: Table, rows: Sequence[tuple[int, int]]) -> Examples:
    """The first few pairs of a row of one table and one of another: ``46351-0 ~ Q42``."""
    some = rows[:EXAMPLES]
    lefts, rights = first.ids([a for a, _ in some]), second.ids([b for _, b in some])
    return Examples(
        tuple(f"{left} ~ {right}" for left, right in zip(lefts, rights, strict=True)),
        tuple(place for a, b in some for place in ((first.name, a), (second.name, b))),
    )
