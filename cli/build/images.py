"""``drin-fs build images``: options → :func:`featurestore.construct.crawl.crawl` → where it stands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from cli.console import show, show_json, stderr

if TYPE_CHECKING:
    from featurestore.construct.crawl_status import CrawlStatus


@click.command()
@click.argument(
    "entities",
    metavar="[TITLES_OR_QIDS]",
    required=False,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The folder to fill: pictures, texts of the layout, attribution.tsv, manifest.sqlite.",
)
@click.option(
    "--contact",
    envvar="DRIN_FS_CONTACT",
    show_envvar=True,
    default="",
    metavar="MAIL_OR_URL",
    help="Whom the wiki can reach; part of the User-Agent. Nothing is fetched without one.",
)
@click.option(
    "--details",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="qid-details.jsonl of build titles: names of pictures (P18), titles and descriptions.",
)
@click.option(
    "--layout",
    type=click.Choice(["wikimel", "wikidiverse"]),
    default="wikimel",
    show_default=True,
    help="Pictures by QID and qid2brief.json, or by address and entity2brief_{split}.json.",
)
@click.option(
    "--width",
    type=click.Choice(
        ["20", "40", "60", "120", "250", "330", "500", "960", "1280", "1920", "3840"]
    ),
    default="330",
    show_default=True,
    help="Of the pictures, in pixels; a wiki makes no others. Narrower originals stay as they are.",
)
@click.option(
    "--max-bytes",
    type=click.IntRange(1),
    default=10_000_000,
    show_default=True,
    help="Of one picture; a larger one is given up, and the next best taken.",
)
@click.option(
    "--parallel",
    type=click.IntRange(1, 4),
    default=2,
    show_default=True,
    help="Pictures at a time. Wikimedia's robot policy allows 2; API calls are always one by one.",
)
@click.option(
    "--language",
    default="en",
    show_default=True,
    metavar="CODE",
    help="Which Wikipedia.",
)
@click.option(
    "--non-free",
    is_flag=True,
    help="Take pictures too that are not free, such as posters: see what your law allows.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N lines.")
@click.option(
    "--retry-failed",
    is_flag=True,
    help="Begin again what failed for a reason that may have passed; nothing else is fetched twice.",
)
@click.option("--status", is_flag=True, help="Only show where the crawl stands; it may be running.")
@click.option("--api", default="", metavar="URL", help="api.php of another wiki than Wikipedia.")
@click.option(
    "--wikidata-api",
    default="",
    metavar="URL",
    help="api.php that knows the QIDs and their pictures (P18), if not Wikidata's.",
)
@click.option("--insecure-http", is_flag=True, help="Allow http addresses, for a wiki of your own.")
@click.option("--json", "as_json", is_flag=True, help="Print where the crawl stands as JSON.")
@click.pass_context
def images(
    context: click.Context,
    entities: Path | None,
    output: Path,
    details: Path | None,
    limit: int | None,
    retry_failed: bool,
    status: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Fetch a picture and a brief for every entity from Wikipedia, politely.

    TITLES_OR_QIDS is a file with one entity a line: QID TAB title (the qid-entity.tsv of build titles), a
    QID, or a title. Of each page the picture that stands for it is fetched, else the best of the others;
    icons, maps and the like are passed over, and what each picture is, who made it and under which
    licence is kept. Run the same command again after an interruption: it goes on where it stopped, and
    fetches nothing twice. The folder is raw WikiMEL (or raw WikiDiverse) without its mentions and
    candidates.

    \b
    Examples:
    $ drin-fs build images own/entities/qid-entity.tsv -o own --contact https://your.page/about
    $ drin-fs build images own/entities/qid-entity.tsv -o own --details own/qid-details.jsonl
    $ drin-fs build images titles.txt -o own --layout wikidiverse --limit 100
    $ drin-fs build images -o own --status
    $ drin-fs build images own/entities/qid-entity.tsv -o own --retry-failed

    The same in Python: featurestore.construct.crawl.crawl.
    """  # fmt: skip
    from cli.render_crawl import crawl_views
    from featurestore.construct.crawl_status import crawl_status

    if status:
        found = crawl_status(output)
    elif entities is None:
        raise click.UsageError(
            "TITLES_OR_QIDS is missing; without it only --status can be shown", context
        )
    else:
        found = _crawl(entities, output, details, limit, retry_failed, options)
    if as_json:
        show_json(found)
    else:
        show(*crawl_views(found))


def _crawl(
    entities: Path,
    output: Path,
    details: Path | None,
    limit: int | None,
    retry: bool,
    options: dict[str, Any],
) -> CrawlStatus:
    from cli.progress import progress_on
    from featurestore.construct.crawl import crawl
    from featurestore.construct.crawl_options import CrawlOptions

    progress = progress_on(stderr())
    if options["parallel"] > 2 and not options["api"]:
        progress.note("Wikimedia's robot policy allows 2 pictures at a time, not more")
    return crawl(
        entities,
        output,
        options=CrawlOptions(
            contact=options["contact"],
            layout=options["layout"],
            language=options["language"],
            api=options["api"],
            items_api=options["wikidata_api"],
            width=int(options["width"]),
            most_bytes=options["max_bytes"],
            threads=options["parallel"],
            non_free=options["non_free"],
            insecure=options["insecure_http"],
        ),
        details=details,
        limit=limit,
        retry=retry,
        progress=progress,
    )
