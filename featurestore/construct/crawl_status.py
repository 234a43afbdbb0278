"""Where a crawl stands: counts by state and reason, bytes, and how long the rest will take."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from featurestore.construct.crawl_manifest import FINISHED, CrawlManifest


@dataclass(frozen=True, slots=True)
class StateCount:
    """How many entities or pictures have a state for a reason ("" = it needs none)."""

    state: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CrawlStatus:
    """A crawl at one moment.

    ``left``: entities that have work left, failed ones not counted. ``files``: distinct pictures on
    disk, of ``bytes`` in all. ``briefs``: entities with one. ``requests``: for pictures, of all runs;
    ``calls``: of the APIs. ``seconds``: that runs took. ``seconds_left``: at the pace of the last run;
    None = not known.
    """

    folder: str
    total: int
    left: int
    entities: tuple[StateCount, ...]
    pictures: tuple[StateCount, ...]
    files: int
    bytes: int
    briefs: int
    redirected: int
    normalised: int
    runs: int
    calls: int
    requests: int
    seconds: float
    seconds_left: float | None


def crawl_status(folder: Path) -> CrawlStatus:
    """Where the crawl into a folder stands, whether or not it runs.

    Raises:
        SourceError: there is no manifest, or it is damaged.
    """
    with closing(CrawlManifest(folder, read_only=True)) as manifest:
        return status_of(manifest)


def status_of(manifest: CrawlManifest) -> CrawlStatus:
    """Where a crawl stands."""
    db = manifest.db
    entities = _states(db, "entity")
    pictures = _states(db, "picture")
    left = sum(each.count for each in entities if each.state not in FINISHED)
    files = db.execute(
        "SELECT count(*) AS n, coalesce(sum(bytes), 0) AS bytes FROM picture WHERE state = 'done'"
    ).fetchone()
    texts = db.execute(
        "SELECT coalesce(sum(brief <> ''), 0) AS briefs, coalesce(sum(redirected <> ''), 0) AS r, "
        "coalesce(sum(normalised <> ''), 0) AS n FROM entity"
    ).fetchone()
    runs = db.execute(
        "SELECT count(*) AS n, coalesce(sum(calls), 0) AS calls, "
        "coalesce(sum(updated - started), 0) AS seconds FROM run"
    ).fetchone()
    requests = db.execute("SELECT coalesce(sum(requests), 0) AS n FROM picture").fetchone()
    return CrawlStatus(
        folder=str(manifest.path.parent),
        total=sum(each.count for each in entities),
        left=left,
        entities=entities,
        pictures=pictures,
        files=files["n"],
        bytes=files["bytes"],
        briefs=texts["briefs"],
        redirected=texts["r"],
        normalised=texts["n"],
        runs=runs["n"],
        calls=runs["calls"],
        requests=requests["n"],
        seconds=runs["seconds"],
        seconds_left=_seconds_left(db, left),
    )


def _states(db: sqlite3.Connection, table: str) -> tuple[StateCount, ...]:
    """Counts by state and reason: states by name, in each the most frequent reason first."""
    rows = db.execute(
        f"SELECT state, reason, count(*) AS n FROM {table} GROUP BY state, reason "
        "ORDER BY state, n DESC, reason"
    )
    return tuple(StateCount(row["state"], row["reason"], row["n"]) for row in rows)


def _seconds_left(db: sqlite3.Connection, left: int) -> float | None:
    if not left:
        return 0.0
    run = db.execute(
        "SELECT * FROM run WHERE finished > 0 AND updated > started ORDER BY number DESC LIMIT 1"
    ).fetchone()
    return left * (run["updated"] - run["started"]) / run["finished"] if run else None
