"""``drin-fs build mentions``: options → :func:`featurestore.construct.mentions.build_mentions`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import rich_click as click

from cli.console import show, show_json, stderr

if TYPE_CHECKING:
    from rich.console import RenderableType

    from featurestore.construct.mention_build import MentionsSummary


@click.command()
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", metavar="DIR", type=click.Path(path_type=Path), required=True,
    help="The dataset's folder; what other steps put there stays.",
)  # fmt: skip
@click.option(
    "--columns", metavar="FIELD=NAME,…", default="",
    help="What the file calls a field: mention=Name,gold=Label.",
)  # fmt: skip
@click.option(
    "--images", metavar="DIR", type=click.Path(path_type=Path),
    help="What the paths of pictures are relative to. Default: the file's folder.",
)  # fmt: skip
@click.option(
    "--titles", metavar="FILE", type=click.Path(path_type=Path),
    help="QID TAB title: golds may be titles then, and must be entities of this file.",
)  # fmt: skip
@click.option(
    "--pictures", "placing", type=click.Choice(["link", "copy"]), default="link",
    show_default=True, help="How pictures come into the dataset's folder.",
)  # fmt: skip
@click.option("--no-quotes", is_flag=True, help="Quotation marks of CSV and TSV are letters.")
@click.option("--strict", is_flag=True, help="Refuse a file with any bad row or picture.")
@click.option("--overwrite", is_flag=True, help="Replace the mentions, pictures and splits there.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def mentions(
    source: Path,
    output: Path,
    columns: str,
    images: Path | None,
    titles: Path | None,
    placing: Literal["link", "copy"],
    no_quotes: bool,
    strict: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Check mentions of your own row by row and lay them out as raw WikiMEL.

    FILE is .jsonl, .csv or .tsv (UTF-8). Of each mention it has the sentence, and where the mention
    stands in it: as "mention" (its first occurrence), as "start" and "end" in characters, or as
    [[mention]] in the sentence. And if you like: "picture" (a file), "gold" (a QID, or a title with
    --titles; empty or NIL = none), "id", "document" (what build split does not divide), "topic" and
    "split". Usual names of columns are known, such as image, text, answer or doc_id.

    A row that cannot be used is told on stderr with its line, field and what to do next, and goes to
    DIR/rejected.jsonl. A mention whose picture is missing or cannot be read is kept without it, and is
    listed in DIR/missing-pictures.jsonl. All that are kept are in DIR/mentions.jsonl, their pictures in
    DIR/mentions/KVQAimgs.

    \b
    Examples:
    $ drin-fs build mentions news.jsonl -o own
    $ drin-fs build mentions news.csv -o own --images photos --titles own/entities/qid-entity.tsv
    $ drin-fs build mentions posts.tsv -o own --columns mention=Name,gold=Label --no-quotes
    $ drin-fs build mentions news.jsonl -o own --strict --json

    The same in Python: featurestore.construct.mentions.build_mentions.
    """  # fmt: skip
    from cli.progress import progress_on
    from featurestore.construct.columns import parse_columns
    from featurestore.construct.mentions import build_mentions

    summary = build_mentions(
        source,
        output,
        columns=parse_columns(columns),
        images=images,
        titles=titles,
        placing=placing,
        quotes=not no_quotes,
        strict=strict,
        overwrite=overwrite,
        progress=progress_on(stderr()),
    )
    show_json(summary) if as_json else show(*mentions_view(summary))


def mentions_view(summary: MentionsSummary) -> list[RenderableType]:
    """What became of the table, and which files are still missing."""
    from cli.build.needed_view import needed_view
    from cli.console import count, percent, plain_text
    from cli.render_parts import facts

    kept = summary.mentions
    rows: list[tuple[str, RenderableType]] = [
        ("folder", plain_text(summary.root, "cyan")),
        ("mentions", f"{count(kept)} of {count(summary.rows)} rows"),
    ]
    for number, (kind, rejected) in enumerate(summary.rejected.items()):
        rows.append(("" if number else "left out", plain_text(f"{count(rejected)} {kind}")))
    gold = f"{count(summary.golds)} ({percent(summary.golds, kept)})"
    if summary.entities is not None:
        gold += f", all among {count(summary.entities)} entities"
    rows.append(("golds", gold))
    named = summary.pictures.copy()
    usable = named.pop("ok", 0)
    pictures = (
        f"{count(usable)} ({percent(usable, kept)}), {count(summary.distinct_pictures)} distinct"
    )
    rows.append(("pictures", pictures))
    for status, number in named.items():
        word = "name none" if status == "none" else f"name one that is {status}"
        rows.append(("", f"{count(number)} {word}"))
    if summary.several:
        rows.append(
            ("first taken", f"{count(summary.several)} stand more than once in their sentence")
        )
    splits = ", ".join(f"{count(n)} {name or 'of none'}" for name, n in summary.splits.items())
    if set(summary.splits) != {""}:
        rows.append(("splits", splits))
    if summary.unused_columns:
        rows.append(("not used", plain_text(", ".join(summary.unused_columns))))
    return [facts(rows), *needed_view(summary.needed, summary.root)]
