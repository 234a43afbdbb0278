"""What ranking every entity costs: by one process or two, and behind a first stage.

``python -m benchmarks full-kb`` asks a sample. How much a first stage loses only a real store can tell:

    python -m benchmarks.full_kb runs/drin --store wikimel.h5 --only ivf,exact --retrieve 100,1000
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from benchmarks.alternatives.contract import Disagreement
from benchmarks.data import TINY, Workspace
from benchmarks.report import Cell, Report, Row
from benchmarks.store_runs import Integers
from cli.console import plain_text, show, stderr
from cli.progress import progress_on
from featurestore.progress import Silent
from linker.baseline import evaluate_untrained
from linker.config_text import read_config
from linker.evaluate import evaluate
from linker.first_stage import FirstStage
from linker.scoring import FullKb

COLUMNS = ("s", "processor s", "hits@1, %", "MRR, %", "recall, %")

#: The split that has the most mentions.
_SPLIT = "train"

#: Entities that a first stage retrieves.
_RETRIEVED = 100


@dataclass(frozen=True, kw_only=True)
class _Scored:
    """Figures of a split, and seconds: of the clock, and of processors, those of children included."""

    figures: dict[str, Any]
    clock: float
    processors: float

    def row(self, name: str, *, ours: bool = False) -> Row:
        recall = next((v for k, v in self.figures.items() if k.startswith("recall@")), None)
        cells: dict[str, Cell] = {
            "s": self.clock,
            "processor s": self.processors,
            "hits@1, %": 100 * self.figures["hits@1"],
            "MRR, %": 100 * self.figures["mrr"],
            "recall, %": None if recall is None else 100 * recall,
        }
        return Row(name=name, figures=cells, ours=ours)


def measure(workspace: Workspace) -> Report:
    """Score the cosine of texts under each.

    Raises:
        Disagreement: several processes give other figures than one, or a first stage better ones.
    """
    whole = _score(workspace, FullKb())
    rows = [whole.row("all entities, one process", ours=True)]
    if workspace.sizes != TINY:
        two = _score(workspace, FullKb(devices=2))
        if two.figures != whole.figures:
            raise Disagreement("two processes give other figures than one")
        rows.append(two.row("all entities, two processes"))
    for method in ("exact", "ivf"):
        stage = FirstStage(method=method, retrieve=_RETRIEVED)
        found = _score(workspace, FullKb(first_stage=stage))
        if found.figures["recall@100"] < found.figures["hits@20"]:
            raise Disagreement("a gold that was not retrieved has a rank")
        rows.append(found.row(f"{_RETRIEVED} of them, {method} first stage"))
    return Report(
        question="ranking all entities of a store",
        columns=COLUMNS,
        rows=rows,
        conditions=[
            workspace.sizes.words,
            f"model bert, split {_SPLIT}, on the CPU; opening the store, starting processes (which "
            "import torch) and making the index are among the seconds",
            f"recall: golds among the {_RETRIEVED} retrieved",
        ],
    )


def _score(workspace: Workspace, full_kb: FullKb) -> _Scored:
    path = workspace.store_path()
    config = read_config({"model": "bert", "device": "cpu"})
    return _timed(
        lambda: evaluate_untrained(
            path, config, splits=[_SPLIT], protocol="full-kb", full_kb=full_kb, progress=Silent()
        )[_SPLIT]
    )


def _timed(score: Callable[[], dict[str, Any]]) -> _Scored:
    began, before = time.perf_counter(), _processors()
    figures = score()
    return _Scored(
        figures=figures,
        clock=time.perf_counter() - began,
        processors=_processors() - before,
    )


def _processors() -> float:
    """Seconds that processors have worked for this process and those that it has waited for."""
    return sum(os.times()[:4])


# a real run -----------------------------------------------------------------------------------------


def _ways(
    only: Sequence[str], retrieve: Sequence[int], probe: int | None
) -> Iterator[tuple[str, FullKb]]:
    """Name and options of each way to score."""
    named = {"all": FullKb(), "two": FullKb(devices=2)}
    for name in only:
        if name in named:
            yield name, named[name]
            continue
        for count in retrieve:
            stage = FirstStage(
                method=name,  # type: ignore[arg-type]
                retrieve=count,
                probe=None if name == "exact" else probe,
            )
            yield f"{name}, {count:,}", FullKb(first_stage=stage)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--store", type=click.Path(path_type=Path), help="Where the run's store is now.")
@click.option("--split", default="test", show_default=True)
@click.option(
    "--only",
    default="all,two,exact,ivf,ivf-pq",
    show_default=True,
    help="all: one process, two: two, otherwise a first stage.",
)
@click.option("--retrieve", type=Integers(), default="100,1000", show_default=True)
@click.option("--probe", type=int, help="Lists of an index to search; default: that of evaluate.")
def main(
    run: Path,
    store: Path | None,
    split: str,
    only: str,
    retrieve: tuple[int, ...],
    probe: int | None,
) -> None:
    """Score RUN on the CPU under full-kb in several ways, a line each as it is done."""
    for name, full_kb in _ways(only.split(","), retrieve, probe):
        scored = _timed(
            lambda full_kb=full_kb: evaluate(  # type: ignore[misc]
                run,
                split=split,
                store=store,
                device="cpu",
                protocol="full-kb",
                full_kb=full_kb,
                progress=progress_on(stderr()),
            )[split]
        )
        cells = [
            f"{k} {v:.1f}" for k, v in scored.row(name).figures.items() if isinstance(v, float)
        ]
        show(plain_text(f"{name}: {', '.join(cells)}"))


if __name__ == "__main__":
    main()
