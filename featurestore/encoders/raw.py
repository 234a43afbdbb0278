"""Encode a raw dataset into a store: every distinct text and picture once, block by block.

Peak memory is one window of features beside the encoders, whatever the size of the dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from featurestore.derive import EntityText, MentionText, block_rows
from featurestore.distinct import Distinct
from featurestore.encoders.pairs import ClipPairs
from featurestore.encoders.pictures import Pictures
from featurestore.encoders.suite import Encoders
from featurestore.encoders.text import TextEncoder
from featurestore.options import IngestOptions
from featurestore.progress import Progress
from featurestore.sources.wikimel import RawWikimel
from featurestore.writer import StoreWriter

#: Distinct texts that are sorted by length and encoded together.
WINDOW = 1024


class RawSource:
    """A raw dataset together with the encoders that make its features."""

    layout = "raw"
    dataset = "wikimel"

    def __init__(self, root: Path, *, options: IngestOptions) -> None:
        self._root = root
        self._options = options
        self._raw = RawWikimel.open(root, limit=options.limit)
        self.notes = list(self._raw.notes)
        self._encoders = Encoders.load(options)
        if self._encoders.image is None and options.detector != "none":
            self.notes.append("no image encoder, so no objects either: the detector was not run")

    def fingerprint_files(self) -> list[Path]:
        """The text files; pictures are identified by their features' provenance only."""
        return sorted(p for p in self._root.rglob("*") if p.suffix in (".json", ".tsv"))

    def dropped_counts(self) -> dict[str, int]:
        return {split: len(ids) for split, ids in self._raw.dropped.items()}

    def encoders(self) -> dict[str, Any]:
        return self._encoders.describe()

    def write(self, writer: StoreWriter, progress: Progress) -> dict[str, int]:
        """Write both tables; returns counts for the summary."""
        counts: dict[str, int] = {}
        self._write_tables(writer)
        with ExitStack() as scratch:
            clip = ClipPairs.create(writer, self._encoders.clip, scratch)
            if self._encoders.text is not None:
                self._write_entity_text(writer, self._encoders.text, progress)
                counts |= self._write_mention_text(writer, self._encoders.text, progress)
            for table, rows in (("entities", self._raw.entities), ("mentions", self._raw.mentions)):
                pictures = Pictures(self._root, table, rows.image_paths, self._encoders)
                pictures.write(writer, self._options, clip, progress)
            if clip is not None:
                clip.write_texts("entities", self._raw.entities.texts, progress)
                clip.write_texts("mentions", self._raw.mentions.sentences, progress)
                clip.write_pairs(self._raw.mentions.candidates, self._raw.mentions.gold, progress)
        return counts

    def _write_tables(self, writer: StoreWriter) -> None:
        entities, mentions = self._raw.entities, self._raw.mentions
        writer.table("entities", entities.ids)
        writer.text("entities/title", entities.titles)
        writer.text("entities/description", entities.descriptions)
        writer.text("entities/text", entities.texts)
        writer.text("entities/image_path", entities.image_paths)
        writer.table("mentions", mentions.ids)
        writer.splits(mentions.splits)
        writer.text("mentions/sentence", mentions.sentences)
        writer.text("mentions/mention", mentions.mentions)
        writer.text("mentions/image_path", mentions.image_paths)
        writer.column("mentions/char_start", mentions.char_start)
        writer.column("mentions/char_end", mentions.char_end)
        writer.column("mentions/candidates", mentions.candidates)
        writer.column("mentions/gold", mentions.gold)
        writer.column("mentions/answer", mentions.answer)

    def _write_entity_text(
        self, writer: StoreWriter, encoder: TextEncoder, progress: Progress
    ) -> None:
        tokens = self._options.entity_tokens
        sink = EntityText(writer, tokens=tokens, width=encoder.width)
        self._encode_texts(sink, self._raw.entities.texts, tokens, encoder, "entity text", progress)
        sink.finish()

    def _write_mention_text(
        self, writer: StoreWriter, encoder: TextEncoder, progress: Progress
    ) -> dict[str, int]:
        mentions, tokens = self._raw.mentions, self._options.mention_tokens
        starts, ends = encoder.mention_spans(
            mentions.sentences, mentions.char_start.tolist(), mentions.mentions
        )
        sink = MentionText(writer, tokens=tokens, width=encoder.width, starts=starts, ends=ends)
        self._encode_texts(sink, mentions.sentences, tokens, encoder, "mention text", progress)
        return {"empty spans": sink.finish()}

    def _encode_texts(
        self,
        sink: EntityText | MentionText,
        texts: Sequence[str],
        keep: int,
        encoder: TextEncoder,
        name: str,
        progress: Progress,
    ) -> None:
        distinct = Distinct(texts)
        padding = self._options.padding == "keep"
        block = block_rows(4 * keep * encoder.width)
        with progress.stage(name, len(distinct), "texts") as stage:
            for batch in encoder.encode(distinct.values, keep=keep, window=WINDOW, padding=padding):
                tokens = batch.split()
                window = np.arange(batch.first, batch.first + len(tokens))
                for rows, places in distinct.rows(window, block=block):
                    sink.write(rows, [tokens[p] for p in places.tolist()], batch.counts[places])
                stage.advance(len(tokens))
