"""``drin-fs evaluate``: a skin over :mod:`linker.evaluate` and :mod:`linker.baseline`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from cli.console import show, show_json, stderr
from cli.models import model_option, show_models
from cli.places import StorePlace
from featurestore.progress import Progress

if TYPE_CHECKING:
    from featurestore.place import Place
    from linker.scoring import FullKb

#: Flags → keys of the configuration that an untrained model is scored under.
_KEYS = {
    "model": "model.name",
    "tie_rule": "metrics.tie_rule",
    "denominator": "metrics.denominator",
}

#: Options that make sense only without --model, and only with it.
_OF_RUNS = ("store", "other_store", "record")
_OF_MODELS = ("run", "settings", "overwrite")


@click.command()
@click.argument("path", metavar="RUN|STORE", required=False, type=StorePlace())
@model_option("Score an untrained model on STORE; without a name, the list of models.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Of --model: set a key."
)
@click.option(
    "-o",
    "--output",
    "run",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="Of --model: a folder for figures and ranks, to report beside those of trained models.",
)
@click.option("--overwrite", is_flag=True, help="Of --model: replace the RUN of -o if it is there.")
@click.option("--split", metavar="NAME", help="Split to score. Default: test; with -o valid, test.")
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
@click.option(
    "--candidates",
    type=int,
    metavar="K",
    help="See only the first K of each mention's list. Default: as trained; of --model, all.",
)
@click.option(
    "--devices",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Of full-kb: N GPUs, or on the CPU N processes, share the mentions. Default: 1.",
)
@click.option(
    "--first-stage",
    "method",
    type=click.Choice(["exact", "ivf", "ivf-pq"]),
    help="Of full-kb: let the model rank what this search retrieves; ivf, ivf-pq: by an index of faiss.",
)
@click.option(
    "--retrieve", type=int, metavar="R", help="Entities that it retrieves a mention. Default: 1000."
)
@click.option(
    "--first-stage-field",
    "fields",
    metavar="MENTION[:ENTITY]",
    help="Stored vectors that it compares. Default: what the model compares, or the texts.",
)
@click.option(
    "--index",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep its index here, or use the one that is there.",
)
@click.option(
    "--probe",
    type=int,
    metavar="N",
    help="Lists of the index to search. Default: 1 of 4, 32 at least.",
)
@click.option(
    "--store",
    metavar="STORE",
    type=StorePlace(),
    help="Where the run's store is now: a file or a URL.",
)
@click.option("--other-store", is_flag=True, help="Allow a store the run was not trained from.")
@click.option("--record", is_flag=True, help="Write ranks and scores of the split into the RUN.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Default: as trained.")
@click.option(
    "--precision", type=click.Choice(["32", "bf16-mixed", "16-mixed"]), help="Default: as trained."
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def evaluate(
    path: Place | None, model: str | None, split: str | None, as_json: bool, **options: Any
) -> None:
    """Score the best weights of RUN on a split, or an untrained model on STORE.

    For the settings it was trained with, the figures equal those of the run's summary.
    An untrained model has the defaults of drin-fs train instead.
    With --record, drin-fs inspect --errors RUN can show the split's mistakes.

    \b
    Examples:
    $ drin-fs evaluate runs/drin
    $ drin-fs evaluate runs/drin --split valid --ties pessimistic --denominator retrieved
    $ drin-fs evaluate runs/text --protocol full-kb --devices 2
    $ drin-fs evaluate runs/drin --protocol full-kb --first-stage ivf --retrieve 100
    $ drin-fs evaluate runs/drin --store /data/wikimel.h5 --json
    $ drin-fs evaluate runs/drin --store https://example.org/wikimel.h5
    $ drin-fs evaluate runs/drin --split train --record
    $ drin-fs evaluate runs/drin --candidates 25
    $ drin-fs evaluate wikimel.h5 --model clip --set model.pair=text-image
    $ drin-fs evaluate wikimel.h5 --model bert -o runs/bert

    The same in Python: linker.evaluate.evaluate, linker.baseline.evaluate_untrained.
    """
    if model == "":
        show_models(as_json=as_json)
        return
    if path is None:
        raise click.UsageError("Missing argument: a RUN folder, or a STORE with --model NAME.")
    _check_options(options, untrained=model is not None)
    from cli.progress import progress_on

    options["full_kb"] = _full_kb(options)

    given = {key: value for key, value in options.items() if key not in _OF_MODELS + _OF_RUNS}
    full_kb = given.pop("full_kb")
    progress = progress_on(stderr())
    if model is None:
        from linker.evaluate import evaluate as score

        splits = [split or "test"]
        of_run = {key: options[key] for key in _OF_RUNS}
        figures = score(
            path, split=splits[0], full_kb=full_kb, progress=progress, **of_run, **given
        )
    else:
        filed = options["run"] is not None
        splits = [split] if split else ["valid", "test"] if filed else ["test"]
        of_model = {key: options[key] for key in _OF_MODELS}
        figures = _score_untrained(
            path,
            splits,
            flags={"model": model, **given},
            full_kb=full_kb,
            progress=progress,
            **of_model,
        )
    from linker.report import run_table

    show_json(figures) if as_json else show(run_table(figures, splits))


def _score_untrained(
    store: Place,
    splits: list[str],
    *,
    flags: dict[str, Any],
    progress: Progress,
    settings: tuple[str, ...],
    run: Path | None,
    overwrite: bool,
    full_kb: FullKb,
) -> dict[str, Any]:
    """Options → a configuration → :func:`linker.baseline.evaluate_untrained`."""
    from linker.baseline import evaluate_untrained
    from linker.config_layers import layered_config

    keys = {_KEYS.get(name, name): value for name, value in flags.items()}
    protocol = keys["protocol"]
    if protocol == "full-kb":  # one of scoring, which no configuration holds
        del keys["protocol"]
    return evaluate_untrained(
        store,
        layered_config(settings=settings, flags=keys),
        splits=splits,
        run=run,
        overwrite=overwrite,
        protocol=protocol,
        full_kb=full_kb,
        progress=progress,
    )


def _full_kb(options: dict[str, Any]) -> FullKb:
    """Takes the options of protocol full-kb out of the others.

    Raises:
        UsageError: one of the first stage without a first stage.
    """
    from linker.first_stage import FirstStage
    from linker.scoring import FullKb

    method = options.pop("method")
    given = {name: options.pop(name) for name in ("retrieve", "fields", "index", "probe")}
    given = {name: value for name, value in given.items() if value is not None}
    if method is None and given:
        name = {"fields": "first-stage-field"}.get(next(iter(given)), next(iter(given)))
        raise click.UsageError(f"--{name} needs --first-stage exact, ivf or ivf-pq")
    stage = None if method is None else FirstStage(method=method, **given)
    return FullKb(devices=options.pop("devices"), first_stage=stage)


def _check_options(options: dict[str, Any], *, untrained: bool) -> None:
    """Refuse options of the other use of the command."""
    flags = {"run": "-o", "settings": "--set"}
    for name in _OF_RUNS if untrained else _OF_MODELS:
        if options[name]:
            flag = flags.get(name, "--" + name.replace("_", "-"))
            use = "is for a RUN, without --model" if untrained else "needs --model NAME and a STORE"
            raise click.UsageError(f"{flag} {use}")
