"""The views of ``drin-fs inspect``: each a library call, and what it looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import rich_click as click
from rich.console import RenderableType

from cli import render
from cli.console import plain_text, size, stderr
from cli.progress import progress_on
from cli.render_field import field_view
from cli.render_neighbours import neighbours_view
from cli.render_parts import facts
from cli.render_row import entity_view, mention_view
from cli.render_search import search_view
from cli.terminal_picture import picture_view
from featurestore import Store
from featurestore.content_hash import content_hash
from featurestore.describe import MentionSummary, describe_entity, describe_mention, find_row
from featurestore.field_report import describe_field
from featurestore.neighbours import neighbourhood
from featurestore.schema import TABLES
from featurestore.search import SearchResult
from featurestore.search import search as find
from featurestore.summary import summarise
from linker.edge_summary import EdgeSummary
from linker.edge_weights import EdgeWeights


class MentionEdges(NamedTuple):
    """The edges of one mention, and the candidates that are shown of it."""

    weights: EdgeWeights
    mention: MentionSummary


class View(NamedTuple):
    """What ``--json`` prints, what is shown instead, and the edges that ``--plot`` draws."""

    answer: Any
    shown: tuple[RenderableType, ...]
    edges: tuple[EdgeSummary | MentionEdges, ...] = ()


#: Option → the views of which it is a detail.
_DETAILS = {
    "--run": ("--mention", "--edges", "--web", "--html"),
    "--split": ("--errors", "--edges"),
    "--skip": ("--search",),
    "--port": ("--web",),
    "--plot": ("--edges",),
    "--overwrite": ("--html", "--plot"),
}


def check_options(views: Mapping[str, object], details: Mapping[str, object]) -> None:
    """Refuse two views at once, and details of a view that is not asked for.

    Args:
        views: option → what it was given, ``None`` where it was not.
        details: the same of options that say more of a view; nothing, zero or False where not given.

    Raises:
        click.UsageError: names the options.
    """
    given = [option for option, value in views.items() if value is not None]
    of_mention = set(given) == {"--mention", "--edges"}  # the one view that is a detail as well
    if len(given) > 1 and not of_mention:
        raise click.UsageError(f"{', '.join(given[:-1])} and {given[-1]}: give one of them")
    given += [option for option, value in details.items() if value]
    for option, value in details.items():
        if value and not set(_DETAILS[option]) & set(given):
            raise click.UsageError(f"{option} goes with {' or '.join(_DETAILS[option])}")
    if "--edges" in given and "--run" not in given:
        raise click.UsageError("--edges needs --run RUN: the edges are those of a trained network")
    if of_mention and "--split" in given:
        raise click.UsageError("--split goes with --errors or --edges, and not with --mention")


def overview(store: Store) -> View:
    found = summarise(store)
    return View(found, (render.overview(found),))


def mention(
    store: Store, key: str, runs: Sequence[Path], *, top: int, images: bool, edges: bool
) -> View:
    """A mention, and what runs made of it: candidates stand in the order of the first run."""
    row = find_row(store, "mentions", key)
    pictures = picture_view(store.mentions, row) if images else []
    if not runs:
        found = describe_mention(store, row, top=top)
        return View(found, (*pictures, mention_view(found)))
    from cli.render_run import edges_view
    from linker.verdicts import judge_mention

    verdicts = [judge_mention(store, run, row) for run in runs]
    found = describe_mention(store, row, top=top, order=verdicts[0].order)
    weights = []
    if edges:
        from linker.explain import edge_weights  # imports torch

        weights = [edge_weights(run, store, row) for run in runs]
    answer = {each.name: getattr(found, each.name) for each in fields(found)}
    return View(
        answer | {"runs": verdicts, "edges": weights},
        (
            *pictures,
            mention_view(found, verdicts),
            *(edges_view(each, found) for each in weights),
        ),
        tuple(MentionEdges(each, found) for each in weights),
    )


def edges(store: Store, runs: Sequence[Path], split: str) -> View:
    """What the edges of runs are over a split."""
    from cli.render_edges import summary_view
    from linker.explain import summarise_edges  # imports torch

    progress = progress_on(stderr())
    progress = progress_on(stderr())
    found = [summarise_edges(run, store, split=split, progress=progress) for run in runs]
    return View({"edges": found}, tuple(map(summary_view, found)), tuple(found))


def entity(store: Store, key: str, *, images: bool) -> View:
    row = find_row(store, "entities", key)
    found = describe_entity(store, row)
    pictures = picture_view(store.entities, row) if images else []
    return View(found, (*pictures, entity_view(found)))


def errors(store: Store, run: Path, split: str, limit: int) -> View:
    """What a run got wrong."""
    from cli.render_mistakes import mistakes_view
    from linker.mistakes import mistakes

    found = mistakes(store, run, split=split, limit=limit)
    return View(found, (mistakes_view(found),))


def search(store: Store, text: str, limit: int, offset: int) -> View:
    found: dict[str, SearchResult] = {
        name: find(store, text, limit=limit, offset=offset, tables=[name]) for name in TABLES
    }
    return View(found, (search_view(found),))


def neighbours(store: Store, key: str, field: str | None, k: int) -> View:
    found = neighbourhood(store, key, field=field, k=k)
    return View(found, (neighbours_view(found),))


def field(store: Store, path: str) -> View:
    console = stderr()
    progress = progress_on(console) if console.is_terminal else None
    found = describe_field(store, path, progress=progress)
    return View(found, (field_view(found),))


def content(store: Store) -> View:
    found = content_hash(store, progress=progress_on(stderr()))
    return View({"store": str(store.path), "content_hash": found}, (found,))


def report(store: Store, target: Path, runs: Sequence[Path], *, overwrite: bool) -> View:
    """Writes the report; what is shown is what was written."""
    from cli.report_html.write import write_report

    written = write_report(
        store, target, runs=runs, overwrite=overwrite, progress=progress_on(stderr())
    )
    lines: list[tuple[str, RenderableType]] = [
        ("report", plain_text(written.path, "cyan")),
        ("size", size(written.bytes)),
        ("sections", plain_text(", ".join(written.sections))),
    ]
    return View(written, (facts(lines),))
