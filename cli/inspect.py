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
    "--search",
    "text",
    metavar="TEXT",
    help="Find entities and mentions that contain a text; case and accents do not count.",
)
@click.option(
    "--neighbours",
    metavar="ID|ROW",
    help="Show the rows nearest to an entity or mention by cosine, exactly.",
)
@click.option(
    "--field",
    metavar="TABLE/NAME",
    help="Describe a field: distribution, norms, zero, NaN and equal rows, effective rank. "
    "With --neighbours: compare by this field.",
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
    help="So many candidates (and the gold wherever it stands), neighbours, or hits a table; with "
    f"--errors, so many mistakes of each group. Default: {_TOP_CANDIDATES}; {_TOP_MISTAKES}.",
)
@click.option(
    "--skip",
    type=click.IntRange(min=0),
    metavar="N",
    help="With --search: leave out the first N hits of each table.",
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
    text: str | None,
    neighbours: str | None,
    field: str | None,
    runs: tuple[Path, ...],
    edges: bool,
    errors: Path | None,
    split: str | None,
    top: int | None,
    skip: int | None,
    no_images: bool,
    web: bool,
    port: int | None,
    as_json: bool,
) -> None:
    """Look into a store: fields, splits, rows, neighbours, and what a run got wrong.

    Lists tables and fields with shape, type, compression and size, and the norms of a sample of each
    feature; splits with the share of mentions whose gold is among the first k candidates; missing
    pictures; how the store was made.
    Digits given for a mention or entity are looked up as an id first, then as a row number; what
    --neighbours names is looked up among the entities first, unless --field names the other table.

    \b
    Examples:
    $ drin-fs inspect demo/store.h5
    $ drin-fs inspect demo/store.h5 --mention 46351-0 --top 20
    $ drin-fs inspect demo/store.h5 --entity Q42 --json | jq .standing.gold_of
    $ drin-fs inspect demo/store.h5 --search "café" --skip 10
    $ drin-fs inspect demo/store.h5 --field mentions/text_span
    $ drin-fs inspect demo/store.h5 --neighbours Q42 --field entities/clip_image
    $ drin-fs inspect demo/store.h5 --errors runs/drin --split valid
    $ drin-fs inspect demo/store.h5 --mention 46351-0 --run runs/drin --edges
    $ drin-fs inspect demo/store.h5 --web --run runs/drin --run runs/text

    The same in Python: featurestore.summary.summarise, describe.describe_mention and describe_entity,
    search.search, neighbours.neighbourhood, field_report.describe_field; linker.mistakes.mistakes,
    verdicts.judge_mention, explain.edge_weights.
    """
    import featurestore
    from cli import inspect_views as views

    _check_options(
        {
            "--mention": mention,
            "--entity": entity,
            "--search": text,
            "--neighbours": neighbours,
            "--field": field if neighbours is None else None,
            "--errors": errors,
            "--web": web or None,
        },
        {"--run": runs, "--edges": edges, "--split": split, "--skip": skip, "--port": port},
    )
    if web:
        from cli.browse import browse

        browse(store, runs, port=port or 0, as_json=as_json)
        return
    most = _TOP_CANDIDATES if top is None else top
    images = not (no_images or as_json)
    with featurestore.open(store) as opened:
        if mention is not None and runs:
            _show_judged(
                opened, mention, runs, edges=edges, top=most, images=images, as_json=as_json
            )
            return
        if errors is not None:
            _show_errors(opened, errors, split=split, top=top, as_json=as_json)
            return
        if mention is not None:
            answer, view = views.mention(opened, mention, most, images=images)
        elif entity is not None:
            answer, view = views.entity(opened, entity, images=images)
        elif text is not None:
            answer, view = views.search(opened, text, most, skip or 0)
        elif neighbours is not None:
            answer, view = views.neighbours(opened, neighbours, field, most)
        elif field is not None:
            answer, view = views.field(opened, field)
        else:
            answer, view = views.overview(opened)
        show_json(answer) if as_json else show(view)


def _check_options(given: dict[str, Any], details: dict[str, Any]) -> None:
    """Refuse two views at once, and details of a view that is not asked for."""
    from cli import inspect_views as views

    views.refuse_several(given)
    asked = [name for name, value in given.items() if value is not None]
    needed = {
        "--run": ("--mention", "--web"),
        "--edges": ("--mention",),
        "--split": ("--errors",),
        "--skip": ("--search",),
        "--port": ("--web",),
    }
    for name, views_with_it in needed.items():
        if details[name] not in (None, (), False) and not set(views_with_it) & set(asked):
            raise click.UsageError(f"{name} needs {' or '.join(views_with_it)}")
    if details["--edges"] and not details["--run"]:
        raise click.UsageError("--edges needs --run RUN: the edges are those of a trained network")


def _show_judged(
    store: Store,
    key: str,
    runs: tuple[Path, ...],
    *,
    edges: bool,
    top: int,
    images: bool,
    as_json: bool,
) -> None:
    from cli.render_row import mention_view
    from cli.render_run import edges_view
    from cli.terminal_picture import picture_view
    from featurestore.describe import describe_mention, find_row

    row = find_row(store, "mentions", key)
    pictures = picture_view(store.mentions, row) if images else []
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


def _show_errors(
    store: Store, run: Path, *, split: str | None, top: int | None, as_json: bool
) -> None:
    from cli.render_mistakes import mistakes_view
    from linker.mistakes import mistakes

    limit = _TOP_MISTAKES if top is None else top
    found = mistakes(store, run, split=split or "test", limit=limit)
    show_json(found) if as_json else show(mistakes_view(found))
