"""``drin-fs unpack``: options → :func:`featurestore.sources.archive.unpack` → what was done."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import rich_click as click
from rich import box
from rich.console import RenderableType
from rich.table import Table

from cli.console import clean, count, plain_text, show, show_json, size, stderr


@click.command()
@click.argument("files", metavar="FILE…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=".",
    show_default=True,
    help="The folder to unpack to; made if needed.",
)
@click.option("--list", "list_only", is_flag=True, help="Only list the members, with their sizes.")
@click.option("--verify-only", is_flag=True, help="Only compare the md5 sums.")
@click.option(
    "--restore", is_flag=True, help="Write the original archives, and do not extract them."
)
@click.option("--overwrite", is_flag=True, help="Replace files that differ from the archive's.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found or done as JSON.")
def unpack(
    files: tuple[Path, ...],
    output: Path,
    list_only: bool,
    verify_only: bool,
    restore: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Verify and unpack the released archives, disguised as .mp4 or not.

    Each FILE is a download: preprocessed.tar.gz, or a part of raw-data.zip (give all six). Its
    original's md5 is compared with the release's before anything is written; of other archives it
    is shown, and not compared. Downloads are not changed, and not copied on the way. Run it again
    after an interruption: files that are complete are kept. Links, paths that leave the folder, and
    absurd expansion are refused.

    \b
    Examples:
    $ drin-fs unpack preprocessed.tar.gz.mp4 -o data
    $ drin-fs unpack raw-data.*.mp4 -o data
    $ drin-fs unpack raw-data.*.mp4 --verify-only

    The same in Python: featurestore.sources.archive.unpack.
    """  # fmt: skip
    from cli.progress import progress_on
    from featurestore.errors import ConfigError
    from featurestore.sources import archive

    if list_only + verify_only + restore > 1:
        raise ConfigError("--list, --verify-only and --restore exclude each other")
    progress = progress_on(stderr())
    if list_only:
        _list(files, as_json=as_json)
    elif verify_only:
        checked = [each.as_dict() for each in archive.verify(files, progress=progress)]
        if as_json:
            show_json(checked)
        else:
            show(_originals(checked))
    else:
        done = archive.unpack(
            files, output, restore=restore, overwrite=overwrite, progress=progress
        ).as_dict()
        if as_json:
            show_json(done)
        else:
            show(_originals(done["originals"]), _sentence(done))


def _list(files: tuple[Path, ...], *, as_json: bool) -> None:
    from featurestore.sources.archive import listing

    found = listing(files)
    if as_json:
        show_json([{"path": str(m.path), "bytes": m.size, "folder": m.is_folder} for m in found])
        return
    for member in found:
        name = f"{member.path}/" if member.is_folder else str(member.path)
        sys.stdout.write(f"{member.size:>16,}  {clean(name)}\n")


def _originals(checked: list[dict[str, Any]]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("original", "size", "md5", "compared"):
        table.add_column(column, justify="right" if column == "size" else "left")
    for each in checked:
        state = "as released" if each["verified"] else "no, its sum is not known"
        table.add_row(plain_text(each["name"]), size(each["bytes"]), each["md5"], state)
    return table


def _sentence(done: dict[str, Any]) -> RenderableType:
    return plain_text(
        f"{count(done['written'])} files written, {count(done['skipped'])} were complete; "
        f"{size(done['bytes'])} in {done['target']}"
    )
