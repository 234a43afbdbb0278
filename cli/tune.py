"""``drin-fs tune``: a skin over :func:`linker.tune.tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click
from rich.text import Text

from cli.console import clean, show, show_json, stderr, stdout


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("space", metavar="SPACE.yaml", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "runs",
    metavar="RUNS",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the trials; a search that is there is gone on with.",
)
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    metavar="N",
    help="In total, with those that are there. Default: 20; of a grid, all.",
)
@click.option(
    "--timeout",
    "minutes",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MINUTES",
    help="Begin no trial after so many minutes.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes, which share the threads of the machine.",
)
@click.option(
    "--sampler",
    type=click.Choice(["tpe", "random", "grid"]),
    default="tpe",
    show_default=True,
    help="How values are chosen: by what did well before, at random, or all there are.",
)
@click.option(
    "--pruner",
    type=click.Choice(["median", "hyperband", "none"]),
    default="median",
    show_default=True,
    help="Which trials are ended early, judged after every epoch.",
)
@click.option(
    "--metric",
    default="mrr",
    show_default=True,
    metavar="mrr|hits@K",
    help="Figure of the validation split to search by.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the sampler."
)
@click.option(
    "--keep",
    type=click.Choice(["best", "all"]),
    help="Checkpoints that stay when a trial is over: the best trial's, or all. Default: best, or as the "
    "search was begun.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the trials as JSON.")
def tune(store: Path, space: Path, as_json: bool, **options: Any) -> None:
    """Search for the options under which a model does best on validation.

    SPACE.yaml has defaults (keys of drin-fs train --print-config that all trials share), and under
    search a range {low, high, log} or {low, high, step}, or a list of choices, for each key that
    varies. Every trial is a run, RUNS/trial-0007. One that falls behind is pruned after an epoch; one
    that fails is recorded with the reason. The same command goes on with a search that was stopped,
    and continues the trial it was stopped in.

    Checkpoints of trials that are over are removed, but for the best trial's; --keep all keeps them.

    The test split is never scored: RUNS/best.yaml holds the best configuration, to be trained with
    several seeds and scored then.

    \b
    Examples:
    $ drin-fs tune wikimel.h5 space.yaml -o runs/search
    $ drin-fs tune wikimel.h5 space.yaml -o runs/search --trials 60 --jobs 2 --timeout 240
    $ drin-fs tune wikimel.h5 space.yaml -o runs/grid --sampler grid --pruner none
    $ drin-fs tune wikimel.h5 space.yaml -o runs/search --json | jq '.best.values'

    The same in Python: linker.tune.tune.
    """
    from cli.progress import progress_on
    from linker.tune import tune as search
    from linker.tune_result import tuned_view

    tuned = search(store, space, progress=progress_on(stderr()), **options)
    if as_json:
        show_json(tuned)
        return
    show(tuned_view(tuned))
    if tuned.best is not None:  # not broken: it is there to be pasted
        stdout().print(Text(f"best: {clean(tuned.runs)}/best.yaml"), soft_wrap=True)
        stdout().print(Text(f"next: {clean(tuned.next)}"), soft_wrap=True)
