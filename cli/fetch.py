"""``drin-fs fetch``: copy a remote store here. A skin over :mod:`featurestore.remote_fetch`."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from cli.console import count, plain_text, show, show_json, size, stderr


@click.command()
@click.argument("url")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where to. Default: the last name of the URL, in this folder.",
)
@click.option("--overwrite", is_flag=True, help="Replace FILE if it is there.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def fetch(url: str, output: Path | None, overwrite: bool, as_json: bool) -> None:
    """Copy a store from a web server or object store to this machine, and verify it.

    Several parts come at once; each is tried again where the line or the server fails. Run it again
    after an interruption: parts that are here are kept, if the file still is the same. FILE stands at
    its place when every byte was compared with its checksum; what came damaged is fetched once more.
    Of a store in several files name the index: its shards come too, those that are here are kept.

    URL: http, https, s3, and what else fsspec knows. Keys and endpoints come from the environment
    (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, FSSPEC_S3, …).

    \b
    Examples:
    $ drin-fs fetch https://example.org/wikimel.h5
    $ drin-fs fetch s3://bucket/wikimel.h5 -o /data/wikimel.h5
    $ drin-fs fetch https://example.org/wikimel.h5 --json | jq .transferred

    The same in Python: featurestore.remote_fetch.fetch.
    """
    from cli.progress import progress_on
    from featurestore.remote_fetch import fetch as copy

    done = copy(url, output, overwrite=overwrite, progress=progress_on(stderr()))
    if as_json:
        show_json(done)
        return
    rate = f", {size(round(done.transferred / done.seconds))}/s" if done.seconds else ""
    there = f", {size(done.resumed)} were here" if done.resumed else ""
    again = f", {count(done.retries)} requests sent again" if done.retries else ""
    repaired = f", {size(done.repaired)} of them twice" if done.repaired else ""
    compared = f"{size(done.compared)} compared" if done.compared else "no checksums to compare"
    files = f" in {count(done.files)} files" if done.files > 1 else ""
    show(
        plain_text(f"{done.path}: {size(done.bytes)}{files}; {compared}"),
        plain_text(
            f"{size(done.transferred)} fetched{repaired} in {done.seconds:.1f} s{rate}{there}{again}",
            "dim",
        ),
    )
