"""One feature of a store as a parquet file for embedding viewers: texts, vector, place in the plane."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from featurestore.derive import block_rows
from featurestore.errors import ConfigError, StoreError
from featurestore.export.folder import ExportSummary, new_folder, passing, written
from featurestore.export.projection import Projection, principal_plane
from featurestore.progress import Progress, Silent
from featurestore.schema import BY_PATH
from featurestore.store import Store
from featurestore.table import Table

#: The feature that is written when none is named.
DEFAULT_FIELD = "entities/text_mean"

#: Column → the field it shows, of each table; left out where the store lacks the field.
_TEXTS = {
    "entities": {"id": "id", "title": "title", "text": "text"},
    "mentions": {"id": "id", "title": "mention", "text": "sentence"},
}

#: Most rows read at once, so that their texts stay small too (chosen here).
_ROWS = 8_192


def export_parquet(
    store: Store,
    folder: str | os.PathLike[str],
    *,
    field: str = DEFAULT_FIELD,
    progress: Progress | None = None,
) -> ExportSummary:
    """Write ``entities.parquet`` or ``mentions.parquet``, one row group a block.

    Columns: ``id``, ``title`` (of a mention: the mention), ``text`` (of a mention: the sentence),
    ``vector`` (D float32), ``x`` and ``y`` (its two principal components).

    Args:
        field: ``table/name`` of a feature with one vector a row.

    Raises:
        ModuleNotFoundError: pyarrow is not installed.
        ConfigError: there is no such field, or it has no vector a row.
        FieldMissing: the store lacks the field.
        WriteError: the folder is not empty, or the disk is full.
    """
    import pyarrow as pa
    from pyarrow import parquet

    folder, progress = Path(folder), progress or Silent()
    table, name = _vectors_of(store, field)
    texts = {column: text for column, text in _TEXTS[table.name].items() if text in table}
    vector = pa.list_(pa.float32(), int(table.stored(name).shape[1]))
    numbers = [("vector", vector), ("x", pa.float32()), ("y", pa.float32())]
    schema = pa.schema([(column, pa.string()) for column in texts] + numbers)
    with new_folder(folder) as part:
        plane = _plane(store, table, name, progress)
        path = part / f"{table.name}.parquet"
        with (
            progress.stage(path.name, len(table), table.name) as stage,
            parquet.ParquetWriter(path, schema) as writer,
        ):
            for rows, values in passing(store, _blocks(table, name)):
                columns = [pa.array(table.gather(text, rows)) for text in texts.values()]
                columns.append(pa.FixedSizeListArray.from_arrays(values.reshape(-1), type=vector))
                columns += [pa.array(axis) for axis in plane(values).T]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))
                stage.advance(len(rows))
        size = written(part)
    absent = [text for text in _TEXTS[table.name].values() if text not in table]
    return ExportSummary(
        folder=str(folder),
        format="parquet",
        rows={table.name: len(table)},
        notes=[f"not in this store: {table.name}/{', '.join(absent)}"] if absent else [],
        **size,
    )


def _vectors_of(store: Store, path: str) -> tuple[Table, str]:
    """Table and name of a field that has one vector a row and is in the store."""
    schema = BY_PATH.get(path)
    if schema is None or schema.layout != "view" or len(schema.axes) != 1:
        fitting = [
            one.path for one in BY_PATH.values() if one.layout == "view" and len(one.axes) == 1
        ]
        raise ConfigError(
            f"--field {path}: not a feature with one vector a row",
            hint=f"choose from: {', '.join(one for one in fitting if store.has(one))}",
        )
    table = store.table(schema.table)
    table.stored(schema.name)
    return table, schema.name


def _plane(store: Store, table: Table, name: str, progress: Progress) -> Projection:
    """The plane of a feature's two principal components; reads the feature twice."""
    with progress.stage("projection", 2 * len(table), "rows") as stage:

        def blocks() -> Iterator[np.ndarray]:
            for rows, values in passing(store, _blocks(table, name)):
                yield values
                stage.advance(len(rows))

        return principal_plane(blocks, int(table.stored(name).shape[1]))


def _blocks(table: Table, name: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Row numbers and their (n, D) float32 vectors, a block at a time.

    Raises:
        StoreError: a vector is not finite; names the row.
    """
    step = min(_ROWS, block_rows(8 * int(table.stored(name).shape[1])))
    for first in range(0, len(table), step):
        rows = np.arange(first, min(first + step, len(table)))
        values = table.gather(name, rows).astype(np.float32)
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            raise StoreError(
                "the feature holds NaN or infinite values, which no sound store does",
                where=f"/{table.name}/{name}[{rows[np.argmin(finite)]}]",
                hint="see what else is damaged: drin-fs verify STORE",
            )
        yield rows, values
