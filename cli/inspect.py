"""``drin-fs inspect``: show what a store holds. Its views are in ``cli.inspect_views``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from cli.console import show, show_json
from cli.places import StorePlace

if TYPE_CHECKING:
    from featurestore.place import Place

#: Candidates, neighbours and hits, and mistakes of each group, that are shown (chosen here: a screen of
#: the former, and of the latter what shows every group on two).
TOP, TOP_MISTAKES = 10, 3


@click.command()
@click.argument("store", type=StorePlace())
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
    "--errors",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="Show what RUN got wrong, grouped by why, the most confident first.",
)
@click.option(
    "--run",
    "runs",
    multiple=True,
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="With --mention, --edges, --web or --html: what RUN made of it. May be repeated.",
)
@click.option(
    "--edges",
    is_flag=True,
    help="With --run of a drin: the edges that its layers read, as means over a split by topic, pictures "
    "and verdict; with --mention, of every candidate.",
)
@click.option("--split", metavar="NAME", help="With --errors or --edges: the split. Default: test.")
@click.option(
    "--top",
    type=click.IntRange(min=0),
    metavar="N",
    help="Show so many candidates (and the gold wherever it stands), neighbours, hits a table, or "
    f"mistakes of a group. Default: {TOP}; of a group {TOP_MISTAKES}.",
)
@click.option(
    "--skip",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="With --search: leave out the first N hits of each table.",
)
@click.option(
    "--content-hash",
    is_flag=True,
    help="Print one hash of all values, equal for equal content however it was written or compressed.",
)
@click.option("--web", is_flag=True, help="Browse the store in a browser, until Ctrl-C.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="With --web: the port of this machine. Default: a free one.",
)
@click.option(
    "--html",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write a report to read in a browser or on paper: one file, which needs no other.",
)
@click.option(
    "--plot",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="With --edges of one run: also draw them, as FILE.png or FILE.svg.",
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="With --html or --plot: replace FILE, if it is a report or picture.",
)
@click.option("--no-images", is_flag=True, help="Leave pictures out of --mention and --entity.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def inspect(
    store: Place,
    mention: str | None,
    entity: str | None,
    text: str | None,
    neighbours: str | None,
    field: str | None,
    errors: Path | None,
    runs: tuple[Path, ...],
    edges: bool,
    split: str | None,
    top: int | None,
    skip: int,
    content_hash: bool,
    web: bool,
    port: int | None,
    html: Path | None,
    plot: Path | None,
    overwrite: bool,
    no_images: bool,
    as_json: bool,
) -> None:
    """Look into a store: fields, splits, rows, neighbours, errors.

    STORE is a file or a URL (http, https, s3, …): of that, only what is shown is fetched, and kept.

    Lists tables and fields with shape, type, compression and size, and the norms of a sample of each
    feature; splits with the share of mentions whose gold is among the first k candidates; missing
    pictures; how the store was made.
    Digits given for a mention or entity are looked up as an id first, then as a row number; what
    --neighbours names is looked up among the entities first, unless --field names the other table.

    \b
    Examples:
    $ drin-fs inspect demo/store.h5
    $ drin-fs inspect demo/store.h5 --mention 46351-0 --top 20
    $ drin-fs inspect https://example.org/wikimel.h5 --mention 46351-0
    $ drin-fs inspect demo/store.h5 --entity Q42 --json | jq .standing.gold_of
    $ drin-fs inspect demo/store.h5 --search "café" --skip 10
    $ drin-fs inspect demo/store.h5 --field mentions/text_span
    $ drin-fs inspect demo/store.h5 --neighbours Q42 --field entities/clip_image
    $ drin-fs inspect demo/store.h5 --errors runs/drin --split valid
    $ drin-fs inspect demo/store.h5 --mention 46351-0 --run runs/drin --edges
    $ drin-fs inspect demo/store.h5 --run runs/drin --edges --plot edges.png
    $ drin-fs inspect demo/store.h5 --content-hash
    $ drin-fs inspect demo/store.h5 --web --run runs/drin --run runs/text
    $ drin-fs inspect demo/store.h5 --html report.html --run runs/drin --run runs/text

    The same in Python: featurestore.summary.summarise, describe.describe_mention and describe_entity,
    search.search, neighbours.neighbourhood, field_report.describe_field, content_hash.content_hash;
    linker.mistakes.mistakes, verdicts.judge_mention, explain.edge_weights and summarise_edges.
    """
    import featurestore
    from cli import inspect_views as views

    views.check_options(
        {
            "--mention": mention,
            "--entity": entity,
            "--search": text,
            "--neighbours": neighbours,
            "--field": field if neighbours is None else None,
            "--errors": errors,
            "--edges": edges or None,
            "--content-hash": content_hash or None,
            "--web": web or None,
            "--html": html,
        },
        {
            "--run": runs,
            "--split": split,
            "--skip": skip,
            "--port": port,
            "--plot": plot,
            "--overwrite": overwrite,
        },
    )
    if web:
        from cli.browse import browse

        browse(store, runs, port=port or 0, as_json=as_json)
        return
    if plot is not None:
        from cli.inspect_plot import check_plot, write_plot

        check_plot(plot, runs, overwrite=overwrite)
    images, few = not (no_images or as_json), TOP if top is None else top
    with featurestore.open(store) as opened:
        if mention is not None:
            view = views.mention(opened, mention, runs, top=few, images=images, edges=edges)
        elif edges:
            view = views.edges(opened, runs, split or "test")
        elif entity is not None:
            view = views.entity(opened, entity, images=images)
        elif text is not None:
            view = views.search(opened, text, few, skip)
        elif neighbours is not None:
            view = views.neighbours(opened, neighbours, field, few)
        elif field is not None:
            view = views.field(opened, field)
        elif errors is not None:
            view = views.errors(
                opened, errors, split or "test", TOP_MISTAKES if top is None else top
            )
        elif content_hash:
            view = views.content(opened)
        elif html is not None:
            view = views.report(opened, html, runs, overwrite=overwrite)
        else:
            view = views.overview(opened)
        if plot is not None:
            write_plot(view, plot)
        show_json(view.answer) if as_json else show(*view.shown)
