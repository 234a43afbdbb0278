"""``drin-fs build entities``: options → :func:`featurestore.construct.entity_cut.build_entities`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from cli.console import count, percent, plain_text, show, show_json, stderr

if TYPE_CHECKING:
    from rich.console import RenderableType

    from featurestore.construct.entity_cut import EntitiesCut


@click.command()
@click.argument("mentions", type=click.Path(path_type=Path))
@click.argument("candidates", type=click.Path(path_type=Path))
@click.argument("titles", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="The table to write."
)
@click.option(
    "--details",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="qid-details.jsonl of build titles: cut it too, to a file of that name beside the table.",
)
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@click.option("--json", "as_json", is_flag=True, help="Print what was kept as JSON.")
def entities(
    mentions: Path,
    candidates: Path,
    titles: Path,
    output: Path,
    details: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Cut all titles down to the entities that mentions can mean.

    These are their candidates and their golds. MENTIONS and CANDIDATES are what build candidates read
    and wrote, TITLES the table that it searched, such as that of a whole Wikidata dump. The output is
    qid-entity.tsv of a raw WikiMEL folder: what build images crawls and drin-fs ingest stores.

    \b
    Examples:
    $ drin-fs build entities own/mentions candidates.tsv titles.tsv -o own/entities/qid-entity.tsv
    $ drin-fs build entities own/mentions c.tsv titles.tsv -o qid-entity.tsv --details details.jsonl

    The same in Python: featurestore.construct.entity_cut.build_entities.
    """  # fmt: skip
    from cli.progress import progress_on
    from featurestore.construct.entity_cut import build_entities

    cut = build_entities(
        mentions,
        candidates,
        titles,
        output,
        details=details,
        overwrite=overwrite,
        progress=progress_on(stderr()),
    )
    show_json(cut) if as_json else show(*entities_view(cut))


def entities_view(cut: EntitiesCut) -> list[RenderableType]:
    """What was kept, and which golds have no title."""
    from cli.render_parts import facts

    share = percent(cut.entities, cut.titles)
    rows: list[tuple[str, RenderableType]] = [
        ("file", plain_text(cut.output, "cyan")),
        ("entities", f"{count(cut.entities)} of {count(cut.titles)} titles ({share})"),
        ("candidates", f"{count(cut.candidates)}, each with its title"),
        ("golds", f"{count(cut.golds - cut.golds_missing)} of {count(cut.golds)} with a title"),
    ]
    if cut.golds_missing:
        more = ", …" if cut.golds_missing > len(cut.examples) else ""
        rows.append(("", plain_text(f"without: {', '.join(cut.examples)}{more}")))
    if cut.details:
        rows.append(("details", plain_text(f"{count(cut.details_kept)} lines: {cut.details}")))
    return [facts(rows)]
