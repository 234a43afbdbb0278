"""The text files of the two raw layouts, and who made the pictures; streamed out of the manifest."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from featurestore.construct.crawl_layout import Layout
from featurestore.construct.crawl_manifest import CrawlManifest
from featurestore.schema import SPLITS
from featurestore.sources.wikimel_entities import TITLES

ATTRIBUTION = "attribution.tsv"
REDIRECTS = "redirects.tsv"

_ATTRIBUTION_HEAD = (
    "file", "entity", "title", "picture", "author", "license", "license_url", "source", "original",
    "changes",
)  # fmt: skip

_ENTITIES = (
    "SELECT *, coalesce(nullif(title, ''), nullif(page_title, ''), label) AS shown, "
    "coalesce(nullif(brief, ''), description) AS said FROM entity ORDER BY number"
)


def write_layout(manifest: CrawlManifest, folder: Path, layout: Layout, *, read: Path) -> None:
    """Write the layout's text files, ``attribution.tsv`` and ``redirects.tsv``, each whole or not at all.

    An entity without a picture or a brief is listed like the others; one without any title, or in the
    layout with QIDs without one, is not.

    Args:
        read: the list of entities; it is not replaced where it is one of these files.

    Raises:
        OSError: a file cannot be written.
    """
    (folder / "entities").mkdir(exist_ok=True)
    if layout.by_qid:
        _write_wikimel(manifest, folder, read)
    else:
        _write_wikidiverse(manifest, folder)
    _write_attribution(manifest, folder)
    _write_redirects(manifest, folder)


def _write_wikimel(manifest: CrawlManifest, folder: Path, read: Path) -> None:
    entities, candidates = folder / "entities", folder / "candidates"
    candidates.mkdir(exist_ok=True)

    def listed() -> Iterator[sqlite3.Row]:
        return (row for row in manifest.db.execute(_ENTITIES) if row["qid"] and row["shown"])

    titles = folder / TITLES
    if not (titles.exists() and titles.samefile(read)):
        with written(titles) as file:
            file.writelines(f"{row['qid']}\t{one_line(row['shown'])}\n" for row in listed())
    with written(entities / "qid2brief.json") as file:
        _write_object(file, ((row["qid"], row["said"]) for row in listed() if row["said"]))
    with written(candidates / "qid2ne.json") as file:
        _write_object(file, ((row["qid"], one_line(row["shown"])) for row in listed()))
    distinct = "SELECT DISTINCT qid, title AS shown FROM entity WHERE qid <> '' AND title <> ''"
    query = f"{distinct} GROUP BY title ORDER BY min(number)"
    with written(candidates / "ne2qid.json") as file:
        _write_object(file, ((one_line(r["shown"]), r["qid"]) for r in manifest.db.execute(query)))


def _write_wikidiverse(manifest: CrawlManifest, folder: Path) -> None:
    entities = folder / "entities"

    def listed() -> Iterator[sqlite3.Row]:
        return (row for row in manifest.db.execute(_ENTITIES) if row["shown"])

    for split in SPLITS:  # the layout has one for each; what all know, all have
        with written(entities / f"entity2brief_{split}.json") as file:
            _write_object(file, ((row["shown"], row["said"]) for row in listed() if row["said"]))
    with written(entities / "wikipedia_entity2desc_filtered.tsv") as file:
        file.writelines(
            f"{row['shown']}@@@@{one_line(row['description'])}\n"
            for row in listed()
            if row["description"]
        )
    query = (
        "SELECT entity.title AS shown, picture.url FROM entity "
        "JOIN picture ON picture.number = entity.picture ORDER BY entity.number"
    )
    with written(entities / "wikipedia_entity2imgs.tsv") as file:
        file.write("entity@@@@images\n")
        file.writelines(f"{row['shown']}@@@@{row['url']}\n" for row in manifest.db.execute(query))


def _write_attribution(manifest: CrawlManifest, folder: Path) -> None:
    query = (
        "SELECT entity.file AS path, entity.key, entity.title AS shown, picture.* FROM entity "
        "JOIN picture ON picture.number = entity.picture ORDER BY entity.number"
    )
    with written(folder / ATTRIBUTION) as file:
        file.write("\t".join(_ATTRIBUTION_HEAD) + "\n")
        for row in manifest.db.execute(query):
            values = (
                row["path"], row["key"], row["shown"], row["name"], row["author"] or row["credit"],
                row["license"], row["license_url"], row["page_url"], row["url"], _changes(row),
            )  # fmt: skip
            file.write("\t".join(map(one_line, values)) + "\n")


def _changes(row: sqlite3.Row) -> str:
    """What licences want to be told: how the file differs from the original."""
    changes = [] if row["thumb_url"] == row["url"] else ["scaled by the wiki"]
    if row["file"].endswith(".png") and row["format"] != "PNG":
        changes.append(f"first frame of a {row['format']}, written as PNG")
    return ", ".join(changes)


def _write_redirects(manifest: CrawlManifest, folder: Path) -> None:
    """``redirect title<TAB>target title``, as ``build candidates --redirects`` reads it."""
    query = "SELECT title, redirected FROM entity WHERE redirected <> '' AND page_title <> ''"
    with written(folder / REDIRECTS) as file:
        file.writelines(
            f"{one_line(row['title'])}\t{one_line(row['redirected'])}\n"
            for row in manifest.db.execute(f"{query} ORDER BY number")
        )


def _write_object(file: TextIO, items: Iterable[tuple[str, str]]) -> None:
    """A JSON object, an item a line, without having it in memory."""
    separator = "{\n"
    for key, value in items:
        pair = json.dumps({key: value}, ensure_ascii=False)
        file.write(separator + pair[1:-1])
        separator = ",\n"
    file.write("{}\n" if separator == "{\n" else "\n}\n")


@contextmanager
def written(path: Path) -> Iterator[TextIO]:
    """A text file that is there when the block has ended, and as it was before if that fails."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8", newline="\n") as file:
        yield file
    os.replace(part, path)


def one_line(text: str) -> str:
    """The text without what ends a line or a column."""
    return re.sub(r"[\t\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+", " ", text)
