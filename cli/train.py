"""``drin-fs train``: options → a configuration → :func:`linker.train.train` → a table."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from cli.console import show, show_json, stderr
from cli.models import model_option, show_models

if TYPE_CHECKING:
    from linker.config import TrainConfig
    from linker.loggers import LoggerName

#: Flags of single keys of the configuration; ``None`` = not given, so that lower layers count.
_KEYS = {
    "model": "model.name",
    "text": "text.source",
    "finetune": "text.finetune",
    "entity_text": "text.entity",
    "schedule": "schedule.kind",
    "warmup": "schedule.warmup",
    "ema": "ema.decay",
    "patience": "stopping.patience",
}


@click.command()
@click.argument("store", required=False, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "run",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="Folder of the run. Default: runs/<store>-<model>; of --config RUN/config.yaml, RUN-again.",
)
@model_option("The network; without a name, the list of them. Default: drin.")
@click.option(
    "--protocol",
    type=click.Choice(["strict", "paper"]),
    help="Candidates the forward pass sees: the retrieved ones, or the gold besides.",
)
@click.option(
    "--candidates",
    type=int,
    metavar="K",
    help="See only the first K of each mention's list. Default: all of them.",
)
@click.option(
    "--text",
    type=click.Choice(["stored", "online"]),
    help="Features of texts: the store's, or made by a text encoder while training.",
)
@click.option(
    "--finetune", is_flag=True, default=None, help="Train the encoder of --text online as well."
)
@click.option(
    "--entity-text",
    type=click.Choice(["attr", "name", "brief"]),
    help="What --text online reads of an entity: the text as at ingest, title or description.",
)
@click.option("--epochs", type=int, metavar="N", help="Passes over the training split.")
@click.option("--batch-size", type=int, metavar="N", help="Mentions a batch.")
@click.option("--lr", type=float, metavar="RATE", help="Learning rate of Adam.")
@click.option(
    "--schedule",
    type=click.Choice(["constant", "cosine", "linear"]),
    help="The learning rate over the run. Default: constant.",
)
@click.option(
    "--warmup", type=float, metavar="N", help="Updates to warm up over, or a share of them below 1."
)
@click.option("--accumulate", type=int, metavar="N", help="Batches an update; see --print-config.")
@click.option("--clip", type=float, metavar="NORM", help="Largest norm of an update's gradients.")
@click.option(
    "--ema",
    type=float,
    metavar="DECAY",
    help="Validate and keep a moving average of the weights, e.g. 0.999.",
)
@click.option(
    "--patience", type=int, metavar="N", help="Stop when N epochs brought no better figure."
)
@click.option("--seed", type=int, metavar="N", help="Of weights, order and dropout.")
@click.option(
    "--seeds",
    metavar="LIST",
    help="One run after the other, in RUN/seed-0, RUN/seed-1, …: 0,1,2 or 0-2.",
)
@click.option(
    "--precision", type=click.Choice(["32", "bf16-mixed", "16-mixed"]), help="Of the arithmetic."
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), help="auto takes a GPU if there is one."
)
@click.option(
    "--devices",
    type=int,
    metavar="N",
    help="Processes that train together on a machine, a GPU each; the result is that of one.",
)
@click.option(
    "--nodes", type=int, metavar="N", help="Machines that do; start them with torchrun or srun."
)
@click.option("--workers", type=int, metavar="N", help="Processes that read batches.")
@click.option(
    "--verify-reads",
    is_flag=True,
    default=None,
    help="Compare what is read of the store with its checksums.",
)
@click.option(
    "--ablate",
    metavar="NAMES",
    help="Take parts of drin away: edges (tt,ti,it,ii), static, vector; several with commas.",
)
@click.option("--preset", metavar="NAME", help="Start from a published set-up: drin-wikimel, ….")
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    help="YAML with any of the keys that --print-config prints; a RUN/config.yaml runs it again.",
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set one key.")
@click.option("--print-config", is_flag=True, help="Print the configuration and stop.")
@click.option(
    "--checkpoint-minutes",
    type=float,
    metavar="MINUTES",
    help="Save within an epoch when the last checkpoint is so old. Default: 10.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue RUN from its last checkpoint; from the beginning, where it has none yet.",
)
@click.option("--overwrite", is_flag=True, help="Replace RUN if it is there.")
@click.option(
    "--profile",
    is_flag=True,
    help="Measure where the time goes: a table, and RUN/trace.json.gz of a few steps.",
)
@click.option(
    "--logger",
    "loggers",
    multiple=True,
    type=click.Choice(["wandb", "mlflow"]),
    help="Send options and figures there as well; may be given twice.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def train(
    store: Path | None,
    run: Path | None,
    seeds: str | None,
    ablate: str | None,
    preset: str | None,
    file: Path | None,
    settings: tuple[str, ...],
    print_config: bool,
    resume: bool,
    overwrite: bool,
    profile: bool,
    loggers: tuple[LoggerName, ...],
    as_json: bool,
    **flags: Any,
) -> None:
    """Train a model from STORE.

    The configuration is laid in layers: defaults, --preset, --config, --set, and the flags; later
    ones win, and --ablate takes away from what they say. The best epoch by validation is scored on
    the test split once. RUN then holds config.yaml, environment.json, metrics.csv, summary.json,
    ranks, checkpoints and TensorBoard events.

    A checkpoint is written after every epoch, and within one every 10 minutes. A run that was stopped
    in whatever way continues from it with --resume, to the figures of a run that was not stopped. One
    process at a time writes to RUN.

    With --seeds, finished runs of the same configuration are not made again; --resume and --overwrite
    are for each of the runs.

    The config.yaml of a run makes that run again, to the bit on the same machine: without STORE on the
    store that it was made from, and into a folder beside it. What differs is said.

    \b
    Examples:
    $ drin-fs train wikimel.h5 -o runs/drin --epochs 10
    $ drin-fs train wikimel.h5 -o runs/text-edges --set model.edges=tt --seed 1
    $ drin-fs train wikimel.h5 -o runs/no-ti --ablate ti
    $ drin-fs train wikimel.h5 -o runs/short --candidates 25
    $ drin-fs train wikimel.h5 -o runs/text --model text --seeds 0,1,2
    $ drin-fs train wikimel.h5 -o runs/paper --preset drin-wikimel
    $ drin-fs train --preset drin-wikimel --print-config > mine.yaml
    $ drin-fs train wikimel.h5 -o runs/drin --resume --epochs 30
    $ drin-fs train --config runs/drin/config.yaml -o runs/drin-again
    $ drin-fs train wikimel.h5 -o runs/bert --text online --finetune --batch-size 8
    $ drin-fs train wikimel.h5 -o runs/cosine --schedule cosine --warmup 0.1 --clip 1 --ema 0.999
    $ drin-fs train wikimel.h5 -o runs/patient --epochs 100 --patience 5 --logger wandb
    $ drin-fs train wikimel.h5 -o runs/once --epochs 1 --profile
    $ drin-fs train wikimel.h5 -o runs/four-gpus --devices 4
    $ drin-fs train --model

    The same in Python: linker.train.train.
    """
    if flags["model"] == "":
        show_models(as_json=as_json)
        return
    from linker.config_layers import layered_config, preset_notes
    from linker.config_text import to_yaml
    from linker.rerun import rerun_of

    rerun = rerun_of(file) if file else None
    if store is None and rerun is not None and not print_config:
        store, run = rerun.store_path(), run or rerun.new_folder()
    if store is None and not print_config:
        raise click.UsageError("Missing argument 'STORE': a file made with drin-fs ingest.")
    if resume and overwrite:
        raise click.UsageError("--resume continues RUN and --overwrite replaces it: choose one")
    if resume and run is None:
        raise click.UsageError("--resume: say which run with -o RUN")
    several = _seeds(seeds, flags["seed"], settings)

    def configured(started: Sequence[Path | None], seed: int | None) -> TrainConfig:
        given = {**flags, "seed": seed}
        return layered_config(
            start=_options_of(started) if resume else None,
            preset_name=preset,
            file=file,
            settings=settings,
            flags={_KEYS.get(name, name): value for name, value in given.items()},
            ablate=ablate,
        )

    begun = [run] if not run or not several else [run / f"seed-{seed}" for seed in several]
    config = configured(begun, several[0] if several else flags["seed"])
    if print_config:
        sys.stdout.write(to_yaml(config, notes=preset_notes(preset, config) if preset else None))
        return
    assert store is not None
    from cli.progress import progress_on
    from linker.launch import rank_here, settle_processes
    from linker.profile_table import profile_table
    from linker.report import run_table
    from linker.train import train as run_training

    is_first = rank_here(settle_processes(config)) == 0
    folder = run or Path("runs") / f"{store.stem}-{config.model.name}"
    if several:
        from linker.seeds import seed_folder, train_seeds

        summaries = train_seeds(
            store,
            {seed: configured([seed_folder(folder, seed), *begun], seed) for seed in several},
            run=folder,
            resume=resume,
            overwrite=overwrite,
            profile=profile,
            loggers=loggers,
            progress=progress_on(stderr()),
        )
        if is_first:
            _show_seeds(summaries, as_json=as_json)
        return
    summary = run_training(
        store,
        config,
        run=folder,
        resume=resume,
        overwrite=overwrite,
        profile=profile,
        loggers=loggers,
        rerun=rerun,
        progress=progress_on(stderr()),
    )
    if not is_first:
        return
    if as_json:
        show_json(summary)
    else:
        show(run_table(summary), *([profile_table(summary["profile"])] if profile else []))


def _seeds(text: str | None, seed: int | None, settings: tuple[str, ...]) -> tuple[int, ...]:
    """The seeds of ``--seeds``; none without it.

    Raises:
        click.UsageError: one seed is given besides.
    """
    if text is None:
        return ()
    if seed is not None or any(setting.partition("=")[0].strip() == "seed" for setting in settings):
        raise click.UsageError("--seeds makes a run with each, and --seed one: choose one of them")
    from linker.seeds import parse_seeds

    return parse_seeds(text)


def _show_seeds(summaries: Mapping[Path, Any], *, as_json: bool) -> None:
    """The runs side by side, and where the time of each went, where that was measured."""
    from cli.grid import runs_table
    from linker.profile_table import profile_table

    if as_json:
        show_json(summaries)
        return
    measured = [s["profile"] for s in summaries.values() if "profile" in s]
    show(runs_table(list(summaries)), *map(profile_table, measured))


def _options_of(runs: Sequence[Path | None]) -> dict[str, Any] | None:
    """What the first of the runs was started with that has come so far; None where none has."""
    from linker.run_folder import RunFolder

    folders = [RunFolder(run) for run in runs if run]
    begun = [folder for folder in folders if folder.config.is_file()]
    return begun[0].read_config() if begun else None
