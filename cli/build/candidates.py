"""``drin-fs build candidates``: options → :func:`featurestore.construct.candidates.build_candidates`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from cli.console import count, plain_text, show, show_json, stderr
from featurestore.construct.candidate_options import (
    INDEXES,
    METHODS,
    PROCESSORS,
    SCORERS,
    CandidateOptions,
)


@click.command()
@click.argument("mentions", type=click.Path(path_type=Path))
@click.argument("titles", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="The file to write."
)
@click.option(
    "--k", type=click.IntRange(1), default=100, show_default=True, help="Candidates of a mention."
)
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="fuzzy",
    show_default=True,
    help="fuzzy compares every title; ngram and bm25 only those of a pool, for millions of titles; "
    "dense compares stored vectors.",
)
@click.option(
    "--scorer",
    type=click.Choice([*SCORERS, "none"]),
    help="How alike two texts are, as RapidFuzz names it; WRatio without it. For ngram and bm25 none "
    "leaves the pool in their own order.",
)
@click.option(
    "--processor",
    type=click.Choice(PROCESSORS),
    default="default",
    show_default=True,
    help="What texts go through before the scorer: default leaves small letters, digits and blanks.",
)
@click.option(
    "--pool",
    type=click.IntRange(1),
    metavar="N",
    default=1000,
    show_default=True,
    help="Names that ngram and bm25 hand to the scorer.",
)
@click.option(
    "--aliases",
    type=click.Path(path_type=Path),
    metavar="DETAILS.jsonl",
    help="Further names of entities, as build titles --details writes them.",
)
@click.option(
    "--redirects",
    type=click.Path(path_type=Path),
    metavar="REDIRECTS.tsv",
    help="Further names: redirect TAB title, a line.",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    metavar="STORE",
    help="For dense: holds the vectors of mentions and entities.",
)
@click.option(
    "--dense-field",
    metavar="MENTION[:ENTITY]",
    default="text_span",
    show_default=True,
    help="For dense: the vectors of mentions, and those of entities to compare them with; without "
    "ENTITY the first text or picture vector of the same length.",
)
@click.option(
    "--index",
    type=click.Choice(INDEXES),
    default="exact",
    show_default=True,
    help="For dense: compare all, or an index of faiss, which is quicker for millions and may miss some.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    help="Threads; one a processor without it. The result does not depend on it.",
)
@click.option(
    "--limit", type=click.IntRange(1), metavar="N", help="At most N mentions of each file."
)
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@click.option(
    "--restart",
    is_flag=True,
    help="Begin anew. Without it, a run that was interrupted goes on where it stopped.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def candidates(
    mentions: Path,
    titles: Path,
    output: Path,
    aliases: Path | None,
    redirects: Path | None,
    store: Path | None,
    overwrite: bool,
    restart: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Find candidate entities for mentions by the likeness of names or vectors.

    MENTIONS is a mentions JSON of WikiMEL, JSON lines with "id", "mention" and, if known, "gold", or a
    folder of them; TITLES has QID TAB title a line. The output is candidates-answer.tsv of a raw
    WikiMEL folder, which drin-fs ingest reads: a mention, then its candidates, best first. An entity
    counts by the best of its names; ties go to the entity that stands first in TITLES, or in the pool.
    Where golds are known, their recall is printed.

    \b
    Examples:
    $ drin-fs build candidates own/mentions own/entities/qid-entity.tsv -o candidates-answer.tsv
    $ drin-fs build candidates mentions.jsonl titles.tsv -o c.tsv --method ngram --pool 2000
    $ drin-fs build candidates mentions.jsonl titles.tsv -o c.tsv --aliases qid-details.jsonl
    $ drin-fs build candidates own/mentions titles.tsv -o c.tsv --method dense --store own.h5
    """
    from cli.build.render_candidates import candidate_views
    from cli.progress import progress_on
    from featurestore.construct.candidates import build_candidates

    summary = build_candidates(
        mentions,
        titles,
        output,
        options=CandidateOptions(**options),
        aliases=aliases,
        redirects=redirects,
        store=store,
        overwrite=overwrite,
        restart=restart,
        progress=progress_on(stderr()),
    )
    for what, number in summary.skipped.items():
        stderr().print(plain_text(f"not used: {count(number)} {what}"), soft_wrap=True)
    if as_json:
        show_json(summary)
    else:
        show(*candidate_views(summary))
