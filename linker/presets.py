"""Configurations named after what they reproduce: plain values over the defaults.

Each value says where it comes from. Presets are the only place here that knows a dataset's name,
and they name everything their figures depend on, so that a changed default does not change them.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from featurestore.errors import ConfigError

#: DRIN as published (arXiv 2310.05589, section 4, and the training script its authors released).
_DRIN: dict[str, Any] = {
    "model": {
        "name": "drin",
        "mention_text": "linear",
        "entity_text": "linear",
        "layers": 2,
        "edges": ["tt", "ti", "it", "ii"],
        "edge_kind": "scalar",
        "edge_update": "dynamic",
    },
    "protocol": "paper",  # the released candidate lists end with the gold, and the model sees it
    "loss": {"negatives": "batch", "margin": 0.25},
    "epochs": 30,
    "batch_size": 64,
    "lr": 1e-3,
    "precision": "32",
}

PRESETS: Mapping[str, dict[str, Any]] = {
    # Table 2 of the paper, WikiMEL: hits@1/5/10/20 (50 is printed by the script), all mentions.
    "drin-wikimel": {
        **_DRIN,
        "entity_pooling": "mean",  # the script averages an entity's tokens, [CLS] and [SEP] left out
        "metrics": {
            "ks": [1, 5, 10, 20, 50],
            "tie_rule": "optimistic",  # the script counts a tie with the gold as a hit
            "denominator": "all",
            "select": "hits@1",
        },
    },
    # Table 2 of the paper, WikiDiverse: hits@1/3/5 over the mentions whose gold was retrieved.
    "drin-wikidiverse": {
        **_DRIN,
        "entity_pooling": "pooled",  # the release holds BERT's pooled output of an entity's text
        "metrics": {
            "ks": [1, 3, 5],
            "tie_rule": "optimistic",
            "denominator": "retrieved",
            "select": "hits@1",
        },
    },
}


def preset(name: str) -> dict[str, Any]:
    """The values of a preset, as a copy.

    Raises:
        ConfigError: no such preset; lists them.
    """
    if name not in PRESETS:
        raise ConfigError(
            f"no preset {name!r}", where="--preset", hint=f"presets: {', '.join(PRESETS)}"
        )
    return deepcopy(PRESETS[name])
