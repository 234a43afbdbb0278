"""Make a manifest agree with the files on disk before a crawl goes on."""

from __future__ import annotations

import os
from pathlib import Path

from featurestore.construct.crawl_layout import Layout
from featurestore.construct.crawl_manifest import CrawlManifest
from featurestore.construct.picture_fetch import PART
from featurestore.errors import WriteError
from featurestore.sources.wikimel_entities import TITLES


def check_new(folder: Path, layout: Layout, entities: Path) -> None:
    """A crawl that begins finds no files of others where its own will stand, but for its input.

    Raises:
        WriteError: there are some; nobody could say where they are from.
    """
    pictures = folder / layout.pictures
    if pictures.is_dir() and any(pictures.iterdir()):
        raise WriteError(
            f"{layout.pictures.as_posix()} holds files, but there is no manifest of where they are from",
            where=str(folder),
            hint="give another folder, or move them away",
        )
    titles = folder / TITLES
    if layout.by_qid and titles.exists() and not titles.samefile(entities):
        raise WriteError(
            f"{TITLES.as_posix()} is there and is not the list that is read",
            where=str(folder),
            hint="give that file as TITLES_OR_QIDS, or another folder",
        )


def check_files(manifest: CrawlManifest, folder: Path, layout: Layout) -> int:
    """Remove unfinished files, and forget pictures whose file is gone or has another size.

    Returns:
        pictures that are fetched again.
    """
    _remove_parts(folder / layout.pictures)
    lost, gone = [], []
    query = "SELECT number, file, bytes FROM picture WHERE state = 'done'"
    for row in manifest.db.execute(query):
        if _size(folder / row["file"]) != row["bytes"]:
            lost.append((row["number"],))
            (folder / row["file"]).unlink(missing_ok=True)  # nobody knows what it is
    query = (
        "SELECT entity.number, entity.file FROM entity JOIN picture ON picture.number = picture "
        "WHERE entity.state = 'done' AND entity.file <> picture.file"
    )
    for row in manifest.db.execute(query):
        if _size(folder / row["file"]) is None:
            gone.append((row["number"],))
    if not lost and not gone:
        return 0
    with manifest.transaction():
        forget = (
            "UPDATE entity SET state = 'ready', picture = NULL, file = '' WHERE state = 'done' AND "
        )
        manifest.db.executemany("UPDATE picture SET state = 'known' WHERE number = ?", lost)
        manifest.db.executemany(f"{forget} picture = ?", lost)
        manifest.db.executemany(f"{forget} number = ?", gone)
    return len(lost)


def retry_failed(manifest: CrawlManifest) -> int:
    """Begin again what failed for reasons that may have passed; what is refused stays so.

    Returns:
        entities that are begun again.
    """
    with manifest.transaction():
        manifest.db.execute(
            "UPDATE picture SET reason = '', "
            "state = CASE WHEN thumb_url = '' THEN 'named' ELSE 'known' END WHERE state = 'failed'"
        )
        return manifest.db.execute(
            "UPDATE entity SET reason = '', state = CASE WHEN title = '' THEN 'new' "
            "WHEN reason LIKE 'api: %' THEN 'named' ELSE 'ready' END WHERE state = 'failed'"
        ).rowcount


def _remove_parts(folder: Path) -> None:
    """Remove unfinished files."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") and entry.name.endswith(PART):
                os.unlink(entry)


def _size(path: Path) -> int | None:
    """Bytes of a file; None = it is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
