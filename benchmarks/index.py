"""An index of a hundred million ids and a table of candidates: written, opened and searched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.data import TINY, Workspace
from benchmarks.index_run import Search
from benchmarks.page_cache import StaysWarm, empty, read_in
from benchmarks.report import Cell, Report, Row

COLUMNS = (
    *("seconds", "a million rows s", "first ms", "later ms", "cold ms", "cold MB read"),
    *("anonymous MB", "bytes a row"),
)

#: Acts of a search, in words.
_ACTS = {
    "open": "opening",
    "find": "finding {ids:,} ids",
    "ids": "ids of {ids:,} rows",
    "candidates": "candidates of {batch} mentions, and their ids",
}


@dataclass(frozen=True, kw_only=True)
class _Plan:
    entities: int
    mentions: int
    candidates: int = 100
    ids: int = 10_000
    batch: int = 64
    rounds: int = 9


_PLANS = {
    "full": _Plan(entities=100_000_000, mentions=1_000_000),
    "quick": _Plan(entities=2_000_000, mentions=50_000),
    "tiny": _Plan(entities=3_000, mentions=200, candidates=5, ids=50, batch=4, rounds=2),
}


def measure(workspace: Workspace) -> Report:
    """Write the store in one process, search it in others, remove it."""
    sizes = workspace.sizes
    plan = _PLANS["tiny" if sizes == TINY else "full" if sizes.thorough else "quick"]
    store = workspace.place("index.h5")
    left_out: dict[str, str] = {}
    try:
        steps = _written(store, plan)
        size = store.stat().st_size
        read_in(store)
        warm, cold = _searched(store, plan), None
        try:
            empty(store)
            cold = _searched(store, plan)
        except StaysWarm as reason:
            left_out["cold searches"] = str(reason)
    finally:
        store.unlink(missing_ok=True)
    return Report(
        question=f"{plan.entities:,} ids, and candidates of {plan.mentions:,} mentions",
        columns=COLUMNS,
        rows=[*_steps(steps, plan), *_acts(plan, warm, cold)],
        conditions=[
            f"a store of {size / 1e6:,.0f} MB: ids Q0, Q1, …, their index, {plan.candidates} random "
            "candidates a mention; no features",
            "anonymous: the most that the process holds, of writing beside what it held before; ids "
            "are made when they are asked for, and not held",
            "each search a fresh process that imports NumPy and featurestore alone; first and later "
            f"(median of {plan.rounds}): the store in the page cache; cold: dropped from it before the "
            "process starts, first time",
        ],
        left_out=left_out,
    )


def _written(store: Path, plan: _Plan) -> dict[str, dict[str, float]]:
    return _process(
        *("write", str(store), "--entities", str(plan.entities)),
        *("--mentions", str(plan.mentions), "--candidates", str(plan.candidates)),
    )


def _searched(store: Path, plan: _Plan) -> Search:
    return Search(
        **_process(
            *("search", str(store), "--ids", str(plan.ids)),
            *("--batch", str(plan.batch), "--rounds", str(plan.rounds)),
        )
    )


def _process(*arguments: str) -> dict[str, Any]:
    """What such a process says.

    Raises:
        RuntimeError: it failed; with what it printed.
    """
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    command = [sys.executable, "-m", "benchmarks.index_run", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"it ended with {done.returncode}:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _steps(steps: dict[str, dict[str, float]], plan: _Plan) -> list[Row]:
    names = {
        "ids": ("writing ids and their index", plan.entities),
        "candidates": ("writing mentions and candidates", plan.mentions),
        "publish": ("publishing", plan.entities),
    }
    rows = []
    for step, (name, count) in names.items():
        taken = steps[step]
        figures: dict[str, Cell] = {
            "seconds": taken["seconds"],
            "a million rows s": taken["seconds"] / count * 1e6,
            "anonymous MB": taken["anonymous"] / 1e6 or None,
            "bytes a row": taken["anonymous"] / count or None,
        }
        rows.append(Row(name=name, figures=figures, ours=True))
    return rows


def _acts(plan: _Plan, warm: Search, cold: Search | None) -> list[Row]:
    rows = []
    for act, words in _ACTS.items():
        first, *later = warm.seconds[act]
        figures: dict[str, Cell] = {
            "first ms": first * 1e3,
            "later ms": median(later) * 1e3 if later else None,
            "cold ms": cold.seconds[act][0] * 1e3 if cold else None,
            "cold MB read": cold.from_disk[act][0] / 1e6 if cold else None,
        }
        name = words.format(ids=plan.ids, batch=plan.batch)
        rows.append(Row(name=name, figures=figures, ours=True))
    held: dict[str, Cell] = {"anonymous MB": warm.anonymous / 1e6 or None}
    before: dict[str, Cell] = {"anonymous MB": warm.before / 1e6 or None}
    return [
        *rows,
        Row(name="a process before it opens the store", figures=before, ours=True),
        Row(name="the same at its most", figures=held, ours=True),
    ]
