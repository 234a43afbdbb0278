"""``drin-fs sample``: options → :func:`featurestore.sources.sample.write_sample` → what was written."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Any

import rich_click as click
from rich.console import Group, RenderableType
from rich.text import Text

from cli.console import count, plain_text, show, show_json, size, stderr
from cli.render_parts import facts


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--dataset",
    type=click.Choice(["wikimel", "wikidiverse"]),
    default="wikimel",
    show_default=True,
    help="Whose layout and troubles.",
)
@click.option(
    "--layout",
    type=click.Choice(["raw", "preprocessed", "mimic", "own"]),
    default="raw",
    show_default=True,
    help="Texts and pictures with tiny encoders, .npy features, texts and pictures as MIMIC has, or what "
    "a dataset of your own is built from: mentions, photos, a Wikidata dump.",
)
@click.option(
    "--mentions", type=int, default=900, show_default=True, help="Of all splits together."
)
@click.option("--entities", type=int, default=300, show_default=True, help="In the knowledge base.")
@click.option("--candidates", type=int, default=10, show_default=True, help="Of each mention (K).")
@click.option("--text-width", type=int, default=64, show_default=True, help="Of text features (D).")
@click.option(
    "--image-width", type=int, default=96, show_default=True, help="Of picture features (V)."
)
@click.option(
    "--mention-tokens", type=int, default=32, show_default=True, help="Of a sentence (T)."
)
@click.option(
    "--entity-tokens", type=int, default=48, show_default=True, help="Of an entity's text (S)."
)
@click.option("--regions", type=int, default=49, show_default=True, help="Of a picture (R).")
@click.option(
    "--mention-objects", type=int, default=3, show_default=True, help="Of a mention's picture."
)
@click.option(
    "--entity-objects", type=int, default=1, show_default=True, help="Of an entity's picture."
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Another seed, another sample.",
)
@click.option(
    "--problems", is_flag=True, help="Plant what drin-fs audit looks for, too; raw wikimel only."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def sample(folder: Path, as_json: bool, **numbers: Any) -> None:
    """Write a small made-up dataset to try everything on.

    FOLDER becomes the root of the dataset; it must be new or empty. Equal options write equal
    bytes. The preprocessed layout streams, so that any size can be written, up to the true one.

    \b
    Examples:
    $ drin-fs sample demo/raw
    $ drin-fs sample demo/arrays --dataset wikidiverse --layout preprocessed
    $ drin-fs sample demo/bad --problems
    $ drin-fs sample demo/own --layout own --mentions 60 --entities 12
    $ drin-fs sample big --layout preprocessed --mentions 20000 --entities 20000 --candidates 100

    The same in Python: featurestore.sources.sample.write_sample.
    """
    from cli.progress import progress_on
    from featurestore.sources.sample import write_sample

    summary = write_sample(folder, progress=progress_on(stderr()), **numbers)
    if as_json:
        show_json(summary.as_dict())
    else:
        show(_view(summary.as_dict()))


def _view(summary: dict[str, Any]) -> RenderableType:
    """What was written, and how to go on."""
    splits = ", ".join(f"{count(number)} {name}" for name, number in summary["mentions"].items())
    lines: list[tuple[str, RenderableType]] = [
        ("folder", plain_text(summary["root"], "cyan")),
        ("dataset", f"{summary['layout']} {summary['dataset']}, seed {summary['seed']}"),
        ("mentions", f"{splits}; {_candidates(summary)}"),
        ("entities", f"{count(summary['entities'])} under {count(summary['names'])} names"),
        ("telling", f"{count(summary['telling'])} sentences tell the gold from its namesakes"),
        ("size", f"{size(summary['bytes'])} in {count(summary['files'])} files"),
    ]
    for name, number in summary["troubles"].items():
        lines.append(("planted", plain_text(f"{count(number)} {name}")))
    return Group(facts(lines), Text(), Text("next", "dim"), Text(f"  $ {_next(summary)}"))


def _candidates(summary: dict[str, Any]) -> str:
    number = summary["candidates"]
    has_none = summary["layout"] in ("mimic", "own")
    return "no candidates" if has_none else f"{number} candidates each"


def _next(summary: dict[str, Any]) -> str:
    """The ingest command that fits the sample, ready to paste."""
    root = quote(summary["root"])
    if summary["layout"] == "own":
        dump = quote(f"{summary['root']}/wikidata.json.gz")
        return f"drin-fs build titles {dump} -o titles.tsv  # see docs/own-dataset.md"
    encoders = {name: quote(folder) for name, folder in summary["encoders"].items()}
    parts = [f"drin-fs ingest {root} -o {quote(summary['root'].rstrip('/') + '.h5')}"]
    if encoders:
        parts.append(f"--text-encoder {encoders['bert']}")
        parts.append(f"--image-encoder {encoders['resnet']}")
        parts.append(f"--clip {encoders['clip']}")
        parts.append(
            f"--boxes {quote(summary['boxes'])}" if summary["boxes"] else "--detector none"
        )
    if summary["layout"] == "mimic":
        parts.append(f"--candidates {summary['candidates']}")
    return " \\\n      ".join(parts)
