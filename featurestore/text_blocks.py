"""The UTF-8 bytes of a text field, a few megabytes at a time, for passes over all texts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from featurestore.errors import AGAIN, FieldMissing, StoreError
from featurestore.store import Store

#: Bytes of a block (chosen here: large enough for NumPy, small enough for a processor's cache).
BLOCK_BYTES = 2 << 20

#: Rows of a block at most, for fields of empty texts.
_BLOCK_ROWS = 1 << 18


@dataclass(frozen=True, slots=True)
class TextBlock:
    """The texts of rows ``first`` … ``first + n - 1``.

    ``data``: (bytes,) uint8, read-only. ``offsets``: (n + 1,) int64, where each text begins in it.
    """

    first: int
    data: np.ndarray
    offsets: np.ndarray


def text_blocks(
    store: Store, table: str, field: str, rows: range | None = None
) -> Iterator[TextBlock]:
    """The texts of some rows in blocks; a text is never cut, so one block may be longer.

    Raises:
        FieldMissing: no such field, or it is no text.
        StoreError: a text lies outside its bytes.
    """
    owner = store.table(table)
    owner.gather(field, [])  # opens the field, and checks it where the store verifies what it reads
    stored = owner.stored(field)
    if stored.offsets is None or stored.extent is None:
        raise FieldMissing(f"{table}/{field} is no text", where=f"{store.path}::/{table}/{field}")
    data, offsets = store.array(stored.extent), store.array(stored.offsets)
    every = range(len(owner)) if rows is None else rows
    first = every.start
    while first < every.stop:
        last = min(every.stop, first + _BLOCK_ROWS)
        begins = offsets[first : last + 1].astype(np.int64)
        if begins[0] < 0 or begins.max() > len(data) or (np.diff(begins) < 0).any():
            where = f"{store.path}::/{table}/{field}[{first} … {last - 1}]"
            raise StoreError("a text lies outside its bytes", where=where, hint=AGAIN)
        fits = int(np.searchsorted(begins, begins[0] + BLOCK_BYTES, side="right")) - 1
        count = max(1, min(fits, last - first))
        begins = begins[: count + 1]
        yield TextBlock(first, data[begins[0] : begins[-1]], begins - begins[0])
        first += count
