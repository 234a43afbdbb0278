"""The views of ``drin-fs inspect``: each a library call, and what it looks like."""

from __future__ import annotations

from typing import Any, TypeAlias

from rich.console import RenderableType

from cli import render
from cli.console import stderr
from cli.progress import progress_on
from cli.render_field import field_view
from cli.render_neighbours import neighbours_view
from cli.render_search import search_view
from featurestore import Store
from featurestore.field_report import describe_field
from featurestore.neighbours import neighbourhood
from featurestore.schema import TABLES
from featurestore.search import SearchResult
from featurestore.search import search as find
from featurestore.summary import summarise

#: What ``--json`` prints, and what is shown instead.
View: TypeAlias = tuple[Any, RenderableType]


def overview(store: Store) -> View:
    found = summarise(store)
    return found, render.overview(found)


def search(store: Store, text: str, limit: int, offset: int) -> View:
    found: dict[str, SearchResult] = {
        name: find(store, text, limit=limit, offset=offset, tables=[name]) for name in TABLES
    }
    return found, search_view(found)


def neighbours(store: Store, key: str, field: str | None, k: int) -> View:
    found = neighbourhood(store, key, field=field, k=k)
    return found, neighbours_view(found)


def field(store: Store, path: str) -> View:
    console = stderr()
    progress = progress_on(console) if console.is_terminal else None
    found = describe_field(store, path, progress=progress)
    return found, field_view(found)
