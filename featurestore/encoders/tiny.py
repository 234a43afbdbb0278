"""Tiny seeded encoders for the sample and the tests: BERT, ResNet and CLIP in Hugging Face folders.

They are not trained. A random network of this size would give nearly the same feature for every
input (one common direction, an attention that averages everything), and no model could learn from
it. So each weight is set here, from a seed, such that features keep what the input says:

* **BERT**: random word vectors; one layer whose attention averages the words that carry meaning
  (keys dim the quiet ones) and adds that average to every token in the same space. A token then
  holds its own word and its sentence's, [CLS] and the pooled output the sentence's alone.
* **ResNet**: random convolutions; each batch norm is given the mean and spread it would see on
  seeded test cards, shifted down where the network ends, so that channels differ and few fire.
* **CLIP**: the picture side is the mean colour direction of the patches, through random maps; the
  text side holds the same direction for each colour word and little for other words. This stands
  in for CLIP's training: a picture is near a text that names its colours.

Weights come from NumPy generators, so two runs with the same arguments write the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from tokenizers import pre_tokenizers
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTokenizer,
    ConvNextImageProcessor,
    PreTrainedModel,
    ResNetConfig,
    ResNetModel,
)

from featurestore.errors import ConfigError

#: RGB of a colour word, 0–255.
Colours = Mapping[str, tuple[int, int, int]]

_HEADS = 4
_MARKS = [chr(code) for code in range(33, 127)] + [chr(code) for code in range(0xC0, 0x100)]
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def write_tiny_encoders(
    folder: Path,
    *,
    seed: int,
    words: Sequence[str],
    quiet: Collection[str] = (),
    families: Sequence[Collection[str]] = (),
    colours: Colours | None = None,
    text_width: int = 64,
    image_width: int = 96,
) -> dict[str, Path]:
    """Write ``bert``, ``resnet`` and ``clip`` below ``folder``; their folders by name.

    Args:
        words: word pieces the tokenizers know whole; "##" starts one that continues a word.
        quiet: words that carry no meaning ("the", "of"): the text encoders look past them.
        families: groups of words with like meaning; the BERT vectors of a group are close.
        colours: words that CLIP shall tie to colours.
        text_width: width of the BERT features, a multiple of 4.
        image_width: width of the ResNet features; 49 regions for a picture of 224×224.

    Raises:
        ConfigError: ``text_width`` does not divide by the 4 attention heads.
    """
    if text_width % _HEADS:
        raise ConfigError(
            f"text_width is {text_width}, the tiny BERT has {_HEADS} attention heads",
            where="text_width",
            hint=f"choose a multiple of {_HEADS}",
        )
    folders = {name: folder / name for name in ("bert", "resnet", "clip")}
    for path in folders.values():
        path.mkdir(parents=True, exist_ok=True)
    _write_bert(
        folders["bert"], np.random.default_rng((seed, 1)), words, quiet, families, text_width
    )
    _write_resnet(folders["resnet"], np.random.default_rng((seed, 2)), image_width)
    _write_clip(folders["clip"], np.random.default_rng((seed, 3)), words, colours or {})
    return folders


def _save(model: PreTrainedModel, folder: Path) -> None:
    """Configuration and weights as ``save_pretrained`` writes them, without its progress bars."""
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    weights = {name: weight.contiguous() for name, weight in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _blank(model: type[PreTrainedModel], config: object) -> PreTrainedModel:
    """A model whose own random start neither uses nor moves the caller's random numbers."""
    with torch.random.fork_rng(devices=[]):
        built = model(config)
    for name, weight in built.named_parameters():
        is_scale = "norm" in name.lower() and name.endswith("weight")
        nn.init.constant_(weight, 1.0 if is_scale else 0.0)
    return built


def _put(target: Tensor, value: npt.ArrayLike) -> None:
    with torch.no_grad():
        target.copy_(torch.from_numpy(np.asarray(value, np.float32)))


def _orthogonal(rng: np.random.Generator, rows: int, columns: int) -> npt.NDArray[np.float64]:
    """(rows, columns) with orthonormal columns, or rows where there are fewer of them."""
    size = max(rows, columns)
    return np.linalg.qr(rng.standard_normal((size, size)))[0][:rows, :columns]


# BERT ---------------------------------------------------------------------------------------------

# How much louder a sentence's average is than a token's own word, and how strongly quiet words are
# dimmed in it (e^6); chosen here, such that the sample's text is learnt in a few epochs.
_CONTEXT_GAIN = 3.0
_DIMMING = 6.0
# Length of what the vectors of a family share, of a whole of 1.
_KINSHIP = 0.8


