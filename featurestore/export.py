"""A store as the arrays of the original release, a block at a time (DATASETS.md, "Preprocessed").

The release names pictures from the folder above its raw datasets: ``raw/wikidiverse/images/….jpg``,
and ``raw/default.jpg`` for every picture that could not be used. A store made from such arrays holds
these names and gives them back. One made from a raw dataset holds names below that dataset's folder,
of unusable pictures too, and the release's names are made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from featurestore.derive import block_rows
from featurestore.errors import SourceError
from featurestore.schema import IMAGE_STATUS, NO_ROW
from featurestore.store import Store, Table

_RELEASE_FOLDER = "raw"
_DEFAULT_PICTURE = f"{_RELEASE_FOLDER}/default.jpg"
_OK = IMAGE_STATUS.index("ok")

Blocks = Callable[[], Iterator[np.ndarray]]


@dataclass(frozen=True)
class ReleaseArray:
    """One ``.npy`` file of the release: its name without suffix, and its rows in blocks."""

    name: str
    rows: int
    blocks: Blocks


def release_arrays(store: Store) -> Iterator[ReleaseArray]:
    """Every array of the release that this store can give, in no particular memory: all stream.

    The form follows what is stored: entities with token features are written once and referred to
    by QID (WikiMEL), entities with pooled text are repeated for each mention and slot (WikiDiverse).

    Raises:
        FieldMissing: the store lacks a field that the release has.
    """
    repeated = "text_pooled" in store.entities
    for split, rows in store.mentions.splits.items():
        yield from _mention_arrays(store, split, rows)
        if repeated:
            yield from _repeated_entities(store, split, rows)
        else:
            yield _entity_names(store, split, rows)
    if not repeated:
        yield from _entity_arrays(store)


def _mention_arrays(store: Store, split: str, rows: range) -> Iterator[ReleaseArray]:
    table = store.mentions

    def plain(name: str, field: str, dtype: type = np.float32) -> ReleaseArray:
        return ReleaseArray(f"{name}_{split}", len(rows), lambda: _rows(table, field, rows, dtype))

    yield _texts(f"mention-text-raw_{split}", table, "sentence", np.arange(rows.start, rows.stop))
    if "image_path" in table:
        every = np.arange(rows.start, rows.stop)
        yield _picture_paths(f"mention-image-path_{split}", store, table, every)
    yield plain("start-pos", "token_start", np.int64)
    yield plain("end-pos", "token_end", np.int64)
    yield plain("answer", "answer", np.int64)
    yield plain("mention-text-feature", "text_tokens")
    yield ReleaseArray(f"mention-text-mask_{split}", len(rows), lambda: _mask(table, rows))
    yield plain("mention-image-feature", "image_regions")
    yield plain("mention-object-feature", "objects")
    yield plain("mention-object-score", "object_scores")
    yield plain("similarity-miet", "sim_image_text")
    yield plain("similarity-eimt", "sim_text_image")


def _entity_arrays(store: Store) -> Iterator[ReleaseArray]:
    table, rows = store.entities, range(len(store.entities))

    def one_axis_more() -> Iterator[np.ndarray]:
        return (block[:, None] for block in _rows(table, "image_pooled", rows, np.float32))

    def plain(name: str, field: str) -> ReleaseArray:
        return ReleaseArray(name, len(rows), lambda: _rows(table, field, rows, np.float32))

    yield plain("entity-attr-feature", "text_tokens")
    yield ReleaseArray("entity-attr-mask", len(rows), lambda: _mask(table, rows))
    yield ReleaseArray("entity-image-feature_all", len(rows), one_axis_more)
    yield plain("entity-object-feature_all", "objects")
    yield plain("entity-object-score_all", "object_scores")


def _entity_names(store: Store, split: str, rows: range) -> ReleaseArray:
    return _texts(f"entity-name-raw_{split}", store.entities, "id", _slots(store, rows).reshape(-1))


def _repeated_entities(store: Store, split: str, rows: range) -> Iterator[ReleaseArray]:
    table, slots = store.entities, _slots(store, rows).reshape(-1)

    def spread(name: str, field: str, *, extra_axis: bool = False) -> ReleaseArray:
        def blocks() -> Iterator[np.ndarray]:
            step = block_rows(4 * int(np.prod(table.stored(field).shape[1:])))
            for first in range(0, len(slots), step):
                block = table.gather(field, slots[first : first + step]).astype(np.float32)
                yield block[:, None] if extra_axis else block

        return ReleaseArray(f"{name}_{split}", len(slots), blocks)

    yield _texts(f"entity-attr-raw_{split}", table, "text", slots)
    yield _picture_paths(f"entity-image-path_{split}", store, table, slots)
    yield spread("entity-attr-feature", "text_pooled")
    yield spread("entity-image-feature", "image_pooled", extra_axis=True)
    yield spread("entity-object-feature", "objects")
    yield spread("entity-object-score", "object_scores")


def _slots(store: Store, rows: range) -> np.ndarray:
    """(n, K+1) entity rows: the candidates, then the gold."""
    span = slice(rows.start, rows.stop)
    gold = store.mentions.view("gold")[span]
    strays = np.flatnonzero(gold == NO_ROW)
    if len(strays):
        raise SourceError(
            f"{len(strays)} mentions have no gold entity for the release's last slot",
            where=f"{store.path}::/mentions/gold[{rows.start + int(strays[0])}]",
        )
    return np.column_stack([store.mentions.view("candidates")[span], gold])


def _rows(table: Table, field: str, rows: range, dtype: type) -> Iterator[np.ndarray]:
    stored = table.stored(field)
    step = block_rows(4 * int(np.prod(stored.shape[1:])))
    for first in range(rows.start, rows.stop, step):
        block = np.arange(first, min(first + step, rows.stop))
        if stored.schema.layout == "record":
            yield table.whole_records(field, block).astype(dtype)
        else:
            yield table.gather(field, block).astype(dtype)


def _mask(table: Table, rows: range) -> Iterator[np.ndarray]:
    """(n, T) int64 attention mask of a table's texts."""
    width = table.stored("text_tokens").shape[1]
    counts = table.view("token_count")[rows.start : rows.stop]
    step = block_rows(8 * width)
    for first in range(0, len(counts), step):
        yield (np.arange(width) < counts[first : first + step, None]).astype(np.int64)


