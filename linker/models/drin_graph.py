"""The graph of ``drin``: which vertices and edges a layer computes, and the layer itself.

The symbols are those of ``linker.models.drin``. H is the width of the graph.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linker.models.activation import norm_gelu
from linker.models.drin_entities import EntityVertex, PairVertex
from linker.models.layers import at_least_float32

if TYPE_CHECKING:
    from jaxtyping import Float

Edge: TypeAlias = Literal["tt", "ti", "it", "ii"]
Vertex: TypeAlias = Literal["mt", "mi", "et", "ei"]

VERTICES: tuple[Vertex, ...] = ("mt", "mi", "et", "ei")
MENTION_VERTICES: tuple[Vertex, ...] = ("mt", "mi")
ENTITY_VERTICES: tuple[Vertex, ...] = ("et", "ei")

#: The mention vertex and the entity vertex that each edge joins.
ENDS: dict[Edge, tuple[Vertex, Vertex]] = {
    "tt": ("mt", "et"),
    "ti": ("mt", "ei"),
    "it": ("mi", "et"),
    "ii": ("mi", "ei"),
}

Mentions: TypeAlias = Mapping[Vertex, Tensor]  # (B, H)
Entities: TypeAlias = Mapping[Vertex, EntityVertex]
Edges: TypeAlias = Mapping[Edge, Tensor]  # scalar: (B, C); vector: (B, C, H)


@dataclass(frozen=True)
class LayerPlan:
    """What one graph layer has to compute so that the score comes out."""

    vertices: tuple[Vertex, ...]  # whose new value a later step reads
    edges: tuple[Edge, ...]  # that carry something to one of them
    next_edges: tuple[Edge, ...]  # whose new value the next layer reads; () in the last layer
    is_last: bool = False

    @property
    def inputs(self) -> tuple[Vertex, ...]:
        """The vertices that the layer reads: its own, and the other ends of its edges."""
        ends = {vertex for edge in self.edges for vertex in ENDS[edge]}
        return tuple(v for v in VERTICES if v in ends or v in self.vertices)


def plan_layers(edges: tuple[Edge, ...], layers: int) -> tuple[LayerPlan, ...]:
    """The plan of every layer, found backwards from the score, which reads mt and et.

    With all edges on, the last layer computes no mi, no ei and no edge. Without ``ti`` and ``ii``
    no layer computes ei, and so on.
    """
    plans: list[LayerPlan] = []
    wanted: tuple[Vertex, ...] = ("mt", "et")
    next_edges: tuple[Edge, ...] = ()
    for _ in range(layers):
        used = tuple(edge for edge in edges if not set(ENDS[edge]).isdisjoint(wanted))
        plans.insert(0, LayerPlan(wanted, used, next_edges, is_last=not plans))
        wanted, next_edges = plans[0].inputs, used
    return tuple(plans)


class GraphLayer(nn.Module, ABC):
    """One layer of the graph; how messages pass along an edge depends on the kind of edge.

    All vertices of a layer share W_h and the normalisation. A layer whose edges nobody reads, or
    whose edges stay as they are (``dynamic`` False), has no weights to update them.
    """

    def __init__(self, *, width: int, plan: LayerPlan, dynamic: bool) -> None:
        super().__init__()
        self.plan = plan
        self.updates_edges = dynamic and bool(plan.next_edges)
        self.w_h = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(
        self, mentions: Mentions, entities: Entities, edges: Edges
    ) -> tuple[dict[Vertex, Tensor], dict[Vertex, EntityVertex], dict[Edge, Tensor]]:
        """The new vertices and edges, each computed from the old ones; edges are those of the plan."""
        sums = self.sum_over_candidates(entities, edges)
        means = {edge: total / edges[edge].shape[1] for edge, total in sums.items()}
        updated = self.update_mentions(mentions, means)
        return updated, *self.update_entities(mentions, entities, edges)

    def sum_over_candidates(self, entities: Entities, edges: Edges) -> dict[Edge, Tensor]:
        """Σ_C e·v of each edge that leads to a wanted mention vertex, (B, H)."""
        wanted = self._wanted(MENTION_VERTICES)
        sums: dict[Edge, Tensor] = {}
        for entity in entities:
            led = [e for e in self.plan.edges if ENDS[e][0] in wanted and ENDS[e][1] == entity]
            if led:
                found = self._weighted_sums([edges[edge] for edge in led], entities[entity])
                sums |= dict(zip(led, found, strict=True))
        return sums

    def update_mentions(self, mentions: Mentions, means: Edges) -> dict[Vertex, Tensor]:
        """The new mention vertices (B, H).

        Args:
            means: Σ_C e·v / C of each edge of ``sum_over_candidates``, over all candidates.
        """
        wanted = self._wanted(MENTION_VERTICES)
        totals = []
        for vertex in wanted:
            total = mentions[vertex]
            for edge, _ in self._incoming(vertex):
                total = total + means[edge]
            totals.append(total)
        mixed = self.w_h(torch.stack(totals, dim=1))  # one product for both
        return dict(zip(wanted, self._activate(mixed).unbind(1), strict=True))

    def update_entities(
        self, mentions: Mentions, entities: Entities, edges: Edges
    ) -> tuple[dict[Vertex, EntityVertex], dict[Edge, Tensor]]:
        """The new entity vertices, and the edges that the next layer reads.

        Those of a candidate depend on no other candidate.
        """
        wanted = self._wanted(ENTITY_VERTICES)
        senders = {end for vertex in wanted for _, end in self._incoming(vertex)}
        messages = self._messages({end: mentions[end] for end in mentions if end in senders})
        updated: dict[Vertex, EntityVertex] = {}
        for vertex in wanted:
            mixed = self._mix_entity(vertex, messages, entities[vertex], edges)
            updated[vertex] = PairVertex(self._activate(mixed))
        if self.updates_edges:
            edges = self._update_edges(mentions, entities, edges)
        return updated, {edge: edges[edge] for edge in self.plan.next_edges}

    def _wanted(self, side: tuple[Vertex, ...]) -> tuple[Vertex, ...]:
        return tuple(vertex for vertex in side if vertex in self.plan.vertices)

    def _activate(self, mixed: Tensor) -> Tensor:
        """What the next layer multiplies may be as short as it came; what the score reads may not."""
        wide = torch.promote_types(mixed.dtype, torch.float32)
        return norm_gelu(mixed, self.norm, wide if self.plan.is_last else mixed.dtype)

    def _incoming(self, vertex: Vertex) -> list[tuple[Edge, Vertex]]:
        """The edges at ``vertex`` that are on, each with the vertex at its other end."""
        incoming: list[tuple[Edge, Vertex]] = []
        for edge in self.plan.edges:
            mention, entity = ENDS[edge]
            if vertex in (mention, entity):
                incoming.append((edge, entity if vertex == mention else mention))
        return incoming

    @abstractmethod
    def _weighted_sums(
        self, edges: Sequence[Tensor], entity: EntityVertex
    ) -> Sequence[Float[Tensor, "B H"]]:
        """Σ_C e·v of each of some edges, and the entity vertices at the ends of them all."""

    @abstractmethod
    def _messages(self, mentions: Mentions) -> Mentions:
        """What mention vertices send to entity vertices, (B, H) each."""

    @abstractmethod
    def _mix_entity(
        self, vertex: Vertex, messages: Mentions, entity: EntityVertex, edges: Edges
    ) -> Float[Tensor, "B C H"]:
        """W_h(agg(v) + v) + b_h of an entity vertex."""

    @abstractmethod
    def _update_edges(
        self, mentions: Mentions, entities: Entities, edges: Edges
    ) -> dict[Edge, Tensor]:
        """The new edges that the next layer reads."""


class ScalarLayer(GraphLayer):
    """One number an edge: edges multiply whole vertices, so that linear maps slide past them."""

    def __init__(self, *, width: int, plan: LayerPlan, dynamic: bool) -> None:
        super().__init__(width=width, plan=plan, dynamic=dynamic)
        if self.updates_edges:
            self.w_u = nn.Linear(width, width)
            self.w_v = nn.Linear(width, width)

    def _weighted_sums(
        self, edges: Sequence[Tensor], entity: EntityVertex
    ) -> Sequence[Float[Tensor, "B H"]]:
        return entity.weighted_sums(torch.stack(list(edges), dim=1)).unbind(1)

    def _messages(self, mentions: Mentions) -> Mentions:
        # W_h(v + Σ e·m) = W_h v + Σ e·(W_h m): in the first layer the large product runs once a
        # distinct entity, and the messages are multiplied once a mention.
        if not mentions:
            return {}
        mapped = F.linear(torch.stack(list(mentions.values()), dim=1), self.w_h.weight)
        return dict(zip(mentions, mapped.unbind(1), strict=True))

    def _mix_entity(
        self, vertex: Vertex, messages: Mentions, entity: EntityVertex, edges: Edges
    ) -> Float[Tensor, "B C H"]:
        own = entity.mapped(self.w_h)
        incoming = self._incoming(vertex)
        if not incoming:
            return own
        weights = torch.stack([edges[edge] for edge, _ in incoming], dim=2)
        sent = torch.stack([messages[other] for _, other in incoming], dim=1)
        # not in place where mentions share it, and where autograd would make a copy of its gradient
        if own.stride(0) == 0 or own._is_view():
            return torch.baddbmm(own, weights, sent)
        return own.baddbmm_(weights.to(own.dtype), sent.to(own.dtype))

    def _update_edges(
        self, mentions: Mentions, entities: Entities, edges: Edges
    ) -> dict[Edge, Tensor]:
        # mean_H[f ⊙ (W_v v + b_v)] = ((W_vᵀ f)·v + f·b_v)/H with f = W_u m + b_u: W_v is
        # multiplied once a mention, never with an entity vertex.
        ends = list(dict.fromkeys(ENDS[edge][0] for edge in self.plan.next_edges))
        f = self.w_u(torch.stack([mentions[end] for end in ends], dim=1))  # (B, ends, H)
        queries = dict(zip(ends, (f @ self.w_v.weight).unbind(1), strict=True))
        constants = dict(zip(ends, (f @ self.w_v.bias).unbind(1), strict=True))
        updated: dict[Edge, Tensor] = {}
        for entity in entities:
            led = [edge for edge in self.plan.next_edges if ENDS[edge][1] == entity]
            if not led:
                continue
            asked = torch.stack([queries[ENDS[edge][0]] for edge in led], dim=1)
            for edge, dots in zip(led, entities[entity].dots(asked).unbind(1), strict=True):
                agreement = at_least_float32(dots + constants[ENDS[edge][0]].unsqueeze(1))
                updated[edge] = torch.sigmoid(agreement / f.shape[2] + edges[edge])
        return updated


class VectorLayer(GraphLayer):
    """One number an edge and channel: e' = sigmoid(W_m([W_u m + b_u ; W_v v + b_v] + e) + b_m).

    Linear maps do not slide past such edges, so this layer computes the formulas as they read.
    First edges have one channel, (B, C, 1), which broadcasts over the H of the formulas.
    """

    def __init__(self, *, width: int, plan: LayerPlan, dynamic: bool) -> None:
        super().__init__(width=width, plan=plan, dynamic=dynamic)
        if self.updates_edges:
            self.w_u = nn.Linear(width, width // 2)
            self.w_v = nn.Linear(width, width // 2)
            self.w_m = nn.Linear(width, width)

    def _weighted_sums(
        self, edges: Sequence[Tensor], entity: EntityVertex
    ) -> Sequence[Float[Tensor, "B H"]]:
        return [(edge * entity.pairs).sum(dim=1) for edge in edges]

    def _messages(self, mentions: Mentions) -> Mentions:
        return mentions

    def _mix_entity(
        self, vertex: Vertex, messages: Mentions, entity: EntityVertex, edges: Edges
    ) -> Float[Tensor, "B C H"]:
        total = entity.pairs
        for edge, other in self._incoming(vertex):
            total = total + edges[edge] * messages[other].unsqueeze(1)
        return self.w_h(total)

    def _update_edges(
        self, mentions: Mentions, entities: Entities, edges: Edges
    ) -> dict[Edge, Tensor]:
        updated: dict[Edge, Tensor] = {}
        ends = {ENDS[edge][1] for edge in self.plan.next_edges}
        entity_halves = {vertex: self.w_v(entities[vertex].pairs) for vertex in ends}
        for edge in self.plan.next_edges:
            mention, entity = ENDS[edge]
            right = entity_halves[entity]
            left = self.w_u(mentions[mention]).unsqueeze(1).expand_as(right)
            joined = torch.cat([left, right], dim=2) + edges[edge]
            updated[edge] = torch.sigmoid(at_least_float32(self.w_m(joined)))
        return updated
