"""What the naive references share: formulas for one mention at a time, made-up numbers, recordings.

Nothing here comes from the product, so that what agrees with it was computed twice. A naive model
(``tests/naive_<model>.py``) adds the scores of one mention and the shapes of its weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

Tensors = Mapping[str, Tensor]
Shapes = dict[str, tuple[int, ...]]


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


# formulas ------------------------------------------------------------------------------------


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


def span(x: Tensor, start: int, end: int) -> Tensor:
    """Mean of the tokens [start+1, end+1) of the (n, D) real tokens; [CLS] where there is none."""
    own = x[start + 1 : end + 1]
    return own.mean(dim=0) if len(own) else x[0]


def attention(queries: Tensor, read: Tensor, weights: Tensors, at: str, heads: int) -> Tensor:
    """Multi-head attention of (n, W) queries over (m, X) positions."""
    width = queries.shape[1]
    if f"{at}.in_proj_weight" in weights:
        to_q, to_k, to_v = weights[f"{at}.in_proj_weight"].split(width)
    else:
        to_q, to_k, to_v = (weights[f"{at}.{each}_proj_weight"] for each in "qkv")
    of_q, of_k, of_v = weights[f"{at}.in_proj_bias"].split(width)
    q, k, v = queries @ to_q.T + of_q, read @ to_k.T + of_k, read @ to_v.T + of_v
    size = width // heads
    mixed = []
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        mixed.append(torch.softmax(q[:, part] @ k[:, part].T / math.sqrt(size), dim=1) @ v[:, part])
    return torch.stack([linear(row, weights, f"{at}.out_proj") for row in torch.cat(mixed, dim=1)])


def transformer(x: Tensor, real: int, weights: Tensors, prefix: str, heads: int) -> Tensor:
    """The post-norm encoder over (T, D) positions, of which only the ``real`` ones are attended."""
    prefix = f"{prefix}.transformer.layers"
    count = len({name[len(prefix) + 1 :].split(".")[0] for name in weights if prefix in name})
    for i in range(count):
        at = f"{prefix}.{i}"
        attended = attention(x, x[:real], weights, f"{at}.self_attn", heads)
        rows = []
        for own, found in zip(x, attended, strict=True):
            y = layer_norm(own + found, weights, f"{at}.norm1")
            z = linear(gelu(linear(y, weights, f"{at}.linear1")), weights, f"{at}.linear2")
            rows.append(layer_norm(y + z, weights, f"{at}.norm2"))
        x = torch.stack(rows)
    return x


def entity_texts(
    inputs: Tensors, b: int, c: int, *, maximum: bool = False
) -> tuple[Tensor, Tensor]:
    """x_e and c_e of one pair."""
    text = inputs["entity_text"][b, c]
    if text.ndim == 1:
        return text, text
    inner = text[1 : int(inputs["entity_text_mask"][b, c].sum()) - 1]
    return inner.amax(dim=0) if maximum else inner.mean(dim=0), text[0]


def entity_picture(inputs: Tensors, b: int, c: int) -> Tensor:
    """(V,) the picture of one pair's entity."""
    picture = inputs["entity_image"][b, c]
    return picture.reshape(-1, picture.shape[-1]).mean(dim=0)


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


def naive_top(scores: np.ndarray, answer: Tensor, k: int) -> np.float64:
    """Share of mentions whose gold is retrieved and reaches the k-th largest retrieved score."""
    hits = 0
    for row, gold in zip(scores[:, :-1], answer.tolist(), strict=True):
        hits += gold < len(row) and row[gold] >= sorted(row, reverse=True)[min(k, len(row)) - 1]
    return np.float64(hits / len(answer))


# made-up numbers -----------------------------------------------------------------------------


def random_inputs(
    sizes: Sizes, generator: np.random.Generator, *, tokens: bool
) -> dict[str, Tensor]:
    """The ``in/`` arrays of a recording, with made-up features; pictures are not negative.

    Args:
        tokens: entity text and its pictures as WikiMEL stores them: token features, extra axes.
    """
    z, g = sizes, generator
    one = (1,) if tokens else ()
    count = g.integers(4, z.T + 1, z.B)
    start = g.integers(0, count - 3)
    arrays = {
        "mention_text": g.normal(size=(z.B, z.T, z.D)),
        "mention_text_mask": np.arange(z.T) < count[:, None],
        "mention_start": start,
        "mention_end": g.integers(start + 1, count),
        "mention_image": np.abs(g.normal(size=(z.B, z.R, z.V))),
        "mention_objects": g.normal(size=(z.B, z.Om, 1, z.V)),
        "mention_object_scores": g.random((z.B, z.Om)) * (g.random((z.B, z.Om)) < 0.8),
        "entity_text": g.normal(size=(z.B, z.C, z.D)),
        "entity_text_mask": np.zeros(z.B, np.float32),
        "entity_image": np.abs(g.normal(size=(z.B, z.C, *one, z.V))),
        "entity_objects": g.normal(size=(z.B, z.C, z.Oe, *one, z.V)),
        "entity_object_scores": g.random((z.B, z.C, z.Oe)) * (g.random((z.B, z.C, z.Oe)) < 0.8),
        "sim_mention_image_entity_text": 22 + 3 * g.normal(size=(z.B, z.C)),
        "sim_mention_text_entity_image": 22 + 3 * g.normal(size=(z.B, z.C)),
        "answer": g.integers(0, z.C, z.B),
    }
    if tokens:
        arrays["entity_text"] = g.normal(size=(z.B, z.C, z.S, z.D))
        arrays["entity_text_mask"] = np.arange(z.S) < g.integers(3, z.S + 1, (z.B, z.C, 1))
    return {
        name: torch.from_numpy(array.astype(np.float32 if array.dtype == np.float64 else np.int64))
        for name, array in arrays.items()
    }


