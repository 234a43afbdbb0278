"""Encode a raw dataset into a store: every distinct text and picture once, block by block.

Peak memory is one window of features beside the encoders, whatever the size of the dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from featurestore.derive import EntityText, MentionText, block_rows
from featurestore.distinct import Distinct
from featurestore.encoders.pairs import ClipPairs
from featurestore.encoders.pictures import Pictures
from featurestore.encoders.recorded import recorded_boxes
from featurestore.encoders.suite import Encoders
from featurestore.encoders.text import TextEncoder, TokenBatch
from featurestore.errors import EncoderError
from featurestore.options import IngestOptions
from featurestore.progress import Progress
from featurestore.sources.fingerprint import fingerprint
from featurestore.sources.rawtables import RawDataset
from featurestore.writer import StoreWriter

#: Distinct texts that are sorted by length and encoded together.
WINDOW = 1024

#: Options that every raw dataset reads.
READS = (
    *("text_encoder", "image_encoder", "clip", "detector", "detector_weights", "boxes"),
    *("device", "encoder_dtype", "dtype", "compression", "padding", "limit"),
    *("mention_tokens", "entity_tokens", "mention_objects", "entity_objects"),
)

#: Writes rows of the store: row ``rows[i]`` gets the text at ``places[i]`` of the batch.
_TextWriter = Callable[[np.ndarray, TokenBatch, np.ndarray], None]


class RawSource:
    """A raw dataset together with the encoders that make its features.

    Raises:
        EncoderError: an encoder cannot be loaded, or lacks what this dataset needs of it.
        SourceError: recorded boxes do not fit the dataset.
    """

    def __init__(self, raw: RawDataset, *, layout: str, options: IngestOptions) -> None:
        self.layout = layout
        self._options = options
        self._keep_padding = options.keeps_padding(layout)
        self._raw = raw
        self.dataset = raw.name
        self.reads = (*READS, *raw.reads)
        self.notes = list(raw.notes)
        recorded = None
        if options.boxes is not None:
            recorded = recorded_boxes(options.boxes, raw.mentions, len(raw.entities))
        self._encoders = Encoders.load(options, recorded=recorded)
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
        return {"fingerprint": fingerprint(sorted(self._raw.text_files))}

    def dropped_counts(self) -> dict[str, int]:
        return {split: len(ids) for split, ids in self._raw.dropped.items()}

    def encoders(self) -> dict[str, Any]:
        return self._encoders.describe()

    def write(self, writer: StoreWriter, progress: Progress) -> dict[str, int]:
        """Write both tables; returns counts for the summary."""
        counts = dict(self._raw.counts)
        self._write_tables(writer)
        with ExitStack() as scratch:
            clip = ClipPairs.create(writer, self._encoders.clip, scratch)
            if self._encoders.text is not None:
                self._write_entity_text(writer, self._encoders.text, progress)
                counts |= self._write_mention_text(writer, self._encoders.text, progress)
            counts |= self._write_pictures(writer, clip, progress)
            if clip is not None:
                self._write_pairs(clip, progress)
        return counts

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

    def _write_pictures(
        self, writer: StoreWriter, clip: ClipPairs | None, progress: Progress
    ) -> dict[str, int]:
        choices = self._raw.entities.image_choices
        entities = Pictures(self._raw.root, "entities", choices, self._encoders)
        later = entities.write(writer, self._options, clip, progress)
        single = [(path,) if path else () for path in self._raw.mentions.image_paths]
        mentions = Pictures(self._raw.root, "mentions", single, self._encoders)
        mentions.write(writer, self._options, clip, progress)
        some_have_more = any(len(files) > 1 for files in choices)
        return {"entity pictures that are not the first listed": later} if some_have_more else {}

    def _write_pairs(self, clip: ClipPairs, progress: Progress) -> None:
        entities, mentions, padding = self._raw.entities, self._raw.mentions, self._keep_padding
        clip.write_texts("entities", entities.texts, progress, padding=padding)
        clip.write_texts("mentions", mentions.sentences, progress, padding=padding)
        clip.write_pairs(mentions.candidates, mentions.gold, progress)

    def _write_entity_text(
        self, writer: StoreWriter, encoder: TextEncoder, progress: Progress
    ) -> None:
        texts, name = self._raw.entities.texts, "entity text"
        if self._raw.entity_text == "pooled":
            pooled = writer.feature("entities/text_pooled", (encoder.width,))

            def write(rows: np.ndarray, batch: TokenBatch, places: np.ndarray) -> None:
                assert batch.pooled is not None  # _check_encoders
                pooled.write(rows, batch.pooled[places])

            self._encode_texts(write, texts, 1, encoder, name, progress)  # tokens are not used
            return
        tokens = self._options.entity_tokens
        sink = EntityText(writer, tokens=tokens, width=encoder.width)
        self._encode_texts(_token_writer(sink), texts, tokens, encoder, name, progress)
        sink.finish()

    def _write_mention_text(
        self, writer: StoreWriter, encoder: TextEncoder, progress: Progress
    ) -> dict[str, int]:
        mentions, tokens = self._raw.mentions, self._options.mention_tokens
        starts, ends = encoder.mention_spans(
            mentions.sentences, mentions.char_start.tolist(), mentions.mentions
        )
        sink = MentionText(writer, tokens=tokens, width=encoder.width, starts=starts, ends=ends)
        write, name = _token_writer(sink), "mention text"
        self._encode_texts(write, mentions.sentences, tokens, encoder, name, progress)
        return {"empty spans": sink.finish()}

    def _encode_texts(
        self,
        write: _TextWriter,
        texts: Sequence[str],
        keep: int,
        encoder: TextEncoder,
        name: str,
        progress: Progress,
    ) -> None:
        distinct = Distinct(texts)
        block = block_rows(4 * keep * encoder.width)
        with progress.stage(name, len(distinct), "texts") as stage:
            for batch in encoder.encode(
                distinct.values, keep=keep, window=WINDOW, padding=self._keep_padding
            ):
                size = len(batch.counts)
                for rows, places in distinct.rows(batch.first + np.arange(size), block=block):
                    write(rows, batch, places)
                stage.advance(size)


def _token_writer(sink: EntityText | MentionText) -> _TextWriter:
    def write(rows: np.ndarray, batch: TokenBatch, places: np.ndarray) -> None:
        tokens = batch.split()
        sink.write(rows, [tokens[place] for place in places.tolist()], batch.counts[places])

    return write
