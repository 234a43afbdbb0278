"""The stored texts of a batch as token ids, for a text encoder inside training.

Everything here happens where batches are read, beside the training step: gathering texts,
tokenising, and putting texts of like length together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from featurestore import Store
from featurestore.encoders.tokens import like_lengths
from featurestore.errors import DataError
from featurestore.schema import NO_ROW
from linker.batch import TextPart, Texts
from linker.config import EntityTextType
from linker.pointers import check_spans
from linker.tables import Tables

if TYPE_CHECKING:
    from featurestore.encoders.tokens import TextTokenizer

#: Field of the entity table that holds what is read of an entity.
ENTITY_FIELDS: Mapping[EntityTextType, str] = {
    "attr": "text",
    "name": "title",
    "brief": "description",
}

_SPAN_FIELDS = frozenset({"mention_text_span", "mention_token_start", "mention_token_end"})

#: Mentions whose tokens are compared with the store's, where spans are taken from it.
_COMPARED = 64


class TextReader:
    """Answers a batch's texts as token ids. Holds the store and the tokenizer, and pickles.

    Args:
        store: a store, or its entities with mentions of another origin.
        by_characters: the mentions say at which character they stand, and not only at which token.
        entity: what is read of an entity; one without a description is read by its title.
        names: the batch fields to be made of the texts; what they do not need is not read.
        with_entities: read the texts of each batch's entities; otherwise they are looked up in
            what ``entity_parts`` was made into.
        mention_tokens: T, the tokens of a sentence whose features are handed out.
        filled: positions of sentences that go through the encoder even where they are padding.
        batch_tokens: tokens, padding included, of one part.
    """

    def __init__(
        self,
        *,
        store: Tables,
        by_characters: bool,
        tokenizer: TextTokenizer,
        entity: EntityTextType,
        names: frozenset[str],
        with_entities: bool,
        mention_tokens: int,
        filled: int,
        batch_tokens: int,
    ) -> None:
        self.store = store
        self.by_characters = by_characters
        self.tokenizer = tokenizer
        self.entity = entity
        self.names = names
        self.with_entities = with_entities
        self.mention_tokens = mention_tokens
        self.filled = filled
        self.batch_tokens = batch_tokens

    def read(self, rows: np.ndarray, distinct: np.ndarray) -> tuple[Texts, dict[str, Tensor]]:
        """The texts of a batch, and those of ``names`` that tokenising alone answers.

        Args:
            rows: the mentions.
            distinct: entity rows, each once; ``NO_ROW`` stands for an entity without a text.
        """
        start, end = self._spans(rows)
        columns = {"mention_token_start": start, "mention_token_end": end}
        mentions: tuple[TextPart, ...] = ()
        if any(name.startswith("mention_") for name in self.names):
            ids = self.tokenizer.ids(self.store.mentions.gather("sentence", rows))
            lengths = torch.tensor([len(each) for each in ids])
            columns["mention_token_count"] = lengths.clamp_max(self.mention_tokens)
            mentions = self._parts(np.arange(len(rows)), ids, filled=self.filled)
        entities: tuple[TextPart, ...] = ()
        if self.with_entities:
            entities = self.entity_parts(distinct)
        texts = Texts(
            mentions=mentions,
            entities=entities,
            entity_rows=torch.from_numpy(distinct.astype(np.int64)),
            mention_start=start,
            mention_end=end,
        )
        return texts, {name: value for name, value in columns.items() if name in self.names}

    def entity_parts(self, rows: np.ndarray) -> tuple[TextPart, ...]:
        """The texts of these entities, ``NO_ROW`` left out; nothing where no field needs them."""
        if not any(name.startswith("entity_") for name in self.names):
            return ()
        known = np.flatnonzero(rows != NO_ROW)
        return self._parts(known, self.tokenizer.ids(self.entity_texts(rows[known])))

    def entity_texts(self, rows: np.ndarray) -> list[str]:
        """What is read of these entities."""
        table = self.store.entities
        texts = table.gather(ENTITY_FIELDS[self.entity], rows)
        if self.entity == "brief":
            bare = [place for place, text in enumerate(texts) if not text]
            for place, title in zip(bare, table.gather("title", rows[bare]), strict=True):
                texts[place] = title
        return texts

    def _parts(
        self, rows: np.ndarray, ids: Sequence[Sequence[int]], *, filled: int = 0
    ) -> tuple[TextPart, ...]:
        lengths = np.maximum([len(each) for each in ids], filled)
        parts = []
        for places in like_lengths(lengths, self.batch_tokens):
            chosen = [ids[place] for place in places]
            tokens, counts = self.tokenizer.padded(chosen, filled=filled)
            parts.append(
                TextPart(rows=torch.from_numpy(rows[places]), tokens=tokens, lengths=counts)
            )
        return tuple(parts)

    def _spans(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """(B,) and (B,) where the mentions stand, as ingest finds it; zeros where nobody asks."""
        table = self.store.mentions
        if not self.names & _SPAN_FIELDS:
            nobody = torch.zeros(len(rows), dtype=torch.int64)
            return nobody, nobody
        if self.by_characters:
            start, end = self.tokenizer.mention_spans(
                table.gather("sentence", rows),
                table.gather("char_start", rows).tolist(),
                table.gather("mention", rows),
            )
        else:
            start, end = table.gather("token_start", rows), table.gather("token_end", rows)
            check_spans(start, end, rows)
        return torch.from_numpy(start.astype(np.int64)), torch.from_numpy(end.astype(np.int64))


def has_characters(store: Store) -> bool:
    """Whether the store knows where in its sentence a mention stands, and not only the tokens."""
    return store.has("mentions/char_start") and store.has("mentions/mention")


def check_stored_spans(store: Store, tokenizer: TextTokenizer, encoder: str) -> None:
    """Refuse a tokenizer whose word pieces are not those that the store's spans count.

    Raises:
        FieldMissing: the store has no spans.
        DataError: some of the first sentences have another number of tokens.
    """
    rows = np.arange(min(_COMPARED, len(store.mentions)))
    stored = store.mentions.gather("token_count", rows)
    longest = store.mentions.stored("text_tokens").shape[1]
    sentences = store.mentions.gather("sentence", rows)
    found = np.minimum([len(ids) for ids in tokenizer.ids(sentences)], longest)
    for row in np.flatnonzero(found != stored).tolist():
        raise DataError(
            f"{encoder} cuts the sentence into {found[row]} tokens and the store's encoder into "
            f"{stored[row]}: the mention's place in it is unknown",
            where=f"{store.path}::/mentions/token_count[{row}]",
            hint="name the encoder of the store with --set text.encoder=…, or ingest raw data, "
            "which says where a mention stands",
        )
