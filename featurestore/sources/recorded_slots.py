"""The entities of preprocessed WikiDiverse: repeated for each (mention, slot), stored once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Self

import numpy as np

from featurestore.derive import recorded_status
from featurestore.errors import SourceError
from featurestore.ingest_shards import ShardRows, slice_of
from featurestore.schema import PADDING
from featurestore.sources.arrays import TOGETHER, Header, check_finite, one_vector
from featurestore.sources.feeds import Block, Feed, Part, RecordedArrays
from featurestore.sources.repetitions import Differences, Repetitions, differing_note
from featurestore.writer import StoreWriter

#: Kind of file → field, axes without one of length 1, what a vector is of.
_FEATURES = {
    "entity-attr-feature": ("text_pooled", 2, "a text"),
    "entity-image-feature": ("image_pooled", 2, "a picture"),
    "entity-object-feature": ("objects", 3, "an object"),
}


class WikidiverseEntities:
    """The same entity stands in many (mention, slot) rows; its first row is the one stored."""

    def __init__(
        self,
        arrays: RecordedArrays,
        texts: list[str],
        paths: list[str],
        first_seen: np.ndarray,
        slots: dict[str, np.ndarray],
    ) -> None:
        self._arrays = arrays
        self._texts = texts
        self._paths = paths
        self._first_seen = first_seen  # (N, 2) split number, row of that split's arrays; ascending
        self.slots = slots
        self.ids = _unique_ids(texts)
        total = sum(part.size for part in slots.values())
        self.notes = [f"{total} candidate slots hold {len(texts)} distinct entities, stored once"]
        self._headers = {name: self._open(name) for name in _FEATURES}
        self._differences: dict[str, Differences] = {}  # of a shard

    @classmethod
    def open(cls, arrays: RecordedArrays, used: Mapping[str, int], slots: int) -> Self:
        """Find the distinct (text, picture path) pairs, in order of first appearance."""
        seen: dict[tuple[str, str], int] = {}
        first_seen: list[tuple[int, int]] = []
        rows: dict[str, np.ndarray] = {}
        for number, (split, count) in enumerate(used.items()):
            file = f"entity-attr-raw_{split}.npy"
            texts = arrays.load(file, holds="text", ndim=(1,))
            name = f"entity-image-path_{split}.npy"
            paths = arrays.load(name, holds="text", ndim=(1,), rows=len(texts))
            if len(texts) % slots or len(texts) < count * slots:
                raise SourceError(
                    f"{len(texts)} rows for {count} mentions of {slots} slots",
                    where=arrays.where(file),
                    hint=f"{TOGETHER}; it holds a row for each slot of each mention",
                )
            part = np.empty(count * slots, np.int32)
            for row in range(count * slots):
                identity = (str(texts[row]), str(paths[row]))
                entity = seen.setdefault(identity, len(seen))
                if entity == len(first_seen):
                    first_seen.append((number, row))
                part[row] = entity
            rows[split] = part.reshape(count, slots)
        pairs = list(seen)
        firsts = np.array(first_seen, np.int64).reshape(-1, 2)
        return cls(arrays, [t for t, _ in pairs], [p for _, p in pairs], firsts, rows)

    def _open(self, name: str) -> list[Header]:
        """The headers of a kind of features, one a split."""
        axes = _FEATURES[name][1]
        headers = [
            self._arrays.features(f"{name}_{split}.npy", ndim=(axes, axes + 1))
            for split in self.slots
        ]
        for header, slots in zip(headers, self.slots.values(), strict=True):
            self._check_rows(header.shape[0], slots.size, header.where)
        return same_rows(headers)

    def _check_rows(self, rows: int, wanted: int, where: str) -> None:
        if rows < wanted:
            raise SourceError(f"{rows} rows where {wanted} belong", where=where, hint=TOGETHER)

    def write_table(self, writer: StoreWriter) -> None:
        writer.table("entities", self.ids)
        writer.text("entities/title", [_title(text) for text in self._texts])
        writer.text("entities/text", self._texts)
        writer.text("entities/image_path", self._paths)
        writer.column("entities/image_status", recorded_status(self._paths))
        writer.column("entities/object_scores", self._scores())

    def _scores(self) -> np.ndarray:
        """(N, O) scores of each entity's first row; rows that differ from it are noted."""
        parts: list[np.ndarray] = []
        for split, slots in self.slots.items():
            file = f"entity-object-score_{split}.npy"
            array = self._arrays.load(file, ndim=(2,))
            where = self._arrays.where(file)
            self._check_rows(len(array), slots.size, where)
            if parts and array.shape[1] != parts[0].shape[1]:
                raise SourceError(
                    f"rows of {array.shape[1]} where the train split has {parts[0].shape[1]}",
                    where=where,
                    hint=TOGETHER,
                )
            parts.append(check_finite(array[: slots.size], where))
        first = np.stack([parts[split][row] for split, row in self._first_seen.tolist()])
        largest = [
            np.abs(part - first[slots.reshape(-1)]).max(axis=1)
            for part, slots in zip(parts, self.slots.values(), strict=True)
        ]
        self.notes += differing_note("entity-object-score", np.concatenate(largest))
        return first

    def feeds(
        self, writer: StoreWriter, scratch: ExitStack, *, keep_padding: bool
    ) -> Sequence[Feed]:
        known = writer.salvage.found if writer.salvage is not None else {}
        if known:  # every row was compared where its shard was done
            return [self._assembled(name, writer, known[name]) for name in _FEATURES]
        return [self._feed(name, writer, scratch) for name in _FEATURES]

    def shard_feeds(
        self, writer: StoreWriter, rows: ShardRows, *, keep_padding: bool
    ) -> Sequence[Feed]:
        """The first rows of the shard's entities, and the rows of its mentions, to be compared."""
        feeds: list[Feed] = []
        for name in _FEATURES:
            self._differences[name] = Differences()
            feeds += [
                self._firsts(name, writer, rows.entities),
                self._compared(name, rows.mentions),
            ]
        return feeds

    def found(self) -> dict[str, Any]:
        """Name of a kind of features → (rows that differ from their entity's first, by how much)."""
        return {name: [each.rows, each.largest] for name, each in self._differences.items()}

    def _firsts(self, name: str, writer: StoreWriter, entities: range) -> Feed:
        """The first row of each of some entities."""
        field, axes, of = _FEATURES[name]
        shape = one_vector(self._headers[name][0], axes=axes, of=of)
        feature = writer.feature(f"entities/{field}", shape)

        def write(block: Block) -> None:
            with block.located():
                feature.write(block.rows, block.values.reshape(-1, *shape))

        homes = self._first_seen[slice_of(entities)]
        parts = []
        for number, split in enumerate(self.slots):
            own = np.flatnonzero(homes[:, 0] == number)
            parts.append(Part(f"{name}_{split}.npy", homes[own, 1], own))
        return Feed(name, "entities", parts, write, feature.has)

    def _compared(self, name: str, mentions: range) -> Feed:
        """The rows of some mentions' slots, each compared with its entity's first row."""
        _, axes, of = _FEATURES[name]
        shape = one_vector(self._headers[name][0], axes=axes, of=of)
        files = [self._arrays.load(f"{name}_{split}.npy") for split in self.slots]
        dtype = np.result_type(*(header.dtype for header in self._headers[name]))

        def write(block: Block) -> None:
            firsts = np.empty((len(block.rows), *shape), dtype)
            for number, file in enumerate(files):
                own = np.flatnonzero(self._first_seen[block.rows, 0] == number)
                rows, back = np.unique(self._first_seen[block.rows[own], 1], return_inverse=True)
                firsts[own] = np.asarray(file[rows]).reshape(-1, *shape)[back]
            self._differences[name].compare(block.values.reshape(-1, *shape), firsts)

        parts, first = [], 0
        for split, slots in self.slots.items():
            own = np.arange(
                max(mentions.start - first, 0), max(min(mentions.stop - first, len(slots)), 0)
            )
            rows = (own[:, None] * slots.shape[1] + np.arange(slots.shape[1])).reshape(-1)
            parts.append(Part(f"{name}_{split}.npy", rows, slots.reshape(-1)[rows]))
            first += len(slots)
        # every row comes again after an interruption, to be compared
        return Feed(f"{name}, repeated", "rows", parts, write, lambda rows: False)

    def _assembled(
        self, name: str, writer: StoreWriter, found: Sequence[tuple[int, float]]
    ) -> Feed:
        """Nothing comes: the rows are in shards, which tell what was found of them."""
        field, axes, of = _FEATURES[name]
        shape = one_vector(self._headers[name][0], axes=axes, of=of)
        feature = writer.feature(f"entities/{field}", shape)
        differences = Differences()
        for rows, largest in found:
            differences.add(rows, largest)

        def write(block: Block) -> None:
            raise RuntimeError(f"{block.where}: rows that no shard holds")

        def finish() -> None:
            self.notes += differences.note(name)

        return Feed(name, "rows", [], write, feature.has, finish)

    def _feed(self, name: str, writer: StoreWriter, scratch: ExitStack) -> Feed:
        """Stores each entity's first row, and compares every repetition with it."""
        field, axes, of = _FEATURES[name]
        headers = self._headers[name]
        shape = one_vector(headers[0], axes=axes, of=of)
        feature = writer.feature(f"entities/{field}", shape)
        rows_of = np.bincount(np.concatenate([s.reshape(-1) for s in self.slots.values()]))
        repetitions = Repetitions(
            rows_of > 1,
            shape=shape,
            dtype=np.result_type(*(header.dtype for header in headers)),
            folder=writer.target.parent,
            scratch=scratch,
        )

        def write(block: Block) -> None:
            values = block.values.reshape(-1, *shape)
            home = self._first_seen[block.rows]
            new = (home[:, 0] == block.part) & (home[:, 1] == block.source_rows)
            with block.located():
                feature.write(block.rows[new], values[new])
            repetitions.first(block.rows[new], values[new])
            repetitions.again(block.rows[~new], values[~new])

        def finish() -> None:
            self.notes += repetitions.note(name)

        parts = [
            Part(f"{name}_{split}.npy", np.arange(slots.size), slots.reshape(-1))
            for split, slots in self.slots.items()
        ]
        # every row comes again after an interruption, to be compared with the first of its entity
        return Feed(name, "rows", parts, write, lambda rows: False, finish)


def same_rows(headers: Sequence[Header]) -> list[Header]:
    """The headers of one kind of array, one a split, if their rows have one shape.

    Raises:
        SourceError: names the first that differs.
    """
    shape = headers[0].shape[1:]
    for header in headers:
        if header.shape[1:] != shape:
            raise SourceError(
                f"rows of shape {header.shape[1:]} where the train split has {shape}",
                where=header.where,
                hint=TOGETHER,
            )
    return list(headers)


def _title(text: str) -> str:
    """The title in front of ``title: brief``; ``__nil__`` for the empty text of a padded slot."""
    return text.partition(": ")[0] if text else PADDING


def _unique_ids(texts: list[str]) -> list[str]:
    """Titles as ids; an entity whose title is taken gets the first free ``title (n)``."""
    taken: set[str] = set()
    ids = []
    for text in texts:
        title = _title(text)
        name, number = title, 2
        while name in taken:
            name, number = f"{title} ({number})", number + 1
        taken.add(name)
        ids.append(name)
    return ids
