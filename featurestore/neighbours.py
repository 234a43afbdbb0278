"""The rows of a table that are nearest to one of them by cosine: exact, over all rows, in blocks.

    with featurestore.open("wikimel.h5") as store:
        for near in neighbours(store, "entities", 17, k=5):
            print(near.id, near.cosine)

Dot products and norms are summed in float32, in the same order for each row, so that equal rows have
equal cosines. Rows that are zero, hold a NaN or infinity, or numbers whose squares exceed float32 have
no direction: they are nobody's neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from featurestore import threads
from featurestore.describe import find_row
from featurestore.errors import ConfigError, DataError, FieldMissing, UnknownId
from featurestore.field_report import split_path
from featurestore.halves import widened
from featurestore.schema import TABLES
from featurestore.store import Store
from featurestore.table import Table
from featurestore.vectors import row_bytes

#: The field that is compared where none is named: the first of these that the table has. Texts before
#: pictures, what stands for the whole text or span before single tokens (chosen here).
DEFAULT_FIELDS = (
    "text_span", "text_mean", "text_pooled", "text_cls", "text_max", "clip_text",
    "image_pooled", "image_mean", "clip_image",
)  # fmt: skip

#: Bytes of a block (chosen here: its float32 copy still fits the cache that processors share).
_BLOCK = 2 << 20

#: Blocks after which the pages read so far are given back.
_RELEASE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A near row. ``title``: of an entity, or the mention as it stands in the sentence.

    ``text``: the description or sentence. Both are ``None`` where the store has none.
    """

    row: int
    id: str
    title: str | None
    text: str | None
    cosine: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbourhood:
    """A row and its neighbours by one field, nearest first.

    ``compared``: how many rows it was compared with. ``also_a_mention``: the id names a mention too,
    but the entity was taken.
    """

    table: str
    field: str
    row: int
    id: str
    title: str | None
    text: str | None
    compared: int
    also_a_mention: bool
    neighbours: tuple[Neighbour, ...]


def neighbourhood(
    store: Store, key: str, *, field: str | None = None, k: int = 10
) -> Neighbourhood:
    """The neighbours of the row that an id, or a row number, names.

    Args:
        key: looked up among the entities first, then the mentions.
        field: ``TABLE/NAME``; its table is then the only one in which ``key`` is looked up.

    Raises:
        UnknownId: neither table has it.
        ConfigError: the field holds no single vector a row.
        FieldMissing: the store has no such field, or none to compare.
        DataError: the row's vector has no direction.
    """
    name = None
    if field is not None:
        table_name, name = split_path(store, field)
        row = find_row(store, table_name, key)
    else:
        table_name, row = _located(store, key)
    table = store.table(table_name)
    chosen = name or default_field(store, table_name)
    itself = _neighbour(table, row, 1.0)
    return Neighbourhood(
        table=table_name,
        field=f"{table_name}/{chosen}",
        row=row,
        id=itself.id,
        title=itself.title,
        text=itself.text,
        compared=len(table) - 1,
        also_a_mention=field is None
        and table_name == "entities"
        and int(store.mentions.find([key])[0]) >= 0,
        neighbours=neighbours(store, table_name, row, field=chosen, k=k),
    )


def neighbours(
    store: Store, table: str, row: int, *, field: str | None = None, k: int = 10
) -> tuple[Neighbour, ...]:
    """The k nearest other rows of a table by cosine, nearest first; equally near ones by row.

    Args:
        field: name of a field with one vector a row, without the table; :func:`default_field` if not
            given.

    Raises:
        UnknownId: no such row.
        ConfigError: the field holds no single vector a row.
        FieldMissing: the store has no such field, or none to compare.
        DataError: the row's vector has no direction.
    """
    owner = store.table(table)
    name = field or default_field(store, table)
    if not comparable(owner, name):
        fields = ", ".join(f for f in owner.fields if comparable(owner, f)) or "none"
        raise ConfigError(
            f"{table}/{name} does not hold one vector a row",
            where=f"{store.path}::/{table}/{name}",
            hint=f"fields to compare rows by: {fields}",
        )
    rows, cosines = nearest(store, owner, name, row, k)
    return tuple(
        _neighbour(owner, near, cosine)
        for near, cosine in zip(rows.tolist(), cosines.tolist(), strict=True)
    )


