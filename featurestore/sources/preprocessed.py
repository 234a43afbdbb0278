"""Datasets as the DRIN authors release them: ``.npy`` features (DATASETS.md, "Preprocessed").

Both datasets share the mention files. They differ in the entities: WikiMEL keeps one row an entity
and refers to it by QID; WikiDiverse repeats the entity for each (mention, slot), and an entity's
identity is the pair of its text and its picture path.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featurestore.derive import MentionImages, MentionText, block_rows, recorded_status
from featurestore.errors import SourceError
from featurestore.progress import Progress
from featurestore.schema import IMAGE_STATUS, SPLITS
from featurestore.sources.arrays import (
    Block,
    check_finite,
    check_spans,
    counts_of,
    load,
    squeeze_boxes,
)
from featurestore.sources.recorded_entities import (
    RecordedEntities,
    WikidiverseEntities,
    WikimelEntities,
    cut,
)
from featurestore.writer import StoreWriter


@dataclass(frozen=True)
class _Split:
    """The files of one split, opened; ``rows`` of them are used."""

    name: str
    rows: int
    arrays: dict[str, np.ndarray]


class Preprocessed:
    """A preprocessed dataset, opened and checked.

    Args:
        root: folder of the ``.npy`` files.
        dataset: ``wikimel`` or ``wikidiverse``.
        limit: at most so many mentions a split, and the entities they refer to.
        keep_padding: store what the encoder left at padded positions too (exact export).

    Raises:
        SourceError: a file is missing, truncated, or does not fit the others.
    """

    layout = "preprocessed"

    def __init__(
        self, root: Path, *, dataset: str, limit: int | None = None, keep_padding: bool = False
    ) -> None:
        self.root = root
        self.dataset = dataset
        self._keep_padding = keep_padding
        self.splits = [self._open_split(name, limit) for name in SPLITS]
        self.slots = self._slots()
        make = WikimelEntities if dataset == "wikimel" else WikidiverseEntities
        used = {split.name: split.rows for split in self.splits}
        self.entities: RecordedEntities = make.open(root, used, self.slots)
        self._own_notes = self._answer_notes()

    # opening -----------------------------------------------------------------------------------

    def path(self, name: str, split: str) -> Path:
        return self.root / f"{name}_{split}.npy"

    def _open_split(self, split: str, limit: int | None) -> _Split:
        sentences = load(self.path("mention-text-raw", split), holds="text", ndim=(1,))
        count = len(sentences)
        wanted = {
            "start-pos": ("integers", (1,)),
            "end-pos": ("integers", (1,)),
            "answer": ("integers", (1,)),
            "mention-text-feature": ("features", (3,)),
            "mention-text-mask": ("a mask", (2,)),
            "mention-image-feature": ("features", (3,)),
            "mention-object-feature": ("features", (3, 4)),
            "mention-object-score": ("features", (2,)),
            "similarity-miet": ("features", (2,)),
            "similarity-eimt": ("features", (2,)),
        }
        arrays = {
            name: load(self.path(name, split), holds=holds, ndim=ndim, rows=count)
            for name, (holds, ndim) in wanted.items()
        }
        arrays["mention-text-raw"] = sentences
        optional = self.path("mention-image-path", split)
        if optional.exists():
            arrays["mention-image-path"] = load(optional, holds="text", ndim=(1,), rows=count)
        return _Split(split, count if limit is None else min(limit, count), arrays)

    def _slots(self) -> int:
        """Candidate slots of a mention, the gold slot included; the same in every file."""
        first = self.splits[0].arrays["similarity-miet"].shape[1]
        for split in self.splits:
            for name in ("similarity-miet", "similarity-eimt"):
                if split.arrays[name].shape[1] != first:
                    raise SourceError(
                        f"{split.arrays[name].shape[1]} slots where the train split has {first}",
                        where=str(self.path(name, split.name)),
                    )
        return first

    def _answer_notes(self) -> list[str]:
        """Where the recorded answer and the gold slot disagree; kept as recorded, and said."""
        wrong = 0
        for split in self.splits:
            answers = np.asarray(split.arrays["answer"][: split.rows])
            bad = np.flatnonzero((answers < 0) | (answers >= self.slots))
            if len(bad):
                raise SourceError(
                    f"answer {int(answers[bad[0]])} with {self.slots - 1} candidates",
                    where=f"{self.path('answer', split.name)}[{int(bad[0])}]",
                )
            slots = self.entities.slots[split.name]
            wrong += int((slots[np.arange(split.rows), answers] != slots[:, -1]).sum())
        if not wrong:
            return []
        return [f"{wrong} mentions whose recorded answer is not the entity of their gold slot"]

    # facts -------------------------------------------------------------------------------------

    @property
    def notes(self) -> list[str]:
        """What is worth knowing of this release; complete after :meth:`write`."""
        return [*self.entities.notes, *self._own_notes]

    @property
    def mention_count(self) -> int:
        return sum(split.rows for split in self.splits)

    @property
    def entity_count(self) -> int:
        return len(self.entities.ids)

    def dropped_counts(self) -> dict[str, int]:
        """A release holds what its makers kept; nothing is dropped here."""
        return {}

    def encoders(self) -> dict[str, object]:
        """The release does not say which encoders made it."""
        return {}

    def fingerprint_files(self) -> list[Path]:
        """Files whose names, sizes and heads identify this source."""
        return sorted(p for p in self.root.iterdir() if p.suffix in (".npy", ".json"))

    # writing -----------------------------------------------------------------------------------

    def write(self, writer: StoreWriter, progress: Progress) -> dict[str, int]:
        """Write both tables; returns counts for the summary."""
        self._write_tables(writer)
        self.entities.write_features(writer, progress, keep_padding=self._keep_padding)
        empty = self._write_text(writer, progress)
        self._write_pictures(writer, progress)
        return {"empty spans": empty}

    def _write_tables(self, writer: StoreWriter) -> None:
        self.entities.write_table(writer)
        ids = [f"{split.name}-{row}" for split in self.splits for row in range(split.rows)]
        writer.table("mentions", ids)
        writer.splits(self._ranges())
        writer.text("mentions/sentence", self._strings("mention-text-raw"))
        if all("mention-image-path" in split.arrays for split in self.splits):
            paths = self._strings("mention-image-path")
            writer.text("mentions/image_path", paths)
            writer.column("mentions/image_status", recorded_status(paths))
        else:
            unknown = IMAGE_STATUS.index("unknown")
            writer.column("mentions/image_status", np.full(len(ids), unknown, np.uint8))
        slots = np.concatenate([self.entities.slots[split.name] for split in self.splits])
        writer.column("mentions/candidates", slots[:, :-1])
        writer.column("mentions/gold", slots[:, -1])
        writer.column("mentions/answer", self._numbers("answer"))
        writer.column("mentions/sim_image_text", self._numbers("similarity-miet"))
        writer.column("mentions/sim_text_image", self._numbers("similarity-eimt"))
        writer.column("mentions/object_scores", self._numbers("mention-object-score"))

    def _ranges(self) -> dict[str, range]:
        ranges, first = {}, 0
        for split in self.splits:
            ranges[split.name] = range(first, first + split.rows)
            first += split.rows
        return ranges

    def _numbers(self, name: str) -> np.ndarray:
        """A small array of all splits, (mentions, …), finite."""
        parts = [
            check_finite(np.asarray(split.arrays[name][: split.rows]), self.path(name, split.name))
            for split in self.splits
        ]
        return np.concatenate(parts)

    def _strings(self, name: str) -> list[str]:
        return [str(text) for split in self.splits for text in split.arrays[name][: split.rows]]

    def _check_spans(self) -> None:
        for split in self.splits:
            starts = np.asarray(split.arrays["start-pos"][: split.rows])
            ends = np.asarray(split.arrays["end-pos"][: split.rows])
            check_spans(starts, ends, self.path("end-pos", split.name))

    def _write_text(self, writer: StoreWriter, progress: Progress) -> int:
        self._check_spans()
        _, tokens, width = self.splits[0].arrays["mention-text-feature"].shape
        sink = MentionText(
            writer,
            tokens=tokens,
            width=width,
            starts=self._numbers("start-pos").astype(np.int32),
            ends=self._numbers("end-pos").astype(np.int32),
        )
        for split, block in self._blocks("mention-text-feature", progress):
            mask = split.arrays["mention-text-mask"][block.source_rows]
            path = self.path("mention-text-mask", split.name)
            counts = counts_of(mask, path, block.source_rows)
            with block.located():
                tokens_of = cut(block.values, counts, keep_padding=self._keep_padding)
                sink.write(block.rows, tokens_of, counts)
        return sink.finish()

    def _write_pictures(self, writer: StoreWriter, progress: Progress) -> None:
        _, regions, width = self.splits[0].arrays["mention-image-feature"].shape
        images = MentionImages(writer, regions=regions, width=width)
        for _, block in self._blocks("mention-image-feature", progress):
            with block.located():
                images.write(block.rows, block.values)
        name = "mention-object-feature"
        shape = squeeze_boxes(self.splits[0].arrays[name], self.path(name, SPLITS[0])).shape[1:]
        objects = writer.feature("mentions/objects", shape)
        for _, block in self._blocks(name, progress):
            with block.located():
                objects.write(block.rows, squeeze_boxes(block.values, block.path))

    def _blocks(self, name: str, progress: Progress) -> Iterator[tuple[_Split, Block]]:
        """The rows of one kind of file, split after split, a block at a time."""
        shape = self.splits[0].arrays[name].shape[1:]
        first = 0
        with progress.stage(name, self.mention_count, "mentions") as stage:
            for split in self.splits:
                array, path = split.arrays[name], self.path(name, split.name)
                if array.shape[1:] != shape:
                    raise SourceError(
                        f"rows of shape {array.shape[1:]} where the train split has {shape}",
                        where=str(path),
                    )
                step = block_rows(array[:1].nbytes)
                for start in range(0, split.rows, step):
                    source = np.arange(start, min(start + step, split.rows))
                    values = np.asarray(array[start : start + len(source)])
                    yield split, Block(path, source, first + source, values)
                    stage.advance(len(source))
                first += split.rows


def is_preprocessed(root: Path) -> bool:
    """Whether a folder looks like a preprocessed dataset."""
    return (root / "mention-text-feature_train.npy").exists()


def dataset_of(root: Path) -> str:
    """``wikimel`` or ``wikidiverse``: only WikiMEL names its entity rows in ``qid2idx.json``."""
    return "wikimel" if (root / "qid2idx.json").exists() else "wikidiverse"
