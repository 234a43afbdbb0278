"""The networks: one a file, and the registry that names them."""

from __future__ import annotations

import difflib
from typing import Any, TypeAlias

from featurestore.errors import ConfigError
from linker.models.base import Model, ModelConfig
from linker.models.drin import Drin, DrinConfig
from linker.models.ghmfc import Ghmfc, GhmfcConfig
from linker.models.melhi import Melhi, MelhiConfig
from linker.models.text import TextBiEncoder, TextConfig

ModelEntry: TypeAlias = tuple[type[Model[Any]], type[ModelConfig]]

#: Every model by the name that configurations and the command line use.
MODELS: dict[str, ModelEntry] = {
    "drin": (Drin, DrinConfig),
    "ghmfc": (Ghmfc, GhmfcConfig),
    "melhi": (Melhi, MelhiConfig),
    "text": (TextBiEncoder, TextConfig),
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
