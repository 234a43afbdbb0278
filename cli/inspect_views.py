"""The views of ``drin-fs inspect``: each a library call, and what it looks like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import rich_click as click
from rich.console import Group, RenderableType

from cli import render
from cli.console import stderr
from cli.progress import progress_on
from cli.render_field import field_view
from cli.render_neighbours import neighbours_view
from cli.render_row import entity_view, mention_view
from cli.render_search import search_view
from cli.terminal_picture import picture_view
from featurestore import Store
from featurestore.describe import describe_entity, describe_mention, find_row
from featurestore.field_report import describe_field
from featurestore.neighbours import neighbourhood
from featurestore.schema import TABLES
from featurestore.search import SearchResult
from featurestore.search import search as find
from featurestore.summary import summarise

#: What ``--json`` prints, and what is shown instead.
View: TypeAlias = tuple[Any, RenderableType]


def refuse_several(asked: Mapping[str, object]) -> None:
    """Make sure that at most one view was asked for.

    Args:
        asked: option → what it was given, ``None`` where it was not.

    Raises:
        click.UsageError: names those that were.
    """
    given = [option for option, value in asked.items() if value is not None]
    if len(given) > 1:
        raise click.UsageError(f"{', '.join(given[:-1])} and {given[-1]}: give one of them")


def overview(store: Store) -> View:
    found = summarise(store)
    return found, render.overview(found)


def mention(store: Store, key: str, top: int, *, images: bool) -> View:
    row = find_row(store, "mentions", key)
    found = describe_mention(store, row, top=top)
    pictures = picture_view(store.mentions, row) if images else []
    return found, Group(*pictures, mention_view(found))


def entity(store: Store, key: str, *, images: bool) -> View:
    row = find_row(store, "entities", key)
    found = describe_entity(store, row)
    pictures = picture_view(store.entities, row) if images else []
    return found, Group(*pictures, entity_view(found))


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
