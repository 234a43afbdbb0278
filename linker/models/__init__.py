"""The networks: one a file, and the registry that names them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, TypeAlias

from featurestore.errors import ConfigError
from linker.models.base import Model, ModelConfig
from linker.models.drin import Drin, DrinConfig
from linker.models.ghmfc import Ghmfc, GhmfcConfig
from linker.models.hiecoatt import Hiecoatt, HiecoattConfig
from linker.models.image import ImageBiEncoder, ImageConfig
from linker.models.jmel import Jmel, JmelConfig
from linker.models.melhi import Melhi, MelhiConfig
from linker.models.text import TextBiEncoder, TextConfig
from linker.models.untrained import (
    BertConfig,
    BertCosine,
    CandidateOrder,
    CandidatesConfig,
    ClipConfig,
    ClipZeroShot,
)

ModelEntry: TypeAlias = tuple[type[Model[Any]], type[ModelConfig]]

#: Every model by the name that configurations and the command line use.
MODELS: dict[str, ModelEntry] = {
    "drin": (Drin, DrinConfig),
    "ghmfc": (Ghmfc, GhmfcConfig),
    "melhi": (Melhi, MelhiConfig),
    "hiecoatt": (Hiecoatt, HiecoattConfig),
    "jmel": (Jmel, JmelConfig),
    "text": (TextBiEncoder, TextConfig),
    "image": (ImageBiEncoder, ImageConfig),
    "bert": (BertCosine, BertConfig),
    "clip": (ClipZeroShot, ClipConfig),
    "candidates": (CandidateOrder, CandidatesConfig),
}


def model_class(name: str) -> ModelEntry:
    """The class of the model ``name``, and the class of its config.

    Raises:
        ConfigError: there is no such model; lists the choices and suggests the nearest.
    """
    if name in MODELS:
        return MODELS[name]
    near = difflib.get_close_matches(name.lower(), MODELS, n=1, cutoff=0.5)
    raise ConfigError(
        f"there is no model {name!r}; the models are {', '.join(sorted(MODELS))}",
        where="model",
        hint=f"did you mean {near[0]!r}?" if near else "choose one of these",
    )


@dataclass(frozen=True, kw_only=True)
class ModelLine:
    """A model as the list of models shows it; what it reads is what it reads by default."""

    name: str
    summary: str
    learns: bool
    reads_texts: bool
    reads_pictures: bool


def list_models() -> list[ModelLine]:
    """Every model, in the order of :data:`MODELS`."""
    return [_line(name, *entry) for name, entry in MODELS.items()]


def _line(name: str, network: type[Model[Any]], config: type[ModelConfig]) -> ModelLine:
    fields = network.requires(config())
    return ModelLine(
        name=name,
        summary=network.summary,
        learns=network.learns,
        reads_texts=any("text" in field for field in fields),
        reads_pictures=any("image" in field or "objects" in field for field in fields),
    )
