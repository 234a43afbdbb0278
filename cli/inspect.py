"""``drin-fs inspect``: show what a store holds. Its views are in ``cli.inspect_views``."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from cli.console import show, show_json


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
    "--top",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    metavar="N",
    help="Show so many candidates (and the gold wherever it stands), neighbours, or hits a table.",
)
@click.option(
    "--skip",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="With --search: leave out the first N hits of each table.",
)
@click.option("--no-images", is_flag=True, help="Leave pictures out of --mention and --entity.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def inspect(
    store: Path,
    mention: str | None,
    entity: str | None,
    text: str | None,
    neighbours: str | None,
    field: str | None,
    top: int,
    skip: int,
    no_images: bool,
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

    The same in Python: featurestore.summary.summarise, describe.describe_mention and describe_entity,
    search.search, neighbours.neighbourhood, field_report.describe_field.
    """
    import featurestore
    from cli import inspect_views as views

    asked = {
        "--mention": mention,
        "--entity": entity,
        "--search": text,
        "--neighbours": neighbours,
        "--field": field if neighbours is None else None,
    }
    views.refuse_several(asked)
    if skip and text is None:
        raise click.UsageError("--skip goes with --search")
    with featurestore.open(store) as opened:
        if mention is not None:
            answer, view = views.mention(opened, mention, top, images=not (no_images or as_json))
        elif entity is not None:
            answer, view = views.entity(opened, entity, images=not (no_images or as_json))
        elif text is not None:
            answer, view = views.search(opened, text, top, skip)
        elif neighbours is not None:
            answer, view = views.neighbours(opened, neighbours, field, top)
        elif field is not None:
            answer, view = views.field(opened, field)
        else:
            answer, view = views.overview(opened)
        show_json(answer) if as_json else show(view)
