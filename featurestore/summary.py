"""What a store holds, in plain values: the answers that ``drin-fs inspect`` shows.

    with featurestore.open("wikimel.h5") as store:
        for split in summarise(store).splits:
            print(split.name, split.recall)

Columns are read in blocks, and of features only a sample, so memory stays flat and the answer comes
at once whatever the size of the store.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

from featurestore.catalog import StoredField
from featurestore.schema import FIELDS, IMAGE_STATUS, NO_ROW, TABLES
from featurestore.store import Store
from featurestore.table import Table
from featurestore.vectors import NormSample, norm_sample

#: The k of the candidate recall, beside K itself (chosen here: those of the published tables, 100).
RECALL_AT = (1, 5, 10, 50, 100)

#: Bytes of a column read at a time (chosen here: fits the cache of a processor core).
_BLOCK_BYTES = 1 << 20

#: Texts that are read at a time (chosen here: a few megabytes of sentences).
_TEXT_ROWS = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSummary:
    """How one field is stored.

    ``shape`` includes the rows. ``logical_bytes`` are those of the whole decoded array, padding
    included; ``ratio`` is logical / stored, ``None`` for an empty field. ``float16_error``
    bounds the relative error that storing as float16 made, ``None`` where nothing was rounded.
    ``norms``: lengths of the vectors in a sample of rows; ``None`` where the field holds no features,
    or a sampled row is damaged.
    """

    name: str
    layout: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[int, ...] | None
    compression: str
    stored_bytes: int
    logical_bytes: int
    ratio: float | None
    float16_error: float | None
    unit: str
    doc: str
    norms: NormSample | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSummary:
    """One table: its rows and fields, and the fields of the format this store lacks."""

    name: str
    rows: int
    stored_bytes: int
    logical_bytes: int
    fields: tuple[FieldSummary, ...]
    absent: dict[str, tuple[str, ...]]  # the ingest option that makes them → field names
    pictures: dict[str, int]  # image_status → rows; empty where the store does not know


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSummary:
    """One split: rows ``first`` … ``stop - 1`` of the mention table.

    ``retrieved``: mentions whose gold is among the candidates. ``gold_unknown``: mentions whose gold
    is no row of the entity table. ``recall``: k → share of all mentions of the split whose gold is
    among the first k candidates, for the k of :data:`RECALL_AT` below K, and for K. ``sentences``:
    :func:`sentences_digest`.
    """

    name: str
    first: int
    stop: int
    mentions: int
    retrieved: int
    gold_unknown: int
    recall: dict[int, float]
    sentences: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSummary:
    """A whole store."""

    path: str
    dataset: str
    format_version: int
    created: str
    fingerprint: str
    file_bytes: int  # of all files
    shards: int  # files beside the index file; 0 = the store is one file
    candidates: int  # K
    tables: tuple[TableSummary, ...]
    splits: tuple[SplitSummary, ...]
    provenance: dict[str, Any]


def summarise(store: Store) -> StoreSummary:
    """Summarise a store: fields and sizes, splits and candidate recall, pictures, provenance."""
    return StoreSummary(
        path=str(store.path),
        dataset=store.dataset,
        format_version=store.format_version,
        created=store.created,
        fingerprint=store.fingerprint,
        file_bytes=store.file_bytes,
        shards=len(store.shards),
        candidates=store.width("mentions/candidates"),
        tables=tuple(_table(store.table(name)) for name in TABLES),
        splits=tuple(
            _split(store.mentions, name, rows) for name, rows in store.mentions.splits.items()
        ),
        provenance=store.provenance,
    )


def _table(table: Table) -> TableSummary:
    order = {field.path: place for place, field in enumerate(FIELDS)}
    stored = sorted(table.fields.values(), key=lambda field: order[field.schema.path])
    fields = tuple(_field(table, field) for field in stored)
    absent: dict[str, list[str]] = {}
    for schema in FIELDS:
        if schema.table == table.name and schema.name not in table:
            absent.setdefault(schema.made_by, []).append(schema.name)
    return TableSummary(
        name=table.name,
        rows=len(table),
        stored_bytes=sum(field.stored_bytes for field in fields),
        logical_bytes=sum(field.logical_bytes for field in fields),
        fields=fields,
        absent={option: tuple(names) for option, names in absent.items()},
        pictures=picture_counts(table, range(len(table))),
    )


def _field(table: Table, field: StoredField) -> FieldSummary:
    text = field.schema.layout == "text"
    return FieldSummary(
        name=field.name,
        layout=field.schema.layout,
        axes=field.schema.axes,
        shape=field.shape,
        dtype="utf8" if text else str(field.dtype),
        chunks=field.chunks,
        compression=field.compression,
        stored_bytes=field.stored_bytes,
        logical_bytes=field.logical_bytes,
        ratio=field.logical_bytes / field.stored_bytes if field.stored_bytes else None,
        float16_error=field.attributes.get("float16_error"),
        unit=field.schema.unit,
        doc=field.schema.doc,
        norms=norm_sample(table, field.name),
    )


def picture_counts(table: Table, rows: range) -> dict[str, int]:
    """Value of ``image_status`` in words → how many of the rows have it.

    Every value of the format is there; empty where the store does not know.
    """
    if "image_status" not in table:
        return {}
    counts = np.zeros(256, np.int64)  # image_status is one byte
    for block in blocks(table, "image_status", rows):
        counts += np.bincount(block, minlength=256)
    found = {status_word(code): int(counts[code]) for code in np.flatnonzero(counts).tolist()}
    return dict.fromkeys(IMAGE_STATUS, 0) | found


def status_word(code: int) -> str:
    """A value of ``image_status`` in words."""
    return IMAGE_STATUS[code] if code < len(IMAGE_STATUS) else f"code {code}"


def _split(mentions: Table, name: str, rows: range) -> SplitSummary:
    places = gold_places(mentions, rows)
    candidates = len(places) - 1
    unknown = sum(int((block == NO_ROW).sum()) for block in blocks(mentions, "gold", rows))
    within = np.cumsum(places)
    levels = sorted({k for k in RECALL_AT if k < candidates} | {candidates} - {0})
    return SplitSummary(
        name=name,
        first=rows.start,
        stop=rows.stop,
        mentions=len(rows),
        retrieved=int(places[:candidates].sum()),
        gold_unknown=unknown,
        recall={k: float(within[k - 1] / len(rows)) for k in levels} if len(rows) else {},
        sentences=sentences_digest(mentions, rows),
    )


def gold_places(mentions: Table, rows: range) -> np.ndarray:
    """(K + 1,) int64 how many of these mentions have their gold at each place; the last = nowhere.

    Raises:
        FieldMissing: the store lacks candidates or answers.
    """
    candidates = int(mentions.stored("candidates").shape[1])
    places = np.zeros(candidates + 1, np.int64)
    for block in blocks(mentions, "answer", rows):
        places += np.bincount(np.clip(block, 0, candidates), minlength=candidates + 1)
    return places


def sentences_digest(mentions: Table, rows: range) -> str:
    """What a split asks: a digest of its sentences, as often as they occur, in whatever order.

    Datasets of one name are released with different splits (MIMIC's WikiMEL is not DRIN's), and
    figures on these do not compare. Ids and order differ between layouts of the same split, the
    sentences do not; so the digest is of these, and nothing need be stored for it.
    """
    each = [
        blake2b(sentence.encode(), digest_size=16).digest()
        for first in range(rows.start, rows.stop, _TEXT_ROWS)
        for sentence in mentions.gather(
            "sentence", np.arange(first, min(first + _TEXT_ROWS, rows.stop))
        )
    ]
    return blake2b(b"".join(sorted(each)), digest_size=8).hexdigest()


def blocks(table: Table, field: str, rows: range) -> Iterator[np.ndarray]:
    """A column's rows, some at a time."""
    column = table.view(field)
    row_bytes = max(1, column.dtype.itemsize * int(np.prod(column.shape[1:], dtype=np.int64)))
    step = max(1, _BLOCK_BYTES // row_bytes)
    for first in range(rows.start, rows.stop, step):
        yield column[first : min(first + step, rows.stop)]
