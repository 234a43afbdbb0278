"""One hash of all that a store says, however it was written, compressed and laid out.

:func:`featurestore.verify.content_digest` compares checksums of stored bytes in a moment; this decodes
every value, so stores of equal content have equal hashes across compressions, file layouts, and ways of
being made: in one process, in shards, or copied by ``repack``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
from xxhash import xxh3_128

from featurestore.catalog import StoredField
from featurestore.derive import block_rows
from featurestore.progress import Progress, Silent
from featurestore.schema import TABLES
from featurestore.store import Store
from featurestore.table import Table

#: Texts that are read at once (chosen here: some megabytes of them).
_TEXTS = 65_536


def content_hash(store: Store, *, progress: Progress | None = None) -> str:
    """32 hex digits over the splits, and every field's name, dtype, shape and values in row order.

    Ids are a field. float16 and float32 of equal numbers are different content; what stands at padded
    positions is content where a store holds it (``--padding keep``). When, where and from which files the
    store was made is not. Reads in blocks of about 32 MB.

    Raises:
        StoreError: a damaged record.
    """
    progress = progress or Silent()
    digest = xxh3_128()
    splits = {name: [rows.start, rows.stop] for name, rows in store.mentions.splits.items()}
    digest.update(json.dumps(splits).encode())
    for name in TABLES:
        table = store.table(name)
        digest.update(f"{name}:{len(table)}".encode())
        rows = len(table) * len(table.fields)
        with progress.stage(f"content of {name}", rows, "values") as stage:
            for field in sorted(table.fields):
                stored = table.stored(field)
                shape = list(stored.shape)
                digest.update(json.dumps([field, stored.dtype.str, shape]).encode())
                for data, count in _values(store, table, stored):
                    digest.update(np.ascontiguousarray(data).reshape(-1).view(np.uint8).data)
                    stage.advance(count)
    return digest.hexdigest()


def _values(store: Store, table: Table, stored: StoredField) -> Iterator[tuple[np.ndarray, int]]:
    """Arrays that tell the values of a field in row order, and of how many rows each is."""
    layout, name = stored.schema.layout, stored.name
    row_bytes = stored.dtype.itemsize * int(np.prod(stored.shape[1:], dtype=np.int64))
    step = _TEXTS if layout == "text" else block_rows(row_bytes)
    for first in range(0, len(table), step):
        rows = np.arange(first, min(first + step, len(table)))
        if layout == "text":
            texts = [text.encode() for text in table.gather(name, rows)]
            yield np.array([len(text) for text in texts], np.int64), 0
            yield np.frombuffer(b"".join(texts), np.uint8), len(rows)
        elif layout == "record":
            yield table.whole_records(name, rows), len(rows)
        else:
            yield table.gather(name, rows), len(rows)
        store.release_pages()
