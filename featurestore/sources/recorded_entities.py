"""The entities of a preprocessed dataset, and WikiMEL's: one row each, found by QID."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Protocol, Self

import numpy as np

from featurestore.derive import EntityText
from featurestore.errors import SourceError
from featurestore.ingest_shards import ShardRows, slice_of
from featurestore.schema import IMAGE_STATUS
from featurestore.sources.arrays import (
    TOGETHER,
    Header,
    check_finite,
    check_tokens,
    counts_of,
    one_vector,
)
from featurestore.sources.feeds import Block, Feed, Part, RecordedArrays
from featurestore.writer import StoreWriter

_TEXT, _MASK = "entity-attr-feature.npy", "entity-attr-mask.npy"
_PICTURES, _OBJECTS = "entity-image-feature_all.npy", "entity-object-feature_all.npy"
_SCORES, _ROWS = "entity-object-score_all.npy", "qid2idx.json"


class RecordedEntities(Protocol):
    """What a preprocessed dataset needs of its entities."""

    ids: list[str]
    slots: dict[str, np.ndarray]  # split → (mentions, K+1) int32 entity rows, gold slot last
    notes: list[str]

    def write_table(self, writer: StoreWriter) -> None:
        """Write ids and all else that is small."""

    def feeds(
        self, writer: StoreWriter, scratch: ExitStack, *, keep_padding: bool
    ) -> Sequence[Feed]:
        """What takes the features; ``scratch`` closes what they need on the way."""

    def shard_feeds(
        self, writer: StoreWriter, rows: ShardRows, *, keep_padding: bool
    ) -> Sequence[Feed]:
        """What takes the features of some rows, which are those of the writer."""

    def found(self) -> dict[str, Any]:
        """What feeding a shard found out that is no row; complete after it."""


def cut(
    features: np.ndarray, counts: np.ndarray, *, keep_padding: bool
) -> np.ndarray | list[np.ndarray]:
    """Token features without what the encoder left at padded positions, unless that is kept."""
    if keep_padding:
        return features
    return [text[:count] for text, count in zip(features, counts.tolist(), strict=True)]


class WikimelEntities:
    """One feature row an entity, found by QID through ``qid2idx.json``."""

    def __init__(
        self,
        arrays: RecordedArrays,
        ids: list[str],
        source_rows: np.ndarray,
        slots: dict[str, np.ndarray],
    ) -> None:
        self._arrays = arrays
        self.ids = ids
        self._source_rows = source_rows  # (N,) ascending rows of the release's arrays
        self.slots = slots
        self.notes: list[str] = []
        self._headers = {
            file: self._long_enough(arrays.features(file, ndim=ndim))
            for file, ndim in ((_TEXT, (3,)), (_PICTURES, (2, 3)), (_OBJECTS, (3, 4)))
        }
        self._mask = self._small(_MASK, "a mask")
        check_tokens(self._mask, arrays.where(_MASK), self._headers[_TEXT])
        self._scores = self._small(_SCORES, "features")

    @classmethod
    def open(cls, arrays: RecordedArrays, used: Mapping[str, int], slots: int) -> Self:
        """Read the ids; keep every entity, or with fewer mentions than stored, those referred to."""
        row_of = _qid_rows(arrays)
        recorded, complete = {}, True
        for split, count in used.items():
            file = f"entity-name-raw_{split}.npy"
            names = arrays.load(file, holds="text", ndim=(1,))
            complete = complete and len(names) == count * slots
            where = arrays.where(file)
            if len(names) < count * slots:
                raise SourceError(
                    f"{len(names)} entity names for {count} mentions of {slots} slots",
                    where=where,
                    hint=TOGETHER,
                )
            recorded[split] = _lookup(names[: count * slots], row_of, where).reshape(-1, slots)
        rows = np.arange(len(row_of), dtype=np.int32)
        if not complete:
            rows = np.unique(np.concatenate([part.reshape(-1) for part in recorded.values()]))
        new_row = np.full(len(row_of), -1, np.int32)
        new_row[rows] = np.arange(len(rows), dtype=np.int32)
        by_row = {row: qid for qid, row in row_of.items()}
        ids = [by_row[row] for row in rows.tolist()]
        return cls(arrays, ids, rows, {split: new_row[part] for split, part in recorded.items()})

    def _small(self, file: str, holds: str) -> np.ndarray:
        array = self._arrays.load(file, holds=holds, ndim=(2,))
        self._check_rows(len(array), self._arrays.where(file))
        return array

    def _long_enough(self, header: Header) -> Header:
        self._check_rows(header.shape[0], header.where)
        return header

    def _check_rows(self, rows: int, where: str) -> None:
        if rows <= self._source_rows[-1]:
            raise SourceError(
                f"{rows} rows, but {_ROWS} counts to {int(self._source_rows[-1])}",
                where=where,
                hint=TOGETHER,
            )

    def write_table(self, writer: StoreWriter) -> None:
        writer.table("entities", self.ids)
        unknown = IMAGE_STATUS.index("unknown")
        writer.column("entities/image_status", np.full(len(self.ids), unknown, np.uint8))
        scores = check_finite(self._scores, self._arrays.where(_SCORES))
        writer.column("entities/object_scores", np.asarray(scores[self._source_rows]))

    def feeds(
        self, writer: StoreWriter, scratch: ExitStack, *, keep_padding: bool
    ) -> Sequence[Feed]:
        return self._feeds(writer, range(len(self.ids)), keep_padding=keep_padding)

    def shard_feeds(
        self, writer: StoreWriter, rows: ShardRows, *, keep_padding: bool
    ) -> Sequence[Feed]:
        return self._feeds(writer, rows.entities, keep_padding=keep_padding)

    def found(self) -> dict[str, Any]:
        """Nothing: every row of the release is stored."""
        return {}

    def _feeds(self, writer: StoreWriter, rows: range, *, keep_padding: bool) -> Sequence[Feed]:
        return [
            self._text(writer, rows, keep_padding=keep_padding),
            self._view(writer, rows, _PICTURES, "image_pooled", axes=2, of="a picture"),
            self._view(writer, rows, _OBJECTS, "objects", axes=3, of="an object"),
        ]

    def _parts(self, file: str, rows: range) -> list[Part]:
        return [Part(file, self._source_rows[slice_of(rows)], np.arange(len(rows)))]

    def _text(self, writer: StoreWriter, rows: range, *, keep_padding: bool) -> Feed:
        _, tokens, width = self._headers[_TEXT].shape
        sink = EntityText(writer, tokens=tokens, width=width)
        where = self._arrays.where(_MASK)

        def write(block: Block) -> None:
            counts = counts_of(self._mask[block.source_rows], where, block.source_rows)
            with block.located():
                sink.write(block.rows, cut(block.values, counts, keep_padding=keep_padding), counts)

        return Feed("entity-attr-feature", "entities", self._parts(_TEXT, rows), write, sink.has)

    def _view(
        self, writer: StoreWriter, rows: range, file: str, field: str, *, axes: int, of: str
    ) -> Feed:
        shape = one_vector(self._headers[file], axes=axes, of=of)
        feature = writer.feature(f"entities/{field}", shape)

        def write(block: Block) -> None:
            with block.located():
                feature.write(block.rows, block.values.reshape(-1, *shape))

        parts = self._parts(file, rows)
        return Feed(file.removesuffix(".npy"), "entities", parts, write, feature.has)


def _qid_rows(arrays: RecordedArrays) -> dict[str, int]:
    rows = {qid: row for qid, row in arrays.json(_ROWS).items() if isinstance(row, int)}
    if sorted(rows.values()) != list(range(len(rows))):
        raise SourceError(
            "not a map from QIDs to the rows 0, 1, 2, …",
            where=arrays.where(_ROWS),
            hint="copy it again",
        )
    return rows


def _lookup(names: np.ndarray, row_of: dict[str, int], where: str) -> np.ndarray:
    """(n,) int32 rows of entity names."""
    distinct, inverse = np.unique(np.asarray(names), return_inverse=True)
    rows = np.array([row_of.get(str(name), -1) for name in distinct], np.int32)
    missing = np.flatnonzero(rows[inverse] < 0)
    if len(missing):
        first = int(missing[0])
        raise SourceError(
            f"candidate {str(names[first])!r} has no row in qid2idx.json",
            where=f"{where}[{first}]",
            hint=TOGETHER,
        )
    return rows[inverse]
