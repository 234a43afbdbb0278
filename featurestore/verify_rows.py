"""What the rows of a store must obey (docs/schema_v1.md): one generator a kind of rule.

Each yields ``(path, what is wrong, first row)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

from featurestore.errors import StoreError
from featurestore.ids import hash_ids
from featurestore.progress import Progress
from featurestore.schema import FIELDS, IMAGE_STATUS, NO_ROW, TABLES
from featurestore.store import Store
from featurestore.table import Table
from featurestore.vectors import row_bytes

Finding: TypeAlias = tuple[str, str, int | None]

#: Rows, and bytes of a view, looked at at once.
_ROWS, _BYTES = 65_536, 32 << 20


def check_rows(store: Store) -> Iterator[Finding]:
    """Fields, texts, ids, splits, candidates and spans; no feature is read."""
    yield from _fields(store)
    for name in TABLES:
        yield from _texts(store.table(name))
        yield from _ids(store.table(name))
    yield from _splits(store)
    yield from _columns(store)
    yield from _candidates(store)
    yield from _spans(store)


def check_views(store: Store, progress: Progress) -> Iterator[Finding]:
    """Every value of the views, and of columns with fractions, is finite."""
    views = [
        (table, field)
        for table in map(store.table, TABLES)
        for field in table.fields.values()
        if field.schema.layout in ("view", "column") and field.dtype.kind == "f"
    ]
    with progress.stage("views", sum(len(table) for table, _ in views), "vectors") as stage:
        for table, field in views:
            step = max(1, _BYTES // row_bytes(field))
            found = None
            for first in range(0, len(table), step):
                block = table.block(field.name, range(first, min(first + step, len(table))))
                finite = np.isfinite(block.reshape(len(block), -1)).all(axis=1)
                if found is None and not finite.all():
                    found = first + int(np.argmin(finite))
                stage.advance(len(block))
            if found is not None:
                yield field.schema.path, "holds NaN or infinite values", found
            store.release_pages()


def _fields(store: Store) -> Iterator[Finding]:
    """Fields that must be there, and axes of the same length wherever they occur."""
    lengths: dict[str, tuple[int, str]] = {}
    for field in FIELDS:
        if not store.has(field.path):
            if not field.made_by:
                yield field.path, "is missing, and every store must have it", None
            continue
        stored = store.table(field.table).stored(field.name)
        for axis, length in zip(field.axes, stored.shape[1:], strict=False):
            if axis not in ("D", "V", "P", "K"):  # an open store has K + 1 slots on axis C
                continue
            known, where = lengths.setdefault(axis, (length, field.path))
            if length != known:
                yield field.path, f"axis {axis} is {length} long, in {where} it is {known}", None


def _texts(table: Table) -> Iterator[Finding]:
    """Offsets rise from 0 to the end, and what is between them is UTF-8."""
    for field in table.fields.values():
        if field.offsets is None or field.extent is None:
            continue
        path = field.schema.path
        offsets = table.offsets(field.name)
        falling = np.flatnonzero(np.diff(offsets) < 0)
        if offsets[0] != 0 or offsets[-1] != field.extent.shape[0] or len(falling):
            row = int(falling[0]) if len(falling) else None
            yield path, "its offsets do not rise from 0 to the end of its bytes", row
            continue
        for first in range(0, len(table), _ROWS):
            rows = np.arange(first, min(first + _ROWS, len(table)))
            try:
                table.gather(field.name, rows)
            except StoreError:
                row = first + _first_undecodable(table, field.name, rows)
                yield path, "holds bytes that are no UTF-8", row
                break


def _first_undecodable(table: Table, field: str, rows: np.ndarray) -> int:
    for place, row in enumerate(rows.tolist()):
        try:
            table.gather(field, [row])
        except StoreError:
            return place
    return 0


def _ids(table: Table) -> Iterator[Finding]:
    """The index holds every row once, in the order of the hashes of their ids."""
    path = f"{table.name}/id_index"
    hashes, rows = table.index_arrays()
    if len(hashes) != len(table) or len(rows) != len(table):
        yield path, f"holds {len(hashes)} hashes and {len(rows)} rows of {len(table)}", None
        return
    seen = np.zeros(len(table), bool)
    inside = (rows >= 0) & (rows < len(table))
    seen[rows[inside]] = True
    if not seen.all():
        yield path, "does not lead to every row", int(np.argmin(seen))
        return
    if (hashes[1:] < hashes[:-1]).any():
        yield path, "its hashes are not in order", None
    of_row = np.empty(len(table), hashes.dtype)
    of_row[rows] = hashes
    for first in range(0, len(table), _ROWS):
        block = np.arange(first, min(first + _ROWS, len(table)))
        try:
            wrong = np.flatnonzero(hash_ids(table.ids(block)) != of_row[block])
        except StoreError:
            return  # told with the texts
        if len(wrong):
            yield path, "holds another hash than that of the id", first + int(wrong[0])
            return


def _splits(store: Store) -> Iterator[Finding]:
    """Splits are ranges inside the table that do not share rows."""
    end = 0
    for name, rows in sorted(store.mentions.splits.items(), key=lambda item: item[1].start):
        if not 0 <= rows.start <= rows.stop <= len(store.mentions):
            what = f"split {name} is {rows.start} to {rows.stop} of {len(store.mentions)}"
            yield "mentions", what, None
        elif rows.start < end:
            yield "mentions", f"split {name} begins before the last one ends", rows.start
        end = max(end, rows.stop)


def _columns(store: Store) -> Iterator[Finding]:
    """Small numbers that stand for something are those that do."""
    bounds = {"image_status": len(IMAGE_STATUS), "span_empty": 2}
    for name in TABLES:
        table = store.table(name)
        for column, most in bounds.items():
            if column in table:
                yield from _outside(table, column, 0, most)
        if "text_tokens" in table:
            fewest = 1 if name == "mentions" else 0  # what stands for no entity has no text
            most = table.stored("text_tokens").shape[1]
            yield from _outside(table, "token_count", fewest, most + 1)


def _outside(table: Table, column: str, low: int, high: int) -> Iterator[Finding]:
    """Values that are not in ``[low, high)``."""
    values = np.asarray(table.view(column))
    wrong = (values < low) | (values >= high)
    if wrong.any():
        row = int(np.flatnonzero(wrong.reshape(len(values), -1).any(axis=1))[0])
        value = values[row].reshape(-1)[np.argmax(wrong[row].reshape(-1))]
        yield f"{table.name}/{column}", f"holds {value}, outside {low} … {high - 1}", row


def _candidates(store: Store) -> Iterator[Finding]:
    """Candidates and golds are entities; the answer points at the gold."""
    mentions, entities = store.mentions, len(store.entities)
    for column in ("candidates", "gold"):
        if column in mentions:
            yield from _outside(mentions, column, NO_ROW, entities)
    if not all(name in mentions for name in ("candidates", "gold", "answer")):
        return
    slots = mentions.stored("candidates").shape[1]
    answers = list(_outside(mentions, "answer", 0, slots + 1))
    yield from answers
    if answers:
        return
    candidates, gold, answer = (mentions.view(n) for n in ("candidates", "gold", "answer"))
    for first in range(0, len(mentions), _ROWS):
        block = slice(first, first + _ROWS)
        there = np.flatnonzero(answer[block] < slots)
        pointed = candidates[block][there, answer[block][there]]
        wrong = np.flatnonzero(pointed != gold[block][there])
        if len(wrong):
            row = first + int(there[wrong[0]])
            yield "mentions/answer", "points at another candidate than the gold", row
            return


def _spans(store: Store) -> Iterator[Finding]:
    """A mention stands inside its sentence, in characters and in tokens."""
    mentions = store.mentions
    if "char_start" in mentions and "char_end" in mentions:
        starts, ends = mentions.view("char_start"), mentions.view("char_end")
        for first in range(0, len(mentions), _ROWS):
            rows = np.arange(first, min(first + _ROWS, len(mentions)))
            lengths = np.array(_lengths(mentions, rows))
            wrong = (starts[rows] < 0) | (starts[rows] > ends[rows]) | (ends[rows] > lengths)
            if wrong.any():
                row = first + int(np.argmax(wrong))
                yield "mentions/char_end", "a span that is not inside its sentence", row
                break
    if all(name in mentions for name in ("token_start", "token_end")):
        starts, ends = mentions.view("token_start"), mentions.view("token_end")
        wrong = (starts < 0) | (starts > ends)
        if wrong.any():
            yield "mentions/token_end", "a span that ends before it begins", int(np.argmax(wrong))


def _lengths(table: Table, rows: np.ndarray) -> list[Any]:
    try:
        return [len(text) for text in table.gather("sentence", rows)]
    except StoreError:  # told with the texts
        return [np.iinfo(np.int64).max] * len(rows)
