"""BERT-type text encoders: token features of sentences and descriptions, and mention spans.

A text is encoded as [CLS] word pieces [SEP]. Attention runs over as many tokens as the model takes
(at most 512), of which the first ``keep`` are handed out: 128 for sentences and 64 for descriptions
in the released data. What the model leaves at padded positions is handed out on request only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from featurestore.encoders.loading import (
    DeviceName,
    DtypeName,
    EncoderInfo,
    Runtime,
    describe,
)
from featurestore.encoders.tokens import (
    TextTokenizer,
    attention_mask,
    like_lengths,
    load_text_model,
)


@dataclass(frozen=True, kw_only=True)
class TokenBatch:
    """The features of consecutive texts."""

    first: int  # index of the first text
    counts: NDArray[np.int32]  # (w,) tokens kept of each text, [CLS] and [SEP] included
    rows: NDArray[np.int32]  # (w,) rows of tokens of each text: counts, or more with padding
    tokens: NDArray[np.float32]  # (sum of rows, D) last hidden states, text after text
    pooled: NDArray[np.float32] | None  # (w, D) pooler output; None = the model has no pooler

    def split(self) -> list[NDArray[np.float32]]:
        """One (rows, D) view a text."""
        return np.split(self.tokens, np.cumsum(self.rows)[:-1])


class TextEncoder:
    """A tokenizer and the transformer it belongs to."""

    def __init__(
        self,
        *,
        model: PreTrainedModel,
        tokenizer: TextTokenizer,
        runtime: Runtime,
        info: EncoderInfo,
        has_pooler: bool,
    ) -> None:
        self._model = runtime.place(model)
        self.tokenizer = tokenizer
        self._runtime = runtime
        self.info = info
        self.max_tokens = tokenizer.max_tokens
        self.has_pooler = has_pooler
        self.width: int = model.config.hidden_size

    @classmethod
    def load(
        cls,
        name: str,
        *,
        device: DeviceName = "auto",
        dtype: DtypeName = "float32",
        max_tokens: int | None = None,
    ) -> TextEncoder:
        """A BERT-type model from a folder or the Hugging Face hub.

        Args:
            name: folder or hub name, such as ``bert-base-cased``.
            device: ``auto`` takes a GPU where there is one.
            dtype: precision of the computation; features are float32 either way.
            max_tokens: attend to fewer tokens than the model can.

        Raises:
            EncoderError: it cannot be loaded, or is not a text encoder of this type.
        """
        runtime = Runtime.choose(device, dtype)
        model, tokenizer, has_pooler = load_text_model(name, max_tokens=max_tokens)
        options: dict[str, str | int] = {"dtype": dtype, "max_tokens": tokenizer.max_tokens}
        return cls(
            model=model,
            tokenizer=tokenizer,
            runtime=runtime,
            info=describe("text", name, model, options),
            has_pooler=has_pooler,
        )

    def encode(
        self,
        texts: Sequence[str],
        *,
        keep: int,
        padding: bool = False,
        window: int = 512,
        batch_tokens: int = 8192,
    ) -> Iterator[TokenBatch]:
        """Encode ``texts`` in order, ``window`` of them a yield.

        Inside a window texts of like length go through the model together, so that little is
        computed on padding; memory is bounded by one window (200 MB at 512 texts, keep 128 and
        D 768) and one batch.

        Args:
            keep: tokens handed out of each text, at most.
            padding: fill every text up to ``keep`` rows with the states of [PAD], which see the
                text's tokens but are not seen by them, as the released arrays hold them.
            window: texts sorted by length together.
            batch_tokens: tokens, padding included, that go through the model at once.
        """
        if keep < 1:
            raise ValueError(f"keep must be at least 1, not {keep}")
        for first in range(0, len(texts), window):
            ids = self.tokenizer.ids(texts[first : first + window])
            yield self._encode_window(first, ids, keep, padding, batch_tokens)

    def mention_spans(
        self, sentences: Sequence[str], starts: Sequence[int], mentions: Sequence[str]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Where each mention's word pieces stand in its sentence, [CLS] not counted.

        As :meth:`TextTokenizer.mention_spans`.
        """
        return self.tokenizer.mention_spans(sentences, starts, mentions)

    def _encode_window(
        self, first: int, ids: list[list[int]], keep: int, padding: bool, batch_tokens: int
    ) -> TokenBatch:
        lengths = np.array([len(each) for each in ids])
        counts = np.minimum(lengths, keep).astype(np.int32)
        filled = min(keep, self.max_tokens) if padding else 0
        rows = np.maximum(counts, filled).astype(np.int32)
        offsets = np.cumsum(rows) - rows
        tokens = np.empty((rows.sum(), self.width), np.float32)
        pooled = np.empty((len(ids), self.width), np.float32) if self.has_pooler else None
        for texts in like_lengths(np.maximum(lengths, filled), batch_tokens):
            states, pooler = self._forward([ids[text] for text in texts], keep, filled)
            # states holds the rows of these texts one after the other
            begins = np.cumsum(rows[texts]) - rows[texts]
            places = np.repeat(offsets[texts] - begins, rows[texts]) + np.arange(len(states))
            tokens[places] = states
            if pooled is not None:
                pooled[texts] = pooler
        return TokenBatch(first=first, counts=counts, rows=rows, tokens=tokens, pooled=pooled)

    def _forward(
        self, ids: list[list[int]], keep: int, filled: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Kept last hidden states (sum of rows, D) and pooler output (b, D) of one batch.

        The first ``filled`` positions are kept of every text, whether or not it reaches them.
        """
        tokens, lengths = self.tokenizer.padded(ids, filled=filled)
        mask = attention_mask(lengths, tokens.shape[1])
        with self._runtime.inference():
            device = self._runtime.device
            output = self._model(input_ids=tokens.to(device), attention_mask=mask.to(device))
            mask[:, :filled] = 1
            states = output.last_hidden_state[:, :keep][mask[:, :keep].bool().to(device)]
            pooler = output.pooler_output.float().cpu().numpy() if self.has_pooler else None
            return states.float().cpu().numpy(), pooler
