"""The ablations of the DRIN paper by name: what each one changes in a configuration.

    drin-fs train wikimel.h5 --ablate tt            DRIN without the edge between the two texts
    drin-fs train wikimel.h5 --ablate ti,it         and so on, any number of edges
    drin-fs train wikimel.h5 --ablate static        edges that layers do not update
    drin-fs train wikimel.h5 --ablate vector        one number an edge and channel

The paper's ablation of the object detector, ``mask_rcnn``, is one of the features and not of the
network: ``drin-fs ingest --ablate mask_rcnn``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from featurestore.errors import ConfigError
from linker.models import MODELS

#: Ablation → the options of ``drin`` that it sets (the kinds of edges that the paper compares).
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "static": {"edge_update": "static"},
    "vector": {"edge_kind": "vector"},
}

#: Ablations that take an edge away.
EDGES = tuple(MODELS["drin"][0].edge_fields)


def ablated(model: str, names: str) -> dict[str, Any]:
    """The options of ``model`` under the ablations ``names``, separated by commas.

    Raises:
        ConfigError: the model has no edges, or there is no such ablation.
    """
    if not MODELS[model][0].edge_fields:
        raise ConfigError(
            f"ablations take parts of drin away, and the model is {model}",
            where="--ablate",
            hint="leave it out, or say --model drin",
        )
    chosen = [name.strip() for name in names.split(",")]
    without: list[str] = []
    options: dict[str, Any] = {}
    for name in chosen:
        if name in OPTIONS:
            options |= OPTIONS[name]
        elif name in EDGES:
            without.append(name)
        else:
            raise ConfigError(f"no ablation {name!r}", where="--ablate", hint=_choices(name))
    return {**options, "without": without} if without else options


def _choices(name: str) -> str:
    if name in ("mask_rcnn", "maskrcnn"):
        return "objects are detected at ingest: drin-fs ingest … --ablate mask_rcnn"
    return f"ablations: {', '.join((*EDGES, *OPTIONS))}, or several with commas between"
