"""A store as the folder of ``.npy`` files that the DRIN authors release (DATASETS.md, "Preprocessed").

A float32 store that was ingested from such a folder gives back the very same
arrays: names, shapes, types and every bit. Where that cannot be, the summary says why.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from featurestore.arrayfile import ArrayFile
from featurestore.errors import FieldMissing
from featurestore.export.folder import ExportSummary, new_folder, passing, written
from featurestore.export.release import ReleaseArray, release_arrays, repeats_entities
from featurestore.progress import Progress, Silent
from featurestore.schema import BY_PATH, FEATURE
from featurestore.sources.repetitions import DIFFERING
from featurestore.store import Store


def export_npy(
    store: Store, folder: str | os.PathLike[str], *, progress: Progress | None = None
) -> ExportSummary:
    """Write every array of the release, a block at a time, and ``qid2idx.json`` for WikiMEL.

    Raises:
        FieldMissing: the store lacks fields that the release has; names all of them.
        SourceError: a mention lacks its gold entity or a candidate, which a slot must name.
        WriteError: the folder is not empty, or the disk is full.
    """
    folder, progress = Path(folder), progress or Silent()
    arrays = list(release_arrays(store))
    _refuse_missing(store, arrays)
    with new_folder(folder) as part:
        for array in arrays:
            _write(part, array, store, progress)
        if not repeats_entities(store):
            rows = {qid: row for row, qid in enumerate(store.entities.texts("id"))}
            (part / "qid2idx.json").write_text(json.dumps(rows), encoding="utf-8")
        size = written(part)
    splits = {name: len(rows) for name, rows in store.mentions.splits.items()}
    return ExportSummary(
        folder=str(folder),
        format="npy",
        rows={**splits, "entities": len(store.entities)},
        notes=_differences(store, arrays),
        **size,
    )


def _write(folder: Path, array: ReleaseArray, store: Store, progress: Progress) -> None:
    """One file; written, not mapped: a full disk is then an error rather than the end of the process."""
    with progress.stage(array.name, array.rows, "rows") as stage:
        blocks = passing(store, array.blocks())
        block = next(blocks)
        shape = (array.rows, *block.shape[1:])
        with ArrayFile(folder / f"{array.name}.npy", shape, block.dtype) as file:
            file.append(block)
            stage.advance(len(block))
            for block in blocks:
                file.append(block)
                stage.advance(len(block))


def _needed(arrays: list[ReleaseArray]) -> list[str]:
    """The fields that the arrays are made from, each once."""
    return list(dict.fromkeys(path for array in arrays for path in array.needs))


def _refuse_missing(store: Store, arrays: list[ReleaseArray]) -> None:
    missing = [path for path in _needed(arrays) if not store.has(path)]
    if not missing:
        return
    options = dict.fromkeys(BY_PATH[path].made_by for path in missing if BY_PATH[path].made_by)
    raise FieldMissing(
        f"this store lacks {len(missing)} fields of the release: {', '.join(missing)}",
        where=str(store.path),
        hint=f"ingest again with them; they come from: {', '.join(options)}",
    )


def _differences(store: Store, arrays: list[ReleaseArray]) -> list[str]:
    """Why the arrays are not, bit by bit, those that the store was made from; empty if they are."""
    provenance = store.provenance
    options, notes = provenance.get("options", {}), []
    features = [path for path in _needed(arrays) if BY_PATH[path].dtype == FEATURE]
    halved = [path for path in features if _dtype(store, path) == np.float16]
    if halved:
        notes.append(
            f"not bit-exact: {len(halved)} of {len(features)} features are stored as float16 "
            "(for exact arrays: ingest --dtype float32)"
        )
    if options.get("padding") != "keep":
        notes.append(
            "not bit-exact: token features beyond a text's end were not stored and are written as 0 "
            "(for exact arrays: ingest --padding keep)"
        )
    if options.get("limit") is not None:
        notes.append(f"not complete: ingested with --limit {options['limit']}")
    repeated = [note for note in provenance.get("notes", []) if DIFFERING in note]
    return notes + [f"not bit-exact: {note}" for note in repeated]


def _dtype(store: Store, path: str) -> np.dtype:
    table, _, name = path.partition("/")
    return store.table(table).stored(name).dtype
