"""Reading a store that is elsewhere: in blocks, through h5py, or after copying all of it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import featurestore
from benchmarks.alternatives.contract import Disagreement
from benchmarks.data import TINY, Workspace
from benchmarks.range_server import Distant, serving
from benchmarks.report import Cell, Report, Row, Target
from featurestore import Store
from featurestore.schema import NO_ROW

COLUMNS = ("seconds", "requests", "MB")

#: The line: seconds before every answer, bytes a second of a connection (chosen here: an object store of
#: the same continent).
DELAY, RATE = 0.02, 50e6

#: Requests that opening a store may take.
OPEN_REQUESTS = 3

#: Field → its rows: what a task must give, by whatever way it comes.
Values = dict[str, np.ndarray]

#: Times that each is done; the fastest counts, the others waited for something else.
ROUNDS = 3

#: Those that copy all of it, which takes the same time whatever is read afterwards.
_WHOLE = "the whole file"

OPEN, MENTION, SPLIT = "opening", "a mention and its candidates", "the test split"


def measure(workspace: Workspace) -> Report:
    path = workspace.store_path()
    delay = 0.001 if workspace.sizes == TINY else DELAY
    left_out: dict[str, str] = {}
    rows: list[Row] = []
    if any(find_spec(module) is None for module in ("fsspec", "aiohttp")):
        left_out["everything"] = "pip install 'drin-fs[remote]'"
        return Report(question=_QUESTION, columns=COLUMNS, rows=rows, left_out=left_out)
    with Store(path) as store:
        fields = {
            table.name: [f.name for f in table.fields.values() if f.schema.layout == "view"]
            for table in (store.mentions, store.entities)
        }
        split = store.mentions.split("test")
        asked = {OPEN: range(0), MENTION: range(split.start, split.start + 1), SPLIT: split}
        wanted = {task: _ours(store, mentions, fields) for task, mentions in asked.items()}
    with serving(path, delay=delay, rate=RATE) as distant, _own_cache(workspace.folder):
        for task, mentions in asked.items():
            for name, do in _contestants(workspace.folder, distant.url).items():
                if task == SPLIT or not name.startswith(_WHOLE):
                    label = f"{name}: {task}"
                    rows.append(_row(label, distant, do, mentions, fields, wanted[task]))
    opening = next(row.figures["requests"] for row in rows if row.ours)
    assert isinstance(opening, int)
    return Report(
        question=_QUESTION,
        columns=COLUMNS,
        rows=rows,
        targets=[
            Target(
                what="requests that opening takes", bound=OPEN_REQUESTS, measured=opening,
                unit="requests", at_least=False,
            )
        ],
        conditions=[
            f"{path.stat().st_size / 1e6:,.0f} MB; HTTP on this machine, {delay * 1e3:.0f} ms before "
            f"every answer, {RATE / 1e6:.0f} MB/s a connection; the fastest of {ROUNDS}",
            f"a mention and its candidates: the {len(fields['mentions'])} views of a mention and the "
            f"{len(fields['entities'])} of its candidates; the split: of {len(split):,} mentions, each "
            "distinct entity once",
            "kept: after the same task, by another process's cache on disk",
        ],
        left_out=left_out,
    )  # fmt: skip


_QUESTION = "reading a store over a network"

Do = Callable[[range, dict[str, list[str]]], Values]


def _row(
    name: str,
    distant: Distant,
    do: Do,
    mentions: range,
    fields: dict[str, list[str]],
    wanted: Values,
) -> Row:
    """Time one contestant, and see that it read the right values.

    Raises:
        Disagreement: it did not.
    """
    figures: dict[str, Cell] = {}
    fastest = float("inf")
    for _ in range(ROUNDS):
        requests, sent, started = distant.requests, distant.bytes, time.perf_counter()
        found = do(mentions, fields)
        fastest = min(fastest, time.perf_counter() - started)
        figures = {
            "seconds": fastest,
            "requests": distant.requests - requests,
            "MB": (distant.bytes - sent) / 1e6,
        }
        for path, values in wanted.items():
            if not np.array_equal(found[path], values):
                raise Disagreement(f"{name} read other values of {path}")
    return Row(name=name, figures=figures, ours=name.startswith("ours"))


def _contestants(folder: Path, url: str) -> dict[str, Do]:
    """Name → what it does; each begins with nothing, but for the one that says so."""
    copy = folder / "copied.h5"

    def blocks(mentions: range, fields: dict[str, list[str]]) -> Values:
        shutil.rmtree(os.environ["DRIN_FS_CACHE"], ignore_errors=True)
        return kept(mentions, fields)

    def kept(mentions: range, fields: dict[str, list[str]]) -> Values:
        with featurestore.open(url) as store:
            return _ours(store, mentions, fields)

    def through_h5py(mentions: range, fields: dict[str, list[str]]) -> Values:
        import fsspec
        import h5py

        system = fsspec.filesystem("http", skip_instance_cache=True)
        with system.open(url, "rb") as remote, h5py.File(remote) as file:
            return _by_hdf5(file, mentions, fields)

    def downloaded(mentions: range, fields: dict[str, list[str]]) -> Values:
        import fsspec

        fsspec.filesystem("http", skip_instance_cache=True).get_file(url, str(copy))
        with featurestore.open(copy) as store:
            return _ours(store, mentions, fields)

    def fetched(mentions: range, fields: dict[str, list[str]]) -> Values:
        from featurestore.remote_fetch import fetch

        fetch(url, copy, overwrite=True)
        with featurestore.open(copy) as store:
            return _ours(store, mentions, fields)

    return {
        "ours, nothing kept": blocks,
        "ours, kept": kept,
        "h5py over fsspec's file": through_h5py,
        "the whole file by fsspec": downloaded,
        "the whole file by drin-fs fetch, verified": fetched,
    }


def _ours(store: Store, mentions: range, fields: dict[str, list[str]]) -> Values:
    found: dict[str, Any] = {}
    if mentions:
        rows = np.arange(mentions.start, mentions.stop)
        found = store.mentions.gather_all(["candidates", *fields["mentions"]], rows)
        entities = _distinct(found["candidates"])
        found |= {f"entities/{k}": v for k, v in
                  store.entities.gather_all(fields["entities"], entities).items()}  # fmt: skip
    return found


def _by_hdf5(file: Any, mentions: range, fields: dict[str, list[str]]) -> Values:
    found: dict[str, Any] = {}
    if mentions:
        rows = slice(mentions.start, mentions.stop)
        for name in ("candidates", *fields["mentions"]):
            found[name] = file[f"mentions/{name}"][rows]
        entities = _distinct(found["candidates"])
        found |= {f"entities/{name}": file[f"entities/{name}"][entities]
                  for name in fields["entities"]}  # fmt: skip
    return found


def _distinct(candidates: np.ndarray) -> np.ndarray:
    entities = np.unique(candidates)
    return entities[entities != NO_ROW]


@contextmanager
def _own_cache(folder: Path) -> Iterator[None]:
    before = os.environ.get("DRIN_FS_CACHE")
    os.environ["DRIN_FS_CACHE"] = str(folder / "remote-cache")
    try:
        yield
    finally:
        shutil.rmtree(folder / "remote-cache", ignore_errors=True)
        (folder / "copied.h5").unlink(missing_ok=True)
        os.environ.pop("DRIN_FS_CACHE")
        if before is not None:
            os.environ["DRIN_FS_CACHE"] = before
