"""Mentions of one's own, from a table to the raw WikiMEL layout; every row is checked.

::

    <root>/mentions.jsonl                 the mentions that can be used, an item a line
    <root>/mentions/KVQAimgs/<name>       their pictures
    <root>/mentions/WIKIMEL_<split>.json  if the table says of every mention in which split it is
    <root>/rejected.jsonl                 rows left out, with the reason; only if there are any
    <root>/missing-pictures.jsonl         mentions whose picture cannot be used; only if there are any

Rows stream: what must be known of all of them is in a scratch file. Everything is made in a hidden
folder and moved to its place at the end, ``mentions.jsonl`` last.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from featurestore.construct.columns import Columns
from featurestore.construct.item_files import MENTIONS, SPLIT_FILES
from featurestore.construct.mention_build import (
    PICTURES,
    PICTURES_MISSING,
    REJECTED,
    MentionBuild,
    MentionsSummary,
)
from featurestore.construct.mention_pictures import Placing
from featurestore.construct.rows import Table
from featurestore.disk import write_errors
from featurestore.errors import ConfigError, WriteError
from featurestore.progress import Progress, Silent
from featurestore.schema import SPLITS
from featurestore.target import remove_leftovers


def build_mentions(
    source: Path,
    root: Path,
    *,
    columns: Mapping[str, str] | None = None,
    images: Path | None = None,
    titles: Path | None = None,
    placing: Placing = "link",
    quotes: bool = True,
    strict: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> MentionsSummary:
    """Check the mentions of a table row by row and lay them out for ``drin-fs ingest``.

    Args:
        source: a ``.jsonl``, ``.csv`` or ``.tsv`` file; its columns are known by their names
            (:data:`featurestore.construct.columns.NAMES`).
        root: the dataset's folder; made if it is not there. What other steps put there stays.
        columns: field → column, where the file calls it otherwise.
        images: what the paths of pictures are relative to; default: the folder of ``source``.
        titles: QID TAB title; with it a gold may be a title, and one that is no entity of the file is
            a bad row. Without it golds are QIDs and taken as they are.
        placing: pictures as symbolic links or as copies.
        quotes: whether quotation marks of CSV and TSV enclose cells.
        strict: refuse a table with a bad row or a picture that cannot be used; nothing is written.
        overwrite: replace the mentions that are there, and their pictures and splits.

    Raises:
        SourceError: the table cannot be read, no row can be used, or ``strict`` and one cannot.
        ConfigError: columns that are not there or are two for one field, or no folder of pictures.
        WriteError: there are mentions already, or the folder cannot be written.
    """
    table = Table(source, quotes=quotes)
    names = Columns(chosen=dict(columns or {}))
    if table.header:
        names.check_header(table.header, str(source))
    images = images or source.parent
    _check_root(root, images, overwrite)
    progress = progress or Silent()
    with write_errors(root, when_full="make room, or choose a folder on another disk"):
        root.mkdir(parents=True, exist_ok=True)
        remove_leftovers(root / "mentions")
        work = root / f".mentions.{os.getpid()}.part"
        work.mkdir()
        try:
            build = MentionBuild(work, table, names, images, placing, strict, progress)
            counts = build.run(titles)
            if build.is_refused:
                raise build.refusal()
            _publish(work, root, in_splits=set(counts.splits) <= set(SPLITS))
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return counts.summary(root, names)


def _check_root(root: Path, images: Path, overwrite: bool) -> None:
    """Refuse a folder that has mentions already, or whose pictures would be replaced by themselves."""
    if root.exists() and not root.is_dir():
        raise WriteError("a file, not a folder", where=str(root), hint="name a new folder")
    there = [name for name in (MENTIONS, *SPLIT_FILES.values()) if (root / name).exists()]
    if there and not overwrite:
        raise WriteError(
            f"{there[0].as_posix()} exists",
            where=str(root),
            hint="pass --overwrite to replace mentions, their pictures and splits",
        )
    replaced = (root / PICTURES).resolve()
    if replaced == images.resolve() or replaced in images.resolve().parents:
        raise ConfigError(
            "the pictures are where they would be put",
            where=str(images),
            hint="move them out of the dataset's folder",
        )


def _publish(work: Path, root: Path, *, in_splits: bool) -> None:
    """Move what was made to its place; old mentions go first, the new ones come last."""
    (root / MENTIONS).unlink(missing_ok=True)
    (root / "mentions").mkdir(exist_ok=True)
    if (root / PICTURES).is_dir():
        shutil.rmtree(root / PICTURES)
    for name in (REJECTED, PICTURES_MISSING, *SPLIT_FILES.values()):
        made = work / name
        if name in SPLIT_FILES.values() and not in_splits:
            made.unlink(missing_ok=True)
        if made.exists() and made.stat().st_size:
            os.replace(made, root / name)
        else:
            (root / name).unlink(missing_ok=True)
    if (work / PICTURES).is_dir():
        os.replace(work / PICTURES, root / PICTURES)
    os.replace(work / MENTIONS, root / MENTIONS)