def default_field(store: Store, table: str) -> str:
    """The first of :data:`DEFAULT_FIELDS` that the table has.

    Raises:
        FieldMissing: it has none of them.
    """
    owner = store.table(table)
    found = next((name for name in DEFAULT_FIELDS if name in owner), None)
    if found is None:
        raise FieldMissing(
            f"no field of {table} to compare rows by",
            where=f"{store.path}::/{table}",
            hint="ingest again with an encoder: --text-encoder, --image-encoder or --clip",
        )
    return found


def nearest(
    store: Store, table: Table, field: str, row: int, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """(≤ k,) int64 rows nearest to one, without it, and their (≤ k,) float32 cosines.

    Memory: 4 bytes a row of the table, and a few blocks.

    Raises:
        UnknownId: no such row.
        DataError: its vector has no direction.
    """
    query = table.gather(field, [row])[0].astype(np.float32)
    length = row_lengths(query[None])[0]
    if not (np.isfinite(length) and length > 0):
        what = "is zero" if length == 0 else "holds values that are not finite, or too large"
        raise DataError(
            f"the vector of {table.ids([row])[0]!r} {what}: it has no direction, so no neighbours",
            where=f"{store.path}::/{table.name}/{field}[{row}]",
            hint=f"name another field with --field {table.name}/NAME",
        )
    query /= length
    cosines = np.empty(len(table), np.float32)
    step = max(1, _BLOCK // row_bytes(table.stored(field)))

    def compare(first: int) -> None:
        if first // step % _RELEASE == 0:
            store.release_pages()
        values = table.block(field, range(first, min(first + step, len(table))))
        cosines[first : first + step] = _cosines(values, query)

    with threads.together() as work:
        work.add([partial(compare, first) for first in range(0, len(table), step)])
    cosines[row] = -np.inf
    store.release_pages()
    rows = np.flatnonzero(cosines > -np.inf)
    if len(rows) > k:
        kth = np.partition(cosines[rows], len(rows) - k)[len(rows) - k] if k else np.inf
        rows = rows[cosines[rows] >= kth]  # those that tie for the last place are still in
    rows = rows[np.lexsort((rows, -cosines[rows]))][:k]
    return rows, cosines[rows]


def _cosines(values: np.ndarray, query: np.ndarray) -> np.ndarray:
    """(n,) float32 cosine of each row with a unit vector; -inf where a row has no direction.

    ``einsum`` adds up each row in the same order wherever it stands; BLAS does not.
    """
    vectors = widened(values)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        found = np.einsum("nd,d->n", vectors, query) / row_lengths(vectors)
    return np.where(np.isfinite(found), np.clip(found, -1, 1), -np.inf).astype(np.float32)


def row_lengths(vectors: np.ndarray) -> np.ndarray:
    """(n,) float32 the L2 norms of (n, W) float32 vectors; not finite where they have no direction."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.sqrt(np.einsum("nd,nd->n", vectors, vectors))


def comparable(table: Table, field: str) -> bool:
    """Whether a field that the table has holds one vector a row."""
    stored = table.stored(field)
    return stored.schema.layout == "view" and len(stored.shape) == 2


def _located(store: Store, key: str) -> tuple[str, int]:
    """Table and row of an id, entities first; of a row number where neither table has the id."""
    for name in TABLES:
        found = int(store.table(name).find([key])[0])
        if found >= 0:
            return name, found
    errors: list[UnknownId] = []
    for name in TABLES:
        try:
            return name, find_row(store, name, key)
        except UnknownId as error:
            errors.append(error)
    hints = "; ".join(f"{n}: {e.hint}" for n, e in zip(TABLES, errors, strict=True) if e.hint)
    raise UnknownId(
        f"no entity and no mention has the id {key!r}", where=str(store.path), hint=hints
    )


def _neighbour(table: Table, row: int, cosine: float) -> Neighbour:
    values = table[row]
    entity = table.name == "entities"
    return Neighbour(
        row=row,
        id=values["id"],
        title=values.get("title" if entity else "mention"),
        text=(values.get("description") or values.get("text"))
        if entity
        else values.get("sentence"),
        cosine=cosine,
    )
