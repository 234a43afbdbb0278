"""What must be known of all rows while they stream by, kept in a file rather than in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from featurestore.sources.titles import normalised

#: Titles that are put away at once.
_BATCH = 10_000


class Scratch:
    """Ids and pictures already met, and the titles of the entities; deleted with its folder.

    Args:
        path: a file to make. Its cache in memory is 32 MB, whatever it holds.
    """

    def __init__(self, path: Path) -> None:
        self._base = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for line in (
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            "PRAGMA cache_size = -32768",
            "CREATE TABLE ids (id TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID",
            "CREATE TABLE pictures (source TEXT PRIMARY KEY, name TEXT, status TEXT) WITHOUT ROWID",
            "CREATE TABLE names (name TEXT PRIMARY KEY) WITHOUT ROWID",
            "CREATE TABLE titles (qid TEXT PRIMARY KEY, title TEXT) WITHOUT ROWID",
            "BEGIN",
        ):
            self._base.execute(line)

    def close(self) -> None:
        self._base.close()

    # ids ----------------------------------------------------------------------------------------

    def first_line(self, id: str, line: int) -> int:
        """The line that the id was met in first: this one, which is remembered, or an earlier one."""
        added = self._base.execute("INSERT OR IGNORE INTO ids VALUES (?, ?)", (id, line)).rowcount
        if added:
            return line
        found: int = self._base.execute("SELECT line FROM ids WHERE id = ?", (id,)).fetchone()[0]
        return found

    # pictures -----------------------------------------------------------------------------------

    def picture(self, source: str) -> tuple[str, str] | None:
        """Name and status of a picture met before."""
        found: tuple[str, str] | None = self._base.execute(
            "SELECT name, status FROM pictures WHERE source = ?", (source,)
        ).fetchone()
        return found

    def add_picture(self, source: str, name: str, status: str) -> None:
        self._base.execute("INSERT INTO pictures VALUES (?, ?, ?)", (source, name, status))

    def take_name(self, name: str) -> bool:
        """Whether the name was free; it is taken now. Case does not tell names apart."""
        taken = self._base.execute("INSERT OR IGNORE INTO names VALUES (?)", (name.casefold(),))
        return bool(taken.rowcount)

    # titles -------------------------------------------------------------------------------------

    def add_titles(self, pairs: Iterable[tuple[str, str]]) -> int:
        """Remember (QID, title) pairs; how many entities are known then."""
        batch: list[tuple[str, str]] = []
        for qid, title in pairs:
            batch.append((qid, normalised(title)))
            if len(batch) == _BATCH:
                self._put_titles(batch)
                batch = []
        self._put_titles(batch)
        self._base.execute("CREATE INDEX by_title ON titles (title)")
        number: int = self._base.execute("SELECT COUNT(*) FROM titles").fetchone()[0]
        return number

    def _put_titles(self, batch: list[tuple[str, str]]) -> None:
        self._base.executemany("INSERT OR IGNORE INTO titles VALUES (?, ?)", batch)

    def knows(self, qid: str) -> bool:
        """Whether the entity has a title."""
        found = self._base.execute("SELECT 1 FROM titles WHERE qid = ?", (qid,)).fetchone()
        return found is not None

    def entities_named(self, title: str) -> list[str]:
        """The QIDs of a title, spelt as Wikipedia may; at most three."""
        rows = self._base.execute(
            "SELECT qid FROM titles WHERE title = ? ORDER BY qid LIMIT 3", (normalised(title),)
        )
        return [qid for (qid,) in rows]
