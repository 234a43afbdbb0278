"""``drin-fs ingest``: options → :func:`featurestore.ingest.ingest` → a summary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click
from click.core import ParameterSource
from rich import box
from rich.table import Table

from cli.console import count, percent, plain_text, show, show_json, size, stderr
from cli.file_size import FileSize


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="The store to write."
)
@click.option(
    "--dataset",
    type=click.Choice(["wikimel", "wikidiverse", "richpediamel"]),
    help="Insist on this dataset, or choose it where an archive holds both. Without it, it is "
    "recognised.",
)
@click.option(
    "--text-encoder",
    metavar="NAME_OR_FOLDER",
    default="bert-base-cased",
    show_default=True,
    help="BERT-type model on the Hugging Face hub or in a folder; none leaves its fields out.",
)
@click.option(
    "--image-encoder",
    metavar="NAME_OR_FOLDER",
    default="microsoft/resnet-152",
    show_default=True,
    help="Image model, or none.",
)
@click.option(
    "--clip",
    metavar="NAME_OR_FOLDER",
    default="openai/clip-vit-base-patch32",
    show_default=True,
    help="CLIP model for text–picture similarities, or none.",
)
@click.option(
    "--detector",
    type=click.Choice(["fasterrcnn", "maskrcnn", "none"]),
    default="fasterrcnn",
    show_default=True,
    help="Finds the objects of a picture.",
)
@click.option(
    "--ablate",
    type=click.Choice(["mask_rcnn"]),
    help="The paper's ablation of the object detector: the same as --detector maskrcnn.",
)
@click.option("--detector-weights", metavar="FILE", help="The detector's weights, where offline.")
@click.option(
    "--boxes",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Replay recorded boxes and scores (.npy) in place of a detector.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float16", "float32"]),
    default="float16",
    show_default=True,
    help="Stored features. float16 is kept within a relative error of 1e-3, or becomes float32.",
)
@click.option(
    "--compression",
    type=click.Choice(["lz4", "zstd", "gzip", "none"]),
    default="lz4",
    show_default=True,
    help="Of token and region records; gzip opens in any HDF5 program without plug-ins.",
)
@click.option(
    "--padding",
    type=click.Choice(["auto", "drop", "keep"]),
    default="auto",
    show_default=True,
    help="keep: store features at padded positions too, for a bit-exact way back to .npy; auto: "
    "with --dtype float32 from .npy.",
)
@click.option(
    "--thumbnails",
    type=click.Choice(["jpeg", "none"]),
    default="jpeg",
    show_default=True,
    help="Keep every picture of raw data at 160 pixels, 4 to 8 kB each, for inspect to show.",
)
@click.option(
    "--entity-text",
    type=click.Choice(["attr", "name", "brief"]),
    default="attr",
    show_default=True,
    help="What the text encoders read of an entity of raw data: title and description, the title, or "
    "the description.",
)
@click.option(
    "--mention-tokens",
    type=click.IntRange(3),
    default=128,
    show_default=True,
    help="Tokens kept of a sentence.",
)
@click.option(
    "--entity-tokens",
    type=click.IntRange(3),
    default=64,
    show_default=True,
    help="Tokens kept of an entity text.",
)
@click.option(
    "--title-match",
    type=click.Choice(["exact", "normalised"]),
    default="exact",
    show_default=True,
    help="Raw WikiDiverse: titles name the same page if equal (as the authors do), or if equal "
    "but for underscores, the first letter's case, percent-encoding and Unicode composition.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where the encoders run.",
)
@click.option(
    "--encoder-dtype",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="bfloat16 is several times faster where the processor has it, and less exact.",
)
@click.option(
    "--candidates",
    type=click.IntRange(1),
    metavar="K",
    default=100,
    show_default=True,
    help="MIMIC's layout, which brings none: candidates made for each mention from the titles.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    help="At most N mentions a split, and the entities they refer to.",
)
@click.option(
    "--max-file-size",
    type=FileSize(),
    help="Put the features of entities into files of at most this size, such as 50GB, beside the store, "
    "which becomes their index.",
)
@click.option("--overwrite", is_flag=True, help="Replace the store if it exists.")
@click.option(
    "--restart",
    is_flag=True,
    help="Begin anew. Without it, an ingest that was interrupted goes on where it stopped.",
)
@click.option(
    "--part-seconds",
    type=click.FloatRange(0),
    metavar="SECONDS",
    default=30.0,
    show_default=True,
    help="Finished work is put on record this often; an interruption loses no more.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_context
def ingest(
    context: click.Context,
    source: Path,
    output: Path,
    ablate: str | None,
    overwrite: bool,
    restart: bool,
    part_seconds: float,
    max_file_size: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Turn the dataset in SOURCE into one store file.

    SOURCE is a folder of WikiMEL or WikiDiverse, raw (text, candidate lists, pictures) or
    preprocessed (.npy features), or of any dataset in MIMIC's layout (kb_entity.json, mention lists,
    pictures); which of them it is, is recognised and said. The release's preprocessed.tar.gz is taken
    as it was downloaded, disguised as .mp4 or not: it is read twice, and nothing large is unpacked.
    Nothing stands at the output path before the store is complete. After an interruption (Ctrl-C, a full
    disk, a power cut) the same command goes on where it stopped.

    \b
    Examples:
    $ drin-fs ingest data/wikimel -o wikimel.h5
    $ drin-fs ingest data/preprocessed/wikidiverse -o wikidiverse.h5 --dtype float32
    $ drin-fs ingest MIMIC/WikiMEL -o mimic.h5 --candidates 100
    $ drin-fs ingest preprocessed.tar.gz.mp4 -o wikimel.h5 --dataset wikimel
    $ drin-fs ingest data/wikimel -o text.h5 --image-encoder none --clip none --limit 1000
    $ drin-fs ingest data/wikimel -o titles.h5 --entity-text name
    $ drin-fs ingest data/wikimel -o wikimel.h5 --max-file-size 50GB
    """  # fmt: skip
    from cli.progress import progress_on
    from featurestore.ingest import ingest as run
    from featurestore.options import IngestOptions

    if ablate == "mask_rcnn":
        _check_ablation(context, options)
        options["detector"] = "maskrcnn"
    summary = run(
        source,
        output,
        options=IngestOptions(**options),
        overwrite=overwrite,
        restart=restart,
        part_seconds=part_seconds,
        max_file_size=max_file_size,
        progress=progress_on(stderr()),
    )
    if as_json:
        show_json(summary.as_dict())
    else:
        show(*_views(summary.as_dict()))


