"""``drin-fs audit``: is the data good? A skin over ``featurestore.audit``."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from cli.console import show, show_json, stderr


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Exit with 3 if there is an error or a warning.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def audit(store: Path, strict: bool, as_json: bool) -> int:
    """Look for what makes results wrong or misleading.

    Broken and zero features, missing pictures and descriptions, golds that are not retrieved,
    duplicate entities, cut off spans, mentions and pictures that splits share, titles that give the
    answer away, candidate lists that do. Says how many, why it matters, and names examples by id.

    An error is what makes results wrong or impossible: NaN or infinite features, golds that are no
    rows, a split of which no gold is retrieved. A warning is what misleads who does not know it:
    unexplained zero rows, a tenth or more of pictures or descriptions missing, recall below 90 %
    or of 100 %, duplicates, leaks between splits, cut off spans. All else is a note. With --strict
    the command exits with 3 where there is an error or a warning, so that a script can stop.

    Reads every text, column and view, but of records (the largest fields) 1,000 rows each.

    \b
    Examples:
    $ drin-fs audit demo/store.h5
    $ drin-fs audit demo/store.h5 --strict && drin-fs train demo/store.h5
    $ drin-fs audit demo/store.h5 --json | jq '.findings[] | select(.severity != "note")'

    The same in Python: featurestore.audit.audit.
    """
    import featurestore
    from cli.progress import progress_on
    from cli.render_audit import audit_view
    from featurestore.audit import audit as look
    from featurestore.errors import DataError

    with featurestore.open(store) as opened:
        found = look(opened, progress=progress_on(stderr()))
    show_json(found) if as_json else show(*audit_view(found))
    return DataError.exit_code if strict and not found.is_clean else 0
