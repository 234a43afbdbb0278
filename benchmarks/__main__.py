"""``python -m benchmarks NAME…``: measure, print a table a question, save the figures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
import torch

from benchmarks import machine
from benchmarks.alone import measure_alone, measure_here
from benchmarks.data import FULL, QUICK, TINY, Sizes
from benchmarks.files import kept_or_temporary
from benchmarks.report import Report
from benchmarks.saved import save
from cli.console import plain_text, show
from cli.render_parts import grid

#: Question → what it answers; each is a file of ``benchmarks/``, with ``measure(workspace)``.
QUESTIONS = {
    "gather": "loading a DRIN batch of entity views, warm and cold",
    "records": "reading whole token and region records of mentions",
    "step": "one DRIN training step",
    "epoch": "a whole DRIN epoch: loading and steps",
    "memory": "memory of training against the size of the dataset",
    "jobs": "memory of several trainings at once on one store",
    "processes": "one training by one process and by two: speed, memory, the same losses",
    "open": "opening a store of a million entities, and finding ids in it",
    "remote": "reading a store over a network: in blocks, through h5py, or after copying it",
    "ingest": "writing a store from .npy arrays",
    "compression": "sizes and speeds of what compresses records, in memory",
    "size": "bytes on disk in every form",
    "scale": "the cost of a gather from ten thousand to ten million entities",
    "costs": "a mention and an entity in each stage: what python -m benchmarks.plan computes with",
    "index": "a hundred million ids and a table of candidates: written, opened, searched",
    "order": "mentions in random order or beside those that share candidates: what batches hold",
    "shards": "entities in four and sixteen files against one: a batch, an epoch",
    "dump": "titles out of a Wikidata dump, beside ijson",
    "full-kb": "ranking all entities: one process, two, and behind a first stage",
    "precision": "float32, float16, bfloat16 and int8 views: size, speed, error",
}
_SIZES: dict[str, Sizes] = {"full": FULL, "quick": QUICK, "tiny": TINY}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, metavar="[NAME]…")
@click.option("--list", "listing", is_flag=True, help="Name the benchmarks.")
@click.option("--quick", is_flag=True, help="Sizes that finish in about a minute each.")
@click.option("--tiny", is_flag=True, hidden=True, help="Sizes for tests; figures mean nothing.")
@click.option("--json", "target", type=click.Path(path_type=Path), help="Save the figures here.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the data in this folder and use it again; otherwise it is removed afterwards.",
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads of torch; default: torch's.")
def main(
    names: Sequence[str],
    listing: bool,
    quick: bool,
    tiny: bool,
    target: Path | None,
    data: Path | None,
    threads: int | None,
) -> None:
    """Measure drin-fs beside the alternatives. Without names: all benchmarks."""
    if listing:
        _list()
        return
    unknown = [name for name in names if name not in QUESTIONS]
    if unknown:
        raise click.UsageError(
            f"no benchmark {unknown[0]!r}; there are: {', '.join(QUESTIONS)} (or --list)"
        )
    if threads:
        torch.set_num_threads(threads)  # what is saved of the machine says so
    size = "tiny" if tiny else "quick" if quick else "full"
    described = machine.describe()
    show(plain_text(machine.line(described)), "")
    reports: dict[str, Report] = {}
    with kept_or_temporary(data, prefix="drin-fs-benchmarks-") as folder:
        measure = measure_here if len(names) == 1 else measure_alone
        for name in names or QUESTIONS:
            reports[name] = measure(name, folder, _SIZES[size], threads)
            show(*reports[name].views())
            if target is not None:  # now: what comes next may fail
                save(target, reports, sizes=size, machine=described)
    states = [t.state for report in reports.values() for t in report.targets]
    summary = [f"{states.count(s)} {s}" for s in dict.fromkeys(states)]
    if summary:
        show(plain_text("targets: " + ", ".join(summary)))


def _list() -> None:
    table = grid("", "benchmark", "what it measures")
    for name, what in QUESTIONS.items():
        table.add_row(name, what)
    show(table)


if __name__ == "__main__":
    sys.exit(main())
