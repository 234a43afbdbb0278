"""``drin-fs diff``: what differs between two stores. A skin over ``featurestore.diff``."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from cli.console import show, show_json, stderr

#: As diff(1) exits: nothing failed, but the stores differ.
DIFFERENT = 1


@click.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def diff(a: Path, b: Path, as_json: bool) -> int:
    """Compare two stores: fields, ids, texts, values.

    Says how they were made differently; which fields only one has or stores otherwise; which ids only
    one has, or has at another row or in another split; and for every field of rows with equal ids how
    many rows differ, by how much at most and on average, and where. Candidates and golds are compared
    by the entities they stand for.

    Exits as diff(1) does: 0 if the stores are the same, 1 if they differ. When and where they were made,
    and by which versions, is shown but makes no difference. Something that failed also exits with 1, with
    a message on stderr and nothing on stdout; a file that is no store with 3.

    Arrays of equal checksums are not read, so equal stores take a second; see verify --full.

    \b
    Examples:
    $ drin-fs diff demo/a.h5 demo/b.h5
    $ drin-fs diff demo/a.h5 demo/b.h5 --json | jq '.values[] | {path, differ, maximum}'

    The same in Python: featurestore.diff.diff.
    """
    import featurestore
    from cli.progress import progress_on
    from cli.render_diff import diff_view
    from featurestore.diff import diff as compare

    with featurestore.open(a) as one, featurestore.open(b) as other:
        found = compare(one, other, progress=progress_on(stderr()))
    show_json(found) if as_json else show(*diff_view(found))
    return 0 if found.same else DIFFERENT
