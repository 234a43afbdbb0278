"""Whom a new mention may mean: the entities that are named, or those whose titles are most like it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from featurestore import Store
from featurestore.candidates import TitleIndex
from featurestore.errors import FieldMissing, UnknownId
from featurestore.schema import NO_ROW
from linker.link_mentions import MentionInput

#: An id that is no name.
_QID = re.compile(r"Q[0-9]+")


class CandidateFinder:
    """Candidates of new mentions as rows of the entity table.

    The titles are indexed at once, so that the first mention is answered as fast as the others: a
    second for 80,000 titles.

    Args:
        count: entities found by title, at most.
    """

    def __init__(self, store: Store, *, count: int) -> None:
        self._store = store
        self._count = count
        self._index = _title_index(store)

    def rows(self, mentions: Sequence[MentionInput]) -> list[np.ndarray]:
        """For each mention its candidates, best first; none where no title is like it.

        Raises:
            UnknownId: a candidate that was given is neither an id nor a title, or is the title of
                several entities.
            FieldMissing: candidates are to be found by title, and the store has none.
        """
        found: list[np.ndarray] = [
            np.empty(0, np.int64) if each.candidates is None else self._named(each)
            for each in mentions
        ]
        places = [place for place, each in enumerate(mentions) if each.candidates is None]
        if places and self._index is None:
            raise FieldMissing(
                "the store has no titles to find candidates by, and its ids are no names",
                where=mentions[places[0]].where or f"{self._store.path}::/entities/title",
                hint="give each mention its candidates, as ids",
            )
        if places and self._index is not None:
            rows = self._index.top([mentions[place].mention for place in places], self._count)
            for place, own in zip(places, rows, strict=True):
                found[place] = own[own != NO_ROW].astype(np.int64)
        return found

    def _named(self, mention: MentionInput) -> np.ndarray:
        """The rows of given candidates, by id or else by title."""
        names = list(mention.candidates or ())
        rows = self._store.entities.find(names)
        for place in np.flatnonzero(rows == NO_ROW).tolist():
            rows[place] = self._titled(names[place], mention)
        return rows

    def _titled(self, name: str, mention: MentionInput) -> int:
        rows = self._by_title.get(name, [])
        if len(rows) == 1:
            return rows[0]
        where = mention.where or f"{self._store.path}::/entities"
        if rows:
            ids = ", ".join(self._store.entities.ids(rows))
            raise UnknownId(
                f"{name!r} is the title of {len(rows)} entities", where=where, hint=f"ids: {ids}"
            )
        try:
            self._store.entities.rows([name])
        except UnknownId as error:
            raise UnknownId(
                f"the candidate {name!r} is no entity of the store", where=where, hint=error.hint
            ) from error
        raise AssertionError("find() and rows() disagree")

    @cached_property
    def _by_title(self) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = {}
        if "title" in self._store.entities:
            for row, title in enumerate(self._store.entities.texts("title")):
                rows.setdefault(title, []).append(row)
        return rows


def _title_index(store: Store) -> TitleIndex | None:
    """An index of the titles, or of ids that are names; None where the store has only QIDs."""
    entities = store.entities
    if "title" in entities:
        return TitleIndex.build(entities.texts("title"))
    sample = entities.ids(np.arange(min(len(entities), 100)))
    if all(_QID.fullmatch(id_) for id_ in sample):
        return None
    return TitleIndex.build(entities.texts("id"))