def _texts(name: str, table: Table, field: str, rows: np.ndarray) -> ReleaseArray:
    return _strings(name, rows, lambda part: table.gather(field, part))


def _picture_paths(name: str, store: Store, table: Table, rows: np.ndarray) -> ReleaseArray:
    """Picture files as the release names them: see above."""
    if store.provenance.get("source", {}).get("layout") != "raw":
        return _texts(name, table, "image_path", rows)
    status, folder = table.view("image_status"), f"{_RELEASE_FOLDER}/{store.dataset}"

    def names(part: np.ndarray) -> list[str]:
        paths = zip(table.gather("image_path", part), status[part].tolist(), strict=True)
        return [f"{folder}/{path}" if code == _OK else _DEFAULT_PICTURE for path, code in paths]

    return _strings(name, rows, names)


def _strings(name: str, rows: np.ndarray, get: Callable[[np.ndarray], list[str]]) -> ReleaseArray:
    """Strings as the fixed-width array NumPy makes of them: as wide as the longest."""

    def blocks() -> Iterator[np.ndarray]:
        step = 65_536
        parts = range(0, len(rows), step)
        width = max((len(text) for p in parts for text in get(rows[p : p + step])), default=1)
        for first in parts:
            yield np.array(get(rows[first : first + step]), f"<U{max(width, 1)}")

    return ReleaseArray(name, len(rows), blocks)
