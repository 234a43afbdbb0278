"""DRIN once more, as slowly and plainly as its formulas read: one mention and one candidate at a
time, in float64, from recorded inputs and weights (see ``tests/parity.py`` for their names).

It shares no code with the product, so it can write recordings of any size and variant that the
product has to match (``write_recording``).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

Tensors = Mapping[str, Tensor]


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


@dataclass(frozen=True, kw_only=True)
class Sizes:
    B: int = 5
    C: int = 7
    D: int = 16
    V: int = 32
    H: int = 16
    R: int = 4
    T: int = 12
    S: int = 8
    Om: int = 3
    Oe: int = 1
    feedforward: int = 24
    transformer_layers: int = 2


def linear(x: Tensor, weights: Tensors, name: str) -> Tensor:
    return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return a.dot(b) / torch.clamp(a.norm() * b.norm(), min=1e-8)


def layer_norm(x: Tensor, weights: Tensors, name: str) -> Tensor:
    centred = x - x.mean()
    scaled = centred / torch.sqrt(centred.square().mean() + 1e-5)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def transformer(x: Tensor, weights: Tensors, heads: int) -> Tensor:
    """The post-norm encoder over the (n, D) real tokens of one sentence."""
    prefix = "vertex_encoder.mention_text_encoder.intermediate_layer.transformer.layers"
    count = len({name.split(".")[5] for name in weights if name.startswith(prefix)})
    n, d = x.shape
    size = d // heads
    for i in range(count):
        at = f"{prefix}.{i}"
        projection = weights[f"{at}.self_attn.in_proj_weight"]
        q, k, v = (x @ projection.T + weights[f"{at}.self_attn.in_proj_bias"]).split(d, dim=1)
        mixed = []
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            attention = torch.softmax(q[:, part] @ k[:, part].T / math.sqrt(size), dim=1)
            mixed.append(attention @ v[:, part])
        attended = torch.cat(mixed, dim=1)
        rows = []
        for t in range(n):
            y = x[t] + linear(attended[t], weights, f"{at}.self_attn.out_proj")
            y = layer_norm(y, weights, f"{at}.norm1")
            z = linear(gelu(linear(y, weights, f"{at}.linear1")), weights, f"{at}.linear2")
            rows.append(layer_norm(y + z, weights, f"{at}.norm2"))
        x = torch.stack(rows)
    return x


def span(x: Tensor, start: int, end: int) -> Tensor:
    """Mean of the tokens [start+1, end+1) of the (n, D) real tokens; [CLS] where there is none."""
    own = x[start + 1 : end + 1]
    return own.mean(dim=0) if len(own) else x[0]


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


def entity_texts(inputs: Tensors, b: int, c: int) -> tuple[Tensor, Tensor]:
    """x_e and c_e of one pair."""
    text = inputs["entity_text"][b, c]
    if text.ndim == 1:
        return text, text
    n = int(inputs["entity_text_mask"][b, c].sum())
    return text[1 : n - 1].mean(dim=0), text[0]


def new_vertex(total: Tensor, *, weights: Tensors, layer: str) -> Tensor:
    return gelu(layer_norm(linear(total, weights, f"{layer}.w_h"), weights, f"{layer}.layer_norm"))


def new_edge(
    e: Tensor, m: Tensor, v: Tensor, *, weights: Tensors, layer: str, vector: bool
) -> Tensor:
    f, g = linear(m, weights, f"{layer}.w_u"), linear(v, weights, f"{layer}.w_v")
    if vector:
        return torch.sigmoid(linear(torch.cat([f, g]) + e, weights, f"{layer}.w_m"))
    return torch.sigmoid((f * g).mean() + e)


def mention_scores(inputs: Tensors, weights: Tensors, variant: Variant, b: int) -> Tensor:
    """The (C,) scores of mention b."""
    names = "vertex_encoder"
    n = int(inputs["mention_text_mask"][b].sum())
    start, end = int(inputs["mention_start"][b]), int(inputs["mention_end"][b])
    raw = inputs["mention_text"][b, :n]
    mt = raw_span = span(raw, start, end)
    if variant.mention_text == "linear":
        mt = linear(raw_span, weights, f"{names}.mention_text_encoder.final_layer.linear")
    elif variant.mention_text == "transformer":
        mt = span(transformer(raw, weights, variant.heads), start, end)
    region_mean = inputs["mention_image"][b].mean(dim=0)
    mi = linear(region_mean, weights, f"{names}.mention_image_linear")

    et, ei, edges = [], [], []
    for c in range(inputs["sim_mention_text_entity_image"].shape[1]):
        text, cls = entity_texts(inputs, b, c)
        if variant.entity_text == "linear":
            text = linear(text, weights, f"{names}.entity_text_encoder.final_layer")
        et.append(text)
        picture = inputs["entity_image"][b, c].reshape(-1, region_mean.shape[0]).mean(dim=0)
        ei.append(linear(picture, weights, f"{names}.entity_image_linear"))
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


def naive_scores(inputs: Tensors, weights: Tensors, variant: Variant) -> Tensor:
    """The (B, C) scores of a recording."""
    mentions = range(inputs["answer"].shape[0])
    return torch.stack([mention_scores(inputs, weights, variant, b) for b in mentions])


def naive_batch_loss(scores: Tensor, answer: Tensor, margin: float = 0.25) -> Tensor:
    """The triplet loss with ``batch`` negatives; the last column is the gold slot."""
    kept = scores[:, :-1]
    total, terms = scores.sum() * 0, 0
    for i in range(kept.shape[0]):
        positive = kept[i, int(answer[i])] if int(answer[i]) < kept.shape[1] else 0.0
        for b in range(kept.shape[0]):
            for k in range(kept.shape[1]):
                total = total + torch.clamp(kept[b, k] - positive + margin, min=0)
                terms += 1
    return total / terms


def random_inputs(
    sizes: Sizes, variant: Variant, generator: np.random.Generator
) -> dict[str, Tensor]:
    """The ``in/`` arrays of a recording, with made-up features."""
    z, g = sizes, generator
    one = (1,) if variant.tokens else ()
    count = g.integers(4, z.T + 1, z.B)
    start = g.integers(0, count - 3)
    arrays = {
        "mention_text": g.normal(size=(z.B, z.T, z.D)),
        "mention_text_mask": np.arange(z.T) < count[:, None],
        "mention_start": start,
        "mention_end": g.integers(start + 1, count - 1),
        "mention_image": g.normal(size=(z.B, z.R, z.V)),
        "mention_objects": g.normal(size=(z.B, z.Om, 1, z.V)),
        "mention_object_scores": g.random((z.B, z.Om)) * (g.random((z.B, z.Om)) < 0.8),
        "entity_text": g.normal(size=(z.B, z.C, z.D)),
        "entity_text_mask": np.zeros(z.B, np.float32),
        "entity_image": g.normal(size=(z.B, z.C, *one, z.V)),
        "entity_objects": g.normal(size=(z.B, z.C, z.Oe, *one, z.V)),
        "entity_object_scores": g.random((z.B, z.C, z.Oe)) * (g.random((z.B, z.C, z.Oe)) < 0.8),
        "sim_mention_image_entity_text": 22 + 3 * g.normal(size=(z.B, z.C)),
        "sim_mention_text_entity_image": 22 + 3 * g.normal(size=(z.B, z.C)),
        "answer": g.integers(0, z.C, z.B),
    }
    if variant.tokens:
        arrays["entity_text"] = g.normal(size=(z.B, z.C, z.S, z.D))
        arrays["entity_text_mask"] = np.arange(z.S) < g.integers(3, z.S + 1, (z.B, z.C, 1))
    return {
        name: torch.from_numpy(array.astype(np.float32 if array.dtype == np.float64 else np.int64))
        for name, array in arrays.items()
    }


def weight_shapes(sizes: Sizes, variant: Variant) -> dict[str, tuple[int, ...]]:
    """Every weight of the reference, by its name there."""
    z = sizes
    linears: dict[str, tuple[int, int]] = {}
    norms: dict[str, int] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    encoder = "vertex_encoder"
    if variant.mention_text == "linear":
        linears[f"{encoder}.mention_text_encoder.final_layer.linear"] = (z.H, z.D)
    elif variant.mention_text == "transformer":
        prefix = f"{encoder}.mention_text_encoder.intermediate_layer.transformer.layers"
        for i in range(z.transformer_layers):
            shapes[f"{prefix}.{i}.self_attn.in_proj_weight"] = (3 * z.D, z.D)
            shapes[f"{prefix}.{i}.self_attn.in_proj_bias"] = (3 * z.D,)
            linears[f"{prefix}.{i}.self_attn.out_proj"] = (z.D, z.D)
            linears[f"{prefix}.{i}.linear1"] = (z.feedforward, z.D)
            linears[f"{prefix}.{i}.linear2"] = (z.D, z.feedforward)
            norms[f"{prefix}.{i}.norm1"] = norms[f"{prefix}.{i}.norm2"] = z.D
    if variant.entity_text == "linear":
        linears[f"{encoder}.entity_text_encoder.final_layer"] = (z.H, z.D)
    linears[f"{encoder}.mention_image_linear"] = (z.H, z.V)
    linears[f"{encoder}.entity_image_linear"] = (z.H, z.V)
    half = z.H // 2 if variant.edge_kind == "vector" else z.H
    for i in range(variant.layers):
        linears[f"gcn_layers.{i}.w_h"] = (z.H, z.H)
        linears[f"gcn_layers.{i}.w_u"] = linears[f"gcn_layers.{i}.w_v"] = (half, z.H)
        if variant.edge_kind == "vector":
            linears[f"gcn_layers.{i}.w_m"] = (z.H, z.H)
        norms[f"gcn_layers.{i}.layer_norm"] = z.H
    for name, shape in linears.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name, width in norms.items():
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    return shapes


def random_weight(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """A weight as training might leave it: spread like torch's own start, norms near 1."""
    scale = 0.1 if len(shape) == 1 else 0.6 / math.sqrt(shape[1])
    is_norm = len(shape) == 1 and "norm" in name and name.endswith("weight")
    return (is_norm + scale * generator.normal(size=shape)).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Naive:
    """Made-up inputs and weights in float32, and what DRIN makes of them in float64."""

    inputs: dict[str, Tensor]
    weights: dict[str, Tensor]
    scores: Tensor
    loss: Tensor
    gradients: dict[str, Tensor | None]


