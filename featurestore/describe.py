"""One row of a store in plain values: what ``drin-fs inspect --mention`` and ``--entity`` show.

with featurestore.open("wikimel.h5") as store:
    row = find_row(store, "mentions", "46351-0")
    describe_mention(store, row).candidates
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurestore.browse import Pointing
from featurestore.catalog import StoredField
from featurestore.errors import StoreError, UnknownId
from featurestore.rivals import Standing, standing
from featurestore.schema import FIELDS, NO_ROW
from featurestore.static_edges import EDGES, StaticEdges, static_edges
from featurestore.store import Store
from featurestore.summary import status_word
from featurestore.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldStatistics:
    """The numbers of one field in one row, as they are stored.

    ``shape`` is that of the real part of a record, its padding left out. ``norm`` is the mean length
    (L2) of the vectors along the last axis. ``zeros`` is the share of zero values. All are ``None``
    where the field holds no value for the row.
    """

    field: str
    layout: str
    shape: tuple[int, ...]
    dtype: str
    mean: float | None
    std: float | None
    minimum: float | None
    maximum: float | None
    norm: float | None
    zeros: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityLine:
    """An entity as it stands in a list of candidates.

    ``rank`` counts from 1; ``None`` for a gold entity that was not retrieved. ``row`` and ``id`` are
    ``None`` for an empty place. Similarities are CLIP logits (100·cos), ``None`` where not stored.
    ``edges``: name → cosine, of those that the store can tell (:mod:`featurestore.static_edges`).
    """

    rank: int | None
    is_gold: bool
    row: int | None
    id: str | None
    title: str | None
    text: str | None
    sim_image_text: float | None
    sim_text_image: float | None
    edges: dict[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class MentionSummary:
    """One mention. ``span``: characters of the mention in ``sentence``, where the source has them.

    ``answer``: place of the gold among the K candidates from 0, K = not retrieved.
    ``candidates``: the first ones asked for, then the gold where it stands further down or was not
    retrieved. ``values``: the fields that hold one number or text a row.
    """

    row: int
    id: str
    split: str | None
    sentence: str
    span: tuple[int, int] | None
    image_path: str | None
    image_status: str | None
    retrieved: int  # K
    answer: int
    gold: EntityLine | None
    candidates: tuple[EntityLine, ...]
    values: dict[str, Any]
    statistics: tuple[FieldStatistics, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntitySummary:
    """One entity, and the mentions that point at it."""

    row: int
    id: str
    title: str | None
    description: str | None
    text: str | None
    image_path: str | None
    image_status: str | None
    standing: Standing
    values: dict[str, Any]
    statistics: tuple[FieldStatistics, ...]


def find_row(store: Store, name: str, key: str) -> int:
    """The row of a table with the id ``key``; where there is none and ``key`` is all digits, that row.

    Raises:
        UnknownId: neither.
    """
    table = store.table(name)
    found = int(table.find([key])[0])
    if found >= 0:
        return found
    if key.isascii() and key.isdigit():
        if len(key) < 19 and int(key) < len(table):
            return int(key)
        raise UnknownId(
            f"no id {key!r}, and no row of that number",
            where=f"{store.path}::/{name}",
            hint=f"rows are 0 … {len(table) - 1}" if len(table) else "the table is empty",
        )
    return int(table.rows([key])[0])  # raises, with the nearest ids


def describe_mention(
    store: Store, row: int, *, top: int = 10, order: Sequence[int] | None = None
) -> MentionSummary:
    """Describe a mention with its first ``top`` candidates, and the gold wherever it stands.

    Args:
        order: places of the candidates, from 0, in the order in which they are wanted; by default
            as they were retrieved.

    Raises:
        UnknownId: no such row.
        FieldMissing: the store lacks ids, sentences, candidates, golds or answers.
    """
    table = _complete(store.mentions)
    table[row]  # refuses a row outside the table
    table.prefetch(table.fields, [row])
    values = _plain_values(table, row)
    del values["gold"]
    answer = values.pop("answer")
    wanted = range(_width(store)) if order is None else order
    edges = static_edges(store, row)
    _prefetch_lines(store, row, wanted[:top])
    lines = [_candidate(store, row, place, edges) for place in wanted[:top]]
    gold = _gold(store, row, edges)
    if gold is not None and not any(line.is_gold for line in lines):
        lines.append(gold)
    start, end = values.pop("char_start", None), values.pop("char_end", None)
    return MentionSummary(
        row=row,
        id=values.pop("id"),
        split=next((name for name, rows in table.splits.items() if row in rows), None),
        sentence=values.pop("sentence"),
        span=(start, end) if start is not None and end is not None else None,
        image_path=values.pop("image_path", None),
        image_status=_status(values),
        retrieved=_width(store),
        answer=answer,
        gold=gold,
        candidates=tuple(lines),
        values=values,
        statistics=tuple(_statistics(table, row)),
    )


def describe_entity(store: Store, row: int, *, pointing: Pointing | None = None) -> EntitySummary:
    """Describe an entity, who points at it, and whom it competes with.

    Args:
        pointing: :func:`~featurestore.browse.pointing_at`, where it is known already.

    Raises:
        UnknownId: no such row.
        FieldMissing: the store lacks ids, sentences, candidates, golds or answers.
    """
    table = _complete(store.entities)
    _complete(store.mentions)
    table[row]  # refuses a row outside the table
    table.prefetch(table.fields, [row])
    values = _plain_values(table, row)
    return EntitySummary(
        row=row,
        id=values.pop("id"),
        title=values.pop("title", None),
        description=values.pop("description", None),
        text=values.pop("text", None),
        image_path=values.pop("image_path", None),
        image_status=_status(values),
        standing=standing(store, row, pointing=pointing),
        values=values,
        statistics=tuple(_statistics(table, row)),
    )


#: Without these nothing can be said of a row.
_NEEDED = {"entities": ("id",), "mentions": ("id", "sentence", "candidates", "gold", "answer")}


def _complete(table: Table) -> Table:
    """The table, if it has the fields without which nothing can be said of a row.

    Raises:
        FieldMissing: names the first that it lacks.
    """
    for name in _NEEDED[table.name]:
        table.stored(name)
    return table


def _width(store: Store) -> int:
    return store.width("mentions/candidates")


def _prefetch_lines(store: Store, row: int, places: Sequence[int]) -> None:
    """Have the texts of some candidates and of the gold here, of a remote store, in one go."""
    mention, entities = store.mentions[row], store.entities
    rows = np.append(mention["candidates"][list(places)], mention["gold"])
    names = [name for name in ("id", "title", "description", "text") if name in entities]
    entities.prefetch(names, rows[(rows > NO_ROW) & (rows < len(entities))])


def _candidate(store: Store, row: int, place: int, edges: StaticEdges) -> EntityLine:
    """The candidate of a mention at one place (from 0)."""
    mention = store.mentions[row]
    return _entity_line(
        store,
        int(mention["candidates"][place]),
        rank=place + 1,
        is_gold=place == mention["answer"],
        similarities=_similarities(store.mentions, row, place),
        edges=_known(edges, place),
    )


def _gold(store: Store, row: int, edges: StaticEdges) -> EntityLine | None:
    """The gold entity of a mention; its similarities stand in the last slot of the row."""
    mention = store.mentions[row]
    answer, gold, width = int(mention["answer"]), int(mention["gold"]), _width(store)
    if not 0 <= answer <= width:
        raise StoreError(
            f"the answer is {answer}, of {width} candidates",
            where=f"{store.path}::/mentions/answer[{row}]",
            hint=f"see what else is damaged: drin-fs verify {store.path}",
        )
    if answer < width:
        return _candidate(store, row, answer, edges)
    if gold == NO_ROW:
        return None
    return _entity_line(
        store,
        gold,
        rank=None,
        is_gold=True,
        similarities=_similarities(store.mentions, row, width),
        edges=_known(edges, width),
    )


def _known(edges: StaticEdges, place: int) -> dict[str, float | None]:
    values = dict(zip(EDGES, edges.weights[place].tolist(), strict=True))
    return {name: None if np.isnan(values[name]) else values[name] for name in edges.known}


def _similarities(mentions: Table, row: int, place: int) -> tuple[float | None, float | None]:
    image_text, text_image = (
        float(mentions[row][name][place]) if name in mentions else None
        for name in ("sim_image_text", "sim_text_image")
    )
    return image_text, text_image


def _entity_line(
    store: Store,
    entity: int,
    *,
    rank: int | None,
    is_gold: bool,
    similarities: tuple[float | None, float | None],
    edges: dict[str, float | None],
) -> EntityLine:
    known = entity != NO_ROW
    values = store.entities[entity] if known else {}
    return EntityLine(
        rank=rank,
        is_gold=is_gold,
        row=entity if known else None,
        id=values.get("id"),
        title=values.get("title"),
        text=values.get("description") or values.get("text"),
        sim_image_text=similarities[0],
        sim_text_image=similarities[1],
        edges=edges,
    )


def _plain_values(table: Table, row: int) -> dict[str, Any]:
    """The texts and single numbers of a row, in the order of the schema."""
    values = table[row]
    return {
        field.name: values[field.name]
        for field in FIELDS
        if field.table == table.name and field.name in table and not field.axes
    }


def _status(values: dict[str, Any]) -> str | None:
    """Take ``image_status`` out of a row's values, in words."""
    code = values.pop("image_status", None)
    return None if code is None else status_word(code)


def _statistics(table: Table, row: int) -> Iterator[FieldStatistics]:
    """Statistics of a row's features and arrays of real numbers."""
    for schema in FIELDS:
        if schema.table != table.name or schema.name not in table or not schema.axes:
            continue
        stored = table.stored(schema.name)
        if stored.dtype.kind == "f":
            yield _field_statistics(stored, table.gather(schema.name, [row])[0])


def _field_statistics(stored: StoredField, values: np.ndarray) -> FieldStatistics:
    exact = values.astype(np.float64)
    some = values.size > 0
    with np.errstate(all="ignore"):  # of values that are not finite, so are these
        return FieldStatistics(
            field=stored.name,
            layout=stored.schema.layout,
            shape=values.shape,
            dtype=str(stored.dtype),
            mean=float(exact.mean()) if some else None,
            std=float(exact.std()) if some else None,
            minimum=float(exact.min()) if some else None,
            maximum=float(exact.max()) if some else None,
            norm=float(np.linalg.norm(exact, axis=-1).mean()) if some else None,
            zeros=float((exact == 0).mean()) if some else None,
        )
