"""Tiny seeded encoders for the sample and the tests: BERT, ResNet and CLIP in Hugging Face folders.

They are not trained. A random network of this size would give nearly the same feature for every
input (one common direction, an attention that averages everything), and no model could learn from
it. So each weight is set here, from a seed, such that features keep what the input says:

* **BERT**: random word vectors; one layer whose attention averages the words that carry meaning
  (keys dim the quiet ones) and adds that average to every token in the same space. A token then
  holds its own word and its sentence's, [CLS] and the pooled output the sentence's alone.
* **ResNet**: random convolutions; each batch norm is given the mean and spread it would see on
  seeded test cards, shifted down where the network ends, so that channels differ and few fire.
* **CLIP**: the picture side computes random functions of each patch's mean colour and averages
  them; a linear map then brings its answer to a plain card of a colour to the vector of that
  colour's word. This stands in for CLIP's training: a picture is near a text that names its colours.

Weights come from NumPy generators, so two runs with the same arguments write the same bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from featurestore.encoders.tiny_bert import HEADS, write_bert
from featurestore.encoders.tiny_clip import Colours, write_clip
from featurestore.encoders.tiny_resnet import write_resnet
from featurestore.errors import ConfigError


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
        ConfigError: ``text_width`` is no multiple of the 4 attention heads, or colours are too many.
    """
    if text_width % HEADS:
        raise ConfigError(
            f"text_width is {text_width}, the tiny BERT has {HEADS} attention heads",
            where="text_width",
            hint=f"choose a multiple of {HEADS}",
        )
    folders = {name: folder / name for name in ("bert", "resnet", "clip")}
    for path in folders.values():
        path.mkdir(parents=True, exist_ok=True)
    write_bert(
        folders["bert"], np.random.default_rng((seed, 1)), words, quiet, families, text_width
    )
    write_resnet(folders["resnet"], np.random.default_rng((seed, 2)), image_width)
    write_clip(folders["clip"], np.random.default_rng((seed, 3)), words, colours or {})
    return folders
