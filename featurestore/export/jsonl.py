"""The texts of a store as JSON lines: ``entities.jsonl`` and ``mentions.jsonl``, one object a row."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from featurestore.export.folder import ExportSummary, new_folder, passing, written
from featurestore.progress import Progress, Silent
from featurestore.schema import NO_ROW
from featurestore.store import Store
from featurestore.table import Table

_ENTITY_TEXTS = ("id", "title", "description", "text", "image_path")
_MENTION_TEXTS = ("id", "sentence", "mention", "topic", "entity_type", "image_path")

#: Rows read at once: some 20 MB of Python strings (chosen here).
_BLOCK = 4_096

#: JSON may hold these as they are, but some readers take them for the end of a line.
_LINE_ENDS = str.maketrans({"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def export_jsonl(
    store: Store, folder: str | os.PathLike[str], *, progress: Progress | None = None
) -> ExportSummary:
    """Write both tables.

    An entity has its ``id`` and texts; a mention its ``id``, ``split``, texts, ``span`` (characters
    of the sentence: start, exclusive end), ``gold`` and ``candidates`` (entity ids, best first;
    null = not in the table). A key whose field the store lacks is left out of every line, and said.

    Raises:
        WriteError: the folder is not empty, or the disk is full.
    """
    folder, progress = Path(folder), progress or Silent()
    with new_folder(folder) as part:
        _write(part / "entities.jsonl", store.entities, passing(store, _entities(store)), progress)
        _write(part / "mentions.jsonl", store.mentions, passing(store, _mentions(store)), progress)
        size = written(part)
    return ExportSummary(
        folder=str(folder),
        format="jsonl",
        rows={"mentions": len(store.mentions), "entities": len(store.entities)},
        notes=_absent(store),
        **size,
    )


def json_line(value: dict[str, Any]) -> str:
    """A line of JSON that every reader takes for one line."""
    return json.dumps(value, ensure_ascii=False).translate(_LINE_ENDS) + "\n"


def _write(
    path: Path, table: Table, blocks: Iterator[list[dict[str, Any]]], progress: Progress
) -> None:
    with (
        progress.stage(path.name, len(table), table.name) as stage,
        path.open("w", encoding="utf-8", newline="\n") as file,
    ):
        for block in blocks:
            for row in block:
                file.write(json_line(row))
            stage.advance(len(block))


def _entities(store: Store) -> Iterator[list[dict[str, Any]]]:
    table = store.entities
    for first in range(0, len(table), _BLOCK):
        rows = np.arange(first, min(first + _BLOCK, len(table)))
        yield _texts(table, _ENTITY_TEXTS, rows)


def _mentions(store: Store) -> Iterator[list[dict[str, Any]]]:
    table = store.mentions
    spans = "char_start" in table and "char_end" in table
    for split, bounds in table.splits.items():
        for first in range(bounds.start, bounds.stop, _BLOCK):
            rows = np.arange(first, min(first + _BLOCK, bounds.stop))
            block = _texts(table, _MENTION_TEXTS, rows)
            ends = [table.gather(name, rows) for name in ("char_start", "char_end") if spans]
            gold = _ids(store.entities, table.gather("gold", rows))
            candidates = _ids(store.entities, table.gather("candidates", rows))
            for place, row in enumerate(block):
                row["split"] = split
                if spans:
                    row["span"] = [int(end[place]) for end in ends]
                row["gold"] = gold[place]
                row["candidates"] = candidates[place]
            yield block


def _texts(table: Table, fields: tuple[str, ...], rows: np.ndarray) -> list[dict[str, Any]]:
    """The text fields that the store has, one dictionary a row."""
    names = [name for name in fields if name in table]
    columns = [table.gather(name, rows) for name in names]
    return [dict(zip(names, texts, strict=True)) for texts in zip(*columns, strict=True)]


def _ids(entities: Table, rows: np.ndarray) -> Any:
    """Ids in the shape of ``rows``, as lists; each distinct one is read once."""
    distinct, inverse = np.unique(rows, return_inverse=True)
    known = entities.ids(distinct[distinct != NO_ROW])
    names = np.array([None] * int(NO_ROW in distinct) + known, object)  # NO_ROW sorts first
    return names[inverse.reshape(rows.shape)].tolist()


def _absent(store: Store) -> list[str]:
    """A note on each table that lacks texts."""
    wanted = (
        (store.entities, _ENTITY_TEXTS),
        (store.mentions, (*_MENTION_TEXTS, "char_start", "char_end")),
    )
    notes = []
    for table, names in wanted:
        absent = [name for name in names if name not in table]
        if absent:
            notes.append(f"not in this store: {table.name}/{', '.join(absent)}")
    return notes
