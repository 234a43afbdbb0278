"""What one field holds, over all its rows and in each split: ``drin-fs inspect --field``.

    with featurestore.open("wikimel.h5") as store:
        describe_field(store, "mentions/text_span").parts[0].zero_rows

Three kinds of field, three kinds of answer: features and real numbers (:class:`FeaturePart`), integers
(``field_values.ValuePart``), texts (``field_texts.TextPart``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from featurestore.effective_rank import effective_rank
from featurestore.errors import ConfigError
from featurestore.field_scan import RowFigures, rows_to_read, scan
from featurestore.field_texts import TextPart, text_parts
from featurestore.field_values import ValuePart, value_parts
from featurestore.histogram import Histogram, histogram, quantiles
from featurestore.progress import Progress, Silent
from featurestore.schema import TABLES
from featurestore.store import Store
from featurestore.table import Table
from featurestore.vectors import SEED, row_bytes, sample_rows, vectors

#: Bars of a histogram (chosen here: a screen holds them).
BINS = 16

#: Vectors of which the effective rank is that (chosen here: a second of work for a width of 2,048,
#: and more vectors than most features are wide).
RANK_VECTORS = 2_048

#: Rows, and their decoded bytes, from which quantiles and the histogram of values come (chosen here:
#: millions of numbers).
SAMPLE_ROWS, SAMPLE_BYTES = 4_096, 32 << 20

#: Rows that are named as examples of what is wrong.
_EXAMPLES = 5

Kind = Literal["numbers", "values", "texts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Norms:
    """Lengths (L2 along the last axis) of vectors: several a row in records and objects.

    ``zeros``: vectors of length 0. The figures are of those whose length is finite.
    """

    vectors: int
    zeros: int
    mean: float | None
    std: float | None
    minimum: float | None
    maximum: float | None
    quantiles: dict[str, float]
    histogram: Histogram | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """``effective`` rank (see ``effective_rank``) of ``vectors`` sampled ones: at most ``bound``."""

    effective: float | None
    vectors: int
    bound: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturePart:
    """Features of the rows of one split, or of all (``name`` is then ``all``).

    Of the ``rows``, ``rows_read`` were read: all, but of large fields. From these come, exactly,
    ``mean`` … ``maximum`` (of the finite numbers; ``None`` where there is none), the rows that are all
    zero, hold a NaN, or an infinity, the rows that equal an earlier one byte for byte, and ``norms``.
    ``quantiles`` and ``histogram`` come from ``rows_sampled`` of the rows read. ``norms`` and ``rank``
    are ``None`` for plain columns. Examples are ids.
    """

    name: str
    rows: int
    rows_read: int
    values: int
    mean: float | None
    std: float | None
    minimum: float | None
    maximum: float | None
    zero_rows: int
    nan_rows: int
    infinite_rows: int
    duplicate_rows: int
    zero_examples: tuple[str, ...]
    not_finite_examples: tuple[str, ...]
    duplicate_examples: tuple[str, ...]
    rows_sampled: int
    quantiles: dict[str, float]
    histogram: Histogram | None
    norms: Norms | None
    rank: Rank | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldReport:
    """One field. ``parts``: all rows first, then each split of a mention field.

    ``seed`` draws every sample.
    """

    path: str
    kind: Kind
    layout: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    unit: str
    doc: str
    seed: int
    parts: tuple[FeaturePart, ...] | tuple[ValuePart, ...] | tuple[TextPart, ...]


def split_path(store: Store, path: str) -> tuple[str, str]:
    """Table and name of a field ``TABLE/NAME`` of the store.

    Raises:
        ConfigError: the path does not look like that.
        FieldMissing: the store has no such field.
    """
    table, _, name = path.partition("/")
    if table not in TABLES or not name:
        hint = f"give TABLE/NAME, such as mentions/text_span; tables: {', '.join(TABLES)}"
        raise ConfigError(f"no field is called {path!r}", where=str(store.path), hint=hint)
    store.table(table).stored(name)
    return table, name


def describe_field(store: Store, path: str, *, progress: Progress | None = None) -> FieldReport:
    """Describe a field ``TABLE/NAME``.

    Reads it once in blocks of a few megabytes; of views above 2 GiB and of records above 128 MiB
    (decoded) a sample of rows of that size.

    Raises:
        ConfigError: the path is no ``TABLE/NAME``, or the field holds bytes, such as pictures.
        FieldMissing: the store has no such field.
        StoreError: a damaged record.
    """
    table, name = split_path(store, path)
    owner, stored = store.table(table), store.table(table).stored(name)
    bounds = {"all": range(len(owner)), **owner.splits}
    shown = progress or Silent()
    kind: Kind
    parts: tuple[FeaturePart, ...] | tuple[ValuePart, ...] | tuple[TextPart, ...]
    if stored.schema.layout == "text":
        kind, parts = "texts", text_parts(store, table, name, bounds, shown)
    elif stored.dtype.kind == "f":
        kind, parts = "numbers", _feature_parts(store, owner, name, bounds, shown)
    elif stored.schema.layout == "column":
        kind, parts = "values", value_parts(store, table, name, bounds, shown)
    else:
        raise ConfigError(
            f"{path} holds bytes ({stored.schema.doc}), which have no distribution to show",
            where=f"{store.path}::/{path}",
            hint="give a field of numbers or texts",
        )
    return FieldReport(
        path=path,
        kind=kind,
        layout=stored.schema.layout,
        axes=stored.schema.axes,
        shape=stored.shape,
        dtype="utf8" if stored.schema.layout == "text" else str(stored.dtype),
        unit=stored.schema.unit,
        doc=stored.schema.doc,
        seed=SEED,
        parts=parts,
    )


def _feature_parts(
    store: Store, table: Table, field: str, bounds: dict[str, range], progress: Progress
) -> tuple[FeaturePart, ...]:
    rows = rows_to_read(store, table.name, field)
    with progress.stage(f"{table.name}/{field}", len(rows), "rows") as stage:
        found = scan(store, table.name, field, rows, stage)
    parts = tuple(_feature_part(table, field, name, some, found) for name, some in bounds.items())
    store.release_pages()
    return parts


def _feature_part(
    table: Table, field: str, name: str, rows: range, found: RowFigures
) -> FeaturePart:
    stored = table.stored(field)
    first, last = np.searchsorted(found.rows, [rows.start, rows.stop]).tolist()
    here = slice(first, last)
    vector_bounds = np.searchsorted(found.owner, [first, last])
    norms = found.norms[slice(*vector_bounds.tolist())]
    values = int(found.values[here].sum())
    mean, std = _moments(found, here, values)
    repeated = first + _repeated(found.digest[here])
    not_finite = found.nan | found.infinite
    is_feature = stored.schema.layout != "column"
    budget = min(SAMPLE_ROWS, max(1, SAMPLE_BYTES // row_bytes(stored)))
    chosen = found.rows[sample_rows(range(first, last), budget)]
    sampled = vectors(table, field, chosen).values
    return FeaturePart(
        name=name,
        rows=len(rows),
        rows_read=last - first,
        values=values,
        mean=mean,
        std=std,
        minimum=float(found.least[here].min()) if values else None,
        maximum=float(found.greatest[here].max()) if values else None,
        zero_rows=int(found.zero[here].sum()),
        nan_rows=int(found.nan[here].sum()),
        infinite_rows=int(found.infinite[here].sum()),
        duplicate_rows=len(repeated),
        zero_examples=_ids(table, found, first + np.flatnonzero(found.zero[here])),
        not_finite_examples=_ids(table, found, first + np.flatnonzero(not_finite[here])),
        duplicate_examples=_ids(table, found, repeated),
        rows_sampled=len(chosen),
        quantiles=quantiles(sampled),
        histogram=histogram(sampled, BINS),
        norms=_norms(norms) if is_feature else None,
        rank=_rank(sampled) if is_feature else None,
    )


def _moments(found: RowFigures, here: slice, values: int) -> tuple[float | None, float | None]:
    """Mean and standard deviation of all numbers of some rows, from those of each row."""
    if not values:
        return None, None
    each, means = found.values[here], found.mean[here]
    mean = float((each * means).sum() / values)
    spread = found.spread[here].sum() + (each * (means - mean) ** 2).sum()
    return mean, float(np.sqrt(spread / values))


def _repeated(digests: np.ndarray) -> np.ndarray:
    """The places that hold what an earlier one holds, ascending."""
    _, firsts = np.unique(digests, return_index=True)
    again = np.ones(len(digests), bool)
    again[firsts] = False
    return np.flatnonzero(again)


def _ids(table: Table, found: RowFigures, places: np.ndarray) -> tuple[str, ...]:
    return tuple(table.ids(found.rows[places[:_EXAMPLES]]))


def _norms(norms: np.ndarray) -> Norms:
    finite = norms[np.isfinite(norms)].astype(np.float64)
    return Norms(
        vectors=len(norms),
        zeros=int((norms == 0).sum()),
        mean=float(finite.mean()) if len(finite) else None,
        std=float(finite.std()) if len(finite) else None,
        minimum=float(finite.min()) if len(finite) else None,
        maximum=float(finite.max()) if len(finite) else None,
        quantiles=quantiles(finite),
        histogram=histogram(finite, BINS),
    )


def _rank(sampled: np.ndarray) -> Rank:
    chosen = sampled[sample_rows(range(len(sampled)), RANK_VECTORS)]
    return Rank(effective=effective_rank(chosen), vectors=len(chosen), bound=min(chosen.shape))
