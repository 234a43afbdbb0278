"""Mentions in random order, or in blocks that share candidates: what batches read, and how mixed.

``python -m benchmarks order`` asks a sample. What it does to a model only a real store can tell:

    python -m benchmarks.order wikimel.h5 --seeds 0,1,2 --epochs 1
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import click
import numpy as np

from benchmarks.data import Workspace
from benchmarks.report import Cell, Report, Row
from benchmarks.store_runs import Integers, changes, finished, report_on, spread
from featurestore import Store
from featurestore.progress import Progress
from featurestore.schema import NO_ROW
from linker.config import TrainConfig
from linker.config_text import read_config
from linker.job import Job, prepare_job
from linker.run_folder import RunFolder

#: Mentions of a block; 0 = random order. The largest is a batch of neighbours only.
BLOCKS = (0, 2, 4, 8, 16, 64)

_BATCH = ("distinct entities a batch", "MB a batch", "bits", "of bits")
COLUMNS = (*_BATCH, "names a batch")
RUN_COLUMNS = (*COLUMNS, "hits@1, %", "MRR, %", "hits@1 − random, points", "s an epoch")


_CONDITIONS = (
    "batches of the first epoch, gold entities among their candidates; MB: the entity views that the "
    "model reads",
    "bits: entropy of a batch's names, as the best candidates of its mentions tell them, and the most "
    "it can be",
)

#: Of a configuration, as in a file.
Settings: TypeAlias = Mapping[str, Any]

#: Of a run, as ``summary.json`` holds it.
Summary: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """The batches of one epoch, on average."""

    distinct: float  # entities
    megabytes: float  # of their views
    bits: float  # entropy of the names of a batch, as their best candidates tell them
    most: float  # that entropy if all names were different
    names: float  # different ones


def measure(workspace: Workspace) -> Report:
    """Every order of a sample's mentions."""
    with workspace.store() as store:
        settings = {"model": "drin", "batch_size": workspace.sizes.batch}
        rows = [
            Row(name=_name(block), figures=_cells(mixture(store, settings, block)), ours=block == 0)
            for block in BLOCKS
        ]
    return Report(
        question="random order of mentions, or blocks that share candidates",
        columns=COLUMNS,
        rows=rows,
        conditions=[
            workspace.sizes.words,
            *_CONDITIONS,
            "few mentions of this sample share a name; a real store: python -m benchmarks.order STORE",
        ],
    )


def mixture(store: Store, settings: Settings, block: int) -> Mixture:
    """What the batches of the first epoch hold.

    Raises:
        ConfigError: a setting is wrong.
        FieldMissing: the store lacks what the model reads.
    """
    job = prepare_job(store, _config(settings, block))
    names = store.mentions.view("candidates")[:, 0]
    found: list[tuple[float, ...]] = []
    for rows in job.loader("train", shuffled=True).requests:
        candidates = store.mentions.gather("candidates", rows)
        gold = store.mentions.gather("gold", rows)
        distinct = np.unique(np.append(candidates, gold))
        _, counts = np.unique(names[rows], return_counts=True)
        shares = counts / counts.sum()
        found.append(
            (
                float(np.count_nonzero(distinct != NO_ROW)),
                -float((shares * np.log2(shares)).sum()),
                math.log2(len(rows)),
                float(len(counts)),
            )
        )
    entities, bits, most, different = np.mean(np.array(found), axis=0).tolist()
    return Mixture(
        distinct=entities,
        megabytes=entities * _entity_bytes(job) / 1e6,
        bits=bits,
        most=most,
        names=different,
    )


def _entity_bytes(job: Job) -> int:
    """Bytes of one entity that a batch reads."""
    fields = [path.split("/")[1] for path in job.match.paths.values() if path.startswith("entit")]
    stored = [job.store.entities.stored(name) for name in fields]
    return sum(int(np.prod(field.shape[1:])) * field.dtype.itemsize for field in stored)


