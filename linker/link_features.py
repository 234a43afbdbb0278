"""Features of new mentions, made as ingest makes those of a dataset: same encoders, views, rounding.

What comes out answers as the store's table of mentions does, so that the reader that evaluation
reads its batches with reads these too. A mention of the store gets its own scores again, to the
rounding of batched matrix products: its features are rounded to the dtype that the store has them
in, because that is what the network has learned from.

One thing is not stored and is made from what is: CLIP similarities are products of the new
mention's embeddings with the entities' stored ones. In a float16 store these are rounded (a cosine
moves by at most 1e-3), while ingest took the products before it rounded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from featurestore import Store, Table
from featurestore.chunks import New
from featurestore.distinct import Distinct
from featurestore.encoders.clip import ClipEncoder, pair_logits
from featurestore.encoders.suite import Encoders
from featurestore.encoders.text import TextEncoder
from featurestore.errors import FieldMissing
from featurestore.options import recorded_option
from featurestore.schema import SIMILARITIES
from featurestore.views import region_mean, span_mean
from linker.link_mentions import MentionInput
from linker.link_pictures import NOT_READ, PictureEncoder

#: Tokens that go through the text encoder at once (chosen here: of 64 sentences sorted by length, so
#: few are padding; on two cores MiniLM is twice as fast as with all of them at once).
_BATCH_TOKENS = 1024


@dataclass(frozen=True, kw_only=True)
class FreshMentions:
    """The mention table of n new mentions.

    ``columns``: field → (n, …), one row a mention. ``texts``: field → a text a mention. ``lists``:
    field → for each mention one value a candidate. ``tokens``: for each mention (at least its
    token_count, D) features. ``longest``: T. ``pictures``: for each mention a word of
    ``IMAGE_STATUS``, ``not given`` or ``not read``.
    """

    columns: Mapping[str, np.ndarray]
    texts: Mapping[str, Sequence[str]]
    lists: Mapping[str, Sequence[np.ndarray]]
    tokens: Sequence[np.ndarray]
    longest: int
    pictures: Sequence[str]

    def gather(self, field: str, rows: np.ndarray) -> Any:
        """As :meth:`featurestore.Table.gather`; lists of candidates must be equally long."""
        if field in self.lists:
            return np.stack([self.lists[field][row] for row in rows.tolist()])
        if field in self.texts:
            return [self.texts[field][row] for row in rows.tolist()]
        if field == "text_tokens":
            counts = self.columns["token_count"][rows]
            own = [self.tokens[r][:n] for r, n in zip(rows.tolist(), counts.tolist(), strict=True)]
            return _padded(own, int(counts.max()))
        return self.columns[field][rows]

    def gather_all(
        self, fields: Iterable[str], rows: np.ndarray, *, new: New = np.empty
    ) -> dict[str, Any]:
        """As :meth:`featurestore.Table.gather_all`, but that it makes its arrays itself."""
        return {field: self.gather(field, rows) for field in fields}

    def whole_records(self, field: str, rows: np.ndarray, *, new: New = np.empty) -> np.ndarray:
        """(len(rows), T, D) token features with what the encoder left at padded positions."""
        return _padded([self.tokens[row] for row in rows.tolist()], self.longest)


def _padded(records: Sequence[np.ndarray], length: int) -> np.ndarray:
    """(n, length, D) records one below the other, zero after their ends."""
    values = np.zeros((len(records), length, records[0].shape[1]), records[0].dtype)
    for place, record in enumerate(records):
        values[place, : len(record)] = record
    return values


class MentionEncoder:
    """Makes the fields of new mentions that a model reads.

    Args:
        fields: of the mention table; nothing else is computed, and no other encoder needed.

    Raises:
        FieldMissing: similarities are read, and the store holds no CLIP embeddings of its entities.
    """

    def __init__(self, *, store: Store, encoders: Encoders, fields: Collection[str]) -> None:
        self._entities: Table = store.entities
        self._stored = {name: store.mentions.stored(name) for name in fields}
        self._encoders = encoders
        self._keep_padding = recorded_option(store.provenance, "padding") == "keep"
        tokens = store.mentions.fields.get("text_tokens")  # absent where no encoder made the store
        self._tokens = tokens.shape[1] if tokens else 0
        self._similarities = {name: SIMILARITIES[name] for name in SIMILARITIES if name in fields}
        for _, entity_side in self._similarities.values():
            _check_embeddings(store, entity_side)
        reads_clip_image = any(side == "clip_image" for side, _ in self._similarities.values())
        self._pictures = PictureEncoder(
            encoders=replace(encoders, clip=encoders.clip if reads_clip_image else None),
            objects=store.mentions.stored("objects").shape[1] if encoders.detector else 0,
        )

    def encode(
        self, mentions: Sequence[MentionInput], candidates: Sequence[np.ndarray]
    ) -> FreshMentions:
        """The table of these mentions, with their candidates (rows of the entity table)."""
        columns: dict[str, np.ndarray] = {
            "answer": np.array([len(own) for own in candidates]),  # nobody knows: not retrieved
            "char_start": np.array([each.start for each in mentions]),
        }
        embeddings: dict[str, np.ndarray] = {}
        tokens: list[np.ndarray] = []
        pictures = [NOT_READ] * len(mentions)
        if self._encoders.text is not None:
            tokens = self._encode_text(self._encoders.text, mentions, columns)
        if self._pictures.has_encoders:
            pictures = self._encode_pictures(mentions, columns, embeddings)
        if self._encoders.clip is not None and "sim_text_image" in self._similarities:
            embeddings["clip_text"] = self._embed_text(self._encoders.clip, mentions)
        return FreshMentions(
            columns=columns,
            texts={
                "sentence": [each.sentence for each in mentions],
                "mention": [each.mention for each in mentions],
            },
            lists={"candidates": candidates, **self._compare(embeddings, candidates)},
            tokens=tokens,
            longest=self._tokens,
            pictures=pictures,
        )

    # text ----------------------------------------------------------------------------------------

    def _encode_text(
        self,
        encoder: TextEncoder,
        mentions: Sequence[MentionInput],
        columns: dict[str, np.ndarray],
    ) -> list[np.ndarray]:
        """Fill in every text column; returns the token features of each sentence."""
        sentences = [each.sentence for each in mentions]
        distinct = Distinct(sentences)
        (batch,) = encoder.encode(
            distinct.values,
            keep=self._tokens,
            padding=self._keep_padding,
            window=len(distinct),
            batch_tokens=_BATCH_TOKENS,
        )
        split = batch.split()
        tokens = [split[number] for number in distinct.of_row.tolist()]
        counts = batch.counts[distinct.of_row]
        starts, ends = encoder.mention_spans(
            sentences, [each.start for each in mentions], [each.mention for each in mentions]
        )
        real = [text[:count] for text, count in zip(tokens, counts.tolist(), strict=True)]
        spans = [
            span_mean(text, start, end)
            for text, start, end in zip(real, starts.tolist(), ends.tolist(), strict=True)
        ]
        columns["token_count"], columns["token_start"], columns["token_end"] = counts, starts, ends
        columns["span_empty"] = np.array([empty for _, empty in spans])
        self._put(columns, "text_cls", np.stack([text[0] for text in real]))
        self._put(columns, "text_span", np.stack([span for span, _ in spans]))
        if "text_tokens" not in self._stored:
            return []
        return [self._rounded("text_tokens", text) for text in tokens]

    def _embed_text(self, encoder: ClipEncoder, mentions: Sequence[MentionInput]) -> np.ndarray:
        distinct = Distinct([each.sentence for each in mentions])
        return encoder.encode_texts(distinct.values, padding=self._keep_padding)[distinct.of_row]

    # pictures ------------------------------------------------------------------------------------

    def _encode_pictures(
        self,
        mentions: Sequence[MentionInput],
        columns: dict[str, np.ndarray],
        embeddings: dict[str, np.ndarray],
    ) -> list[str]:
        """Fill in every picture column; returns a word on each mention's picture."""
        made, words = self._pictures.encode([each.image for each in mentions])
        if made.regions is not None:
            self._put(columns, "image_regions", made.regions)
            self._put(columns, "image_mean", region_mean(made.regions))
        if made.objects is not None and made.boxes is not None:
            self._put(columns, "objects", made.objects)
            columns["object_scores"] = made.boxes.scores
        if made.clip is not None:
            embeddings["clip_image"] = made.clip
        return words

    # pairs ---------------------------------------------------------------------------------------

    def _compare(
        self, embeddings: Mapping[str, np.ndarray], candidates: Sequence[np.ndarray]
    ) -> dict[str, list[np.ndarray]]:
        """CLIP logits of each mention with its candidates."""
        if not self._similarities:
            return {}
        clip = self._encoders.clip
        assert clip is not None  # parts_for
        distinct = np.unique(np.concatenate(candidates))
        places = [np.searchsorted(distinct, own)[None] for own in candidates]
        logits: dict[str, list[np.ndarray]] = {}
        for name, (mention_side, entity_side) in self._similarities.items():
            entities = self._entities.gather(entity_side, distinct).astype(np.float32)
            logits[name] = [
                pair_logits(mention[None], entities, own, clip.logit_scale)[0]
                for mention, own in zip(embeddings[mention_side], places, strict=True)
            ]
        return logits

    # rounding ------------------------------------------------------------------------------------

    def _put(self, columns: dict[str, np.ndarray], field: str, values: np.ndarray) -> None:
        """Keep a feature that is read, rounded as the store has it."""
        if field in self._stored:
            columns[field] = self._rounded(field, values)

    def _rounded(self, field: str, values: np.ndarray) -> np.ndarray:
        dtype = self._stored[field].dtype
        if dtype == np.float16:  # a value beyond its range becomes the largest, not infinite
            limit = float(np.finfo(np.float16).max)
            values = np.clip(values, -limit, limit)
        return values.astype(dtype)


def _check_embeddings(store: Store, name: str) -> None:
    if name not in store.entities:
        raise FieldMissing(
            f"the store has no entities/{name}, and the similarities of a new mention with its "
            "candidates are made from it",
            where=f"{store.path}::/entities/{name}",
            hint="ingest the raw dataset with --clip, or train without the similarities "
            "(DRIN: without edges ti and it)",
        )
