"""``drin-fs build titles``: options → :func:`featurestore.construct.titles.build_titles` → counts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from rich.console import Group, RenderableType
from rich.text import Text

from cli.console import count, plain_text, show, show_json, size, stderr

if TYPE_CHECKING:
    from featurestore.construct.titles import TitlesBuilt


@click.command()
@click.argument("dump", metavar="DUMP")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The table to write: QID TAB title, an item a line.",
)
@click.option(
    "--details",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write label, description, aliases, picture name (P18) and kinds (P31) here, as JSON lines.",
)
@click.option(
    "--language",
    default="en",
    show_default=True,
    help="Of the Wikipedia whose titles are taken, and of label, description and aliases.",
)
@click.option("--limit", type=click.IntRange(min=1), help="End after so many titles.")
@click.option(
    "--check-all",
    is_flag=True,
    help="Parse every line whole, so that every broken one is counted; several times slower.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Processes that read lines, and threads that decompress; default: the cores.",
)
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@click.option("--restart", is_flag=True, help="Give up what an interrupted run finished.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def titles(
    dump: str,
    output: Path,
    details: Path | None,
    language: str,
    limit: int | None,
    check_all: bool,
    jobs: int | None,
    overwrite: bool,
    restart: bool,
    as_json: bool,
) -> None:
    """Read QIDs and titles out of a Wikidata dump.

    DUMP is the JSON dump, an entity a line, plain or as .gz, .bz2 or .zst; "-" is standard input.
    Only items with a Wikipedia page are written, each once. Broken lines are counted, and the first
    of each kind shown. Run the same command again after an interruption: it goes on from there.

    \b
    Examples:
    $ drin-fs build titles latest-all.json.bz2 -o own/entities/qid-entity.tsv
    $ drin-fs build titles latest-all.json.bz2 -o titles.tsv --details qid-details.jsonl
    $ curl -s URL | drin-fs build titles - -o titles.tsv --limit 1000

    The same in Python: featurestore.construct.titles.build_titles.
    """  # fmt: skip
    from cli.progress import progress_on
    from featurestore.construct.titles import build_titles
    from featurestore.threads import available_processors

    built = build_titles(
        dump,
        output,
        details=details,
        language=language,
        limit=limit or 0,
        check_all=check_all,
        jobs=jobs or available_processors(),
        overwrite=overwrite,
        restart=restart,
        progress=progress_on(stderr()),
    )
    if built.skipped or built.broken:
        stderr().print(left_out(built), soft_wrap=True)
    if as_json:
        show_json(built)
        return
    show(view(built))


def view(built: TitlesBuilt) -> RenderableType:
    """What was written, and how fast."""
    files = [built.target, built.details] if built.details else [built.target]
    written = plain_text(f"{count(built.titles)} titles", "bold")
    written.append(f" of {count(built.entities)} entities: ")
    written.append(plain_text(", ".join(files)))
    rate = built.json_bytes / built.seconds if built.seconds else 0.0
    read = built.read_bytes / built.seconds if built.seconds else 0.0
    pace = f"{size(built.json_bytes)} of JSON in {built.seconds:,.1f} s: {size(int(rate))}/s"
    if built.read_bytes != built.json_bytes:
        pace += f", {size(int(read))}/s of the file"
    return Group(written, Text(f"{pace} ({built.reader}, {built.jobs} jobs)", "dim"))


def left_out(built: TitlesBuilt) -> RenderableType:
    """What was not written, and why."""
    lines = [Text(f"skipped: {count(number)} {what}") for what, number in built.skipped.items()]
    for reason, number in built.broken.items():
        lines.append(Text(f"broken: {count(number)} × {reason}", "yellow"))
        for each in built.examples:
            if each.reason == reason:
                lines.append(plain_text(f"  at byte {count(each.offset)}: {each.text}", "dim"))
    return Group(*lines)
