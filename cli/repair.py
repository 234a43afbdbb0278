"""``drin-fs repair``: store and source → :func:`featurestore.repair.repair` → what was made again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import rich_click as click
from rich import box
from rich.table import Table

from cli.console import count, plain_text, show, show_json, stderr


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    required=True,
    metavar="SOURCE",
    help="The dataset that the store was made from: a folder, or an archive.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def repair(store: Path, source: Path, as_json: bool) -> None:
    """Make the damaged rows of STORE again from its source.

    Every byte is compared with its checksum; rows that are sound are taken over as they are, the others
    are read or encoded again with the encoders and options that the store was made with. The repaired
    store takes the place of the old one when it is complete. Run it where the ingest was run, if encoders
    were given as relative paths.

    \b
    Examples:
    $ drin-fs repair wikimel.h5 --from data/wikimel
    $ drin-fs repair wikimel.h5 --from preprocessed.tar.gz.mp4 --json
    """
    from cli.progress import progress_on
    from featurestore.repair import repair as run

    done = run(store, source, progress=progress_on(stderr()))
    if as_json:
        show_json(asdict(done))
    elif not done.rows:
        show("sound: nothing had to be made again")
    else:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("made again")
        table.add_column("rows", justify="right")
        for path, rows in done.rows.items():
            table.add_row(plain_text(path), count(rows))
        same = (
            "the very bytes that were lost: every checksum is as it was"
            if done.exact
            else "not to the last bit what was lost: another machine or library rounds otherwise"
        )
        show(table, same)
