"""What differs between two stores, rows matched by id: what ``drin-fs diff`` shows.

    with featurestore.open("a.h5") as a, featurestore.open("b.h5") as b:
        found = diff(a, b)
        found.same, found.rows, found.values

Arrays whose checksums are equal are taken for equal and not read, so that equal stores of any size are
told in a second; ``verify --full`` compares checksums with bytes. All else is read in blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from featurestore.catalog import StoredField
from featurestore.diff_rows import Matched, RowsDifference, match_rows
from featurestore.diff_values import Comparison, ValueDifference
from featurestore.progress import Progress, Silent
from featurestore.resume import differences
from featurestore.schema import FIELDS, TABLES
from featurestore.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldDifference:
    """A field that only one store has, or that they store otherwise; ``a``, ``b``: how each does."""

    path: str
    what: str  # "only in A", "only in B", or what differs: "dtype, compression"
    a: str
    b: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreDiff:
    """What differs between stores A and B.

    ``same``: nothing differs but what ``made`` says: when, where and by which versions they were made.
    ``origin``: dataset, source, encoders, options. ``splits``: name and rows of each that differs.
    ``values``: the fields of which rows that both have differ. ``compared``: the fields that were
    compared, of these ``by_checksum`` without reading them.
    """

    a: str
    b: str
    same: bool
    origin: tuple[str, ...]
    made: tuple[str, ...]
    splits: tuple[str, ...]
    fields: tuple[FieldDifference, ...]
    rows: tuple[RowsDifference, ...]
    values: tuple[ValueDifference, ...]
    compared: int
    by_checksum: int


def diff(a: Store, b: Store, *, progress: Progress | None = None) -> StoreDiff:
    """Compare two stores: origin, fields, ids, and the values of every field of rows with equal ids.

    Raises:
        StoreError: one is damaged.
    """
    progress = progress or Silent()
    names = {name: match_rows(a, b, name) for name in TABLES}
    matched: dict[str, Matched] = {name: rows for name, (rows, _) in names.items()}
    comparison = Comparison(a, b, matched)
    paths = [path for path in _both(a, b) if _is_comparable(a, b, path)]
    values = []
    total = sum(len(matched[path.partition("/")[0]]) for path in paths)
    with progress.stage("fields", total, "rows") as stage:
        for path in paths:
            values.append(comparison.of(path, stage.advance))
            a.release_pages()
            b.release_pages()
    (origin, made), (other_origin, other_made) = _provenance(a), _provenance(b)
    origins = tuple(differences(origin, other_origin))
    splits = tuple(differences(_splits(a), _splits(b)))
    fields = tuple(_fields(a, b))
    differing = tuple(value for value in values if value is not None)
    rows = tuple(difference for _, difference in names.values())
    return StoreDiff(
        a=str(a.path),
        b=str(b.path),
        same=not (origins or splits or fields or differing or any(r.differs for r in rows)),
        origin=origins,
        made=tuple(differences(made, other_made)),
        splits=splits,
        fields=fields,
        rows=rows,
        values=differing,
        compared=len(paths),
        by_checksum=comparison.by_checksum,
    )


def _provenance(store: Store) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a store was made of and how; and when, where and by whom."""
    origin = store.provenance
    made = {"created": store.created, "run": origin.pop("run", {})}
    origin |= {"dataset": store.dataset, "format_version": store.format_version}
    return origin, made


def _splits(store: Store) -> dict[str, str]:
    return {name: f"{rows.start} … {rows.stop}" for name, rows in store.mentions.splits.items()}


# fields -----------------------------------------------------------------------------------------


def _both(a: Store, b: Store) -> Iterator[str]:
    """The fields that both have; ids are compared by matching them."""
    return (f.path for f in FIELDS if f.name != "id" and a.has(f.path) and b.has(f.path))


def _stored(store: Store, path: str) -> StoredField:
    table, _, name = path.partition("/")
    return store.table(table).stored(name)


def _is_comparable(a: Store, b: Store, path: str) -> bool:
    """Whether rows have the same shape; records may differ in how long the longest can be."""
    one, other = _stored(a, path), _stored(b, path)
    skipped = 2 if one.schema.ragged else 1
    return one.shape[skipped:] == other.shape[skipped:]


def _fields(a: Store, b: Store) -> Iterator[FieldDifference]:
    for field in FIELDS:
        path = field.path
        one = _facts(_stored(a, path)) if a.has(path) else None
        other = _facts(_stored(b, path)) if b.has(path) else None
        if one == other:
            continue
        if one is None or other is None:
            what = "only in B" if one is None else "only in A"
            names = list(one or other or ())
        else:
            names = [name for name in one if one[name] != other[name]]
            what = ", ".join(names)
        yield FieldDifference(path=path, what=what, a=_said(one, names), b=_said(other, names))


def _said(facts: dict[str, str] | None, names: list[str]) -> str:
    return ", ".join(facts[name] for name in names) if facts else ""


def _facts(field: StoredField) -> dict[str, str]:
    """How a field is stored, in words; the number of rows is said elsewhere."""
    text = field.schema.layout == "text"
    shape = () if text else field.shape[1:]
    return {
        "dtype": "utf8" if text else str(field.dtype),
        "shape": "×".join(map(str, shape)) or "one a row",
        "layout": field.schema.layout,
        "compression": field.compression,
    }
