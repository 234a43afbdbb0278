"""Checks of the values of features."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from featurestore.audit.equals import equal_groups
from featurestore.audit.finding import Finding, Severity, equal_rows, examples_of, found
from featurestore.audit.look import Look, ViewScan
from featurestore.schema import NO_PICTURE, TABLES
from featurestore.table import Table

#: Rows of a record field that are looked at (chosen here: a few hundred megabytes at most, read in
#: seconds; a value that is not finite in a record also shows in the views that were made of it).
RECORDS = 1000
_SEED = 0

#: Rows of a record field that are decoded at a time.
_AT_ONCE = 32

_NOT_FINITE = "one such number makes every loss and score that it enters NaN"
_ZERO = "nothing was stored for them, so what a model learns from the field is wrong there"


def not_finite(look: Look) -> Iterator[Finding]:
    """Rows with NaN or infinity: of every view and column, and of a sample of every record field."""
    for scan in look.views:
        rows = np.flatnonzero(scan.not_finite)
        if len(rows):
            table = look.store.table(scan.field.schema.table)
            what = f"{_path(scan)} holds NaN or infinite values"
            yield found("error", len(rows), len(table), what, _NOT_FINITE, examples_of(table, rows))
    for table in map(look.store.table, TABLES):
        for field in table.fields.values():
            if field.schema.layout == "record" and field.dtype.kind == "f":
                yield from _records_not_finite(table, field.name)


def _records_not_finite(table: Table, field: str) -> Iterator[Finding]:
    sample = np.arange(len(table))
    if len(table) > RECORDS:
        sample = np.sort(np.random.default_rng(_SEED).choice(len(table), RECORDS, replace=False))
    bad = []
    for first in range(0, len(sample), _AT_ONCE):
        rows = sample[first : first + _AT_ONCE]
        values = table.gather(field, rows)
        bad += rows[~np.isfinite(values.reshape(len(rows), -1)).all(axis=1)].tolist()
    if bad:
        every = len(sample) == len(table)
        drawn = (
            "" if every else f" (looked at {len(sample):,} of {len(table):,} rows, seed {_SEED})"
        )
        what = f"{table.name}/{field} holds NaN or infinite values{drawn}"
        yield found("error", len(bad), len(sample), what, _NOT_FINITE, examples_of(table, bad))


def zero_rows(look: Look) -> Iterator[Finding]:
    """Rows of features that are all zero.

    What explains them is counted apart: the padding entity, a row that has the default picture,
    places of objects that no detector filled, and texts without a token of their own.
    """
    for scan in look.views:
        if scan.field.schema.layout != "view" or not scan.zero.any():
            continue
        table = look.store.table(scan.field.schema.table)
        explained = scan.zero & _explained(look, scan, table)
        rows = np.flatnonzero(scan.zero & ~explained)
        others = int(explained.sum())
        apart = f"; {others:,} more are padding, default pictures or empty" if others else ""
        if len(rows):
            what = f"rows of {_path(scan)} are all zero{apart}"
            yield found("warning", len(rows), len(table), what, _ZERO, examples_of(table, rows))
        else:
            what = (
                f"rows of {_path(scan)} are all zero, each of padding, a default picture or empty"
            )
            why = "models see zeros there: no fault, but they say nothing"
            shown = examples_of(table, np.flatnonzero(explained))
            yield found("note", others, len(table), what, why, shown)


def _explained(look: Look, scan: ViewScan, table: Table) -> np.ndarray:
    """(rows,) bool: rows where a zero feature is no surprise."""
    rows = np.zeros(len(table), bool)
    if table.name == "entities":
        rows |= ~look.is_entity
    name = scan.field.name
    if name.startswith(("image", "objects", "clip_image")) and "image_status" in table:
        rows |= np.isin(table.view("image_status"), NO_PICTURE)
    if name == "objects" and "object_scores" in table:
        rows |= ~np.asarray(table.view("object_scores")).any(axis=1)
    if name.startswith("text") and "token_count" in table:
        rows |= np.asarray(table.view("token_count")) <= 2  # [CLS] [SEP]
    return rows


def identical_features(look: Look) -> Iterator[Finding]:
    """Entities whose feature of the text, or of the picture, is equal to another's, bit by bit."""
    for scan in look.views:
        if scan.digests is None:
            continue
        picture = scan.field.name.startswith("image")
        rows = np.flatnonzero(look.is_entity & ~scan.zero)
        if picture and "image_status" in look.entities:
            status = np.asarray(look.entities.view("image_status"))[rows]
            rows = rows[~np.isin(status, NO_PICTURE)]
        groups = equal_groups(scan.digests[rows], rows)
        if not len(groups):
            continue
        what = f"entities have the same {_path(scan)} as another: {groups.said}"
        why = "no model can tell them apart by it, so it guesses among them"
        if picture:
            why += "; a large group is the default picture, where the source did not say so"
        severity: Severity = "note" if picture else "warning"
        yield found(severity, groups.rows, len(rows), what, why, equal_rows(look.entities, groups))


def _path(scan: ViewScan) -> str:
    return scan.field.schema.path