def naive_run(*, sizes: Sizes, variant: Variant, seed: int) -> Naive:
    generator = np.random.default_rng(seed)
    inputs = random_inputs(sizes, variant, generator)
    weights = {
        name: torch.from_numpy(random_weight(name, shape, generator))
        for name, shape in weight_shapes(sizes, variant).items()
    }
    exact = {n: t.double() if t.is_floating_point() else t for n, t in inputs.items()}
    leaves = {n: w.double().requires_grad_() for n, w in weights.items()}
    scores = naive_scores(exact, leaves, variant)
    loss = naive_batch_loss(scores, exact["answer"])
    loss.backward()
    return Naive(
        inputs=inputs,
        weights=weights,
        scores=scores.detach(),
        loss=loss.detach(),
        gradients={name: leaf.grad for name, leaf in leaves.items()},
    )


def write_recording(path: Path, *, sizes: Sizes, variant: Variant, seed: int) -> None:
    """Write a naive run as the reference implementation's runs were recorded, in float32."""
    run = naive_run(sizes=sizes, variant=variant, seed=seed)
    recording = {f"in/{name}": array.numpy() for name, array in run.inputs.items()}
    recording |= {f"param/{name}": array.numpy() for name, array in run.weights.items()}
    for name, gradient in run.gradients.items():
        found = torch.zeros(0) if gradient is None else gradient
        recording[f"grad/{name}"] = found.float().numpy()
    recording["out/scores"] = run.scores.float().numpy()
    recording["out/loss"] = run.loss.float().numpy()
    for k in (1, 3):
        recording[f"out/top{k}"] = naive_top(recording["out/scores"], run.inputs["answer"], k)
    np.savez(path, **recording)


def naive_top(scores: np.ndarray, answer: Tensor, k: int) -> np.float64:
    """Share of mentions whose gold is retrieved and reaches the k-th largest retrieved score."""
    hits = 0
    for row, gold in zip(scores[:, :-1], answer.tolist(), strict=True):
        hits += gold < len(row) and row[gold] >= sorted(row, reverse=True)[min(k, len(row)) - 1]
    return np.float64(hits / len(answer))
