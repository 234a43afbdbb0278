"""``drin-fs link``: options → :class:`linker.link.Linker` → answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from cli.console import show, show_json, show_json_line, stderr
from cli.places import StorePlace

if TYPE_CHECKING:
    from linker.link import Linker


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--sentence", metavar="TEXT", help="One mention: a sentence with it in [[…]].")
@click.option("--image", metavar="FILE", type=click.Path(path_type=Path), help="Its picture.")
@click.option(
    "--among",
    multiple=True,
    metavar="ID|TITLE",
    help="One of its candidates; repeat it. Default: found by title.",
)
@click.option(
    "--input",
    "source",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Many mentions: JSON lines.",
)
@click.option(
    "-o",
    "--output",
    "target",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="With --input: the answers, as JSON lines; - is stdout.",
)
@click.option("--overwrite", is_flag=True, help="Replace the output file if it is there.")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    metavar="N",
    help="Answers of each mention.",
)
@click.option(
    "--candidates",
    type=click.IntRange(min=1),
    metavar="N",
    help="Entities found by title for each mention. Default: as many as the run saw.",
)
@click.option(
    "--store",
    metavar="STORE",
    type=StorePlace(),
    help="Where the run's store is now: a file or a URL.",
)
@click.option("--other-store", is_flag=True, help="Allow a store the run was not trained from.")
@click.option("--text-encoder", "text", metavar="NAME|FOLDER", help="Where it is now, or none.")
@click.option(
    "--image-encoder", "image_encoder", metavar="NAME|FOLDER", help="Where it is now, or none."
)
@click.option("--clip", metavar="NAME|FOLDER", help="Where it is now, or none.")
@click.option(
    "--detector",
    type=click.Choice(["fasterrcnn", "maskrcnn", "none"]),
    help="Default: the store's; none: as if it found no object.",
)
@click.option("--detector-weights", metavar="FILE", help="Where they cannot be downloaded.")
@click.option("--other-encoder", is_flag=True, help="Allow encoders that did not make the store.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Default: as trained.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def link(
    run: Path,
    sentence: str | None,
    image: Path | None,
    among: tuple[str, ...],
    source: Path | None,
    target: Path | None,
    overwrite: bool,
    top: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Link mentions of your own with a trained model.

    Candidates are entities of the run's store, found by title or given. Features are made by the
    encoders that made the store; each is compared with what the store recorded of it (sha256 of its
    files, or revision), and another one is refused. A store ingested from preprocessed arrays
    records none: name them; the scores are right only if they are the very ones. The word none in
    place of an encoder leaves it out, as in ingest: for models that read nothing it makes.

    A line of --input is an object with a sentence, the mention in it as [[mention]], or its first
    occurrence as "mention", or "start" and "end" in characters; and if you like "id", "image"
    (relative: below the file's folder) and "candidates" (ids or titles). The output has a line for
    each, in order, and stands at its place when all are written. A picture that cannot be used is
    reported with the answer.

    \b
    Examples:
    $ drin-fs link runs/drin --sentence "Then [[Jordan]] scored 63 points." --image photo.jpg
    $ drin-fs link runs/drin --sentence "Then [[Jordan]] scored." --among Q41421 --among Q810 --json
    $ drin-fs link runs/drin --input mentions.jsonl -o answers.jsonl --top 10
    $ drin-fs link runs/drin --input mentions.jsonl -o - --text-encoder models/bert | head

    The same in Python: linker.link.Linker.
    """
    if (sentence is None) == (source is None):
        raise click.UsageError("give --sentence or --input, one of them")
    if sentence is not None:
        if target is not None or overwrite:
            raise click.UsageError("-o and --overwrite go with --input")
        _link_one(run, sentence, image, among, top, as_json, options)
        return
    if image is not None or among:
        raise click.UsageError("--image and --among go with --sentence")
    if target is None:
        raise click.UsageError("--input: say where the answers go with -o FILE, or -o -")
    assert source is not None
    if target.exists() and source.exists() and target.samefile(source):
        raise click.UsageError(f"-o {target} is the --input: name another file for the answers")
    _link_many(run, source, target, overwrite, top, as_json, options)


def _link_one(
    run: Path,
    sentence: str,
    image: Path | None,
    among: tuple[str, ...],
    top: int,
    as_json: bool,
    options: dict[str, Any],
) -> None:
    from cli.render_link import linked_view
    from linker.link_mentions import MentionInput

    if image is not None and not image.is_file():
        raise click.UsageError(f"--image {image}: there is no such file")
    mention = MentionInput.marked(
        sentence, image=image, candidates=among or None, where="--sentence"
    )
    with _open(run, options) as linker:
        (linked,) = linker.link([mention], top=top)
    show_json(linked.as_dict()) if as_json else show(linked_view(linked))


def _link_many(
    run: Path,
    source: Path,
    target: Path,
    overwrite: bool,
    top: int,
    as_json: bool,
    options: dict[str, Any],
) -> None:
    from cli.progress import progress_on
    from cli.render_link import summary_view
    from featurestore.export.jsonl import json_line
    from linker.link_lines import link_lines, new_file

    progress = progress_on(stderr())
    if str(target) == "-":
        with _open(run, options) as linker:
            link_lines(linker, source, show_json_line, top=top)
        return
    with new_file(target, overwrite=overwrite) as file, _open(run, options) as linker:
        summary = link_lines(
            linker, source, lambda each: file.write(json_line(each)), top=top, progress=progress
        )
    show_json(summary) if as_json else show(summary_view(summary, str(target)))


def _open(run: Path, options: dict[str, Any]) -> Linker:
    """The linker of the options; what one should know of its answers goes to stderr."""
    from linker.link import EncoderChoice, Linker

    linker = Linker.from_run(
        run,
        store=options["store"],
        other_store=options["other_store"],
        device=options["device"],
        candidates=options["candidates"],
        encoders=EncoderChoice(
            text=options["text"],
            image=options["image_encoder"],
            clip=options["clip"],
            detector=options["detector"],
            detector_weights=options["detector_weights"],
            other=options["other_encoder"],
        ),
    )
    for note in linker.notes:
        stderr().print(f"note: {note}", soft_wrap=True)
    return linker