def linear_shapes(name: str, out: int, into: int) -> Shapes:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def norm_shapes(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def attention_shapes(at: str, width: int, read: int) -> Shapes:
    shapes: Shapes = {f"{at}.in_proj_bias": (3 * width,)}
    if read == width:
        shapes[f"{at}.in_proj_weight"] = (3 * width, width)
    else:
        shapes[f"{at}.q_proj_weight"] = (width, width)
        shapes[f"{at}.k_proj_weight"] = shapes[f"{at}.v_proj_weight"] = (width, read)
    return shapes | linear_shapes(f"{at}.out_proj", width, width)


def transformer_shapes(prefix: str, sizes: Sizes) -> Shapes:
    shapes: Shapes = {}
    for i in range(sizes.transformer_layers):
        at = f"{prefix}.transformer.layers.{i}"
        shapes |= attention_shapes(f"{at}.self_attn", sizes.D, sizes.D)
        shapes |= linear_shapes(f"{at}.linear1", sizes.feedforward, sizes.D)
        shapes |= linear_shapes(f"{at}.linear2", sizes.D, sizes.feedforward)
        shapes |= norm_shapes(f"{at}.norm1", sizes.D) | norm_shapes(f"{at}.norm2", sizes.D)
    return shapes


def random_weight(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """A weight as training might leave it: spread like torch's own start, norms near 1."""
    scale = 0.1 if len(shape) == 1 else 0.6 / math.sqrt(shape[1])
    is_norm = len(shape) == 1 and "norm" in name and name.endswith("weight")
    return (is_norm + scale * generator.normal(size=shape)).astype(np.float32)


# runs ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Naive:
    """Made-up inputs and weights in float32, and what a model makes of them in float64."""

    inputs: dict[str, Tensor]
    weights: dict[str, Tensor]
    scores: Tensor
    loss: Tensor
    gradients: dict[str, Tensor | None]


def in_float64(tensors: Tensors) -> dict[str, Tensor]:
    return {n: t.double() if t.is_floating_point() else t for n, t in tensors.items()}


def run(
    *,
    sizes: Sizes,
    tokens: bool,
    shapes: Shapes,
    mention_scores: Callable[[Tensors, Tensors, int], Tensor],
    seed: int,
) -> Naive:
    """Inputs and weights out of ``seed``, and their scores, loss and gradients.

    Args:
        mention_scores: (inputs, weights, b) → the (C,) scores of mention b.
    """
    generator = np.random.default_rng(seed)
    inputs = random_inputs(sizes, generator, tokens=tokens)
    weights = {
        name: torch.from_numpy(random_weight(name, shape, generator))
        for name, shape in shapes.items()
    }
    exact = in_float64(inputs)
    leaves = {n: w.requires_grad_() for n, w in in_float64(weights).items()}
    scores = torch.stack([mention_scores(exact, leaves, b) for b in range(sizes.B)])
    loss = naive_batch_loss(scores, exact["answer"])
    loss.backward()
    return Naive(
        inputs=inputs,
        weights=weights,
        scores=scores.detach(),
        loss=loss.detach(),
        gradients={name: leaf.grad for name, leaf in leaves.items()},
    )


def write_recording(path: Path, naive: Naive) -> None:
    """Write a naive run as the reference implementation's runs were recorded, in float32."""
    recording = {f"in/{name}": array.numpy() for name, array in naive.inputs.items()}
    recording |= {f"param/{name}": array.numpy() for name, array in naive.weights.items()}
    for name, gradient in naive.gradients.items():
        found = torch.zeros(0) if gradient is None else gradient
        recording[f"grad/{name}"] = found.float().numpy()
    recording["out/scores"] = naive.scores.float().numpy()
    recording["out/loss"] = naive.loss.float().numpy()
    for k in (1, 3):
        recording[f"out/top{k}"] = naive_top(recording["out/scores"], naive.inputs["answer"], k)
    np.savez(path, **recording)