def _write_bert(
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
        num_attention_heads=_HEADS,
        intermediate_size=width,
        max_position_embeddings=512,
    )
    model = _blank(BertModel, config)

    def rows(group: Iterable[str]) -> list[int]:
        return sorted({vocabulary[piece] for piece in group if piece in vocabulary})

    vectors = _word_vectors(
        rng,
        (len(pieces), width),
        quiet=rows([*_SPECIAL, *marks, *quiet]),
        families=[rows(family) for family in families],
    )
    _fill_bert(model, rng, vectors)
    _save(model, folder)


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
    model: PreTrainedModel, rng: np.random.Generator, vectors: npt.NDArray[np.float64]
) -> None:
    width = vectors.shape[1]
    _put(model.embeddings.word_embeddings.weight, vectors)
    _put(model.embeddings.position_embeddings.weight, 0.1 * rng.standard_normal((512, width)))
    attention = model.encoder.layer[0].attention
    head = width // _HEADS
    # Each head's query is its first channel, constant; its key reads channel 0: quiet words lose.
    query, key = np.zeros(width), np.zeros((width, width))
    query[::head] = np.sqrt(head) * _DIMMING / 2
    key[::head, 0] = 1.0
    _put(attention.self.query.bias, query)
    _put(attention.self.key.weight, key)
    turn = _orthogonal(rng, width, width)
    _put(attention.self.value.weight, turn)
    _put(attention.output.dense.weight, _CONTEXT_GAIN * turn.T)
    layer = model.encoder.layer[0]
    _put(layer.intermediate.dense.weight, _orthogonal(rng, width, width))
    _put(layer.output.dense.weight, 0.1 * _orthogonal(rng, width, width))
    _put(model.pooler.dense.weight, 0.5 * np.eye(width))


# ResNet -------------------------------------------------------------------------------------------

# Test cards the batch norms are set with, and how far below its mean a last channel must be to stay
# silent (in standard deviations); chosen here.
_CARDS = 24
_LAST_SHIFT = -0.5


def _write_resnet(folder: Path, rng: np.random.Generator, width: int) -> None:
    ConvNextImageProcessor(
        size={"shortest_edge": 224},
        crop_pct=0.875,
        resample=3,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    ).save_pretrained(folder)
    config = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[16, 32, width],
        depths=[1, 1, 1],
        layer_type="basic",
        downsample_in_first_stage=True,  # three stages then halve 56×56 down to 7×7
    )
    model = _blank(ResNetModel, config)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            _put(module.weight, rng.standard_normal(module.weight.shape) * np.sqrt(2 / fan_in))
    _set_batch_norms(model, rng)
    _save(model, folder)


def _set_batch_norms(model: PreTrainedModel, rng: np.random.Generator) -> None:
    """Give every batch norm the statistics of the test cards, in the order the network runs."""

    def measure(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        if not isinstance(norm, nn.BatchNorm2d):
            return
        mean = inputs[0].mean((0, 2, 3))
        spread = inputs[0].var((0, 2, 3), correction=0)
        # Rounded, so that the last bits of a sum do not decide about the bytes of the file.
        _put(norm.running_mean, torch.round(mean, decimals=2).numpy())
        _put(norm.running_var, torch.round(spread, decimals=2).clamp(min=0.01).numpy())

    hooks = [module.register_forward_pre_hook(measure) for module in model.modules()]
    with torch.no_grad():
        model.eval()(torch.from_numpy(_test_cards(rng)))
    for hook in hooks:
        hook.remove()
    last = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)][-1]
    nn.init.constant_(last.bias, _LAST_SHIFT)


