"""What a list of mentions or entities is asked for, in the address: filters, a text, a page."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cli.web.runs import pair
from cli.web.site import Parameters, Site
from cli.web.urls import encode
from featurestore.browse import MentionFilter
from featurestore.errors import ConfigError

#: Rows of a page.
PAGE_ROWS = 50

_YES_NO = {"": None, "yes": True, "no": False}

#: A search of more characters is cut (chosen here: longer than any name).
_LONGEST_TEXT = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Paged(ABC):
    """A list that is shown in pages, counted from 1."""

    page: int = 1

    @abstractmethod
    def parameters(self) -> Mapping[str, str]:
        """What the list is asked for, as it stands in the address."""

    def encode(self, *, page: int = 1) -> str:
        """The address of a page of this list, the question mark left out."""
        return encode({**self.parameters(), "page": page if page > 1 else None})


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery(Paged):
    """What entities are asked for, and mentions too. Texts as in the address; empty: all."""

    text: str = ""
    picture: str = ""

    @classmethod
    def parse(cls, given: Parameters) -> Self:
        """Read an address.

        Raises:
            ConfigError: a value that is none of the choices.
        """
        return cls(text=_text(given), picture=_choice(given, "picture"), page=page_number(given))

    def parameters(self) -> Mapping[str, str]:
        return {"q": self.text, "picture": self.picture}

    def has_picture(self) -> bool | None:
        return _YES_NO[self.picture]


@dataclass(frozen=True, slots=True, kw_only=True)
class MentionQuery(ListQuery):
    """``wrong``: name of a run whose errors are asked for."""

    split: str = ""
    gold: str = ""
    topic: str = ""
    wrong: str = ""

    @classmethod
    def parse(cls, given: Parameters) -> Self:
        return cls(
            text=_text(given),
            picture=_choice(given, "picture"),
            page=page_number(given),
            split=given.get("split", ""),
            gold=_choice(given, "gold"),
            topic=given.get("topic", ""),
            wrong=given.get("wrong", ""),
        )

    def parameters(self) -> Mapping[str, str]:
        own = {"split": self.split, "gold": self.gold, "topic": self.topic, "wrong": self.wrong}
        return {"q": self.text, "picture": self.picture} | own

    @property
    def narrowed(self) -> bool:
        """Whether anything is asked for."""
        return self != replace(type(self)(), page=self.page)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Rows in the order of the list. ``complete``: whether a search found no more than these."""

    rows: NDArray[np.int64]
    complete: bool


def list_mentions(site: Site, query: MentionQuery) -> Listed:
    """The mentions that a query asks for.

    Raises:
        UnknownId, ConfigError: no such split, topic or run.
        FieldMissing: the store lacks what a filter reads.
    """
    chosen = MentionFilter(
        split=query.split or None,
        picture=query.has_picture(),
        retrieved=_YES_NO[query.gold],
        topic=query.topic or None,
    )
    rows = site.selections.mentions(chosen)
    if query.wrong:
        run, _ = pair(site.runs, query.wrong, query.wrong)
        rows = rows[run.wrong[rows]]
    return _with_text(site, "mentions", query.text, rows)


def list_entities(site: Site, query: ListQuery) -> Listed:
    """The entities that a query asks for."""
    if query.picture:
        rows = site.selections.entities(query.has_picture())
    else:
        rows = np.arange(len(site.store.entities))
    return _with_text(site, "entities", query.text, rows)


def _with_text(site: Site, table: str, text: str, rows: NDArray[np.int64]) -> Listed:
    """Those of some ascending rows that hold a text, best first."""
    if not text:
        return Listed(rows=rows, complete=True)
    found = site.find(table, text)
    if len(rows) == len(site.store.table(table)):
        return Listed(rows=found.rows, complete=found.complete)
    places = np.minimum(np.searchsorted(rows, found.rows), max(len(rows) - 1, 0))
    kept = rows[places] == found.rows if len(rows) else np.zeros(len(found.rows), bool)
    return Listed(rows=found.rows[kept], complete=found.complete)


def _text(given: Parameters) -> str:
    return given.get("q", "").strip()[:_LONGEST_TEXT]


def page_number(given: Parameters) -> int:
    """The page that an address asks for."""
    page = given.get("page", "1")
    if not (page.isascii() and page.isdigit() and len(page) < 10):
        raise ConfigError(f"page={page!r} is no number", hint="pages are counted from 1")
    return max(1, int(page))


def _choice(given: Parameters, name: str) -> str:
    value = given.get(name, "")
    if value not in _YES_NO:
        raise ConfigError(f"{name}={value!r}", hint=f"{name}=yes or {name}=no")
    return value
