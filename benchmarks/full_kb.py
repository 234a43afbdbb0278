"""What ranking every entity costs: by one process or two, and behind a first stage."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.alternatives.contract import Disagreement
from benchmarks.data import TINY, Workspace
from benchmarks.report import Cell, Report, Row
from featurestore.progress import Silent
from linker.baseline import evaluate_untrained
from linker.config_text import read_config
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
        recall = self.figures.get(f"recall@{_RETRIEVED}")
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
    began, before = time.perf_counter(), _processors()
    summary = evaluate_untrained(
        path, config, splits=[_SPLIT], protocol="full-kb", full_kb=full_kb, progress=Silent()
    )
    return _Scored(
        figures=summary[_SPLIT],
        clock=time.perf_counter() - began,
        processors=_processors() - before,
    )


def _processors() -> float:
    """Seconds that processors have worked for this process and those that it has waited for."""
    return sum(os.times()[:4])
