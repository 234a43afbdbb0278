"""``drin-fs export``: options → :mod:`featurestore.export` → what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click
from rich.console import RenderableType

from cli.console import count, plain_text, show, show_json, size, stderr
from cli.render_parts import facts


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["npy", "jsonl", "parquet"]),
    required=True,
    help="npy: the release's arrays; jsonl: texts; parquet: one feature, for embedding viewers.",
)
@click.option(
    "--field",
    metavar="TABLE/NAME",
    help="With --format parquet: the feature to write; entities/text_mean by default.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def export(store: Path, folder: Path, form: str, field: str | None, as_json: bool) -> None:
    """Write a store as the release's .npy files, JSON lines or parquet.

    DIR must be new or empty; nothing stands there before all files are complete. Every format
    streams: memory stays flat, whatever the size of the store.

    npy is the preprocessed layout of the DRIN authors, for programs that were written for it. It is
    bit-exact for a store ingested from that layout with --dtype float32; for others
    a note says what differs. jsonl has entities.jsonl and mentions.jsonl. parquet has id, title,
    text, vector, and x, y: the vector's two principal components.

    \b
    Examples:
    $ drin-fs export demo/store.h5 demo/again --format npy
    $ drin-fs export demo/store.h5 demo/texts --format jsonl
    $ drin-fs export demo/store.h5 demo/viewer --format parquet --field entities/image_pooled

    The same in Python: featurestore.export.export_npy, export_jsonl and export_parquet.
    """
    import featurestore
    from cli.progress import progress_on
    from featurestore.export import export_jsonl, export_npy, export_parquet
    from featurestore.export.parquet import DEFAULT_FIELD

    if field is not None and form != "parquet":
        raise click.UsageError("--field goes with --format parquet")
    progress = progress_on(stderr())
    with featurestore.open(store) as opened:
        if form == "npy":
            summary = export_npy(opened, folder, progress=progress)
        elif form == "jsonl":
            summary = export_jsonl(opened, folder, progress=progress)
        else:
            summary = export_parquet(
                opened, folder, field=field or DEFAULT_FIELD, progress=progress
            )
    if as_json:
        show_json(summary.as_dict())
    else:
        show(_view(summary.as_dict()))


def _view(summary: dict[str, Any]) -> RenderableType:
    rows = ", ".join(f"{count(number)} {name}" for name, number in summary["rows"].items())
    lines: list[tuple[str, RenderableType]] = [
        ("folder", plain_text(summary["folder"], "cyan")),
        ("rows", plain_text(rows)),
        ("size", f"{size(summary['bytes'])} in {count(summary['files'])} files"),
    ]
    return facts(lines + [("note", plain_text(note)) for note in summary["notes"]])
