"""``drin-fs build``: the commands that make a dataset, loaded when they are asked for."""

from __future__ import annotations

import rich_click as click

from cli.lazy import Command, LazyGroup

#: The steps in the order in which a dataset is built.
STEPS: dict[str, Command] = {
    "titles": Command("cli.build.titles", "Read QIDs and titles out of a Wikidata dump.", "construct"),
    "mentions": Command("cli.build.mentions", "Check mentions of your own and lay them out.", "encode"),
    "split": Command("cli.build.split", "Divide mentions into train, valid and test."),
    "candidates": Command("cli.build.candidates", "Find candidate entities for mentions.", "construct"),
    "entities": Command("cli.build.entities", "Cut all titles down to the entities that are needed."),
    "images": Command("cli.build.images", "Fetch pictures and briefs from Wikipedia.", "construct"),
}  # fmt: skip


class _Steps(LazyGroup):
    entries = STEPS


@click.group(cls=_Steps)
def build() -> None:
    """Make a dataset of your own: titles, mentions, candidates, pictures.

    It begins with a Wikidata dump and a list of mentions, and ends with a folder for drin-fs ingest.
    Each step reads what the ones before it wrote. Long ones (titles, candidates, images) go on where they
    were interrupted; the others leave nothing half-written.

    \b
    Examples:
    $ drin-fs build titles latest-all.json.bz2 -o titles.tsv
    $ drin-fs build mentions mentions.jsonl -o own
    $ drin-fs build split own
    $ drin-fs build candidates own/mentions titles.tsv -o candidates.tsv --method ngram
    $ drin-fs build entities own/mentions candidates.tsv titles.tsv -o own/entities/qid-entity.tsv
    $ drin-fs build images own/entities/qid-entity.tsv -o own --contact https://your.page/about
    """  # fmt: skip
