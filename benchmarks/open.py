"""Opening a store of a million entities, finding ids in it, and the ids of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np

import featurestore
from benchmarks.alternatives.contract import INSTALL, Disagreement, check_agrees
from benchmarks.alternatives.id_lookups import H5Dict, IdLookup, LmdbIds, SqliteIds
from benchmarks.bare_store import BareSizes, write_bare_store
from benchmarks.data import TINY, Workspace
from benchmarks.page_cache import StaysWarm, drop, resident_bytes
from benchmarks.report import Cell, Report, Row, Target
from benchmarks.timing import timed
from featurestore import Store
from featurestore.catalog import Extent

COLUMNS = ("first ms", "median ms", "× time of ours")

OPENING, FINDING, IDS = "opening the store", "finding {n:,} ids", "ids of {n:,} rows"

#: The bounds: seconds, and milliseconds.
OPEN_SECONDS, FIND_MS = 0.3, 20.0

#: Width of the views: they are not looked at, so they are short.
_WIDTH = 8
_FULL, _TINY = (1_000_000, 100_000, 10_000), (1_000, 100, 50)  # entities, mentions, ids asked for


@dataclass(frozen=True, slots=True)
class _Taken:
    """Seconds of the first time, and of all times after it."""

    first: float
    later: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.later)

    def row(self, name: str, *, ours: _Taken) -> Row:
        figures: dict[str, Cell] = {
            "first ms": self.first * 1e3,
            "median ms": self.median * 1e3,
            "× time of ours": self.median / ours.median,
        }
        return Row(name=name, figures=figures, ours=self is ours)


def measure(workspace: Workspace) -> Report:
    entities, mentions, asked = _TINY if workspace.sizes == TINY else _FULL
    store = _store(workspace, entities, mentions)
    random = np.random.default_rng(0)
    rounds = workspace.sizes.rounds + 1
    rows = [random.choice(entities, asked, replace=False) for _ in range(rounds)]
    left_out: dict[str, str] = {}
    opening, finding, ids = _ours(store, rows)
    find, give = FINDING.format(n=asked), IDS.format(n=asked)
    table = [
        opening.row(f"ours: {OPENING}", ours=opening),
        finding.row(f"ours: {find}", ours=finding),
        ids.row(f"ours: {give}", ours=ids),
        *_cold(store, rows, find, left_out),
    ]
    for one in _alternatives(workspace, store):
        if any(find_spec(module) is None for module in one.needs):
            left_out[one.name] = INSTALL
            continue
        ready, found = _alternative(one, [f"Q{row}" for row in range(entities)], rows)
        table.append(ready.row(f"{one.name}: opening", ours=opening))
        table.append(found.row(f"{one.name}: {find}", ours=finding))
    return Report(
        question="opening a store, and finding ids in it",
        columns=COLUMNS,
        rows=table,
        targets=_targets(max(opening.first, opening.median), finding.median, asked),
        conditions=[
            f"{entities:,} entities, {mentions:,} mentions; one thread, files in the page cache "
            "where nothing else is said",
            f"first: of a store just opened; median of {rounds - 1} more rounds, each asks for "
            "other ids, drawn at random",
            "opening: all that comes before the first look-up; the dict is made then",
            "sqlite3 and LMDB hold nothing but ids and rows, and are asked for all ids at once",
        ],
        left_out=left_out,
    )


def _store(workspace: Workspace, entities: int, mentions: int) -> Path:
    path = workspace.folder / f"bare-ids-{entities}.h5"
    if not path.exists():
        sizes = BareSizes(
            entities=entities,
            splits={"train": mentions},
            candidates=10,
            text_width=_WIDTH,
            image_width=_WIDTH,
        )
        write_bare_store(path, sizes, progress=workspace.progress)
    return path


def _alternatives(workspace: Workspace, store: Path) -> list[IdLookup]:
    return [
        H5Dict(store),
        LmdbIds(workspace.place("ids-lmdb")),
        SqliteIds(workspace.place("ids.sqlite")),
    ]


# ours ---------------------------------------------------------------------------------------------


def _ours(path: Path, rows: Sequence[np.ndarray]) -> tuple[_Taken, _Taken, _Taken]:
    """Opening, finding ids, and giving the ids of rows."""
    opening = [timed(lambda _: featurestore.open(path)) for _ in rows]
    with featurestore.open(path) as store:
        finding = _find(store.entities.rows, rows, "ours")
    with featurestore.open(path) as store:
        ids = _seconds(store.entities.ids, rows, _check_ids)
    return _Taken(opening[0], tuple(opening[1:])), finding, ids


def _find(
    find: Callable[[Sequence[str]], np.ndarray], rows: Sequence[np.ndarray], name: str
) -> _Taken:
    """Look up the ids of these rows, and compare what is found."""

    def check(asked: Sequence[str], found: np.ndarray) -> None:
        expected = np.array([int(text[1:]) for text in asked])
        check_agrees(name, {"rows of ids": found}, {"rows of ids": expected})

    return _seconds(find, [[f"Q{row}" for row in part.tolist()] for part in rows], check)


def _check_ids(rows: np.ndarray, found: Sequence[str]) -> None:
    if list(found) != [f"Q{row}" for row in rows.tolist()]:
        raise Disagreement("ours gives other ids than the store was made with")


def _seconds(
    act: Callable[..., object],
    questions: Sequence[Sequence[str]] | Sequence[np.ndarray],
    check: Callable[..., None],
) -> _Taken:
    """Seconds of each question; its answer is checked after the clock has stopped."""
    taken = []
    for question in questions:
        answers: list[object] = []

        def ask(_: int, question: object = question, answers: list[object] = answers) -> None:
            answers.append(act(question))

        taken.append(timed(ask))
        check(question, answers[0])
    return _Taken(taken[0], tuple(taken[1:]))


# cold ---------------------------------------------------------------------------------------------


def _cold(
    path: Path, rows: Sequence[np.ndarray], find: str, left_out: dict[str, str]
) -> Iterator[Row]:
    """Both once more, when nothing of the store is in memory: only a first time is cold."""
    try:
        drop(path)
        left = resident_bytes(path, [Extent(0, (path.stat().st_size,), np.dtype(np.uint8))])
        if left > max(path.stat().st_size // 50, 1 << 16):
            raise StaysWarm("the store stays in the page cache when dropped")
    except StaysWarm as reason:
        left_out["cold opening"] = str(reason)
        return
    kept: list[Store] = []
    opening = timed(lambda _: kept.append(featurestore.open(path)))
    with kept[0] as store:
        finding = _find(store.entities.rows, rows[:2], "ours, cold")
    for name, seconds in ((OPENING, opening), (find, finding.first)):
        yield Row(name=f"ours: {name}, from disk", figures={"first ms": seconds * 1e3}, ours=True)


# the others ---------------------------------------------------------------------------------------


def _alternative(
    one: IdLookup, ids: Sequence[str], rows: Sequence[np.ndarray]
) -> tuple[_Taken, _Taken]:
    """Opening it, and finding ids in it; its copy is removed."""
    try:
        one.write(ids)
        opening = []
        for _ in range(2):
            opening.append(timed(lambda _: one.open()))
            one.close()
        one.open()
        finding = _find(one.find, rows, one.name)
        one.close()
    finally:
        one.remove()
    return _Taken(opening[0], tuple(opening[1:])), finding


def _targets(opening: float, finding: float, asked: int) -> list[Target]:
    return [
        Target(what=OPENING, bound=OPEN_SECONDS, measured=opening, unit="s", at_least=False),
        Target(
            what=f"{FINDING.format(n=asked)}, median",
            bound=FIND_MS,
            measured=finding * 1e3,
            unit="ms",
            at_least=False,
        ),
    ]