def _test_cards(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """(cards, 3, 224, 224) in [-1, 1]: a random colour with rectangles of other random colours."""
    cards = np.empty((_CARDS, 3, 224, 224), np.float32)
    for card in cards:
        card[:] = rng.uniform(-1, 1, (3, 1, 1))
        for _ in range(12):
            x, y = rng.integers(0, 200, 2)
            wide, high = rng.integers(12, 120, 2)
            card[:, y : y + high, x : x + wide] = rng.uniform(-1, 1, (3, 1, 1))
    return cards


# CLIP ---------------------------------------------------------------------------------------------

_CLIP_WIDTH = 32
_CLIP_SIDE, _CLIP_PATCH = 64, 8
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of the published CLIP models
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_CLIP_ENDS = ("<|startoftext|>", "<|endoftext|>")
_CLIP_LIGHTS = (1.0, 0.6)  # brightness of the colour cards that tie the two sides together
_CLIP_RIDGE = 0.1
# Size of the vectors of words that name no colour: below the square root of the layer norm's
# epsilon (0.003), so that the norm leaves them quieter than colour words; chosen here.
_OTHER_WORDS = 5e-4


def _write_clip(
    folder: Path, rng: np.random.Generator, words: Sequence[str], colours: Colours
) -> None:
    vocabulary = _write_clip_tokenizer(folder, [*words, *colours])
    CLIPImageProcessor(
        size={"shortest_edge": _CLIP_SIDE},
        crop_size={"height": _CLIP_SIDE, "width": _CLIP_SIDE},
        image_mean=list(_CLIP_MEAN),
        image_std=list(_CLIP_STD),
    ).save_pretrained(folder)
    shape = {
        "hidden_size": _CLIP_WIDTH,
        "intermediate_size": 2 * _CLIP_WIDTH,
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
    vision = {**shape, "num_hidden_layers": 2, "image_size": _CLIP_SIDE, "patch_size": _CLIP_PATCH}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=_CLIP_WIDTH)
    model = _blank(CLIPModel, config)
    _fill_clip(model, rng, vocabulary, colours)
    _save(model, folder)


def _write_clip_tokenizer(folder: Path, words: Sequence[str]) -> dict[str, int]:
    """A CLIP tokenizer that knows the ASCII words (in lower case) whole; its vocabulary."""
    plain = {word.lower() for word in words if word.isascii() and not word.startswith("##")}
    merges = _byte_pair_merges(sorted(plain))
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = dict.fromkeys(
        [*_CLIP_ENDS, *symbols, *(f"{symbol}</w>" for symbol in symbols), *map("".join, merges)]
    )
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    CLIPTokenizer(vocabulary, merges, model_max_length=77).save_pretrained(folder)
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


def _fill_clip(
    model: PreTrainedModel, rng: np.random.Generator, vocabulary: dict[str, int], colours: Colours
) -> None:
    _fill_clip_vision(model.vision_model, rng)
    meanings = _orthogonal(rng, _CLIP_WIDTH, _CLIP_WIDTH)
    meanings -= meanings.mean(1, keepdims=True)  # as the text side's layer norms will
    tokens = _OTHER_WORDS * rng.standard_normal((len(vocabulary), _CLIP_WIDTH))
    tokens[[vocabulary[end] for end in _CLIP_ENDS]] = 0.0
    if colours:
        tokens[[vocabulary[f"{word}</w>"] for word in colours]] = meanings[: len(colours)]
    _put(model.text_model.embeddings.token_embedding.weight, tokens)
    _average_what_is_seen(model.text_model.encoder.layers[-1])
    _put(model.text_projection.weight, np.eye(_CLIP_WIDTH))
    _put(model.logit_scale, np.log(100.0))
    _fit_clip_projection(model, list(colours.values()), meanings)


def _fill_clip_vision(vision: nn.Module, rng: np.random.Generator) -> None:
    """A patch's mean colour, then random non-linear functions of it, then the mean over patches."""
    # Columns sum to zero: the layer norms take means away and would turn the colour otherwise.
    colour_map = rng.standard_normal((_CLIP_WIDTH, 3))
    colour_map -= colour_map.mean(0)
    patch = vision.embeddings.patch_embedding.weight
    _put(patch, np.broadcast_to(colour_map[:, :, None, None] / _CLIP_PATCH**2, patch.shape))
    mixing, averaging = vision.encoder.layers
    _put(mixing.mlp.fc1.weight, rng.standard_normal(mixing.mlp.fc1.weight.shape))
    _put(mixing.mlp.fc1.bias, -2 * np.abs(rng.standard_normal(mixing.mlp.fc1.bias.shape)))
    _put(mixing.mlp.fc2.weight, rng.standard_normal(mixing.mlp.fc2.weight.shape))
    _average_what_is_seen(averaging)


def _average_what_is_seen(layer: nn.Module) -> None:
    """Attention that adds the mean over visible tokens: queries and keys are zero."""
    _put(layer.self_attn.v_proj.weight, np.eye(_CLIP_WIDTH))
    _put(layer.self_attn.out_proj.weight, np.eye(_CLIP_WIDTH))


def _fit_clip_projection(
    model: PreTrainedModel,
    colours: Sequence[tuple[int, int, int]],
    meanings: npt.NDArray[np.float64],
) -> None:
    """Map what the picture side makes of plain cards to the vectors of the cards' colour words."""
    cards = np.concatenate([np.asarray(colours).reshape(-1, 3) * light for light in _CLIP_LIGHTS])
    pixels = (cards / 255 - np.asarray(_CLIP_MEAN)) / np.asarray(_CLIP_STD)
    inputs = torch.from_numpy(pixels.astype(np.float32))[:, :, None, None]
    with torch.no_grad():
        outputs = model.vision_model(inputs.expand(-1, -1, _CLIP_SIDE, _CLIP_SIDE)).pooler_output
    # Rounded, so that the last bits of a sum do not decide about the bytes of the file.
    answers = np.round(outputs.numpy().astype(np.float64), 2)
    middle = answers.mean(0)
    _put(model.vision_model.post_layernorm.bias, -middle)
    answers -= middle
    wanted = np.concatenate([meanings[: len(colours)]] * len(_CLIP_LIGHTS))
    ridge = answers.T @ answers + _CLIP_RIDGE * np.eye(_CLIP_WIDTH)
    _put(model.visual_projection.weight, np.linalg.solve(ridge, answers.T @ wanted).T)
