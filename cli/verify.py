"""``drin-fs verify``: is a store sound? A skin over ``featurestore.verify``."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from cli.console import show, show_json, stderr


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--quick", is_flag=True, help="Leave the values of features out.")
@click.option("--full", is_flag=True, help="Also compare every stored byte with its checksum.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def verify(store: Path, quick: bool, full: bool, as_json: bool) -> int:
    """Look for damage and contradictions in a store.

    Checks that every field has the type and axes of the schema, that texts, ids and splits are whole,
    that candidates and golds are entities of the store, that mentions stand inside their sentences,
    and that views are finite. With --full every byte, at the speed of the disk.

    Exits with 3 if something is wrong; each problem names its field and first row.

    \b
    Examples:
    $ drin-fs verify demo/store.h5
    $ drin-fs verify demo/store.h5 --full
    $ drin-fs verify demo/store.h5 --full --json | jq .problems

    The same in Python: featurestore.verify.verify.
    """
    from cli.progress import progress_on
    from cli.render_verify import verification_view
    from featurestore.errors import DataError
    from featurestore.verify import Level
    from featurestore.verify import verify as look

    if quick and full:
        raise click.UsageError("--quick and --full: give one of them")
    level: Level = "quick" if quick else "full" if full else "normal"
    found = look(store, level, progress=progress_on(stderr()))
    show_json(found) if as_json else show(*verification_view(found))
    return DataError.exit_code if found.problems else 0
