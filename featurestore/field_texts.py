"""What a text field holds: lengths, empty and repeated texts. Exact, from the bytes, in blocks."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xxhash

from featurestore.histogram import Histogram, quantiles, whole_histogram
from featurestore.progress import Progress, Stage
from featurestore.store import Store
from featurestore.text_blocks import TextBlock, text_blocks

#: Repeated texts that are listed (chosen here: every topic and entity type of WikiDiverse fits).
LISTED = 20

_BINS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class TextCount:
    """A text, and how many rows hold it."""

    text: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPart:
    """The texts in the rows of one split, or of all (``name`` is then ``all``).

    Lengths are in characters (code points). ``duplicates``: rows that hold a text that an earlier one
    holds, empty texts not counted. ``repeated``: texts that several rows hold, the most frequent
    first, at most :data:`LISTED`.
    """

    name: str
    rows: int
    bytes: int
    empty: int
    distinct: int
    duplicates: int
    mean: float | None
    std: float | None
    minimum: int | None
    maximum: int | None
    quantiles: dict[str, float]
    histogram: Histogram | None
    repeated: tuple[TextCount, ...]


def text_parts(
    store: Store, table: str, field: str, bounds: dict[str, range], progress: Progress
) -> tuple[TextPart, ...]:
    """Measure the texts of each of these ranges of rows. Memory: 16 bytes a row.

    Raises:
        StoreError: a text lies outside its bytes.
    """
    with progress.stage(f"{table}/{field}", len(store.table(table)), "rows") as stage:
        every = _measured(store, table, field, stage)
    return tuple(
        _part(store, table, field, name, rows, *(a[rows.start : rows.stop] for a in every))
        for name, rows in bounds.items()
    )


def _measured(
    store: Store, table: str, field: str, stage: Stage
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rows,) characters, bytes and digest of each text."""
    rows = len(store.table(table))
    lengths, sizes = np.zeros(rows, np.int32), np.zeros(rows, np.int32)
    digests = np.zeros(rows, np.uint64)
    for block in text_blocks(store, table, field):
        here = slice(block.first, block.first + len(block.offsets) - 1)
        # a character begins at each byte that does not continue one: 0b10……
        begun = np.concatenate([[0], np.cumsum((block.data & 0xC0) != 0x80)])
        lengths[here] = np.diff(begun[block.offsets])
        sizes[here] = np.diff(block.offsets)
        digests[here] = _digests(block)
        stage.advance(len(block.offsets) - 1)
    return lengths, sizes, digests


def _digests(block: TextBlock) -> list[int]:
    data, digest = block.data.data, xxhash.xxh3_64_intdigest
    bounds = block.offsets.tolist()
    return [digest(data[a:b]) for a, b in pairwise(bounds)]


def _part(
    store: Store,
    table: str,
    field: str,
    name: str,
    rows: range,
    lengths: np.ndarray,
    sizes: np.ndarray,
    digests: np.ndarray,
) -> TextPart:
    held = np.flatnonzero(sizes)
    _, firsts, counts = np.unique(digests[held], return_index=True, return_counts=True)
    often = np.flatnonzero(counts > 1)
    often = often[np.lexsort((firsts[often], -counts[often]))][:LISTED]
    texts = store.table(table).gather(field, rows.start + held[firsts[often]])
    some = len(rows) > 0
    return TextPart(
        name=name,
        rows=len(rows),
        bytes=int(sizes.sum(dtype=np.int64)),
        empty=len(rows) - len(held),
        distinct=len(firsts),
        duplicates=len(held) - len(firsts),
        mean=float(lengths.mean()) if some else None,
        std=float(lengths.std()) if some else None,
        minimum=int(lengths.min()) if some else None,
        maximum=int(lengths.max()) if some else None,
        quantiles=quantiles(lengths),
        histogram=whole_histogram(lengths, _BINS),
        repeated=tuple(
            TextCount(text=text, count=count)
            for text, count in zip(texts, counts[often].tolist(), strict=True)
        ),
    )
