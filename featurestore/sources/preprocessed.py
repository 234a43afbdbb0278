"""Datasets as the DRIN authors release them: ``.npy`` features (DATASETS.md, "Preprocessed").

Both datasets share the mention files. They differ in the entities: WikiMEL keeps one row an entity
and refers to it by QID; WikiDiverse repeats the entity for each (mention, slot), and an entity's
identity is the pair of its text and its picture path. Where the files are, in a folder or in an
archive, is the business of the arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from featurestore.derive import MentionImages, MentionText, recorded_status
from featurestore.errors import SourceError
from featurestore.ingest_shards import Shard, ShardRows, slice_of
from featurestore.progress import Progress
from featurestore.schema import IMAGE_STATUS, SPLITS
from featurestore.sources.arrays import (
    TOGETHER,
    Header,
    check_finite,
    check_spans,
    check_tokens,
    counts_of,
    one_vector,
)
from featurestore.sources.feeds import Block, Feed, Part, RecordedArrays
from featurestore.sources.recorded_entities import RecordedEntities, WikimelEntities, cut
from featurestore.sources.recorded_slots import WikidiverseEntities, same_rows
from featurestore.writer import StoreWriter

_TEXT, _PICTURES = "mention-text-feature", "mention-image-feature"
_OBJECTS, _PATHS = "mention-object-feature", "mention-image-path"

#: Kind of small file → what it holds, allowed numbers of axes.
_SMALL = {
    "start-pos": ("integers", (1,)),
    "end-pos": ("integers", (1,)),
    "answer": ("integers", (1,)),
    "mention-text-mask": ("a mask", (2,)),
    "mention-object-score": ("features", (2,)),
    "similarity-miet": ("features", (2,)),
    "similarity-eimt": ("features", (2,)),
}
_FEATURES = {_TEXT: (3,), _PICTURES: (3,), _OBJECTS: (3, 4)}


@dataclass(frozen=True)
class _Split:
    """The files of one split, opened; ``rows`` of them are used."""

    name: str
    rows: int
    arrays: dict[str, np.ndarray]
    features: dict[str, Header]


class Preprocessed:
    """A preprocessed dataset, opened and checked.

    Args:
        arrays: its files.
        dataset: ``wikimel`` or ``wikidiverse``.
        limit: at most so many mentions a split, and the entities they refer to.
        keep_padding: store what the encoder left at padded positions too (exact export).

    Raises:
        SourceError: a file is missing, truncated, or does not fit the others.
    """

    layout = "preprocessed"
    reads = ("dtype", "compression", "padding", "limit")

    def __init__(
        self,
        arrays: RecordedArrays,
        *,
        dataset: str,
        limit: int | None = None,
        keep_padding: bool = False,
    ) -> None:
        self._arrays = arrays
        self.dataset = dataset
        self._keep_padding = keep_padding
        self.splits = [self._open_split(name, limit) for name in SPLITS]
        for name in _FEATURES:
            same_rows([split.features[name] for split in self.splits])
        self.slots = self._slots()
        make = WikimelEntities if dataset == "wikimel" else WikidiverseEntities
        used = {split.name: split.rows for split in self.splits}
        self.entities: RecordedEntities = make.open(arrays, used, self.slots)
        self._own_notes = self._answer_notes()

    # opening -----------------------------------------------------------------------------------

    def _where(self, name: str, split: str) -> str:
        return self._arrays.where(_file(name, split))

    def _open_split(self, split: str, limit: int | None) -> _Split:
        load = self._arrays.load
        sentences = load(_file("mention-text-raw", split), holds="text", ndim=(1,))
        count = len(sentences)
        arrays = {
            name: load(_file(name, split), holds=holds, ndim=ndim, rows=count)
            for name, (holds, ndim) in _SMALL.items()
        }
        arrays["mention-text-raw"] = sentences
        if self._arrays.has(optional := _file(_PATHS, split)):
            arrays[_PATHS] = load(optional, holds="text", ndim=(1,), rows=count)
        features = {
            name: self._arrays.features(_file(name, split), ndim=ndim, rows=count)
            for name, ndim in _FEATURES.items()
        }
        where = self._where("mention-text-mask", split)
        check_tokens(arrays["mention-text-mask"], where, features[_TEXT])
        return _Split(split, count if limit is None else min(limit, count), arrays, features)

    def _slots(self) -> int:
        """Candidate slots of a mention, the gold slot included; the same in every file."""
        first = self.splits[0].arrays["similarity-miet"].shape[1]
        for split in self.splits:
            for name in ("similarity-miet", "similarity-eimt"):
                if split.arrays[name].shape[1] != first:
                    raise SourceError(
                        f"{split.arrays[name].shape[1]} slots where the train split has {first}",
                        where=self._where(name, split.name),
                        hint=TOGETHER,
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
                    where=f"{self._where('answer', split.name)}[{int(bad[0])}]",
                    hint=f"write the slot of the gold, from 0 to {self.slots - 1}",
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

    def origin(self) -> dict[str, Any]:
        """What identifies the files."""
        return self._arrays.origin()

    def state(self) -> dict[str, str]:
        """When files were changed whose content the origin does not tell."""
        return self._arrays.state()

    # writing -----------------------------------------------------------------------------------

    def write(self, writer: StoreWriter, progress: Progress) -> dict[str, int]:
        """Write both tables; returns counts for the summary."""
        self._write_tables(writer)
        every = ShardRows(range(self.entity_count), range(self.mention_count))
        with ExitStack() as scratch:
            feeds = self.entities.feeds(writer, scratch, keep_padding=self._keep_padding)
            sink = self._feed_all(writer, feeds, every, progress)
            for feed in feeds:
                feed.finish()
        return {"empty spans": sink.finish()}

    def shard_rows(self, shard: Shard) -> ShardRows:
        """What a shard does; nothing is encoded together, so that it may begin anywhere.

        Raises:
            SourceError: the arrays are in an archive.
        """
        self._arrays.check_any_order()
        counts = (self.entity_count, self.mention_count)
        return ShardRows(*(shard.rows(count, block=1) for count in counts))

    def write_shard(
        self, writer: StoreWriter, rows: ShardRows, progress: Progress
    ) -> dict[str, Any]:
        """Write the features of some rows; all else is made when the store is assembled."""
        writer.some_rows("entities", len(rows.entities))
        writer.some_rows("mentions", len(rows.mentions))
        feeds = self.entities.shard_feeds(writer, rows, keep_padding=self._keep_padding)
        self._feed_all(writer, feeds, rows, progress)
        return self.entities.found()

    def _feed_all(
        self,
        writer: StoreWriter,
        of_entities: Sequence[Feed],
        rows: ShardRows,
        progress: Progress,
    ) -> MentionText:
        """Write the features of some rows of the dataset, which are those of the writer."""
        sink = self._sentences(writer, rows.mentions)
        feeds = [
            *of_entities,
            self._text(sink, rows.mentions),
            self._pictures(writer, rows.mentions),
            self._objects(writer, rows.mentions),
        ]
        writer.finished()  # what stands somewhere else already is there
        writer.check_room()
        self._arrays.feed([_in_parts(feed, writer) for feed in feeds], progress)
        return sink

    def _write_tables(self, writer: StoreWriter) -> None:
        self.entities.write_table(writer)
        ids = [f"{split.name}-{row}" for split in self.splits for row in range(split.rows)]
        writer.table("mentions", ids)
        writer.splits(self._ranges())
        writer.text("mentions/sentence", self._strings("mention-text-raw"))
        if all(_PATHS in split.arrays for split in self.splits):
            paths = self._strings(_PATHS)
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
            check_finite(
                np.asarray(split.arrays[name][: split.rows]), self._where(name, split.name)
            )
            for split in self.splits
        ]
        for part, split in zip(parts, self.splits, strict=True):
            if part.shape[1:] != parts[0].shape[1:]:
                raise SourceError(
                    f"rows of shape {part.shape[1:]} where the {self.splits[0].name} split has "
                    f"{parts[0].shape[1:]}",
                    where=self._where(name, split.name),
                    hint=TOGETHER,
                )
        return np.concatenate(parts)

    def _strings(self, name: str) -> list[str]:
        return [str(text) for split in self.splits for text in split.arrays[name][: split.rows]]

    # features ----------------------------------------------------------------------------------

    def _feed(
        self,
        name: str,
        wanted: range,
        write: Callable[[Block], None],
        has: Callable[[np.ndarray], bool],
    ) -> Feed:
        """Some rows of one kind of file of all splits; the number of a part is that of its split."""
        parts: list[Part] = []
        for split, rows in self._ranges().items():
            chosen = np.arange(max(rows.start, wanted.start), min(rows.stop, wanted.stop))
            parts.append(Part(_file(name, split), chosen - rows.start, chosen - wanted.start))
        return Feed(name, "mentions", parts, write, has)

    def _row_shape(self, name: str) -> tuple[int, ...]:
        return self.splits[0].features[name].shape[1:]

    def _check_spans(self) -> None:
        for split in self.splits:
            starts = np.asarray(split.arrays["start-pos"][: split.rows])
            ends = np.asarray(split.arrays["end-pos"][: split.rows])
            check_spans(starts, ends, self._where("end-pos", split.name))

    def _sentences(self, writer: StoreWriter, rows: range) -> MentionText:
        self._check_spans()
        tokens, width = self._row_shape(_TEXT)
        return MentionText(
            writer,
            tokens=tokens,
            width=width,
            starts=self._numbers("start-pos").astype(np.int32)[slice_of(rows)],
            ends=self._numbers("end-pos").astype(np.int32)[slice_of(rows)],
        )

    def _text(self, sink: MentionText, rows: range) -> Feed:
        def write(block: Block) -> None:
            split = self.splits[block.part]
            mask = split.arrays["mention-text-mask"][block.source_rows]
            where = self._where("mention-text-mask", split.name)
            counts = counts_of(mask, where, block.source_rows)
            with block.located():
                tokens_of = cut(block.values, counts, keep_padding=self._keep_padding)
                sink.write(block.rows, tokens_of, counts)

        return self._feed(_TEXT, rows, write, sink.has)

    def _pictures(self, writer: StoreWriter, rows: range) -> Feed:
        regions, width = self._row_shape(_PICTURES)
        images = MentionImages(writer, regions=regions, width=width)

        def write(block: Block) -> None:
            with block.located():
                images.write(block.rows, block.values)

        return self._feed(_PICTURES, rows, write, images.has)

    def _objects(self, writer: StoreWriter, rows: range) -> Feed:
        shape = one_vector(self.splits[0].features[_OBJECTS], axes=3, of="an object")
        objects = writer.feature("mentions/objects", shape)

        def write(block: Block) -> None:
            with block.located():
                objects.write(block.rows, block.values.reshape(-1, *shape))

        return self._feed(_OBJECTS, rows, write, objects.has)


def _in_parts(feed: Feed, writer: StoreWriter) -> Feed:
    """A feed after each block of which nothing is half done."""

    def write(block: Block) -> None:
        feed.write(block)
        writer.finished()

    return replace(feed, write=write)


def _file(name: str, split: str) -> str:
    return f"{name}_{split}.npy"


# which files ------------------------------------------------------------------------------------


def preprocessed_dataset(has: Callable[[str], bool]) -> str | None:
    """``wikimel`` or ``wikidiverse``, by the files that lie side by side; None = neither.

    Only WikiMEL has a table of entities.

    Args:
        has: whether a file of this name is there.
    """
    if not (has(_file(_TEXT, SPLITS[0])) or has(_file("mention-text-raw", SPLITS[0]))):
        return None
    wikimel = ("qid2idx.json", "entity-attr-mask.npy", _file("entity-name-raw", SPLITS[0]))
    return "wikimel" if any(map(has, wikimel)) else "wikidiverse"
