"""``drin-fs inspect``: show what a store holds. A skin over ``featurestore.summary`` and ``describe``."""

from __future__ import annotations

import sys
from pathlib import Path

import rich_click as click

from cli.console import clean, show, show_json, show_json_line, stderr


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--mention", metavar="ID|ROW", help="Show one mention: sentence, candidates, gold.")
@click.option(
    "--entity", metavar="ID|ROW", help="Show one entity: texts, picture, who points at it."
)
@click.option(
    "--top",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    metavar="N",
    help="With --mention: show so many candidates, and the gold wherever it stands.",
)
@click.option("--web", is_flag=True, help="Browse the store in a browser, until Ctrl-C.")
@click.option(
    "--run",
    "runs",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="With --web: a run of this store; give several to compare them.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    help="With --web: the port of this machine; 0 takes a free one.  [default: 0]",
)
@click.option("--no-images", is_flag=True, help="Leave pictures out of --mention and --entity.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def inspect(
    store: Path,
    mention: str | None,
    entity: str | None,
    top: int,
    web: bool,
    runs: tuple[Path, ...],
    port: int,
    no_images: bool,
    as_json: bool,
) -> None:
    """Show what a store holds: fields, splits, a mention, an entity.

    Lists tables and fields with shape, type, compression and size; splits with the share of
    mentions whose gold is among the first k candidates; missing pictures; how the store was made.
    Digits given to --mention and --entity are looked up as an id first, then as a row number.

    \b
    Examples:
    $ drin-fs inspect demo/store.h5
    $ drin-fs inspect demo/store.h5 --mention 46351-0 --top 20
    $ drin-fs inspect demo/store.h5 --entity Q42 --json | jq .standing.gold_of
    $ drin-fs inspect demo/store.h5 --web --run runs/drin

    The same in Python: featurestore.summary.summarise, featurestore.describe.describe_mention and
    describe_entity.
    """
    import featurestore
    from cli.render import overview
    from cli.render_row import entity_view, mention_view
    from cli.terminal_picture import picture_view
    from featurestore.describe import describe_entity, describe_mention, find_row
    from featurestore.summary import summarise

    if mention is not None and entity is not None:
        raise click.UsageError("--mention and --entity: give one of them")
    if web:
        if mention is not None or entity is not None:
            raise click.UsageError("--web shows every mention and entity: leave the others out")
        _browse(store, runs, port, as_json)
        return
    with featurestore.open(store) as opened:
        if mention is not None:
            row = find_row(opened, "mentions", mention)
            one = describe_mention(opened, row, top=top)
            pictures = [] if as_json or no_images else picture_view(opened.mentions, row)
            show_json(one) if as_json else show(*pictures, mention_view(one))
        elif entity is not None:
            row = find_row(opened, "entities", entity)
            other = describe_entity(opened, row)
            pictures = [] if as_json or no_images else picture_view(opened.entities, row)
            show_json(other) if as_json else show(*pictures, entity_view(other))
        else:
            summary = summarise(opened)
            show_json(summary) if as_json else show(overview(summary))


def _browse(store: Path, runs: tuple[Path, ...], port: int, as_json: bool) -> None:
    """Serve the store to a browser on this machine, and say where."""
    from cli.web.serve import HOST, serve

    def opened(number: int) -> None:
        url = f"http://{HOST}:{number}/"
        if as_json:
            show_json_line({"url": url, "port": number})
            sys.stdout.flush()
        lines = (
            f"browse {store.name} at {url}",
            f"from elsewhere: ssh -L {number}:{HOST}:{number} THIS_MACHINE, then the same address",
            "Ctrl-C ends it",
        )
        stderr().print(*map(clean, lines), sep="\n", soft_wrap=True)

    serve(store, runs, port=port, opened=opened)
