"""The state of a crawl in one SQLite file: a row an entity, a row a picture, which belongs to which.

Written by one process (the crawl holds a lock beside it) from one thread, a transaction for every batch
of API answers and for every picture. Killed at any moment, it holds what was finished before: WAL with
``synchronous=NORMAL`` loses nothing to ``kill -9``, and after a power cut at most the last transactions,
whose files are then found on disk (:mod:`featurestore.construct.crawl_check`).
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from featurestore.errors import ConfigError, SourceError

#: Changes when the tables below do; version 1 is brought up to date, others are refused.
SCHEMA_VERSION = 2

#: Version 1 did not know which items had been asked about.
_FROM_1 = "ALTER TABLE entity ADD COLUMN item_known INTEGER NOT NULL DEFAULT 0"

NAME = "manifest.sqlite"

#: States of an entity. The first five have work left, in this order.
ENTITY_STATES = ("new", "named", "lead", "listing", "files", "ready", "done", "bare", "failed")

#: States of a picture: named, asked about, then on disk, refused for good, or failed for now.
PICTURE_STATES = ("named", "known", "done", "refused", "failed")

#: Entities in these states are finished; ``failed`` ones are begun again by ``--retry-failed``.
FINISHED = ("done", "bare", "failed")

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE entity (
    number      INTEGER PRIMARY KEY,        -- order of the input
    key         TEXT NOT NULL UNIQUE,       -- QID, or the title where none was given
    qid         TEXT NOT NULL DEFAULT '',
    title       TEXT NOT NULL DEFAULT '',   -- as given, or the article of the QID
    label       TEXT NOT NULL DEFAULT '',
    description TEXT NOT NULL DEFAULT '',
    image       TEXT NOT NULL DEFAULT '',   -- P18
    item_known  INTEGER NOT NULL DEFAULT 0, -- --details or Wikidata told the columns above
    state       TEXT NOT NULL DEFAULT 'new',
    reason      TEXT NOT NULL DEFAULT '',   -- of 'bare' and 'failed'
    normalised  TEXT NOT NULL DEFAULT '',
    redirected  TEXT NOT NULL DEFAULT '',
    page_title  TEXT NOT NULL DEFAULT '',
    page_id     INTEGER NOT NULL DEFAULT 0,
    brief       TEXT NOT NULL DEFAULT '',
    listed      INTEGER NOT NULL DEFAULT 0, -- the page's other pictures were asked for
    picture     INTEGER REFERENCES picture, -- of 'done'
    file        TEXT NOT NULL DEFAULT ''    -- below the folder
) STRICT;
CREATE INDEX entity_state ON entity (state, number);
CREATE INDEX entity_qid ON entity (qid);
CREATE TABLE picture (
    number      INTEGER PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,       -- of the file page, without File:
    state       TEXT NOT NULL DEFAULT 'named',
    reason      TEXT NOT NULL DEFAULT '',   -- of 'refused' and 'failed'
    mime        TEXT NOT NULL DEFAULT '',
    media_type  TEXT NOT NULL DEFAULT '',   -- BITMAP, DRAWING, AUDIO, …
    width       INTEGER NOT NULL DEFAULT 0, -- of the original
    height      INTEGER NOT NULL DEFAULT 0,
    url         TEXT NOT NULL DEFAULT '',   -- of the original
    thumb_url   TEXT NOT NULL DEFAULT '',   -- what was fetched
    page_url    TEXT NOT NULL DEFAULT '',
    author      TEXT NOT NULL DEFAULT '',
    credit      TEXT NOT NULL DEFAULT '',
    license     TEXT NOT NULL DEFAULT '',
    license_url TEXT NOT NULL DEFAULT '',
    is_free     INTEGER NOT NULL DEFAULT 1,
    file        TEXT NOT NULL DEFAULT '',   -- below the folder
    format      TEXT NOT NULL DEFAULT '',   -- as it was sent: JPEG, PNG, GIF, …
    bytes       INTEGER NOT NULL DEFAULT 0, -- of the file
    sha256      TEXT NOT NULL DEFAULT '',
    requests    INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX picture_state ON picture (state, number);
CREATE TABLE choice (
    entity  INTEGER NOT NULL REFERENCES entity,
    picture INTEGER NOT NULL REFERENCES picture,
    is_lead INTEGER NOT NULL,               -- Wikidata or the page itself names it
    rank    INTEGER NOT NULL,               -- order in which they were named
    score   REAL NOT NULL DEFAULT 0,        -- of those that are no leads
    unfit   TEXT NOT NULL DEFAULT '',       -- why this entity does not take it
    PRIMARY KEY (entity, picture)
) STRICT, WITHOUT ROWID;
CREATE INDEX choice_picture ON choice (picture);
CREATE TABLE run (
    number   INTEGER PRIMARY KEY,
    started  REAL NOT NULL,
    updated  REAL NOT NULL,
    finished INTEGER NOT NULL DEFAULT 0,    -- entities
    pictures INTEGER NOT NULL DEFAULT 0,
    bytes    INTEGER NOT NULL DEFAULT 0,
    calls    INTEGER NOT NULL DEFAULT 0,
    ended    INTEGER NOT NULL DEFAULT 0
) STRICT;
"""


