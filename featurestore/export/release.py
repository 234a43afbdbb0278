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
from featurestore.store import Store
from featurestore.table import Table

_RELEASE_FOLDER = "raw"
_DEFAULT_PICTURE = f"{_RELEASE_FOLDER}/default.jpg"
_OK = IMAGE_STATUS.index("ok")

#: Texts read at once: some 10 MB of Python strings (chosen here).
_TEXTS_AT_ONCE = 16_384

Blocks = Callable[[], Iterator[np.ndarray]]


@dataclass(frozen=True)
class ReleaseArray:
    """One ``.npy`` file of the release: its name without suffix, and its rows in blocks.

    There is always a block, of no rows where the file has none: it tells shape and type.
    ``needs``: the fields of the store, ``table/name``, that the blocks are read from.
    """

    name: str
    rows: int
    blocks: Blocks
    needs: tuple[str, ...]


def repeats_entities(store: Store) -> bool:
    """Whether the release repeats an entity for each mention and slot (WikiDiverse).

    This follows what is stored: entities with token features are written once and referred to by QID
    (WikiMEL), entities with pooled text are repeated.
    """
    return "text_pooled" in store.entities


def release_arrays(store: Store) -> Iterator[ReleaseArray]:
    """Every array of the release, none read yet: all stream, in blocks of bounded size.

    Reading the blocks of an array raises FieldMissing where the store lacks a field it needs.

    Raises:
        SourceError: a mention lacks its gold entity or a candidate, which a slot must name.
    """
    repeated = repeats_entities(store)
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
        return _plain(f"{name}_{split}", table, field, rows, dtype)

    yield _texts(f"mention-text-raw_{split}", table, "sentence", np.arange(rows.start, rows.stop))
    if "image_path" in table or repeats_entities(store):  # WikiMEL is released with and without
        every = np.arange(rows.start, rows.stop)
        yield _picture_paths(f"mention-image-path_{split}", store, table, every)
    yield plain("start-pos", "token_start", np.int64)
    yield plain("end-pos", "token_end", np.int64)
    yield plain("answer", "answer", np.int64)
    yield plain("mention-text-feature", "text_tokens")
    yield _mask(f"mention-text-mask_{split}", table, rows)
    yield plain("mention-image-feature", "image_regions")
    yield plain("mention-object-feature", "objects")
    yield plain("mention-object-score", "object_scores")
    yield plain("similarity-miet", "sim_image_text")
    yield plain("similarity-eimt", "sim_text_image")


def _entity_arrays(store: Store) -> Iterator[ReleaseArray]:
    table, rows = store.entities, range(len(store.entities))

    def one_axis_more() -> Iterator[np.ndarray]:
        return (block[:, None] for block in _rows(table, "image_pooled", rows, np.float32))

    yield _plain("entity-attr-feature", table, "text_tokens", rows)
    yield _mask("entity-attr-mask", table, rows)
    images = ("entities/image_pooled",)
    yield ReleaseArray("entity-image-feature_all", len(rows), one_axis_more, images)
    yield _plain("entity-object-feature_all", table, "objects", rows)
    yield _plain("entity-object-score_all", table, "object_scores", rows)


def _entity_names(store: Store, split: str, rows: range) -> ReleaseArray:
    return _texts(f"entity-name-raw_{split}", store.entities, "id", _slots(store, rows).reshape(-1))


def _repeated_entities(store: Store, split: str, rows: range) -> Iterator[ReleaseArray]:
    table, slots = store.entities, _slots(store, rows).reshape(-1)

    def spread(name: str, field: str, *, extra_axis: bool = False) -> ReleaseArray:
        def blocks() -> Iterator[np.ndarray]:
            step = block_rows(4 * int(np.prod(table.stored(field).shape[1:])))
            for part in _steps(len(slots), step):
                block = table.gather(field, slots[part]).astype(np.float32)
                yield block[:, None] if extra_axis else block

        return ReleaseArray(f"{name}_{split}", len(slots), blocks, (f"entities/{field}",))

    yield _texts(f"entity-attr-raw_{split}", table, "text", slots)
    yield _picture_paths(f"entity-image-path_{split}", store, table, slots)
    yield spread("entity-attr-feature", "text_pooled")
    yield spread("entity-image-feature", "image_pooled", extra_axis=True)
    yield spread("entity-object-feature", "objects")
    yield spread("entity-object-score", "object_scores")


