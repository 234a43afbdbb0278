"""``drin-fs ingest``: options → :func:`featurestore.ingest.ingest` → a summary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click
from click.core import ParameterSource

from cli.console import show, show_json, stderr
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
    type=click.Choice(["lz4", "lz4-fast", "zstd", "gzip", "none"]),
    default="lz4",
    show_default=True,
    help="Of token and region records. lz4-fast: larger, and read in half the time where drin-fs was "
    "installed without a C compiler; gzip opens in any HDF5 program without plug-ins.",
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
@click.option(
    "--threads",
    type=click.IntRange(1),
    metavar="N",
    help="Threads of an encoder on the CPU; the last bits of features can depend on their number. "
    "Default: all cores, of each worker, too.",
)
@click.option(
    "--shard",
    metavar="I/N",
    help="Do shard I of N only, and keep it beside the output for drin-fs assemble.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="ray: do the shards in several processes, on this machine or a cluster, and assemble them.",
)
@click.option(
    "--num-workers",
    type=click.IntRange(1),
    metavar="N",
    help="With --engine ray: processes that encode. Default: one for each GPU, or 2 without.",
)
@click.option(
    "--gpus-per-worker",
    type=click.FloatRange(0),
    metavar="G",
    help="With --engine ray: may be a part, as 0.5. Default: 1 where there are GPUs.",
)
@click.option(
    "--ray-address",
    metavar="ADDRESS",
    help="With --engine ray: join this cluster. Default: that of RAY_ADDRESS, or this machine alone.",
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
    threads: int | None,
    shard: str | None,
    engine: str,
    num_workers: int | None,
    gpus_per_worker: float | None,
    ray_address: str | None,
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
    $ drin-fs ingest data/wikimel -o wikimel.h5 --engine ray --num-workers 4
    $ drin-fs ingest data/wikimel -o wikimel.h5 --shard 3/8
    """  # fmt: skip
    from cli.progress import progress_on
    from cli.render_ingest import shard_views, summary_views
    from featurestore.options import IngestOptions

    if ablate == "mask_rcnn":
        _check_ablation(context, options)
        options["detector"] = "maskrcnn"
    of_ray = {"num_workers": num_workers, "gpus_per_worker": gpus_per_worker}
    _check_engine(engine, shard, {**of_ray, "ray_address": ray_address})
    chosen, progress = IngestOptions(**options), progress_on(stderr())
    if shard is not None and max_file_size is not None:
        raise click.UsageError("--max-file-size goes with drin-fs assemble, not with --shard")
    if shard is not None:
        from featurestore.ingest_shard import ingest_shard
        from featurestore.ingest_shards import Shard

        done = ingest_shard(
            source, output, Shard.parse(shard), options=chosen, overwrite=overwrite,
            restart=restart, part_seconds=part_seconds, threads=threads, progress=progress,
        )  # fmt: skip
        show_json(done) if as_json else show(*shard_views(done))
        return
    if engine == "ray":
        from featurestore.ray_engine import ingest_on_ray

        summary = ingest_on_ray(
            source, output, options=chosen, overwrite=overwrite, restart=restart,
            part_seconds=part_seconds, max_file_size=max_file_size, threads=threads,
            workers=num_workers, gpus_per_worker=gpus_per_worker, address=ray_address, progress=progress,
        )  # fmt: skip
    else:
        from featurestore.ingest import ingest as run

        summary = run(
            source, output, options=chosen, overwrite=overwrite, restart=restart,
            part_seconds=part_seconds, max_file_size=max_file_size, threads=threads,
            progress=progress,
        )  # fmt: skip
    if as_json:
        show_json(summary.as_dict())
    else:
        show(*summary_views(summary.as_dict()))


def _check_engine(engine: str, shard: str | None, of_ray: dict[str, Any]) -> None:
    """Refuse options of another engine than the one that is asked for."""
    if engine == "ray" and shard is not None:
        raise click.UsageError("--shard and --engine ray: ray does all shards; give one of them")
    given = [f"--{name.replace('_', '-')}" for name, value in of_ray.items() if value is not None]
    if engine != "ray" and given:
        raise click.UsageError(f"{given[0]} goes with --engine ray")


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
