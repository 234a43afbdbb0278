"""DRIN as its formulas read, to measure the product's against (``linker.models.drin`` has them).

Python loops over mentions and over candidates make the text vectors; every vertex and edge of every
layer is computed, and each edge multiplies its entity vertices anew. Linear texts, dynamic scalar
edges: the default options. Both compute the same function, so weights of ``Drin`` fit here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linker.models.drin import CLIP_SCALE, OBJECT_EPS, Drin
from linker.models.layers import COSINE_EPS

if TYPE_CHECKING:
    from jaxtyping import Float, Int


class DirectLayer(nn.Module):
    """One graph layer with all its vertices and edges, whoever reads them."""

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.w_h = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.w_u = nn.Linear(width, width)
        self.w_v = nn.Linear(width, width)

    def forward(
        self, vertices: tuple[Tensor, ...], edges: tuple[Tensor, ...]
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The new vertices and edges.

        Args:
            vertices: mt, mi (B, 1, H) and et, ei (B, C, H).
            edges: tt, ti, it, ii (B, C, 1).
        """
        mt, mi, et, ei = vertices
        tt, ti, it, ii = edges
        to_mt = (tt * et).mean(dim=1, keepdim=True) + (ti * ei).mean(dim=1, keepdim=True)
        to_mi = (it * et).mean(dim=1, keepdim=True) + (ii * ei).mean(dim=1, keepdim=True)
        to_et = tt * mt + it * mi
        to_ei = ti * mt + ii * mi
        new_vertices = (
            self._vertex(to_mt + mt),
            self._vertex(to_mi + mi),
            self._vertex(to_et + et),
            self._vertex(to_ei + ei),
        )
        new_edges = (
            self._edge(tt, mt, et),
            self._edge(ti, mt, ei),
            self._edge(it, mi, et),
            self._edge(ii, mi, ei),
        )
        return new_vertices, new_edges

    def _vertex(self, total: Tensor) -> Tensor:
        return F.gelu(self.norm(self.w_h(total)))

    def _edge(self, edge: Tensor, mention: Tensor, entity: Tensor) -> Float[Tensor, "B C 1"]:
        agreement = (self.w_u(mention) * self.w_v(entity)).mean(dim=2, keepdim=True)
        return torch.sigmoid(agreement + edge)


class DirectDrin(nn.Module):
    """Scores a ``ReferenceBatch``: features of every mention and candidate, none of them shared."""

    def __init__(self, *, text_width: int, image_width: int, layers: int = 2) -> None:
        super().__init__()
        width = text_width
        self.mention_text = nn.Linear(text_width, width)
        self.entity_text = nn.Linear(text_width, width)
        self.images = nn.ModuleDict(
            {vertex: nn.Linear(image_width, width) for vertex in ("mi", "ei")}
        )
        self.graph = nn.ModuleList(DirectLayer(width=width) for _ in range(layers))

    @classmethod
    def like(cls, product: Drin, *, text_width: int, image_width: int) -> Self:
        """The same function as ``product``, which has default options.

        The product has no weights for the edges of the last layer, because nothing reads them; here
        they are made up, and get no gradient.
        """
        layers = len(product.graph)
        made = cls(text_width=text_width, image_width=image_width, layers=layers)
        missing, unexpected = made.load_state_dict(product.state_dict(), strict=False)
        last = f"graph.{layers - 1}.w_"
        if unexpected or not all(name.startswith(last) for name in missing):
            raise ValueError(f"not the default DRIN: {[*unexpected, *missing]}")
        return made

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "B C"]:
        span = span_means(batch["mention_text"], batch["mention_start"], batch["mention_end"])
        text = entity_means(batch["entity_text"], batch["entity_text_mask"])
        vertices = (
            self.mention_text(span).unsqueeze(1),
            self.images["mi"](batch["mention_image"].mean(dim=1)).unsqueeze(1),
            self.entity_text(text),
            self.images["ei"](batch["entity_image"].mean(dim=2)),
        )
        edges = (
            cosine(span.unsqueeze(1), batch["entity_text"][:, :, 0]).unsqueeze(2),
            batch["sim_text_image"].unsqueeze(2) / CLIP_SCALE,
            batch["sim_image_text"].unsqueeze(2) / CLIP_SCALE,
            object_similarity(batch).unsqueeze(2),
        )
        for layer in self.graph:
            vertices, edges = layer(vertices, edges)
        return cosine(vertices[0], vertices[2])


def span_means(
    tokens: Float[Tensor, "B T D"], start: Int[Tensor, " B"], end: Int[Tensor, " B"]
) -> Float[Tensor, "B D"]:
    """The mean of each mention's tokens [start+1, end+1), one mention after the other."""
    means = []
    for sentence, first, last in zip(tokens, start.tolist(), end.tolist(), strict=True):
        inside = sentence[first + 1 : last + 1]
        means.append(inside.mean(dim=0) if len(inside) else sentence[0])
    return torch.stack(means)


def entity_means(
    tokens: Float[Tensor, "B C S D"], mask: Int[Tensor, "B C S"]
) -> Float[Tensor, "B C D"]:
    """The mean of each candidate's tokens 1 … n-2, one candidate after the other."""
    means = []
    for candidates, masks in zip(tokens, mask, strict=True):
        for text, real in zip(candidates, masks, strict=True):
            inside = text[1 : int(real.sum()) - 1]
            means.append(inside.mean(dim=0) if len(inside) else text[0])
    return torch.stack(means).unflatten(0, tokens.shape[:2])


def object_similarity(batch: Mapping[str, Tensor]) -> Float[Tensor, "B C"]:
    """The cosine of every object of the mention and every one of the entity, weighted by scores."""
    total = weights = torch.zeros_like(batch["sim_image_text"])
    for i in range(batch["mention_objects"].shape[1]):
        for j in range(batch["entity_objects"].shape[2]):
            theirs = batch["entity_object_scores"][:, :, j]
            weight = batch["mention_object_scores"][:, i, None] * theirs
            similar = cosine(batch["mention_objects"][:, i, None], batch["entity_objects"][:, :, j])
            total = total + weight * similar
            weights = weights + weight
    return total / (weights + OBJECT_EPS)


def cosine(a: Float[Tensor, "B _ V"], b: Float[Tensor, "B C V"]) -> Float[Tensor, "B C"]:
    """a·b / max(‖a‖·‖b‖, 1e-8)."""
    norms = a.norm(dim=-1) * b.norm(dim=-1)
    return (a * b).sum(dim=-1) / norms.clamp_min(COSINE_EPS)
