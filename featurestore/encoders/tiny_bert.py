"""The tiny BERT: word vectors, and one layer that adds to each token what its sentence is about."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from transformers import BertConfig, BertModel, BertTokenizer

from featurestore.encoders.tiny_weights import blank, orthogonal, put, save

HEADS = 4
_MARKS = [chr(code) for code in (*range(33, 127), *range(0xC0, 0x100))]
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

# How much louder a sentence's average is than a token's own word, and how strongly quiet words are
# dimmed in it (e^6); chosen here, such that the sample's text is learnt in a few epochs.
_CONTEXT_GAIN = 3.0
_DIMMING = 6.0
# Length of what the vectors of a family share, of a whole of 1.
_KINSHIP = 0.8


def write_bert(
    folder: Path,
    rng: np.random.Generator,
    words: Sequence[str],
    quiet: Collection[str],
    families: Sequence[Collection[str]],
    width: int,
) -> None:
    marks = [*_MARKS, *(f"##{mark}" for mark in _MARKS if mark.isalnum())]
    pieces = list(dict.fromkeys([*_SPECIAL, *marks, *words]))
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    BertTokenizer(vocabulary, do_lower_case=False, model_max_length=512).save_pretrained(folder)
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=width,
        num_hidden_layers=1,
        num_attention_heads=HEADS,
        intermediate_size=width,
        max_position_embeddings=512,
    )
    model = blank(BertModel, config)

    def rows(group: Iterable[str]) -> list[int]:
        return sorted({vocabulary[piece] for piece in group if piece in vocabulary})

    vectors = _word_vectors(
        rng,
        (len(pieces), width),
        quiet=rows([*_SPECIAL, *marks, *quiet]),
        families=[rows(family) for family in families],
    )
    _fill_bert(model, rng, vectors)
    save(model, folder)


def _word_vectors(
    rng: np.random.Generator,
    shape: tuple[int, int],
    *,
    quiet: list[int],
    families: list[list[int]],
) -> npt.NDArray[np.float64]:
    """(pieces, width): channel 0 says how loud a word is, the others what it means."""
    vectors = rng.standard_normal(shape)
    for family in families:
        vectors[family] = _KINSHIP * rng.standard_normal(shape[1]) + (
            np.sqrt(1 - _KINSHIP**2) * vectors[family]
        )
    vectors[:, 0] = 2.0
    vectors[quiet, 0] = -2.0
    vectors[quiet, 1:] *= 0.3
    vectors[0] = 0.0  # [PAD]
    return vectors


def _fill_bert(
    model: BertModel, rng: np.random.Generator, vectors: npt.NDArray[np.float64]
) -> None:
    width = vectors.shape[1]
    put(model, "embeddings.word_embeddings.weight", vectors)
    positions = 0.1 * rng.standard_normal((model.config.max_position_embeddings, width))
    put(model, "embeddings.position_embeddings.weight", positions)
    head = width // HEADS
    # Each head's query is its first channel, constant; its key reads channel 0: quiet words lose.
    query, key = np.zeros(width), np.zeros((width, width))
    query[::head] = np.sqrt(head) * _DIMMING / 2
    key[::head, 0] = 1.0
    layer = "encoder.layer.0"
    put(model, f"{layer}.attention.self.query.bias", query)
    put(model, f"{layer}.attention.self.key.weight", key)
    turn = orthogonal(rng, width)
    put(model, f"{layer}.attention.self.value.weight", turn)
    put(model, f"{layer}.attention.output.dense.weight", _CONTEXT_GAIN * turn.T)
    put(model, f"{layer}.intermediate.dense.weight", orthogonal(rng, width))
    put(model, f"{layer}.output.dense.weight", 0.1 * orthogonal(rng, width))
    put(model, "pooler.dense.weight", 0.5 * np.eye(width))