def _slots(store: Store, rows: range) -> np.ndarray:
    """(n, K+1) entity rows: the candidates, then the gold; each names an entity."""
    span = slice(rows.start, rows.stop)
    gold = store.mentions.view("gold")[span]
    candidates = store.mentions.view("candidates")[span]
    for field, strays, lack in (
        ("gold", gold == NO_ROW, "no gold entity for the release's last slot"),
        (
            "candidates",
            (candidates == NO_ROW).any(axis=1),
            f"fewer than the {candidates.shape[1]} candidates that the release has of each",
        ),
    ):
        if strays.any():
            raise SourceError(
                f"{int(strays.sum())} mentions have {lack}",
                where=f"{store.path}::/mentions/{field}[{rows.start + int(strays.argmax())}]",
                hint="the release's layout has an entity in every slot; --format jsonl has null there",
            )
    return np.column_stack([candidates, gold])


def _steps(rows: int, step: int) -> Iterator[slice]:
    """Slices of ``step`` rows; one empty slice where there are none."""
    return (slice(first, min(first + step, rows)) for first in range(0, max(rows, 1), step))


def _plain(
    name: str, table: Table, field: str, rows: range, dtype: type = np.float32
) -> ReleaseArray:
    """A field as it is stored, in the release's type."""
    needs = (f"{table.name}/{field}",)
    return ReleaseArray(name, len(rows), lambda: _rows(table, field, rows, dtype), needs)


def _rows(table: Table, field: str, rows: range, dtype: type) -> Iterator[np.ndarray]:
    stored = table.stored(field)
    every = np.arange(rows.start, rows.stop)
    for part in _steps(len(rows), block_rows(4 * int(np.prod(stored.shape[1:])))):
        block = every[part]
        if stored.schema.layout == "record":
            yield table.whole_records(field, block).astype(dtype)
        else:
            yield table.gather(field, block).astype(dtype)


def _mask(name: str, table: Table, rows: range) -> ReleaseArray:
    """(n, T) int64 attention mask of a table's texts."""

    def blocks() -> Iterator[np.ndarray]:
        width = table.stored("text_tokens").shape[1]
        counts = table.view("token_count")[rows.start : rows.stop]
        for part in _steps(len(counts), block_rows(8 * width)):
            yield (np.arange(width) < counts[part, None]).astype(np.int64)

    needs = (f"{table.name}/text_tokens", f"{table.name}/token_count")
    return ReleaseArray(name, len(rows), blocks, needs)


def _texts(name: str, table: Table, field: str, rows: np.ndarray) -> ReleaseArray:
    needs = (f"{table.name}/{field}",)
    return _strings(name, rows, lambda part: table.gather(field, part), needs)


def _picture_paths(name: str, store: Store, table: Table, rows: np.ndarray) -> ReleaseArray:
    """Picture files as the release names them: see above."""
    if store.provenance.get("source", {}).get("layout") != "raw":
        return _texts(name, table, "image_path", rows)
    folder = f"{_RELEASE_FOLDER}/{store.dataset}"

    def names(part: np.ndarray) -> list[str]:
        status = table.view("image_status")
        paths = zip(table.gather("image_path", part), status[part].tolist(), strict=True)
        return [f"{folder}/{path}" if code == _OK else _DEFAULT_PICTURE for path, code in paths]

    return _strings(name, rows, names, (f"{table.name}/image_path", f"{table.name}/image_status"))


def _strings(
    name: str,
    rows: np.ndarray,
    get: Callable[[np.ndarray], list[str]],
    needs: tuple[str, ...],
) -> ReleaseArray:
    """Strings as the fixed-width array NumPy makes of them: as wide as the longest."""

    def blocks() -> Iterator[np.ndarray]:
        distinct = np.unique(rows)
        parts = _steps(len(distinct), _TEXTS_AT_ONCE)
        width = max([1, *(max(map(len, get(distinct[part])), default=1) for part in parts)])
        for part in _steps(len(rows), min(_TEXTS_AT_ONCE, block_rows(4 * width))):
            yield np.array(get(rows[part]), f"<U{width}")

    return ReleaseArray(name, len(rows), blocks, needs)
