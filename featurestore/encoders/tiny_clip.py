"""The tiny CLIP: a picture's colours on one side, the words for them on the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import pre_tokenizers
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTokenizer,
)

from featurestore.encoders.tiny_weights import blank, orthogonal, put, save, shape_of
from featurestore.errors import ConfigError

#: RGB of a colour word, 0–255.
Colours = Mapping[str, tuple[int, int, int]]

_HEADS = 4
_WIDTH = 32
_SIDE, _PATCH = 64, 8
_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of the published CLIP models
_STD = (0.26862954, 0.26130258, 0.27577711)
_ENDS = ("<|startoftext|>", "<|endoftext|>")
# Brightness of the colour cards that tie the two sides together, and what keeps that fit from
# following their last differences; chosen here.
_LIGHTS = (1.0, 0.6)
_RIDGE = 0.1
# Size of the vectors of words that name no colour: below the square root of the layer norm's
# epsilon (0.003), so that the norm leaves them quieter than colour words; chosen here.
_OTHER_WORDS = 5e-4


def write_clip(
    folder: Path, rng: np.random.Generator, words: Sequence[str], colours: Colours
) -> None:
    """Write the model, its tokenizer and its image processor into ``folder``.

    Raises:
        ConfigError: more colours than the vectors of words can keep apart.
    """
    if len(colours) > _WIDTH:
        raise ConfigError(
            f"{len(colours)} colours, the tiny CLIP keeps {_WIDTH} apart", where="colours"
        )
    vocabulary = _write_tokenizer(folder, [*words, *colours])
    CLIPImageProcessor(
        size={"shortest_edge": _SIDE},
        crop_size={"height": _SIDE, "width": _SIDE},
        image_mean=list(_MEAN),
        image_std=list(_STD),
    ).save_pretrained(folder)
    shape = {
        "hidden_size": _WIDTH,
        "intermediate_size": 2 * _WIDTH,
        "num_attention_heads": _HEADS,
    }
    text = {
        **shape,
        "num_hidden_layers": 1,
        "vocab_size": len(vocabulary),
        "max_position_embeddings": 77,
        "bos_token_id": vocabulary["<|startoftext|>"],
        "eos_token_id": vocabulary["<|endoftext|>"],
        "pad_token_id": vocabulary["<|endoftext|>"],
    }
    vision = {**shape, "num_hidden_layers": 2, "image_size": _SIDE, "patch_size": _PATCH}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=_WIDTH)
    model = blank(CLIPModel, config)
    _fill(model, rng, vocabulary, colours)
    save(model, folder)


def _write_tokenizer(folder: Path, words: Sequence[str]) -> dict[str, int]:
    """A CLIP tokenizer that knows the ASCII words (in lower case) whole; its vocabulary."""
    plain = {word.lower() for word in words if word.isascii() and not word.startswith("##")}
    merges = _byte_pair_merges(sorted(plain))
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = dict.fromkeys(
        [*_ENDS, *symbols, *(f"{symbol}</w>" for symbol in symbols), *map("".join, merges)]
    )
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = CLIPTokenizer(vocabulary, merges, model_max_length=77)
    tokenizer.save_pretrained(folder)
    return vocabulary


def _byte_pair_merges(words: Sequence[str]) -> list[tuple[str, str]]:
    """Byte pair merges until every word is one piece: the most frequent pair first, ties by name.

    (The tokenizers library's own trainer breaks ties by hash order, so its files differ by run.)
    """
    split = [[*word[:-1], f"{word[-1]}</w>"] for word in words]
    merges: list[tuple[str, str]] = []
    while split := [pieces for pieces in split if len(pieces) > 1]:
        counts = Counter(pair for pieces in split for pair in pairwise(pieces))
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(pair)
        split = [_merged(pieces, pair) for pieces in split]
    return merges


def _merged(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    """``pieces`` with every occurrence of ``pair``, from the left, made one piece."""
    merged: list[str] = []
    place = 0
    while place < len(pieces):
        taken = 2 if tuple(pieces[place : place + 2]) == pair else 1
        merged.append("".join(pieces[place : place + taken]))
        place += taken
    return merged


def _fill(
    model: CLIPModel, rng: np.random.Generator, vocabulary: dict[str, int], colours: Colours
) -> None:
    _fill_vision(model, rng)
    meanings = orthogonal(rng, _WIDTH)
    meanings -= meanings.mean(1, keepdims=True)  # as the text side's layer norms will
    tokens = _OTHER_WORDS * rng.standard_normal((len(vocabulary), _WIDTH))
    tokens[[vocabulary[end] for end in _ENDS]] = 0.0
    put(model, "visual_projection.weight", orthogonal(rng, _WIDTH))
    if colours:
        tokens[[vocabulary[f"{word}</w>"] for word in colours]] = meanings[: len(colours)]
        _tie_projection(model, list(colours.values()), meanings)
    put(model, "text_model.embeddings.token_embedding.weight", tokens)
    _average_what_is_seen(model, "text_model.encoder.layers.0")
    put(model, "text_projection.weight", np.eye(_WIDTH))
    put(model, "logit_scale", np.log(100.0))


def _fill_vision(model: CLIPModel, rng: np.random.Generator) -> None:
    """A patch's mean colour, then random non-linear functions of it, then the mean over patches."""
    # Columns sum to zero: the layer norms take means away and would turn the colour otherwise.
    colour_map = rng.standard_normal((_WIDTH, 3))
    colour_map -= colour_map.mean(0)
    patch = colour_map[:, :, None, None] / _PATCH**2
    put(model, "vision_model.embeddings.patch_embedding.weight", patch)
    mixing = "vision_model.encoder.layers.0.mlp"
    for name in ("fc1.weight", "fc2.weight"):
        shape = shape_of(model, f"{mixing}.{name}")
        put(model, f"{mixing}.{name}", rng.standard_normal(shape))
    # Below zero, so that a unit answers to some colours only.
    shape = shape_of(model, f"{mixing}.fc1.bias")
    put(model, f"{mixing}.fc1.bias", -2 * np.abs(rng.standard_normal(shape)))
    _average_what_is_seen(model, "vision_model.encoder.layers.1")


def _average_what_is_seen(model: CLIPModel, layer: str) -> None:
    """Attention that adds the mean over visible tokens: its queries and keys are zero."""
    put(model, f"{layer}.self_attn.v_proj.weight", np.eye(_WIDTH))
    put(model, f"{layer}.self_attn.out_proj.weight", np.eye(_WIDTH))


def _tie_projection(
    model: CLIPModel,
    colours: Sequence[tuple[int, int, int]],
    meanings: npt.NDArray[np.float64],
) -> None:
    """Map what the picture side makes of plain cards to the vectors of the cards' colour words."""
    cards = np.concatenate([np.asarray(colours) * light for light in _LIGHTS])
    pixels = (cards / 255 - np.asarray(_MEAN)) / np.asarray(_STD)
    inputs = torch.from_numpy(pixels.astype(np.float32))[:, :, None, None]
    vision = model.get_submodule("vision_model")
    with torch.no_grad():
        outputs = vision(inputs.expand(-1, -1, _SIDE, _SIDE)).pooler_output
    # Rounded, so that the last bits of a sum do not decide about the bytes of the file.
    answers = np.round(outputs.numpy().astype(np.float64), 2)
    middle = answers.mean(0)
    put(model, "vision_model.post_layernorm.bias", -middle)
    answers -= middle
    wanted = np.concatenate([meanings[: len(colours)]] * len(_LIGHTS))
    ridge = answers.T @ answers + _RIDGE * np.eye(_WIDTH)
    put(model, "visual_projection.weight", np.linalg.solve(ridge, answers.T @ wanted).T)
