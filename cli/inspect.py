"""``drin-fs inspect``: show what a store holds, and what runs made of it.

A skin over ``featurestore.summary``, ``featurestore.describe``, ``linker.mistakes``,
``linker.verdicts`` and ``linker.explain``.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from cli.console import show, show_json

if TYPE_CHECKING:
    from featurestore import Store

#: Candidates of a mention, and mistakes of each group, that are shown (chosen here: a screen of the
#: former, and of the latter what shows every group on two).
_TOP_CANDIDATES, _TOP_MISTAKES = 10, 3


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--mention", metavar="ID|ROW", help="Show one mention: sentence, candidates, gold.")
@click.option(
    "--entity", metavar="ID|ROW", help="Show one entity: texts, picture, who points at it."
)
@click.option(
    "--run",
    "runs",
    multiple=True,
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="With --mention or --web: what RUN made of it. May be repeated.",
)
@click.option(
    "--edges",
    is_flag=True,
    help="With --mention and --run of a drin: the edges of every candidate, layer by layer.",
)
@click.option(
    "--errors",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="Show what RUN got wrong, grouped by why, the most confident first.",
)
@click.option("--split", metavar="NAME", help="With --errors: the split. Default: test.")
@click.option(
    "--top",
    type=click.IntRange(min=0),
    metavar="N",
    help="So many candidates, and the gold wherever it stands; with --errors, so many mistakes of "
    f"each group. Default: {_TOP_CANDIDATES}; {_TOP_MISTAKES}.",
)
@click.option("--no-images", is_flag=True, help="Leave pictures out of --mention and --entity.")
@click.option("--web", is_flag=True, help="Browse the store in a browser, until Ctrl-C.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="With --web: the port of this machine. Default: 0, a free one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def inspect(
    store: Path,
    mention: str | None,
    entity: str | None,
    runs: tuple[Path, ...],
    edges: bool,
    errors: Path | None,
    split: str | None,
    top: int | None,
    no_images: bool,
    web: bool,
    port: int | None,
    as_json: bool,
) -> None:
    """Show what a store holds: fields, splits, a mention, an entity; and what a run got wrong.

    Lists tables and fields with shape, type, compression and size; splits with the share of
    mentions whose gold is among the first k candidates; missing pictures; how the store was made.
    Digits given to --mention and --entity are looked up as an id first, then as a row number.

    \b
    Examples:
    $ drin-fs inspect demo/store.h5
    $ drin-fs inspect demo/store.h5 --mention 46351-0 --top 20
    $ drin-fs inspect demo/store.h5 --entity Q42 --json | jq .standing.gold_of
    $ drin-fs inspect demo/store.h5 --errors runs/drin --split valid
    $ drin-fs inspect demo/store.h5 --mention 46351-0 --run runs/drin --edges
    $ drin-fs inspect demo/store.h5 --web --run runs/drin --run runs/text

    The same in Python: featurestore.summary.summarise, featurestore.describe.describe_mention and
    describe_entity, linker.mistakes.mistakes, linker.verdicts.judge_mention,
    linker.explain.edge_weights.
    """
    import featurestore
    from cli.render import overview
    from featurestore.summary import summarise

    _check_options(
        {"--mention": mention, "--entity": entity, "--errors": errors, "--web": web or None},
        {"--run": runs, "--edges": edges, "--split": split, "--port": port},
    )
    if web:
        from cli.browse import browse

        browse(store, runs, port=port or 0, as_json=as_json)
        return
    with featurestore.open(store) as opened:
        if mention is not None:
            _show_mention(
                opened, mention, runs, edges=edges, top=top, images=not no_images, as_json=as_json
            )
        elif entity is not None:
            _show_entity(opened, entity, images=not no_images, as_json=as_json)
        elif errors is not None:
            _show_errors(opened, errors, split=split, top=top, as_json=as_json)
        else:
            summary = summarise(opened)
            show_json(summary) if as_json else show(overview(summary))


def _check_options(views: dict[str, Any], details: dict[str, Any]) -> None:
    """Refuse two views at once, and details of a view that is not asked for."""
    asked = [name for name, value in views.items() if value is not None]
    if len(asked) > 1:
        raise click.UsageError(f"{' and '.join(asked)}: give one of them")
    needed = {
        "--run": ("--mention", "--web"),
        "--edges": ("--mention",),
        "--split": ("--errors",),
        "--port": ("--web",),
    }
    for name, views_with_it in needed.items():
        if details[name] not in (None, (), False) and not set(views_with_it) & set(asked):
            raise click.UsageError(f"{name} needs {' or '.join(views_with_it)}")
    if details["--edges"] and not details["--run"]:
        raise click.UsageError("--edges needs --run RUN: the edges are those of a trained network")


def _show_mention(
    store: Store,
    key: str,
    runs: tuple[Path, ...],
    *,
    edges: bool,
    top: int | None,
    images: bool,
    as_json: bool,
) -> None:
    from cli.render_row import mention_view
    from cli.render_run import edges_view
    from cli.terminal_picture import picture_view
    from featurestore.describe import describe_mention, find_row

    row = find_row(store, "mentions", key)
    top = _TOP_CANDIDATES if top is None else top
    pictures = picture_view(store.mentions, row) if images and not as_json else []
    if not runs:
        one = describe_mention(store, row, top=top)
        show_json(one) if as_json else show(*pictures, mention_view(one))
        return
    from linker.verdicts import judge_mention

    verdicts = [judge_mention(store, run, row) for run in runs]
    one = describe_mention(store, row, top=top, order=verdicts[0].order)
    weights = []
    if edges:
        from linker.explain import edge_weights  # imports torch

        weights = [edge_weights(run, store, row) for run in runs]
    if as_json:
        values = {each.name: getattr(one, each.name) for each in fields(one)}
        show_json(values | {"runs": verdicts, "edges": weights})
    else:
        show(*pictures, mention_view(one, verdicts), *(edges_view(each, one) for each in weights))


def _show_entity(store: Store, key: str, *, images: bool, as_json: bool) -> None:
    from cli.render_row import entity_view
    from cli.terminal_picture import picture_view
    from featurestore.describe import describe_entity, find_row

    row = find_row(store, "entities", key)
    one = describe_entity(store, row)
    pictures = picture_view(store.entities, row) if images and not as_json else []
    show_json(one) if as_json else show(*pictures, entity_view(one))


def _show_errors(
    store: Store, run: Path, *, split: str | None, top: int | None, as_json: bool
) -> None:
    from cli.render_mistakes import mistakes_view
    from linker.mistakes import mistakes

    limit = _TOP_MISTAKES if top is None else top
    found = mistakes(store, run, split=split or "test", limit=limit)
    show_json(found) if as_json else show(mistakes_view(found))