class CrawlManifest:
    """An open manifest.

    ``created``: it was made just now.

    Raises:
        SourceError: the file is none of ours, damaged, or of another version.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.path = folder / NAME
        self.created = False
        if read_only and not self.path.is_file():
            raise SourceError(
                f"{NAME} is missing",
                where=str(folder),
                hint="give the folder of a crawl, or begin one without --status",
            )
        self.db = sqlite3.connect(self.path, isolation_level=None, timeout=30.0)
        self.db.row_factory = sqlite3.Row
        try:
            self._open(read_only)
        except sqlite3.DatabaseError as error:
            self.db.close()
            raise SourceError(
                f"the manifest is damaged or none of ours: {error}",
                where=str(self.path),
                hint="restore it from a copy, or begin in another folder",
            ) from error
        except BaseException:
            self.db.close()
            raise

    def _open(self, read_only: bool) -> None:
        if read_only:
            self.db.execute("PRAGMA query_only = ON")
        else:
            self.db.execute("PRAGMA journal_mode = WAL")
            self.db.execute("PRAGMA synchronous = NORMAL")
        version = self.db.execute("PRAGMA user_version").fetchone()[0]
        tables = self.db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if version == 0 and not tables and not read_only:
            with self.transaction():
                for statement in _TABLES.split(";\n"):
                    self.db.execute(statement)
                self.db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self.created = True
        elif version == 1:
            if not read_only:
                with self.transaction():
                    self.db.execute(_FROM_1)
                    self.db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif version != SCHEMA_VERSION:
            raise SourceError(
                f"the manifest has version {version}, this drin-fs reads {SCHEMA_VERSION}",
                where=str(self.path),
                hint="use the drin-fs that made it, or begin in another folder",
            )

    def close(self) -> None:
        self.db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes of the block, or none."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    # what the crawl was begun with -----------------------------------------------------------------

    def keep_settings(self, settings: Mapping[str, Any]) -> None:
        """Record what the crawl is made with, or compare with what it was begun with.

        Raises:
            ConfigError: an option differs; names it.
        """
        known = {row["name"]: row["value"] for row in self.db.execute("SELECT * FROM meta")}
        with self.transaction():
            for name, value in settings.items():
                text = json.dumps(value)
                if name in known and known[name] != text:
                    raise ConfigError(
                        f"the crawl was begun with {name} {known[name]}, not {text}",
                        where=str(self.path),
                        hint="give the same options, or another folder",
                    )
                self.db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, text))

    def settings(self) -> dict[str, Any]:
        """What the crawl was begun with."""
        rows = self.db.execute("SELECT name, value FROM meta")
        return {row["name"]: json.loads(row["value"]) for row in rows}

    # entities --------------------------------------------------------------------------------------

    def count(self, states: Iterable[str]) -> int:
        """Entities in any of these states."""
        wanted = tuple(states)
        marks = ", ".join("?" * len(wanted))
        query = f"SELECT count(*) FROM entity WHERE state IN ({marks})"
        return int(self.db.execute(query, wanted).fetchone()[0])

    def waiting(self, state: str, limit: int) -> list[sqlite3.Row]:
        """The first entities in a state, in the order of the input."""
        query = "SELECT * FROM entity WHERE state = ? ORDER BY number LIMIT ?"
        return self.db.execute(query, (state, limit)).fetchall()

    def set_state(self, entity: int, state: str, reason: str = "") -> None:
        self.db.execute(
            "UPDATE entity SET state = ?, reason = ? WHERE number = ?", (state, reason, entity)
        )

    def update(self, table: str, number: int, values: Mapping[str, Any]) -> None:
        """Set columns of one row; the names are ours, never the wiki's."""
        columns = ", ".join(f"{name} = ?" for name in values)
        self.db.execute(
            f"UPDATE {table} SET {columns} WHERE number = ?", (*values.values(), number)
        )

    # pictures ---------------------------------------------------------------------------------------

    def choose(self, entity: int, names: Sequence[str], *, is_lead: bool) -> None:
        """Add pictures to those that an entity may have, behind those that it has."""
        for name in names:
            self.db.execute("INSERT OR IGNORE INTO picture (name) VALUES (?)", (name,))
            self.db.execute(
                "INSERT OR IGNORE INTO choice (entity, picture, is_lead, rank) "
                "SELECT ?1, number, ?2, (SELECT count(*) FROM choice WHERE entity = ?1) "
                "FROM picture WHERE name = ?3",
                (entity, is_lead, name),
            )

    def choices(self, entity: int) -> list[sqlite3.Row]:
        """The pictures that an entity may have, best first, with the columns of ``choice``."""
        query = (
            "SELECT picture.*, is_lead, unfit FROM choice "
            "JOIN picture ON picture.number = choice.picture WHERE entity = ? "
            "ORDER BY is_lead DESC, score DESC, rank"
        )
        return self.db.execute(query, (entity,)).fetchall()

    def judge(self, entity: int, picture: int, *, unfit: str, score: float) -> None:
        """Record what the rule says of a picture for an entity."""
        self.db.execute(
            "UPDATE choice SET unfit = ?, score = ? WHERE entity = ? AND picture = ?",
            (unfit, score, entity, picture),
        )

    def unnamed_pictures(self, limit: int) -> list[sqlite3.Row]:
        """The first pictures of which only the name is known."""
        query = "SELECT * FROM picture WHERE state = 'named' ORDER BY number LIMIT ?"
        return self.db.execute(query, (limit,)).fetchall()

    def deciding(self, picture: int) -> list[sqlite3.Row]:
        """The entities that wait to hear what a picture is."""
        query = (
            "SELECT entity.* FROM choice JOIN entity ON entity.number = choice.entity "
            "WHERE choice.picture = ? AND entity.state IN ('lead', 'files')"
        )
        return self.db.execute(query, (picture,)).fetchall()

    # runs -------------------------------------------------------------------------------------------

    def begin_run(self) -> int:
        """A row for what this run does; its number."""
        now = time.time()
        cursor = self.db.execute("INSERT INTO run (started, updated) VALUES (?, ?)", (now, now))
        return int(cursor.lastrowid or 0)

    def add_to_run(
        self, run: int, *, finished: int = 0, pictures: int = 0, bytes_: int = 0, calls: int = 0
    ) -> None:
        """What this run did since it was last asked."""
        self.db.execute(
            "UPDATE run SET updated = ?, finished = finished + ?, pictures = pictures + ?, "
            "bytes = bytes + ?, calls = calls + ? WHERE number = ?",
            (time.time(), finished, pictures, bytes_, calls, run),
        )

    def end_run(self, run: int) -> None:
        """The run came to its end."""
        self.db.execute(
            "UPDATE run SET updated = ?, ended = 1 WHERE number = ?", (time.time(), run)
        )
