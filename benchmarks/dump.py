"""Titles out of a Wikidata dump: ours beside ``ijson`` and beside ``json.loads`` of every line.

Every contestant reads the same file and must find the same titles. The dump is made up
(:mod:`featurestore.construct.made_up_dump`); what share of it belongs to entities with a title stands
below the table, since ours parses little of the others.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.alternatives.contract import INSTALL
from benchmarks.data import Workspace
from benchmarks.report import Cell, Report, Row, Target
from featurestore.construct.made_up_dump import MadeUpDump, write_made_up_dump
from featurestore.construct.titles import build_titles
from featurestore.threads import available_processors

#: Bytes of the dump: full, quick, for tests.
_FULL, _QUICK, _TINY = 2_000_000_000, 100_000_000, 300_000

_SHARE = 0.2  # of the entities have a title

_COLUMN, _TIMES = "MB/s of JSON", "× ijson"
OURS, IJSON, PLAIN = "ours, 1 job", "ijson.items", "json.loads of every line"


class Disagreement(Exception):
    """A contestant found other titles."""


def measure(workspace: Workspace) -> Report:
    """Read one dump in every way."""
    dump, made = _dump(workspace)
    target = workspace.place("titles.tsv")
    seconds: dict[str, float] = {}
    expected = ""
    for name, read in _contestants(dump, target).items():
        started = time.perf_counter()
        read()
        seconds[name] = time.perf_counter() - started
        found = target.read_text(encoding="utf-8")
        if expected and found != expected:
            raise Disagreement(f"{name} did not find the titles that {OURS} found")
        expected = found
    target.unlink()
    left_out = {} if IJSON in seconds else {IJSON: INSTALL}
    ratio = seconds[IJSON] / seconds[OURS] if IJSON in seconds else None
    return Report(
        question="Titles out of a Wikidata dump",
        columns=(_COLUMN, _TIMES, "seconds"),
        rows=[_row(name, took, made.size, seconds.get(IJSON)) for name, took in seconds.items()],
        targets=[
            Target(
                what="1 job beside ijson", bound=10, measured=ratio, why="" if ratio else INSTALL
            )
        ],
        conditions=[
            f"{made.size / 1e6:,.0f} MB, {made.entities:,} entities, {made.titles:,} with a title; read "
            "once each, from the page cache where it has room",
            f"ijson with its fastest backend ({_backend()}); every contestant found the same titles",
        ],
        left_out=left_out,
    )


def _dump(workspace: Workspace) -> tuple[Path, MadeUpDump]:
    sizes = workspace.sizes
    size = _FULL if sizes.thorough else _QUICK if sizes.rounds > 2 else _TINY
    dump = workspace.place("dump.json")
    made = write_made_up_dump(dump, entities=10**9, size=size, titled=_SHARE)
    return dump, made


def _contestants(dump: Path, target: Path) -> dict[str, Callable[[], object]]:
    jobs = available_processors()

    def ours(jobs: int, *, check_all: bool = False, details: bool = False) -> Callable[[], object]:
        beside = target.with_suffix(".jsonl") if details else None
        return lambda: build_titles(
            str(dump), target, details=beside, jobs=jobs, check_all=check_all, overwrite=True
        )

    found: dict[str, Callable[[], object]] = {OURS: ours(1)}
    if jobs > 1:
        found[f"ours, {jobs} jobs"] = ours(jobs)
    found[f"ours with --details, {jobs} jobs"] = ours(jobs, details=True)
    found[f"ours with --check-all, {jobs} jobs"] = ours(jobs, check_all=True)
    found[PLAIN] = lambda: _by_lines(dump, target)
    if find_spec("ijson") is not None:
        found[IJSON] = lambda: _by_ijson(dump, target)
    return found


def _by_lines(dump: Path, target: Path) -> None:
    """The common recipe: a line at a time."""
    with dump.open("rb") as lines, target.open("w", encoding="utf-8") as table:
        for line in lines:
            if line.startswith(b"{"):
                _write(json.loads(line.rstrip(b",\n")), table)


def _by_ijson(dump: Path, target: Path) -> None:
    """The other common recipe: the array item by item, without a look at lines."""
    ijson = import_module("ijson")
    with dump.open("rb") as file, target.open("w", encoding="utf-8") as table:
        for entity in ijson.items(file, "item"):
            _write(entity, table)


def _write(entity: dict[str, Any], table: Any) -> None:
    link = entity["sitelinks"].get("enwiki")
    if link is not None:
        table.write(f"{entity['id']}\t{link['title']}\n")


def _backend() -> str:
    return (
        str(import_module("ijson").backend) if find_spec("ijson") is not None else "not installed"
    )


def _row(name: str, seconds: float, size: int, ijson: float | None) -> Row:
    figures: dict[str, Cell] = {_COLUMN: size / 1e6 / seconds, "seconds": seconds}
    if ijson is not None:
        figures[_TIMES] = ijson / seconds
    return Row(name=name, figures=figures, ours=name == OURS)
