"""``drin-fs pack``: options → :func:`featurestore.sources.archive.pack` → md5 sums."""

from __future__ import annotations

import sys
from pathlib import Path

import rich_click as click

from cli.console import clean, show_json, stderr


@click.command()
@click.argument("files", metavar="FILE…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The folder to write NAME.mp4 to; made if needed.",
)
@click.option("--overwrite", is_flag=True, help="Replace files that differ.")
@click.option("--json", "as_json", is_flag=True, help="Print names, sizes and sums as JSON.")
def pack(files: tuple[Path, ...], output: Path, overwrite: bool, as_json: bool) -> None:
    """Disguise archives as .mp4 files, as the release's are.

    The first 32 bytes of each FILE go to the end of its copy, and an MP4 header takes their place;
    drin-fs unpack turns it back. Prints the md5 sums of the originals as md5sum does.

    \b
    Examples:
    $ drin-fs pack preprocessed.tar.gz -o share
    $ drin-fs pack raw-data.z01 raw-data.zip -o share

    The same in Python: featurestore.sources.archive.pack.
    """  # fmt: skip
    from cli.progress import progress_on
    from featurestore.sources import archive

    packed = archive.pack(files, output, overwrite=overwrite, progress=progress_on(stderr()))
    if as_json:
        show_json([each.as_dict() for each in packed])
        return
    for each in packed:
        sys.stdout.write(f"{each.md5}  {clean(each.original.name)}\n")
