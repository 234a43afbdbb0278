"""``drin-fs repack``: options → :func:`featurestore.repack.repack` → what is otherwise now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from rich.table import Table

from cli.console import count, plain_text, show, show_json, size, stderr
from cli.file_size import FileSize

if TYPE_CHECKING:
    from featurestore.repack import RepackSummary


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="The store to write."
)
@click.option(
    "--max-file-size",
    type=FileSize(),
    help="Put the features of entities into files of at most this size, such as 50GB.",
)
@click.option("--single-file", is_flag=True, help="Put everything into one file.")
@click.option(
    "--dtype",
    type=click.Choice(["float16", "float32"]),
    help="Of features. float16 is kept within a relative error of 1e-3, or stays float32.",
)
@click.option(
    "--compression",
    type=click.Choice(["lz4", "lz4-fast", "zstd", "gzip", "none"]),
    help="Of token and region records, and thumbnails.",
)
@click.option(
    "--drop", metavar="TABLE/FIELD", multiple=True, help="Leave a field out; may be given again."
)
@click.option(
    "--keep",
    metavar="TABLE/FIELD",
    multiple=True,
    help="Of features keep this one, and others that are named so; texts and columns stay.",
)
@click.option("--overwrite", is_flag=True, help="Replace the store if it exists.")
@click.option("--restart", is_flag=True, help="Begin anew, if a repack was interrupted.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def repack(
    store: Path,
    output: Path,
    max_file_size: int | None,
    single_file: bool,
    drop: tuple[str, ...],
    keep: tuple[str, ...],
    overwrite: bool,
    restart: bool,
    as_json: bool,
    **forms: Any,
) -> None:
    """Write STORE anew in another form.

    One file or several, another dtype or compression, fewer fields; what is not named stays as it is.
    Everything that is read is compared with its checksums. Nothing stands at the output path before
    the new store is complete; the same command goes on after an interruption. Where no value changes, the
    fingerprint stays, so that runs and reports accept both.

    \b
    Examples:
    $ drin-fs repack wikimel.h5 -o sharded.h5 --max-file-size 50GB
    $ drin-fs repack sharded.h5 -o wikimel.h5 --single-file
    $ drin-fs repack demo/store.h5 -o demo/views.h5 --drop entities/text_tokens
    $ drin-fs repack wikimel.h5 -o small.h5 --dtype float16 --compression zstd
    """  # fmt: skip
    from cli.progress import progress_on
    from featurestore.repack import RepackOptions
    from featurestore.repack import repack as run

    if single_file and max_file_size is not None:
        raise click.UsageError("--single-file and --max-file-size: give one of them")
    done = run(
        store,
        output,
        options=RepackOptions(
            max_file_size=max_file_size,
            single_file=single_file,
            drop=drop,
            keep=keep,
            **forms,  # dtype, compression
        ),
        overwrite=overwrite,
        restart=restart,
        progress=progress_on(stderr()),
    )
    show_json(done.as_dict()) if as_json else show(_view(done))


def _view(done: RepackSummary) -> Table:
    """What a person wants to know after a repack."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    files = f" in {done.shards + 1} files" if done.shards else ""
    table.add_row("store", plain_text(done.store))
    table.add_row("size", f"{size(done.bytes)}{files}, before {size(done.bytes_before)}")
    for path in done.dropped:
        table.add_row("dropped", path)
    for path, change in done.dtypes.items():
        table.add_row("dtype", f"{path}: {change}")
    if done.float32_fields:
        table.add_row(
            "kept float32",
            f"{count(len(done.float32_fields))}, out of the error bound: "
            + ", ".join(done.float32_fields),
        )
    same = "that of the source: no value is another" if done.same_content else "a new one"
    table.add_row("fingerprint", f"{done.fingerprint} ({same})")
    for note in done.notes:
        table.add_row("note", plain_text(note))
    table.add_row("seconds", f"{sum(done.seconds.values()):,.1f}")
    return table
