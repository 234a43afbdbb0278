"""Entities and mentions that contain a text: ``drin-fs inspect --search``.

    with featurestore.open("wikimel.h5") as store:
        for hit in search(store, "paris").hits:
            print(hit.id, hit.title, hit.match)

Case and accents do not count (see ``featurestore.folding``). Searched are the titles, ids and
descriptions of entities (the encoded text where there is no description), and the mentions, ids and
sentences of mentions. Best first: the whole name or id; a name that starts with the text; one that
has it as a word; a name or id that has it anywhere; then descriptions and sentences. Among equals in
the order of ``tables``, then of rows. A word ends where the name does, or at an ASCII character that is
neither letter nor digit.

Cost: texts are searched as bytes, in blocks. Folded names of an open store are kept for the next search,
at most :data:`NAME_BYTES`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from featurestore.errors import ConfigError
from featurestore.folding import fold, fold_bytes, fold_with_places
from featurestore.occurrences import Match, best_in_each
from featurestore.schema import TABLES
from featurestore.store import Store
from featurestore.text_blocks import TextBlock, text_blocks

#: Bytes of folded names, with their offsets, that are kept for an open store (chosen here: the titles
#: and ids of 3,000,000 entities).
NAME_BYTES = 128 << 20

#: Bytes of descriptions and sentences that are read only to count further hits, when the page that was
#: asked for is full (chosen here: some 30 ms).
COUNTED_BYTES = 8 << 20

#: Table → the field that names a row, its ids, and the longer text: the first that is stored.
_NAME = {"entities": "title", "mentions": "mention"}
_LONG = {"entities": ("description", "text"), "mentions": ("sentence",)}

#: No hit; greater than every place in the order.
_NONE = 255

#: The place in the order of a text found in a description or sentence.
_IN_LONG = len(Match)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchHit:
    """A row that contains the text.

    ``field``: where it was found best, and ``text`` what that field holds; ``span``: characters of
    ``text`` that match. ``match``: ``exact``, ``start``, ``word`` or ``within``. ``title``: of the
    entity, or the mention; ``about``: description or sentence; ``None`` where the store has none.
    """

    table: str
    row: int
    id: str
    title: str | None
    about: str | None
    field: str
    match: str
    text: str
    span: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """``hits``: those from place ``offset`` on, at most ``limit``. ``total``: rows that contain the text.

    ``at_least``: there may be more than ``total``, since long texts were not all read.
    ``totals``: table → how many of these.
    """

    text: str
    total: int
    at_least: bool
    totals: dict[str, int]
    offset: int
    limit: int
    hits: tuple[SearchHit, ...]


def search(
    store: Store,
    text: str,
    *,
    limit: int = 20,
    offset: int = 0,
    tables: Sequence[str] = TABLES,
) -> SearchResult:
    """Rows that contain a text, best first.

    Raises:
        ConfigError: nothing is left of the text without blanks and accents; no such table, or a
            negative ``limit`` or ``offset``.
        StoreError: a damaged text.
    """
    needle, found, at_least = _find(store, text, tables=tables, limit=limit, offset=offset)
    totals = {name: int((table.best != _NONE).sum()) for name, table in found.items()}
    return SearchResult(
        text=text,
        total=sum(totals.values()),
        at_least=at_least,
        totals=totals,
        offset=offset,
        limit=limit,
        hits=tuple(
            _hit(store, name, row, found[name], needle) for name, row in _page(found, offset, limit)
        ),
    )


def search_rows(
    store: Store, text: str, *, table: str, limit: int
) -> tuple[NDArray[np.int64], bool]:
    """(n,) rows of a table that contain a text, best first, at most ``limit``; and whether these are all.

    Raises:
        ConfigError, StoreError: as :func:`search`.
    """
    _, found, at_least = _find(store, text, tables=(table,), limit=limit, offset=0)
    rows = np.array([row for _, row in _page(found, 0, limit)], np.int64)
    total = int((found[table].best != _NONE).sum())
    return rows, total == len(rows) and not at_least


def _find(
    store: Store, text: str, *, tables: Sequence[str], limit: int, offset: int
) -> tuple[str, dict[str, _Found], bool]:
    """The folded text; what was found in each table; whether there may be more.

    Raises:
        ConfigError: see :func:`search`.
    """
    needle = fold(text.strip())
    if not needle:
        raise ConfigError(
            f"nothing to search for in {text!r}", where="search", hint="give a letter or more"
        )
    if limit < 0 or offset < 0 or not tables or not set(tables) <= set(TABLES):
        raise ConfigError(
            f"cannot give {limit} hits from place {offset} of {', '.join(tables) or 'no table'}",
            where="search",
            hint=f"numbers from 0; tables: {', '.join(TABLES)}",
        )
    wanted = np.frombuffer(needle.encode("utf-8", "surrogatepass"), np.uint8)
    found = {name: _Found(store, name) for name in tables}
    for table in found.values():
        table.search_names(wanted)
    return needle, found, _search_long(found, wanted, offset + limit)


class _Found:
    """What was found in one table: for each row its place in the order, and the field it is for."""

    def __init__(self, store: Store, table: str) -> None:
        self._store = store
        self.table = table
        stored = store.table(table)
        self.best = np.full(len(stored), _NONE, np.uint8)
        self.field = np.zeros(len(stored), np.uint8)
        self.long = next((name for name in _LONG[table] if name in stored), None)
        names = [name for name in (_NAME[table], "id") if name in stored]
        self.fields = [*names, *([self.long] if self.long else [])]

    def search_names(self, needle: np.ndarray) -> None:
        """Search names and ids; an id that is not the text itself has it within, at best."""
        for number, field in enumerate(self.fields):
            if field == self.long:
                continue
            for block in _folded_names(self._store, self.table, field):
                rows, matches = best_in_each(block.data, block.offsets, needle)
                if field == "id":
                    matches[matches != Match.EXACT] = Match.WITHIN
                self._keep(block.first + rows, matches, number)

    def search_long(self, needle: np.ndarray) -> Iterator[tuple[int, int]]:
        """Search the long texts a block at a time; gives the new hits and the bytes of each."""
        if self.long is None:
            return
        for block in text_blocks(self._store, self.table, self.long):
            rows, matches = best_in_each(*fold_bytes(block.data, block.offsets), needle)
            new = int((self.best[block.first + rows] == _NONE).sum())
            matches[:] = _IN_LONG
            self._keep(block.first + rows, matches, len(self.fields) - 1)
            yield new, len(block.data)

    def _keep(self, rows: np.ndarray, places: np.ndarray, field: int) -> None:
        better = places < self.best[rows]
        self.best[rows[better]] = places[better]
        self.field[rows[better]] = field


def _search_long(found: dict[str, _Found], needle: np.ndarray, wanted: int) -> bool:
    """Search long texts until the page is full and enough was counted; whether something is left.

    They are the last in the order, which is that of tables and rows: the first ones found are those
    of the page.
    """
    hits = sum(int((table.best != _NONE).sum()) for table in found.values())
    counted = 0
    for table in found.values():
        for new, size in table.search_long(needle):
            if hits >= wanted:
                counted += size
                if counted > COUNTED_BYTES:
                    return True
            hits += new
    return False


def _page(found: dict[str, _Found], offset: int, limit: int) -> list[tuple[str, int]]:
    """Tables and rows of the hits from place ``offset`` on, in their order."""
    page: list[tuple[str, int]] = []
    before = 0
    for place in range(_IN_LONG + 1):
        for name, table in found.items():
            rows = np.flatnonzero(table.best == place)
            start = max(0, offset - before)
            before += len(rows)
            page += [(name, row) for row in rows[start : start + limit - len(page)].tolist()]
    return page


def _hit(store: Store, name: str, row: int, found: _Found, needle: str) -> SearchHit:
    values = store.table(name)[row]
    field = found.fields[found.field[row]]
    text = values[field]
    folded, places = fold_with_places(text)
    start = folded.find(needle)
    match = Match(min(int(found.best[row]), Match.WITHIN))
    return SearchHit(
        table=name,
        row=row,
        id=values["id"],
        title=values.get(_NAME[name]),
        about=values[found.long] if found.long else None,
        field=field,
        match=match.name.lower(),
        text=text,
        span=(places[start], places[start + len(needle) - 1] + 1),
    )


_names: WeakKeyDictionary[Store, dict[tuple[str, str], list[TextBlock]]] = WeakKeyDictionary()


def _folded_names(store: Store, table: str, field: str) -> list[TextBlock] | Iterator[TextBlock]:
    """The folded texts of a field, kept for the next search as long as the store, and memory, lasts."""
    kept = _names.setdefault(store, {})
    if (table, field) in kept:
        return kept[table, field]
    folded = (
        TextBlock(block.first, *fold_bytes(block.data, block.offsets))
        for block in text_blocks(store, table, field)
    )
    used = sum(_size(block) for blocks in kept.values() for block in blocks)
    needed = store.table(table).stored(field).stored_bytes
    if used + needed > NAME_BYTES:
        return folded
    kept[table, field] = list(folded)
    return kept[table, field]


def _size(block: TextBlock) -> int:
    return block.data.nbytes + block.offsets.nbytes
