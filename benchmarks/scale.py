"""What a gather costs against the number of entities, and from a store larger than memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import h5py
import numpy as np

from benchmarks.alternatives.contract import Disagreement
from benchmarks.bare_store import BareSizes, write_bare_store
from benchmarks.data import TINY, Workspace
from benchmarks.gather_run import FIELDS, Run, digest, drawn
from benchmarks.memory_limit import NotPermitted, limited_group
from benchmarks.page_cache import StaysWarm, empty, read_in
from benchmarks.report import Cell, Report, Row

COLUMNS = (
    *("store MB", "open ms", "ids ms", "gather ms", "cold ms"),
    *("MB/s from disk", "anonymous MB"),
)

LIMITED = "a store larger than the memory it may use"


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """How far to go."""

    entities: Sequence[int]
    width: int = 64  # of all views: 512 bytes an entity in float16, so that ten million fit a disk
    rows: int = 4_000  # of a batch
    ids: int = 10_000
    batches: int = 9
    # the store that is larger than memory has DRIN's own widths
    large: int = 0
    text_width: int = 768
    image_width: int = 2048
    limit: int = 400_000_000
    large_batches: int = 100


_PLANS = {
    "full": _Plan(
        entities=(10_000, 100_000, 1_000_000, 10_000_000), large=360_000, large_batches=300
    ),
    "quick": _Plan(entities=(10_000, 100_000, 1_000_000), large=90_000, large_batches=60),
    "tiny": _Plan(
        entities=(200, 400),
        rows=40,
        ids=50,
        batches=3,
        large=4_000,
        text_width=64,
        image_width=64,
        limit=100_000_000,
        large_batches=20,
    ),
}


def measure(workspace: Workspace) -> Report:
    sizes = workspace.sizes
    plan = _PLANS["tiny" if sizes == TINY else "full" if sizes.thorough else "quick"]
    left_out: dict[str, str] = {}
    rows = [_row(workspace, plan, entities, left_out) for entities in plan.entities]
    limited, conditions = _limited(workspace, plan, left_out)
    return Report(
        question="the cost of a gather against the number of entities",
        columns=COLUMNS,
        rows=[*rows, *limited],
        conditions=[
            f"views of width {plan.width} ({', '.join(FIELDS)}), float16; gather: {plan.rows:,} "
            f"distinct rows drawn at random, median of {plan.batches} batches; ids: {plan.ids:,} "
            "ids, found once",
            "each line a fresh process that imports NumPy and featurestore alone; the store in the "
            "page cache, but for cold: dropped from it before the process starts, first batch",
            "anonymous: the most that the process holds while it holds a batch",
            *conditions,
        ],
        left_out=left_out,
    )


# the number of entities -----------------------------------------------------------------------------


def _row(workspace: Workspace, plan: _Plan, entities: int, left_out: dict[str, str]) -> Row:
    sizes = _sizes(entities, text_width=plan.width, image_width=plan.width)
    with _bare_store(workspace, sizes) as store:
        arguments = _arguments(store, rows=plan.rows, batches=plan.batches, ids=plan.ids)
        read_in(store)
        warm = _checked(store, _process([sys.executable, *arguments]), plan.rows)
        cold, cold_speed = None, None
        try:
            empty(store)
            found = _process([sys.executable, *arguments])
            cold, cold_speed = found.batches[0] * 1e3, _speed(found, 1)
        except StaysWarm as reason:
            left_out["cold gathers"] = str(reason)
        figures: dict[str, Cell] = {
            "store MB": store.stat().st_size / 1e6,
            "open ms": warm.opening * 1e3,
            "ids ms": warm.finding * 1e3,
            "gather ms": median(warm.batches) * 1e3,
            "cold ms": cold,
            "MB/s from disk": cold_speed,
            "anonymous MB": warm.anonymous / 1e6 or None,
        }
    return Row(name=f"{entities:,} entities", figures=figures, ours=True)


def _sizes(entities: int, *, text_width: int, image_width: int) -> BareSizes:
    return BareSizes(
        entities=entities,
        splits={"train": 100},
        candidates=10,
        text_width=text_width,
        image_width=image_width,
    )


@contextmanager
def _bare_store(workspace: Workspace, sizes: BareSizes) -> Iterator[Path]:
    """A store that is there as long as it is measured: all together would fill a disk."""
    path = workspace.place("scale.h5")
    try:
        yield write_bare_store(path, sizes, progress=workspace.progress)
    finally:
        path.unlink(missing_ok=True)


# a process ------------------------------------------------------------------------------------------


def _arguments(store: Path, *, rows: int, batches: int, ids: int) -> list[str]:
    return [
        *("-m", "benchmarks.gather_run", str(store)),
        *("--rows", str(rows), "--batches", str(batches), "--ids", str(ids)),
    ]


def _process(command: Sequence[str]) -> Run:
    """Run it, and read what it says.

    Raises:
        RuntimeError: it failed, or the kernel ended it; with what it printed.
    """
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"gathering ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return Run(**json.loads(done.stdout))


def _checked(store: Path, found: Run, rows: int) -> Run:
    """The same, if its first batch holds what HDF5's own arrays of the file hold.

    Raises:
        Disagreement: it does not.
    """
    with h5py.File(store, "r", locking=False) as file:
        table = file["entities"]
        asked = next(drawn(len(table[FIELDS[0]]), rows=rows, batches=1))
        maps = {
            name: np.memmap(store, table[name].dtype, "r", table[name].id.get_offset(), (n, *rest))
            for name in FIELDS
            for n, *rest in [table[name].shape]
        }
    if digest({name: values[asked] for name, values in maps.items()}) != found.digest:
        raise Disagreement("the store gathers other values than its file holds")
    return found


def _speed(found: Run, batches: int) -> float:
    """MB/s that came from disk in the first batches."""
    return sum(found.from_disk[:batches]) / sum(found.batches[:batches]) / 1e6


# larger than memory ---------------------------------------------------------------------------------


def _limited(
    workspace: Workspace, plan: _Plan, left_out: dict[str, str]
) -> tuple[list[Row], list[str]]:
    """Rows of many batches from a store that its process cannot hold, and what they hold for."""
    sizes = _sizes(plan.large, text_width=plan.text_width, image_width=plan.image_width)
    try:
        with limited_group(plan.limit) as group, _bare_store(workspace, sizes) as store:
            empty(store)  # what others have read is charged to them
            arguments = _arguments(store, rows=plan.rows, batches=plan.large_batches, ids=plan.ids)
            found = _process(group.command(arguments))
            peak, size = group.peak, store.stat().st_size
            _checked(store, found, plan.rows)
    except (NotPermitted, StaysWarm) as reason:
        left_out[LIMITED] = str(reason)
        return [], []
    charged = "" if peak is None else f"; at most {peak / 1e6:,.0f} MB were charged to it"
    conditions = [
        f"under a limit: a store of {size / 1e6:,.0f} MB, DRIN's own views, a process that may use "
        f"{plan.limit / 1e6:,.0f} MB of memory, cached pages of files included{charged}; "
        f"{plan.large_batches} batches of {found.megabytes:.1f} MB, whose times stand under cold ms",
    ]
    return _limited_rows(found, size), conditions


def _limited_rows(found: Run, size: int) -> list[Row]:
    tenth = max(1, len(found.batches) // 10)
    whole: dict[str, Cell] = {
        "store MB": size / 1e6,
        "open ms": found.opening * 1e3,
        "ids ms": found.finding * 1e3,
        "cold ms": median(found.batches) * 1e3,
        "MB/s from disk": _speed(found, len(found.batches)),
        "anonymous MB": found.anonymous / 1e6 or None,
    }
    parts = {
        "95th percentile": float(np.percentile(found.batches, 95)),
        "first tenth": median(found.batches[:tenth]),
        "last tenth": median(found.batches[-tenth:]),
    }
    return [
        Row(name="under a limit: median", figures=whole, ours=True),
        *(
            Row(name=f"under a limit: {name}", figures={"cold ms": seconds * 1e3}, ours=True)
            for name, seconds in parts.items()
        ),
    ]
