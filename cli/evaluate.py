"""``drin-fs evaluate``: a skin over :func:`linker.evaluate.evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from cli.console import show, show_json, stderr


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--split", default="test", show_default=True, metavar="NAME", help="Split to score.")
@click.option(
    "--protocol",
    type=click.Choice(["strict", "paper", "full-kb"]),
    help="Candidates the forward pass sees; full-kb: all entities of the store. Default: as trained.",
)
@click.option(
    "--ties",
    "tie_rule",
    type=click.Choice(["optimistic", "expected", "pessimistic"]),
    help="Rank of a gold that ties with others. Default: as trained.",
)
@click.option(
    "--denominator",
    type=click.Choice(["retrieved", "all"]),
    help="Mentions that figures are means over. Default: as trained.",
)
@click.option("--store", type=click.Path(path_type=Path), help="Where the run's store is now.")
@click.option("--other-store", is_flag=True, help="Allow a store the run was not trained from.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Default: as trained.")
@click.option(
    "--precision", type=click.Choice(["32", "bf16-mixed", "16-mixed"]), help="Default: as trained."
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def evaluate(run: Path, split: str, as_json: bool, **options: Any) -> None:
    """Score the best weights of RUN on a split.

    For the settings it was trained with, the figures equal those of the run's summary.

    \b
    Examples:
    $ drin-fs evaluate runs/drin
    $ drin-fs evaluate runs/drin --split valid --ties pessimistic --denominator retrieved
    $ drin-fs evaluate runs/text --protocol full-kb
    $ drin-fs evaluate runs/drin --store /data/wikimel.h5 --json

    The same in Python: linker.evaluate.evaluate.
    """
    from cli.progress import progress_on
    from linker.evaluate import evaluate as score
    from linker.report import run_table

    figures = score(run, split=split, progress=progress_on(stderr()), **options)
    show_json(figures) if as_json else show(run_table(figures, [split]))
