"""From texts to the token ids that a BERT-type encoder reads: [CLS] word pieces [SEP]."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from featurestore.encoders.loading import load_model, load_tokenizer
from featurestore.errors import EncoderError

#: Longest attention (DATASETS.md, "attention over up to 512 tokens"), where the model allows it.
MAX_TOKENS = 512


class TextTokenizer:
    """The tokenizer of one text encoder; pickles, and needs neither the model nor a device.

    Args:
        max_tokens: longest text that the encoder reads, [CLS] and [SEP] included.
    """

    def __init__(self, *, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self.max_tokens = max_tokens

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text as the model reads it: framed and cut."""
        return self._encode(texts, special=True)

    def padded(self, ids: Sequence[Sequence[int]], *, filled: int = 0) -> tuple[Tensor, Tensor]:
        """Texts as one block.

        Args:
            filled: positions that the block has at least.

        Returns:
            (n, L) int64 token ids, [PAD] behind the shorter texts, and the (n,) int64 lengths.
        """
        lengths = [len(each) for each in ids]
        tokens = torch.full((len(ids), max(filled, *lengths)), self._tokenizer.pad_token_id or 0)
        for row, each in enumerate(ids):
            tokens[row, : len(each)] = torch.tensor(each)
        return tokens, torch.tensor(lengths)

    def mention_spans(
        self, sentences: Sequence[str], starts: Sequence[int], mentions: Sequence[str]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Where each mention's word pieces stand in its sentence, [CLS] not counted.

        Start is the number of word pieces of ``sentence[:start]`` tokenised alone, the length that
        of the mention tokenised alone (DATASETS.md), so both are true of the sentence only where no
        word straddles their borders. Not cut to the tokens kept.

        Args:
            starts: first character of each mention.

        Returns:
            token_start (n,) and token_end (n,): the mention's rows of the token features are
            ``[token_start + 1, token_end + 1)``.
        """
        before = [sentence[:start] for sentence, start in zip(sentences, starts, strict=True)]
        token_start = self._piece_counts(before)
        return token_start, token_start + self._piece_counts(mentions)

    def _piece_counts(self, texts: Sequence[str]) -> NDArray[np.int32]:
        if not texts:
            return np.zeros(0, np.int32)
        return np.array([len(ids) for ids in self._encode(texts, special=False)], np.int32)

    def _encode(self, texts: Sequence[str], *, special: bool) -> list[list[int]]:
        encoded = self._tokenizer(
            list(texts),
            add_special_tokens=special,
            truncation=special,
            max_length=self.max_tokens if special else None,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        return encoded["input_ids"]


def attention_mask(lengths: Tensor, positions: int) -> Tensor:
    """(n, positions) int64: 1 for the tokens of texts of these lengths (n,), 0 for padding."""
    return (torch.arange(positions, device=lengths.device) < lengths[:, None]).long()


def like_lengths(lengths: NDArray[np.int64], batch_tokens: int) -> Iterator[NDArray[np.int64]]:
    """Rows of like length, longest first, as many as fit into ``batch_tokens`` with padding."""
    order = np.argsort(-lengths, kind="stable")
    begin = 0
    while begin < len(order):
        end = begin + max(1, batch_tokens // int(lengths[order[begin]]))
        yield order[begin:end]
        begin = end


def load_text_model(
    name: str, *, max_tokens: int | None = None
) -> tuple[PreTrainedModel, TextTokenizer, bool]:
    """A BERT-type model from a folder or the Hugging Face hub, and its tokenizer.

    Args:
        max_tokens: attend to fewer tokens than the model can.

    Returns:
        The model in float32, in evaluation mode, on the CPU; its tokenizer; whether it has a pooler.

    Raises:
        EncoderError: it cannot be loaded, or is not a text encoder of this type.
    """
    model, absent = load_model(name, kind="text encoder", may_lack="pooler.")
    _check_type(model, name)
    tokenizer = load_tokenizer(name, kind="text encoder", vocabulary=model.config.vocab_size)
    _check_tokenizer(tokenizer, name)
    limits = [MAX_TOKENS, model.config.max_position_embeddings, tokenizer.model_max_length]
    limit = min(limits if max_tokens is None else [*limits, max_tokens])
    if limit < 3:
        raise EncoderError(f"max_tokens {limit} leaves no token beside [CLS] and [SEP]")
    has_pooler = getattr(model, "pooler", None) is not None and not absent
    return model, TextTokenizer(tokenizer=tokenizer, max_tokens=limit), has_pooler


def _check_type(model: PreTrainedModel, name: str) -> None:
    config = model.config
    needed = ("vocab_size", "hidden_size", "max_position_embeddings")
    if config.is_encoder_decoder or not all(hasattr(config, key) for key in needed):
        raise EncoderError(
            f"{type(model).__name__} is not a text encoder of the BERT type",
            where=name,
            hint="take one that reads text and has one last hidden state, such as bert-base-cased",
        )


def _check_tokenizer(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """The store's rules (tokens 1 … n-2, spans shifted by one) need [CLS] text [SEP]."""
    added = tokenizer.num_special_tokens_to_add()
    if added != 2:
        raise EncoderError(
            f"the tokenizer adds {added} special tokens to a text, not [CLS] and [SEP]", where=name
        )
