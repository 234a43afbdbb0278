"""``drin-fs build split``: options → :func:`featurestore.construct.split.build_split`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import rich_click as click

from cli.console import show, show_json, stderr

if TYPE_CHECKING:
    from rich.console import RenderableType

    from featurestore.construct.split import SplitSummary


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--shares", metavar="TRAIN,VALID,TEST", default="0.7,0.15,0.15", show_default=True,
    help="Proportions of mentions; 70,10,20 does as well.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True,
    help="Another seed, another division.",
)  # fmt: skip
@click.option(
    "--by", type=click.Choice(["document", "mention", "entity"]), default="document",
    show_default=True,
    help="What is never divided: a document's mentions, nothing, or a gold's mentions.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace the split files that are there.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def split(
    folder: Path,
    shares: str,
    seed: int,
    by: Literal["document", "mention", "entity"],
    overwrite: bool,
    as_json: bool,
) -> None:
    """Divide mentions into train, valid and test, and say what the splits share.

    DIR is what build mentions made (its mentions.jsonl), or any raw WikiMEL folder, whose mentions are
    then divided anew. No document stands in two splits; the sentence counts as the document of a mention
    that names none. Documents are put in the order of a hash that the seed decides, and cut where the
    shares say: the same mentions are divided the same way on every machine, and added ones move few.

    With --by entity no gold of valid or test is seen in train: what a model does with new entities.
    drin-fs audit of the ingested store names examples of what splits share.

    \b
    Examples:
    $ drin-fs build split own
    $ drin-fs build split own --shares 70,10,20 --seed 3 --overwrite
    $ drin-fs build split own --by entity --overwrite --json

    The same in Python: featurestore.construct.split.build_split.
    """
    from cli.progress import progress_on
    from featurestore.construct.split import build_split, parse_shares

    summary = build_split(
        folder,
        shares=parse_shares(shares),
        seed=seed,
        by=by,
        overwrite=overwrite,
        progress=progress_on(stderr()),
    )
    show_json(summary) if as_json else show(*split_view(summary))


def split_view(summary: SplitSummary) -> list[RenderableType]:
    """Sizes, and what valid and test share with train."""
    from rich.text import Text

    from cli.build.needed_view import needed_view
    from cli.console import count, percent, plain_text
    from cli.render_parts import grid

    named, total = summary.documents_named, summary.mentions
    head = Text.assemble(
        plain_text(summary.root, "cyan"),
        f"  {count(total)} mentions divided by {summary.by}, seed {summary.seed}",
    )
    if named < total:
        head.append(
            f"\n{count(total - named)} name no document: their sentence counts as one", "dim"
        )
    columns = ["mentions", "share", "documents", "entities", "pictures", "no gold"]
    sizes = grid("splits", "split", *columns, right=columns)
    for name, size in summary.splits.items():
        numbers = (size.documents, size.entities, size.pictures, size.without_gold)
        share = percent(size.mentions, total)
        sizes.add_row(name, count(size.mentions), share, *map(count, numbers))
    shared = grid("seen in train", "of", *summary.overlap, right=list(summary.overlap))
    found = summary.overlap.values()
    for what, cells in (
        ("golds of mentions", [(each.golds, each.with_gold) for each in found]),
        ("golds unseen", [(each.with_gold - each.golds, each.with_gold) for each in found]),
        ("distinct golds", [(each.entities, each.of_entities) for each in found]),
        ("mention texts", [(each.surfaces, each.mentions) for each in found]),
    ):
        shared.add_row(
            what, *(f"{count(n)} of {count(of)}  {percent(n, of):>7}" for n, of in cells)
        )
    for what in ("documents", "sentences", "pictures"):
        shared.add_row(f"{what} shared", *(count(getattr(each, what)) for each in found))
    return [head, Text(), sizes, Text(), shared, *needed_view(summary.needed, summary.root)]
