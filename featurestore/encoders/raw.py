"""Encode a raw dataset into a store, block of rows by block: in it every distinct text and picture once.

What is encoded together depends on the block alone (:mod:`featurestore.ingest_shards`). Peak memory is
one block of features beside the encoders and the text tables, whatever the size of the dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from featurestore import ingest_shards
from featurestore.derive import EntityText, MentionText, block_rows
from featurestore.distinct import Distinct
from featurestore.encoders.pairs import ClipPairs
from featurestore.encoders.pictures import Pictures
from featurestore.encoders.recorded import recorded_boxes
from featurestore.encoders.suite import Encoders
from featurestore.encoders.text import TextEncoder, TokenBatch
from featurestore.errors import EncoderError
from featurestore.ingest_shards import Shard, ShardRows, slice_of
from featurestore.options import IngestOptions
from featurestore.progress import Progress
from featurestore.sources.entity_texts import with_texts
from featurestore.sources.fingerprint import names_digest, whole_fingerprint
from featurestore.sources.rawtables import RawDataset
from featurestore.writer import StoreWriter

#: Options that every raw dataset reads.
READS = (
    *("text_encoder", "image_encoder", "clip", "detector", "detector_weights", "boxes"),
    *("device", "encoder_dtype", "dtype", "compression", "padding", "limit", "thumbnails"),
    "entity_text",
    *("mention_tokens", "entity_tokens", "mention_objects", "entity_objects"),
)


class _Sink(NamedTuple):
    """What takes encoded texts: row ``rows[i]`` of the store gets the text at ``places[i]`` of the batch.

    ``keep``: tokens of a text that it takes. ``has`` tells whether rows are written already.
    """

    name: str
    keep: int
    write: Callable[[np.ndarray, TokenBatch, np.ndarray], None]
    has: Callable[[np.ndarray], bool]


class _Sinks(NamedTuple):
    """What took the features."""

    sentences: MentionText | None
    pictures: dict[str, Pictures]
    clip: ClipPairs | None


class RawSource:
    """A raw dataset together with the encoders that make its features.

    Args:
        encodes: False where everything was encoded before: then encoders need no GPU.

    Raises:
        EncoderError: an encoder cannot be loaded, or lacks what this dataset needs of it.
        ConfigError: descriptions are to be encoded, and no entity has one.
        SourceError: recorded boxes do not fit the dataset.
    """

    def __init__(
        self, raw: RawDataset, *, layout: str, options: IngestOptions, encodes: bool = True
    ) -> None:
        self.layout = layout
        self._options = options
        self._keep_padding = options.keeps_padding(layout)
        self.dataset = raw.name
        self.reads = (*READS, *raw.reads)
        self.notes = list(raw.notes)
        texts = with_texts(raw.entities, options.entity_text, self.notes)
        self._raw = replace(raw, entities=texts)
        recorded = None
        if options.boxes is not None:
            recorded = recorded_boxes(options.boxes, raw.mentions, len(raw.entities))
        loaded = options if encodes else replace(options, device="cpu")
        self._encoders = Encoders.load(loaded, recorded=recorded)
        self._check_encoders()

    def _check_encoders(self) -> None:
        text = self._encoders.text
        if self._raw.entity_text == "pooled" and text is not None and not text.has_pooler:
            raise EncoderError(
                f"the text encoder has no pooler, whose output is what {self.dataset} stores of "
                "an entity's text",
                where=text.info.name,
                hint="take one with a pooler, such as bert-base-cased, or --text-encoder none",
            )
        if self._encoders.image is None and self._options.detector != "none":
            self.notes.append("no image encoder, so no objects either: the detector was not run")

    def origin(self) -> dict[str, Any]:
        """A digest of the text files; pictures are identified by their features' provenance only."""
        return {"fingerprint": whole_fingerprint(sorted(self._raw.text_files))}

    def state(self) -> dict[str, str]:
        """Which picture files there are; each is known again by itself (``encoders.seen``)."""
        mentions = [[path] for path in self._raw.mentions.image_paths]
        choices = {"entities": self._raw.entities.image_choices, "mentions": mentions}
        return {f"pictures of {table}": names_digest(names) for table, names in choices.items()}

    def dropped_counts(self) -> dict[str, int]:
        return {split: len(ids) for split, ids in self._raw.dropped.items()}

    def encoders(self) -> dict[str, Any]:
        return self._encoders.describe()

    def write(self, writer: StoreWriter, progress: Progress) -> dict[str, int]:
        """Write both tables; returns counts for the summary."""
        counts = dict(self._raw.counts)
        self._write_tables(writer)
        entities, mentions = self._raw.entities, self._raw.mentions
        every = ShardRows(range(len(entities)), range(len(mentions)))
        sinks = self._write_features(writer, every, progress)
        if sinks.sentences is not None:
            counts["empty spans"] = sinks.sentences.finish()
        later = {table: pictures.finish() for table, pictures in sinks.pictures.items()}
        if any(len(files) > 1 for files in entities.image_choices):
            counts["entity pictures that are not the first listed"] = later["entities"]
        if sinks.clip is not None:
            sinks.clip.write_pairs(mentions.candidates, mentions.gold, progress)
        return counts

    def shard_rows(self, shard: Shard) -> ShardRows:
        """What a shard does: rows of whole blocks, so that it encodes together what others would."""
        counts = (len(self._raw.entities), len(self._raw.mentions))
        return ShardRows(*(shard.rows(count, block=ingest_shards.BLOCK_ROWS) for count in counts))

    def write_shard(
        self, writer: StoreWriter, rows: ShardRows, progress: Progress
    ) -> dict[str, Any]:
        """Write the features of some rows; all else is made when the store is assembled."""
        writer.some_rows("entities", len(rows.entities))
        writer.some_rows("mentions", len(rows.mentions))
        self._write_features(writer, rows, progress)
        return {}

    def _write_features(self, writer: StoreWriter, rows: ShardRows, progress: Progress) -> _Sinks:
        """Encode the texts and pictures of some rows of the dataset, which are those of the writer."""
        encoder, clip = self._encoders.text, ClipPairs.create(writer, self._encoders.clip)
        sentences = self._sentences(writer, encoder, rows) if encoder is not None else None
        texts = self._entity_text(writer, encoder) if encoder is not None else None
        pictures = self._pictures(writer, clip, rows)
        writer.finished()  # what stands somewhere else already is there
        writer.check_room()
        of_entities = self._raw.entities.texts[slice_of(rows.entities)]
        of_mentions = self._raw.mentions.sentences[slice_of(rows.mentions)]
        if encoder is not None and texts is not None and sentences is not None:
            self._encode_texts(writer, texts, of_entities, encoder, progress)
            sink = _token_sink(sentences, "mention text", self._options.mention_tokens)
            self._encode_texts(writer, sink, of_mentions, encoder, progress)
        for sink_of_table in pictures.values():
            sink_of_table.write(progress)
        if clip is not None:
            padding = self._keep_padding
            clip.write_texts("entities", of_entities, progress, padding=padding)
            clip.write_texts("mentions", of_mentions, progress, padding=padding)
        return _Sinks(sentences, pictures, clip)

    def _write_tables(self, writer: StoreWriter) -> None:
        entities, mentions = self._raw.entities, self._raw.mentions
        writer.table("entities", entities.ids)
        writer.text("entities/title", entities.titles)
        writer.text("entities/description", entities.descriptions)
        writer.text("entities/text", entities.texts)
        writer.table("mentions", mentions.ids)
        writer.splits(mentions.splits)
        writer.text("mentions/sentence", mentions.sentences)
        writer.text("mentions/mention", mentions.mentions)
        if mentions.topics is not None:
            writer.text("mentions/topic", mentions.topics)
        if mentions.entity_types is not None:
            writer.text("mentions/entity_type", mentions.entity_types)
        writer.column("mentions/char_start", mentions.char_start)
        writer.column("mentions/char_end", mentions.char_end)
        writer.column("mentions/candidates", mentions.candidates)
        writer.column("mentions/gold", mentions.gold)
        writer.column("mentions/answer", mentions.answer)

    def _pictures(
        self, writer: StoreWriter, clip: ClipPairs | None, rows: ShardRows
    ) -> dict[str, Pictures]:
        paths = self._raw.mentions.image_paths[slice_of(rows.mentions)]
        choices: dict[str, Sequence[Sequence[str]]] = {
            "entities": self._raw.entities.image_choices[slice_of(rows.entities)],
            "mentions": [(path,) if path else () for path in paths],
        }
        return {
            table: Pictures(
                writer, table, files, self._encoders,
                root=self._raw.root, options=self._options, clip=clip, first=rows.of(table).start,
            )
            for table, files in choices.items()
        }  # fmt: skip

    def _entity_text(self, writer: StoreWriter, encoder: TextEncoder) -> _Sink:
        if self._raw.entity_text != "pooled":
            tokens = self._options.entity_tokens
            sink = EntityText(writer, tokens=tokens, width=encoder.width)
            return _token_sink(sink, "entity text", tokens)
        pooled = writer.feature("entities/text_pooled", (encoder.width,))

        def write(rows: np.ndarray, batch: TokenBatch, places: np.ndarray) -> None:
            assert batch.pooled is not None  # _check_encoders
            pooled.write(rows, batch.pooled[places])

        return _Sink("entity text", 1, write, pooled.has)  # tokens are not used

    def _sentences(self, writer: StoreWriter, encoder: TextEncoder, rows: ShardRows) -> MentionText:
        mentions, tokens, chosen = (
            self._raw.mentions,
            self._options.mention_tokens,
            slice_of(rows.mentions),
        )
        starts, ends = encoder.mention_spans(
            mentions.sentences[chosen],
            mentions.char_start[chosen].tolist(),
            mentions.mentions[chosen],
        )
        return MentionText(writer, tokens=tokens, width=encoder.width, starts=starts, ends=ends)

    def _encode_texts(
        self,
        writer: StoreWriter,
        sink: _Sink,
        texts: Sequence[str],
        encoder: TextEncoder,
        progress: Progress,
    ) -> None:
        """Every distinct text of a block once; blocks that are written are left out."""
        step = block_rows(4 * sink.keep * encoder.width)
        with progress.stage(sink.name, len(texts), "texts") as stage:
            for first in range(0, len(texts), ingest_shards.BLOCK_ROWS):
                block = texts[first : first + ingest_shards.BLOCK_ROWS]
                if not sink.has(np.arange(first, first + len(block))):
                    distinct = Distinct(block)
                    batches = encoder.encode(
                        distinct.values,
                        keep=sink.keep,
                        window=ingest_shards.BLOCK_ROWS,
                        padding=self._keep_padding,
                    )
                    for batch in batches:
                        for rows, places in distinct.rows(np.arange(len(distinct)), block=step):
                            sink.write(first + rows, batch, places)
                    writer.finished()
                stage.advance(len(block))


def _token_sink(sink: EntityText | MentionText, name: str, keep: int) -> _Sink:
    def write(rows: np.ndarray, batch: TokenBatch, places: np.ndarray) -> None:
        tokens = batch.split()
        sink.write(rows, [tokens[place] for place in places.tolist()], batch.counts[places])

    return _Sink(name, keep, write, sink.has)
