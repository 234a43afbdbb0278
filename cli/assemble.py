"""``drin-fs assemble``: finished shards → :func:`featurestore.assemble.assemble` → a summary."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from cli.console import show, show_json, stderr
from cli.file_size import FileSize


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    metavar="SOURCE",
    help="The dataset, if it is not where the shards read it.",
)
@click.option(
    "--max-file-size",
    type=FileSize(),
    metavar="SIZE",
    help="Put the features of entities into files of at most this size, such as 50GB, beside the store, "
    "which becomes their index.",
)
@click.option("--overwrite", is_flag=True, help="Replace the store if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def assemble(
    store: Path,
    source: Path | None,
    max_file_size: int | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Make STORE of the shards that ingest --shard left beside it.

    The shards know their source and options. They are compared with their checksums and copied; what they
    cannot know (ids, texts, candidates, similarities) is made now. The store is the one that an ingest in
    one piece makes, and the shards are removed. If one is missing or incomplete, the command that does it
    is said. No GPU is needed, and for the time of the copy the disk holds the features twice.

    \b
    Examples:
    $ drin-fs assemble wikimel.h5
    $ drin-fs assemble wikimel.h5 --from /elsewhere/wikimel --json

    The same in Python: featurestore.assemble.assemble; docs/distributed.md tells more.
    """
    from cli.progress import progress_on
    from cli.render_ingest import summary_views
    from featurestore.assemble import assemble as run

    summary = run(
        store,
        source=source,
        overwrite=overwrite,
        max_file_size=max_file_size,
        progress=progress_on(stderr()),
    )
    if as_json:
        show_json(summary.as_dict())
    else:
        show(*summary_views(summary.as_dict()))
