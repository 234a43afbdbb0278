"""What a first stage compares: one vector of length 1 a mention, and one a ranked entity.

They are stored vectors of two fields, or what a bi-encoder makes of the stored features. Vectors that
are zero, or whose length is no number, have no direction: they are NaN here, and nobody's neighbours.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from xxhash import xxh3_64

from featurestore.construct.dense import DenseFields
from linker.data import as_tensor
from linker.knowledge_base import KnowledgeBase
from linker.models.base import BiEncoder


class SearchVectors(Protocol):
    """The vectors of both sides, W wide, float32, on the device of the knowledge base."""

    @property
    def base(self) -> KnowledgeBase:
        """Whose entities are searched, by their places."""

    @property
    def words(self) -> str:
        """What is compared, for people."""

    @property
    def of_entities(self) -> str:
        """What the entities' side depends on, beside the store."""

    def mentions(self, rows: np.ndarray) -> Tensor:
        """(n, W) of mentions by their rows."""

    def entities(self, places: np.ndarray) -> Tensor:
        """(n, W) of ranked entities by their places."""


class StoredVectors:
    """The vectors of two fields of the store."""

    def __init__(self, base: KnowledgeBase, fields: DenseFields) -> None:
        self.base = base
        self._fields = fields

    @property
    def words(self) -> str:
        return str(self._fields)

    @property
    def of_entities(self) -> str:
        return f"entities/{self._fields.entity}"

    def mentions(self, rows: np.ndarray) -> Tensor:
        return self._unit(self.base.store.mentions.gather(self._fields.mention, rows))

    def entities(self, places: np.ndarray) -> Tensor:
        rows = self.base.rows[places]
        return self._unit(self.base.store.entities.gather(self._fields.entity, rows))

    def _unit(self, values: np.ndarray) -> Tensor:
        return unit(as_tensor(values).to(self.base.device))


class EncodedVectors:
    """The vectors that a bi-encoder compares: the first stage then orders as the model does."""

    words = "the model's own vectors"

    def __init__(self, base: KnowledgeBase, network: BiEncoder[Any]) -> None:
        self.base = base
        self._network = network

    @property
    def of_entities(self) -> str:
        return f"vectors of weights {weights_digest(self._network)}"

    def mentions(self, rows: np.ndarray) -> Tensor:
        return unit(self._network.encode_mentions(self.base.read_mentions(rows).batch))

    def entities(self, places: np.ndarray) -> Tensor:
        return unit(self._network.encode_entities(self.base.entities(places)))


def unit(vectors: Tensor) -> Tensor:
    """(n, W) float32 each vector with length 1; NaN where it has no direction."""
    vectors = vectors.float()
    length = vectors.norm(dim=1, keepdim=True)
    return vectors / length.where((length > 0) & length.isfinite(), torch.nan)


def weights_digest(network: nn.Module) -> str:
    """XXH3-64 (hex) over names and values of all weights."""
    digest = xxh3_64()
    for name, weight in network.state_dict().items():
        digest.update(name.encode())
        digest.update(weight.cpu().numpy().tobytes())
    return digest.hexdigest()
