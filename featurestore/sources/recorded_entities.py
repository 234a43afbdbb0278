"""The entities of a preprocessed dataset: one row each, whichever way the release repeats them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from featurestore.derive import EntityText, block_rows, recorded_status
from featurestore.errors import SourceError
from featurestore.progress import Progress
from featurestore.schema import IMAGE_STATUS, PADDING, SPLITS
from featurestore.sources.arrays import Block, check_finite, counts_of, load, pooled, squeeze_boxes
from featurestore.sources.textfiles import read_json_object
from featurestore.writer import StoreWriter

#: Marks the notes of a store that cannot give every repeated row back as it was.
DIFFERING = "repeated rows differ from their entity's first row"


class RecordedEntities(Protocol):
    """What a preprocessed dataset needs of its entities."""

    ids: list[str]
    slots: dict[str, np.ndarray]  # split → (mentions, K+1) int32 entity rows, gold slot last
    notes: list[str]

    def write_table(self, writer: StoreWriter) -> None: ...

    def write_features(
        self, writer: StoreWriter, progress: Progress, *, keep_padding: bool
    ) -> None: ...


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
        self, root: Path, ids: list[str], source_rows: np.ndarray, slots: dict[str, np.ndarray]
    ) -> None:
        self._root = root
        self.ids = ids
        self._source_rows = source_rows  # (N,) ascending rows of the release's arrays
        self.slots = slots
        self.notes: list[str] = []

    @classmethod
    def open(cls, root: Path, used: dict[str, int], slots: int) -> Self:
        """Read the ids; keep every entity, or with fewer mentions than stored, those referred to."""
        row_of = _qid_rows(root / "qid2idx.json")
        recorded, complete = {}, True
        for split, count in used.items():
            path = root / f"entity-name-raw_{split}.npy"
            names = load(path, holds="text", ndim=(1,))
            complete = complete and len(names) == count * slots
            recorded[split] = _lookup(names[: count * slots], row_of, path).reshape(-1, slots)
            if len(recorded[split]) != count:
                raise SourceError(
                    f"{len(names)} entity names for {count} mentions of {slots} slots",
                    where=str(path),
                )
        rows = np.arange(len(row_of), dtype=np.int32)
        if not complete:
            rows = np.unique(np.concatenate([part.reshape(-1) for part in recorded.values()]))
        new_row = np.full(len(row_of), -1, np.int32)
        new_row[rows] = np.arange(len(rows), dtype=np.int32)
        by_row = {row: qid for qid, row in row_of.items()}
        ids = [by_row[row] for row in rows.tolist()]
        return cls(root, ids, rows, {split: new_row[part] for split, part in recorded.items()})

    def write_table(self, writer: StoreWriter) -> None:
        writer.table("entities", self.ids)
        unknown = IMAGE_STATUS.index("unknown")
        writer.column("entities/image_status", np.full(len(self.ids), unknown, np.uint8))

    def write_features(
        self, writer: StoreWriter, progress: Progress, *, keep_padding: bool
    ) -> None:
        self._write_text(writer, progress, keep_padding=keep_padding)
        path = self._root / "entity-image-feature_all.npy"
        images = pooled(self._load(path, (2, 3)), path)
        self._write_view(writer, progress, "image_pooled", path, images)
        path = self._root / "entity-object-feature_all.npy"
        objects = squeeze_boxes(self._load(path, (3, 4)), path)
        self._write_view(writer, progress, "objects", path, objects)
        path = self._root / "entity-object-score_all.npy"
        scores = check_finite(self._load(path, (2,)), path)
        writer.column("entities/object_scores", np.asarray(scores[self._source_rows]))

    def _load(self, path: Path, ndim: tuple[int, ...], holds: str = "features") -> np.ndarray:
        array = load(path, holds=holds, ndim=ndim)
        if len(array) <= self._source_rows[-1]:
            raise SourceError(
                f"{len(array)} rows, but qid2idx.json counts to {int(self._source_rows[-1])}",
                where=str(path),
            )
        return array

    def _write_text(self, writer: StoreWriter, progress: Progress, *, keep_padding: bool) -> None:
        features = self._load(self._root / "entity-attr-feature.npy", (3,))
        mask_path = self._root / "entity-attr-mask.npy"
        mask = self._load(mask_path, (2,), holds="a mask")
        sink = EntityText(writer, tokens=features.shape[1], width=features.shape[2])
        path = self._root / "entity-attr-feature.npy"
        for block in self._blocks(progress, path, features):
            counts = counts_of(mask[block.source_rows], mask_path, block.source_rows)
            with block.located():
                sink.write(block.rows, cut(block.values, counts, keep_padding=keep_padding), counts)
        sink.finish()

    def _write_view(
        self, writer: StoreWriter, progress: Progress, name: str, path: Path, array: np.ndarray
    ) -> None:
        feature = writer.feature(f"entities/{name}", array.shape[1:])
        for block in self._blocks(progress, path, array):
            with block.located():
                feature.write(block.rows, block.values)

    def _blocks(self, progress: Progress, path: Path, array: np.ndarray) -> Iterator[Block]:
        """The rows of one array that are entities of the store, a block at a time."""
        step = block_rows(array[:1].nbytes)
        with progress.stage(path.stem, len(self.ids), "entities") as stage:
            for first in range(0, len(self.ids), step):
                source = self._source_rows[first : first + step]
                rows = np.arange(first, first + len(source))
                yield Block(path, source, rows, np.asarray(array[source]))
                stage.advance(len(source))


def _qid_rows(path: Path) -> dict[str, int]:
    if not path.is_file():
        raise SourceError("the file is missing", where=str(path), hint="is the dataset complete?")
    rows = {qid: row for qid, row in read_json_object(path).items() if isinstance(row, int)}
    if sorted(rows.values()) != list(range(len(rows))):
        raise SourceError(
            "not a map from QIDs to the rows 0, 1, 2, …", where=str(path), hint="copy it again"
        )
    return rows


def _lookup(names: np.ndarray, row_of: dict[str, int], path: Path) -> np.ndarray:
    """(n,) int32 rows of entity names."""
    distinct, inverse = np.unique(np.asarray(names), return_inverse=True)
    rows = np.array([row_of.get(str(name), -1) for name in distinct], np.int32)
    missing = np.flatnonzero(rows[inverse] < 0)
    if len(missing):
        first = int(missing[0])
        raise SourceError(
            f"candidate {str(names[first])!r} has no row in qid2idx.json",
            where=f"{path}[{first}]",
            hint="do the files come from the same release?",
        )
    return rows[inverse]


class WikidiverseEntities:
    """The same entity stands in many (mention, slot) rows; its first row is the one stored."""

    def __init__(
        self,
        root: Path,
        texts: list[str],
        paths: list[str],
        first_seen: np.ndarray,
        slots: dict[str, np.ndarray],
    ) -> None:
        self._root = root
        self._texts = texts
        self._paths = paths
        self._first_seen = first_seen  # (N, 2) split number, row of that split's arrays; ascending
        self.slots = slots
        self.ids = _unique_ids(texts)
        total = sum(part.size for part in slots.values())
        self.notes = [f"{total} candidate slots hold {len(texts)} distinct entities, stored once"]

    @classmethod
    def open(cls, root: Path, used: dict[str, int], slots: int) -> Self:
        """Find the distinct (text, picture path) pairs, in order of first appearance."""
        seen: dict[tuple[str, str], int] = {}
        first_seen: list[tuple[int, int]] = []
        rows: dict[str, np.ndarray] = {}
        for number, (split, count) in enumerate(used.items()):
            texts = load(root / f"entity-attr-raw_{split}.npy", holds="text", ndim=(1,))
            path = root / f"entity-image-path_{split}.npy"
            paths = load(path, holds="text", ndim=(1,), rows=len(texts))
            if len(texts) % slots or len(texts) < count * slots:
                raise SourceError(
                    f"{len(texts)} rows for {count} mentions of {slots} slots",
                    where=str(root / f"entity-attr-raw_{split}.npy"),
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
        return cls(root, [t for t, _ in pairs], [p for _, p in pairs], firsts, rows)

    def write_table(self, writer: StoreWriter) -> None:
        writer.table("entities", self.ids)
        writer.text("entities/title", [_title(text) for text in self._texts])
        writer.text("entities/text", self._texts)
        writer.text("entities/image_path", self._paths)
        writer.column("entities/image_status", recorded_status(self._paths))

    def write_features(
        self, writer: StoreWriter, progress: Progress, *, keep_padding: bool
    ) -> None:
        self._write(writer, progress, "entity-attr-feature", "text_pooled")
        self._write(writer, progress, "entity-image-feature", "image_pooled")
        self._write(writer, progress, "entity-object-feature", "objects")
        scores = [self._open("entity-object-score", split) for split in SPLITS]
        first = [scores[split][row] for split, row in self._first_seen.tolist()]
        writer.column("entities/object_scores", np.stack(first))

    def _open(self, name: str, split: str) -> np.ndarray:
        path = self._root / f"{name}_{split}.npy"
        array = load(path)
        if len(array) < self.slots[split].size:
            raise SourceError(
                f"{len(array)} rows where {self.slots[split].size} belong", where=str(path)
            )
        if name == "entity-image-feature":
            return pooled(array, path)
        return squeeze_boxes(array, path) if name == "entity-object-feature" else array

    def _write(self, writer: StoreWriter, progress: Progress, name: str, field: str) -> None:
        """Store each entity's first row, and compare every repetition with it."""
        arrays = [self._open(name, split) for split in SPLITS]
        feature = writer.feature(f"entities/{field}", arrays[0].shape[1:])
        step = block_rows(arrays[0][:1].nbytes)
        differing, largest = 0, 0.0
        total = sum(part.size for part in self.slots.values())
        with progress.stage(name, total, "rows") as stage:
            for number, split in enumerate(SPLITS):
                entities = self.slots[split].reshape(-1)
                for first in range(0, len(entities), step):
                    rows = np.arange(first, min(first + step, len(entities)))
                    block = np.asarray(arrays[number][rows[0] : rows[-1] + 1])
                    new = self._is_first(number, rows, entities[rows])
                    fresh = Block(
                        self._root / f"{name}_{split}.npy",
                        rows[new],
                        entities[rows[new]],
                        block[new],
                    )
                    with fresh.located():
                        feature.write(fresh.rows, fresh.values)
                    for place in np.flatnonzero(~new).tolist():
                        home, row = self._first_seen[entities[rows[place]]].tolist()
                        gap = float(np.abs(block[place] - arrays[home][row]).max())
                        differing += gap > 0
                        largest = max(largest, gap)
                    stage.advance(len(rows))
        if differing:
            self.notes.append(
                f"{name}: {differing} {DIFFERING} (at most {largest:.2g}); the first is stored"
            )

    def _is_first(self, split: int, rows: np.ndarray, entities: np.ndarray) -> np.ndarray:
        """(n,) bool: which of these slot rows are the stored row of their entity."""
        home = self._first_seen[entities]
        return (home[:, 0] == split) & (home[:, 1] == rows)


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
