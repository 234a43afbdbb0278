"""A copy of a store whose views were rounded to a form and widened again: what a model loses by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.forms import Form
from featurestore import Store, Table
from featurestore.catalog import StoredField
from featurestore.progress import Progress, Silent
from featurestore.writer import StoreWriter

#: Numbers rounded and written at once, of one field.
_BLOCK = 1 << 22


def write_rounded_store(
    path: Path, store: Store, form: Form, *, progress: Progress | None = None
) -> Path:
    """Write the copy, and return its path: all but the records, views as float32.

    Raises:
        NotFinite: the form cannot hold a value.
        WriteError: the target exists, or cannot be written.
    """
    progress = progress or Silent()
    tables = (store.entities, store.mentions)
    with StoreWriter.create(path, dtype="float32") as writer:
        for table in tables:
            writer.table(table.name, list(table.texts("id")))
        writer.splits(store.mentions.splits)
        for table in tables:
            _copy_columns(writer, table)
        rows = sum(len(table) for table in tables for _ in views_of(table))
        with progress.stage(f"views as {form.name}", rows, "rows") as stage:
            for table in tables:
                for field in views_of(table):
                    feature = writer.feature(field.schema.path, field.shape[1:])
                    for block, values in _blocks(table, field):
                        feature.write(block, form.rounded(values))
                        stage.advance(len(block))
            store.release_pages()
        made = {"copied_from": store.fingerprint, "views_rounded_to": form.name}
        writer.publish(dataset=store.dataset, provenance={**store.provenance, **made})
    return path


def views_of(table: Table) -> Iterator[StoredField]:
    """The views that a table has."""
    return (field for field in table.fields.values() if field.schema.layout == "view")


def _copy_columns(writer: StoreWriter, table: Table) -> None:
    """Texts and numbers; ids were written with the table."""
    for field in table.fields.values():
        path = field.schema.path
        if field.schema.layout == "column":
            writer.column(path, table.view(field.name))
        elif field.schema.layout == "text" and field.name != "id":
            writer.text(path, list(table.texts(field.name)))


def _blocks(table: Table, field: StoredField) -> Iterator[tuple[range, np.ndarray]]:
    """Rows of a view, and their values as float32."""
    view = table.view(field.name)
    step = max(1, _BLOCK // int(np.prod(field.shape[1:])))
    for first in range(0, len(table), step):
        block = range(first, min(first + step, len(table)))
        yield block, view[block.start : block.stop].astype(np.float32)