def _config(settings: Settings, block: int) -> TrainConfig:
    order = {"order": "local", "order_block": block} if block else {"order": "random"}
    return read_config({**settings, **order})


def _name(block: int) -> str:
    return f"local, blocks of {block}" if block else "random"


def _cells(mixed: Mixture) -> dict[str, Cell]:
    return {
        "distinct entities a batch": mixed.distinct,
        "MB a batch": mixed.megabytes,
        "bits": mixed.bits,
        "of bits": mixed.most,
        "names a batch": mixed.names,
    }


# training on a real store ---------------------------------------------------------------------------


def compare(
    store: Store,
    *,
    model: str,
    seeds: Sequence[int],
    epochs: int,
    blocks: Sequence[int],
    folder: Path,
    progress: Progress,
) -> Report:
    """Train a model in random order and in some others.

    Raises:
        ConfigError: there is no such model, it has nothing to learn, or a block is too small.
        FieldMissing: the store lacks what the model reads.
        UnknownId: the store has no test split.
    """
    store.mentions.split("test")
    settings = {"model": model, "epochs": epochs}
    for block in blocks:
        _config(settings, block)
    place = folder / f"{store.fingerprint[:8]}-{model}-{epochs}-epochs-order"
    place.mkdir(exist_ok=True)
    trained: dict[int, list[Summary]] = {}
    rows = []
    for block in dict.fromkeys((0, *blocks)):
        trained[block] = [
            finished(
                RunFolder(place / f"{block}-seed-{seed}"),
                _config({**settings, "seed": seed}, block),
                store=lambda: Path(store.path),
                what=f"{_name(block)}, seed {seed}",
                progress=progress,
            )
            for seed in seeds
        ]
        mixed = mixture(store, settings, block)
        figures = {**_cells(mixed), **_run_cells(trained[block], trained[0], seeds)}
        rows.append(Row(name=_name(block), figures=figures, ours=block == 0))
    return Report(
        question=f"{model} on {store.dataset}, its mentions in several orders",
        columns=RUN_COLUMNS,
        rows=rows,
        conditions=[
            *_CONDITIONS,
            f"test split after {epochs} epochs at most, of which the best on the validation split; "
            f"mean ± standard deviation over seeds {', '.join(map(str, seeds))}",
        ],
    )


def _run_cells(
    trained: Sequence[Summary], random: Sequence[Summary], seeds: Sequence[int]
) -> dict[str, Cell]:
    tests = [summary["test"] for summary in trained]
    base = tests if trained is random else [summary["test"] for summary in random]
    cells: dict[str, Cell] = {
        "hits@1, %": spread([figures["hits@1"] for figures in tests]),
        "MRR, %": spread([figures["mrr"] for figures in tests]),
        "hits@1 − random, points": changes(tests, base),
        "s an epoch": median(summary["train_seconds_per_epoch"] for summary in trained),
    }
    for seed, figures in zip(seeds, tests, strict=True):  # for programs
        cells[f"hits@1, seed {seed}"] = figures["hits@1"]
    return cells


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--seeds", type=Integers(), default="0,1,2", show_default=True, help="One run each.")
@click.option("--epochs", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--blocks", type=Integers(), default="8", show_default=True, help="Mentions of a block."
)
@click.option("--model", default="drin", show_default=True)
@click.option("--json", "target", type=click.Path(path_type=Path), help="Save the figures here.")
@click.option(
    "--runs",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the runs in this folder, and skip those that it has finished.",
)
def main(
    store: Path,
    seeds: tuple[int, ...],
    epochs: int,
    blocks: tuple[int, ...],
    model: str,
    target: Path | None,
    runs: Path | None,
) -> None:
    """Train a model on STORE with its mentions in random order and in others, and compare."""
    report_on(
        store,
        lambda opened, folder, progress: compare(
            opened,
            model=model,
            seeds=seeds,
            epochs=epochs,
            blocks=blocks,
            folder=folder,
            progress=progress,
        ),
        name="order-runs",
        runs=runs,
        target=target,
    )


if __name__ == "__main__":
    sys.exit(main())
