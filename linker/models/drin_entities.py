"""The entity vertices of ``drin``, in the form in which a layer computes on them most cheaply.

Before the first layer an entity vertex v is the same for every mention, and a linear map of a stored
vector x: v = W x + b. A layer needs three things of it, and none of them needs v itself:

    Σ_C e·v      = W (Σ_C e·x) + b Σ_C e        one product a mention instead of one an entity
    W_h v + b_h  = (W_h W) x + (W_h b + b_h)     one product an entity instead of two
    v·q          = x·(Wᵀq) + b·q                 one product a mention

After a layer it stands for a pair of mention and candidate, and is computed on as it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linker.models.layers import at_least_float32, shortened
from linker.models.pairs import is_shared, pair_dots, pair_sums, spread

if TYPE_CHECKING:
    from jaxtyping import Float, Int

#: So many times as many distinct entities as candidates make these few (chosen here: where it pays for
#: products on a processor; sums are as fast from half of that on).
_FEW = 8


class EntityVertex(ABC):
    """An entity vertex v (B, C, H) of every pair."""

    @property
    @abstractmethod
    def pairs(self) -> Float[Tensor, "B C H"]:
        """The vertex itself; computed once, however often it is asked for."""

    @abstractmethod
    def mapped(self, layer: nn.Linear) -> Float[Tensor, "B C H"]:
        """W_h v + b_h."""

    @abstractmethod
    def weighted_sums(self, weights: Float[Tensor, "B Q C"]) -> Float[Tensor, "B Q H"]:
        """Σ_C e·v, of Q edges."""

    @abstractmethod
    def dots(self, queries: Float[Tensor, "B Q H"]) -> Float[Tensor, "B Q C"]:
        """v·q."""


class PairVertex(EntityVertex):
    """One vector a pair."""

    def __init__(self, values: Float[Tensor, "B C H"]) -> None:
        self.values = values

    @property
    def pairs(self) -> Float[Tensor, "B C H"]:
        return self.values

    def mapped(self, layer: nn.Linear) -> Float[Tensor, "B C H"]:
        return layer(self.values)

    def weighted_sums(self, weights: Float[Tensor, "B Q C"]) -> Float[Tensor, "B Q H"]:
        # A (Q, C) × (C, H) product a mention: no weighted copy of the vertices.
        return torch.bmm(weights, self.values)

    def dots(self, queries: Float[Tensor, "B Q H"]) -> Float[Tensor, "B Q C"]:
        return torch.bmm(queries, self.values.transpose(1, 2))


class DistinctVertex(EntityVertex):
    """One vector a distinct entity, as all mentions of the batch share it.

    Where a mention has a small part of them as candidates, sums and products read these; otherwise they
    are those of every mention with every distinct entity: one matrix product that reads the vectors once,
    where they stand, and a choice of (B, Q, C) out of (B, Q, U) numbers.
    """

    def __init__(self, values: Float[Tensor, "U D"], candidates: Int[Tensor, "B C"]) -> None:
        self.values = values
        self.candidates = candidates
        few = len(values) > _FEW * candidates.shape[1]
        self._sparse = few and values.is_cpu and not is_shared(candidates)

    @cached_property
    def pairs(self) -> Float[Tensor, "B C D"]:
        return spread(self.values, self.candidates)

    def mapped(self, layer: nn.Linear) -> Float[Tensor, "B C H"]:
        return spread(layer(self.values), self.candidates)

    def weighted_sums(self, weights: Float[Tensor, "B Q C"]) -> Float[Tensor, "B Q D"]:
        if self._sparse:
            return pair_sums(weights.to(self.values.dtype), self.values, self.candidates)
        everywhere = weights.new_zeros(*weights.shape[:2], len(self.values))
        everywhere = everywhere.index_put(self._places(weights), weights, accumulate=True)
        return everywhere @ self.values

    def dots(self, queries: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q C"]:
        if self._sparse:
            return pair_dots(queries.to(self.values.dtype), self.values, self.candidates)
        return (queries @ self.values.T)[self._places(queries)]

    def _places(self, of: Float[Tensor, "B Q _"]) -> tuple[Tensor, Tensor, Tensor]:
        """Where every pair is in (B, Q, U) numbers."""
        mentions, ways = (torch.arange(size, device=of.device) for size in of.shape[:2])
        return mentions[:, None, None], ways[:, None], self.candidates.unsqueeze(1)


class LinearVertex(EntityVertex):
    """v = W x + b of one stored vector x a distinct entity, never computed."""

    def __init__(self, stored: DistinctVertex, layer: nn.Linear) -> None:
        self.stored = stored
        self.layer = layer

    @cached_property
    def pairs(self) -> Float[Tensor, "B C H"]:
        return self.stored.mapped(self.layer)

    def mapped(self, layer: nn.Linear) -> Float[Tensor, "B C H"]:
        weight = layer.weight @ self.layer.weight
        bias = layer.weight @ self.layer.bias + layer.bias
        return spread(F.linear(self.stored.values, weight, bias), self.stored.candidates)

    def weighted_sums(self, weights: Float[Tensor, "B Q C"]) -> Float[Tensor, "B Q H"]:
        product = F.linear(self.stored.weighted_sums(weights), self.layer.weight)
        return product + weights.sum(dim=2, keepdim=True) * self.layer.bias

    def dots(self, queries: Float[Tensor, "B Q H"]) -> Float[Tensor, "B Q C"]:
        constant = (queries @ self.layer.bias).unsqueeze(2)
        return self.stored.dots(queries @ self.layer.weight) + constant


def first_vertex(
    layer: nn.Module, stored: Float[Tensor, "U D"], candidates: Int[Tensor, "B C"]
) -> EntityVertex:
    """An entity vertex before the first layer: ``layer`` is a linear map, or none.

    A map is left uncomputed where the stored vectors outnumber their width: only then does joining
    two maps, a product of D rows, cost less than computing one of them for every entity.
    """
    if not isinstance(layer, nn.Linear):
        return DistinctVertex(at_least_float32(stored), candidates)
    stored = shortened(stored)  # products alone read it
    values = DistinctVertex(stored, candidates)
    if len(stored) > stored.shape[1]:
        return LinearVertex(values, layer)
    return DistinctVertex(layer(stored), candidates)
