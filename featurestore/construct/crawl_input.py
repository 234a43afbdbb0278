"""The entities of a crawl: read from a list, or a list with details, into the manifest."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from featurestore.construct.crawl_manifest import CrawlManifest
from featurestore.errors import SourceError
from featurestore.sources.textfiles import numbered_lines

#: Rows that are written at once.
_ROWS = 10_000

_QID = re.compile(r"Q[1-9][0-9]{0,18}")

#: What to do about details that are none.
_DETAILS = "give --details what drin-fs build titles --details wrote"


@dataclass(frozen=True, slots=True)
class Asked:
    """One line of the input; either may be ""."""

    qid: str
    title: str

    @property
    def key(self) -> str:
        return self.qid or self.title


def is_qid(text: str) -> bool:
    """Whether it is the id of a Wikidata item."""
    return _QID.fullmatch(text) is not None


def read_entities(path: Path) -> Iterator[Asked]:
    """The lines of a list: ``QID<TAB>title`` (``qid-entity.tsv``), a QID, or a title.

    Underscores of titles count as blanks. What follows a second tab is not read.

    Raises:
        SourceError: not UTF-8, or a line with a tab whose first part is no QID.
    """
    for number, line in numbered_lines(path):
        first, tab, rest = line.partition("\t")
        title = rest.partition("\t")[0].replace("_", " ").strip()
        if tab and not is_qid(first.strip()):
            raise SourceError(
                f"expected QID TAB title, found {line[:80]!r}",
                where=f"{path}, line {number}",
                hint="write a QID, a tab and the title; or one of the two alone, without a tab",
            )
        if tab or is_qid(first.strip()):
            yield Asked(first.strip(), title)
        elif first := first.replace("_", " ").strip():
            yield Asked("", first)


def add_entities(manifest: CrawlManifest, asked: Iterable[Asked], *, limit: int | None) -> int:
    """Add those that the manifest does not have.

    Args:
        limit: read only so many lines.

    Returns:
        lines that name an entity again.
    """
    lines = 0
    entities = islice(asked, limit)
    while block := list(islice(entities, _ROWS)):
        lines += len(block)
        with manifest.transaction():
            manifest.db.executemany(
                "INSERT OR IGNORE INTO entity (key, qid, title, state) VALUES (?, ?, ?, ?)",
                ((e.key, e.qid, e.title, "named" if e.title else "new") for e in block),
            )
    known = int(manifest.db.execute("SELECT count(*) FROM entity").fetchone()[0])
    return max(0, lines - known)


def add_details(manifest: CrawlManifest, path: Path) -> int:
    """Take P18 names, titles, labels and descriptions from a details file of ``build titles``.

    Returns:
        entities that the file knows.

    Raises:
        SourceError: a line is not a JSON object with a ``qid``.
    """
    known = 0
    rows = _details(path)
    while block := list(islice(rows, _ROWS)):
        with manifest.transaction():
            known += manifest.db.executemany(
                "UPDATE entity SET image = ?, label = ?, description = ?, item_known = 1, "
                "state = CASE WHEN state = 'new' AND ?4 <> '' THEN 'named' ELSE state END, "
                "title = CASE WHEN title = '' THEN ?4 ELSE title END WHERE key = ?",
                block,
            ).rowcount
    return known


def _details(path: Path) -> Iterator[tuple[str, str, str, str, str]]:
    for number, line in numbered_lines(path):
        try:
            item = json.loads(line)
        except ValueError as error:
            raise SourceError(
                f"malformed JSON: {error}", where=f"{path}, line {number}", hint=_DETAILS
            ) from error
        if not isinstance(item, dict) or not isinstance(item.get("qid"), str):
            raise SourceError(
                "expected a JSON object with a qid",
                where=f"{path}, line {number}",
                hint=_DETAILS,
            )

        def said(name: str, item: dict[str, Any] = item) -> str:
            value = item.get(name)
            return value if isinstance(value, str) else ""

        yield said("image"), said("label"), said("description"), said("title"), said("qid")


def file_name(name: str) -> str:
    """A picture's name as the wiki spells it: no ``File:``, blanks for underscores, a capital first."""
    name = re.sub(r"(?i)^\s*(file|image)\s*:", "", name)
    name = " ".join(name.replace("_", " ").split())
    return name[:1].upper() + name[1:]
