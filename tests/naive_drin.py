"""DRIN once more, as slowly and plainly as its formulas read: one mention and one candidate at a
time, in float64, from recorded inputs and weights.

It shares no code with the product, so it can make recordings of any size and variant that the
product has to match.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from tests.naive_parts import (
    Naive,
    Shapes,
    Sizes,
    Tensors,
    cosine,
    entity_picture,
    entity_texts,
    gelu,
    layer_norm,
    linear,
    linear_shapes,
    norm_shapes,
    run,
    span,
    transformer,
    transformer_shapes,
)

ENCODER = "vertex_encoder"
SENTENCE = f"{ENCODER}.mention_text_encoder.intermediate_layer"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The options of DRIN that change what is computed."""

    mention_text: str = "linear"
    tokens: bool = False  # entity text and its pictures as WikiMEL stores them
    entity_text: str = "linear"
    edge_kind: str = "scalar"
    edge_update: str = "dynamic"
    enabled: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)  # tt, ti, it, ii
    layers: int = 2
    heads: int = 4


def first_edges(inputs: Tensors, b: int, c: int, raw_span: Tensor, cls: Tensor) -> list[Tensor]:
    """tt, ti, it, ii of one pair."""
    numerator, total = torch.tensor(0.0), torch.tensor(1e-9)
    for i, score in enumerate(inputs["mention_object_scores"][b]):
        for j, other in enumerate(inputs["entity_object_scores"][b, c]):
            mine = inputs["mention_objects"][b, i].reshape(-1, inputs["mention_image"].shape[-1])
            theirs = inputs["entity_objects"][b, c, j].reshape(-1, mine.shape[-1])
            numerator = numerator + score * other * cosine(mine.mean(dim=0), theirs.mean(dim=0))
            total = total + score * other
    return [
        cosine(raw_span, cls),
        inputs["sim_mention_text_entity_image"][b, c] / 100,
        inputs["sim_mention_image_entity_text"][b, c] / 100,
        numerator / total,
    ]


def new_vertex(total: Tensor, *, weights: Tensors, layer: str) -> Tensor:
    return gelu(layer_norm(linear(total, weights, f"{layer}.w_h"), weights, f"{layer}.layer_norm"))


def new_edge(
    e: Tensor, m: Tensor, v: Tensor, *, weights: Tensors, layer: str, vector: bool
) -> Tensor:
    f, g = linear(m, weights, f"{layer}.w_u"), linear(v, weights, f"{layer}.w_v")
    if vector:
        return torch.sigmoid(linear(torch.cat([f, g]) + e, weights, f"{layer}.w_m"))
    return torch.sigmoid((f * g).mean() + e)


def mention_scores(inputs: Tensors, weights: Tensors, b: int, *, variant: Variant) -> Tensor:
    """The (C,) scores of mention b."""
    n = int(inputs["mention_text_mask"][b].sum())
    start, end = int(inputs["mention_start"][b]), int(inputs["mention_end"][b])
    raw = inputs["mention_text"][b, :n]
    mt = raw_span = span(raw, start, end)
    if variant.mention_text == "linear":
        mt = linear(raw_span, weights, f"{ENCODER}.mention_text_encoder.final_layer.linear")
    elif variant.mention_text == "transformer":
        mt = span(transformer(raw, n, weights, SENTENCE, variant.heads), start, end)
    region_mean = inputs["mention_image"][b].mean(dim=0)
    mi = linear(region_mean, weights, f"{ENCODER}.mention_image_linear")

    et, ei, edges = [], [], []
    for c in range(inputs["sim_mention_text_entity_image"].shape[1]):
        text, cls = entity_texts(inputs, b, c)
        if variant.entity_text == "linear":
            text = linear(text, weights, f"{ENCODER}.entity_text_encoder.final_layer")
        et.append(text)
        picture = entity_picture(inputs, b, c)
        ei.append(linear(picture, weights, f"{ENCODER}.entity_image_linear"))
        edges.append(first_edges(inputs, b, c, raw_span, cls))
    if variant.edge_kind == "vector":
        edges = [[e.expand(mt.shape[0]) for e in pair] for pair in edges]

    for index in range(variant.layers):
        layer = f"gcn_layers.{index}"
        new = functools.partial(new_vertex, weights=weights, layer=layer)
        count = len(et)
        edges = [[e * on for e, on in zip(p, variant.enabled, strict=True)] for p in edges]
        to_mt = sum(p[0] * t for p, t in zip(edges, et, strict=True)) / count
        to_mt = to_mt + sum(p[1] * i for p, i in zip(edges, ei, strict=True)) / count
        to_mi = sum(p[2] * t for p, t in zip(edges, et, strict=True)) / count
        to_mi = to_mi + sum(p[3] * i for p, i in zip(edges, ei, strict=True)) / count
        new_et = [new(p[0] * mt + p[2] * mi + t) for p, t in zip(edges, et, strict=True)]
        new_ei = [new(p[1] * mt + p[3] * mi + i) for p, i in zip(edges, ei, strict=True)]
        if variant.edge_update == "dynamic":
            ends = [((mt, t), (mt, i), (mi, t), (mi, i)) for t, i in zip(et, ei, strict=True)]
            update = functools.partial(
                new_edge, weights=weights, layer=layer, vector=variant.edge_kind == "vector"
            )
            edges = [
                [update(e, m, v) for e, (m, v) in zip(pair, vertices, strict=True)]
                for pair, vertices in zip(edges, ends, strict=True)
            ]
        mt, mi, et, ei = new(to_mt + mt), new(to_mi + mi), new_et, new_ei
    return torch.stack([cosine(mt, t) for t in et])


def weight_shapes(sizes: Sizes, variant: Variant) -> Shapes:
    """Every weight of the reference, by its name there."""
    z = sizes
    shapes: Shapes = {}
    if variant.mention_text == "linear":
        shapes |= linear_shapes(f"{ENCODER}.mention_text_encoder.final_layer.linear", z.H, z.D)
    elif variant.mention_text == "transformer":
        shapes |= transformer_shapes(SENTENCE, z)
    if variant.entity_text == "linear":
        shapes |= linear_shapes(f"{ENCODER}.entity_text_encoder.final_layer", z.H, z.D)
    shapes |= linear_shapes(f"{ENCODER}.mention_image_linear", z.H, z.V)
    shapes |= linear_shapes(f"{ENCODER}.entity_image_linear", z.H, z.V)
    half = z.H // 2 if variant.edge_kind == "vector" else z.H
    for i in range(variant.layers):
        layer = f"gcn_layers.{i}"
        shapes |= linear_shapes(f"{layer}.w_h", z.H, z.H)
        shapes |= linear_shapes(f"{layer}.w_u", half, z.H)
        shapes |= linear_shapes(f"{layer}.w_v", half, z.H)
        if variant.edge_kind == "vector":
            shapes |= linear_shapes(f"{layer}.w_m", z.H, z.H)
        shapes |= norm_shapes(f"{layer}.layer_norm", z.H)
    return shapes


def naive_drin(*, sizes: Sizes, variant: Variant, seed: int) -> Naive:
    """A run of DRIN on made-up numbers."""
    return run(
        sizes=sizes,
        tokens=variant.tokens,
        shapes=weight_shapes(sizes, variant),
        mention_scores=functools.partial(mention_scores, variant=variant),
        seed=seed,
    )