def _check_ablation(context: click.Context, options: dict[str, Any]) -> None:
    """Refuse ``--ablate mask_rcnn`` beside options that name another origin of the objects."""
    given = context.get_parameter_source("detector") is not ParameterSource.DEFAULT
    if given and options["detector"] != "maskrcnn":
        raise click.UsageError(
            f"--ablate mask_rcnn and --detector {options['detector']}: give one of them"
        )
    if options["boxes"] is not None:
        raise click.UsageError(
            "--ablate mask_rcnn and --boxes: recorded boxes stand in for any detector"
        )


def _views(summary: dict[str, Any]) -> list[Any]:
    """What a person wants to know after an ingest."""
    total = sum(summary["mentions"].values())
    store = Table(box=None, show_header=False, pad_edge=False)
    store.add_column(style="bold")
    store.add_column(overflow="fold")
    store.add_row("store", plain_text(summary["store"]))
    store.add_row("size", size(summary["bytes"]))
    store.add_row("source", f"{summary['layout']} {summary['dataset']}")
    store.add_row(
        "rows",
        f"{count(total)} mentions × {summary['candidates']} candidates, "
        f"{count(summary['entities'])} entities",
    )
    dropped = sum(summary["dropped"].values())
    if dropped:
        store.add_row("dropped", f"{count(dropped)} mentions that are not in their sentence")
    for table, statuses in summary["pictures"].items():
        store.add_row(
            f"{table[:-1]} pictures" if table == "mentions" else "entity pictures",
            _pictures(statuses),
        )
    for name, number in summary["counts"].items():
        store.add_row(plain_text(name), count(number))
    if summary["float32_fields"]:
        store.add_row("kept float32", ", ".join(summary["float32_fields"]))
    for note in summary["notes"]:
        store.add_row("note", plain_text(note))
    return [store, "", _splits(summary), _stages(summary["seconds"])]


def _pictures(statuses: dict[str, int]) -> str:
    total = sum(statuses.values())
    return ", ".join(f"{count(n)} {name} ({percent(n, total)})" for name, n in statuses.items())


def _splits(summary: dict[str, Any]) -> Table:
    levels = next((list(r) for r in summary["recall"].values() if r), [])
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title="splits and candidate recall",
        title_justify="left",
    )
    table.add_column("split")
    for column in ("mentions", "dropped", *levels):
        table.add_column(column, justify="right")
    for split, mentions in summary["mentions"].items():
        found = summary["recall"][split]
        table.add_row(
            split,
            count(mentions),
            count(summary["dropped"].get(split, 0)),
            *(f"{100 * found[level]:.1f} %" if level in found else "–" for level in levels),
        )
    return table


def _stages(seconds: dict[str, float]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="time per stage", title_justify="left")
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    for stage, spent in seconds.items():
        table.add_row(plain_text(stage), f"{spent:,.1f}")
    table.add_row("total", f"{sum(seconds.values()):,.1f}", style="bold")
    return table
