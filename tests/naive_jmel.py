"""JMEL once more, as plainly as its formulas read: one pair at a time, in float64. It shares no code
with the product; there is no recording of it, so its weights have the product's names."""

from __future__ import annotations

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
    linear,
    linear_shapes,
    run,
    span,
)


def joint(text: Tensor, image: Tensor, weights: Tensors, side: str) -> Tensor:
    """Text and picture of one mention or entity in the joint space."""
    t = torch.clamp(linear(text, weights, f"{side}.text"), min=0)
    v = torch.clamp(linear(image, weights, f"{side}.image"), min=0)
    return linear(torch.cat([t, v]), weights, f"{side}.joint")


def mention_scores(inputs: Tensors, weights: Tensors, b: int) -> Tensor:
    """The (C,) scores of mention b."""
    n = int(inputs["mention_text_mask"][b].sum())
    start, end = int(inputs["mention_start"][b]), int(inputs["mention_end"][b])
    own = span(inputs["mention_text"][b, :n], start, end)
    mention = joint(own, inputs["mention_image"][b].mean(dim=0), weights, "mention")
    scores = []
    for c in range(inputs["entity_text"].shape[1]):
        text, _ = entity_texts(inputs, b, c)
        entity = joint(text, entity_picture(inputs, b, c), weights, "entity")
        scores.append(cosine(mention, entity))
    return torch.stack(scores)


def weight_shapes(sizes: Sizes) -> Shapes:
    """Every weight."""
    z = sizes
    shapes: Shapes = {}
    for side in ("mention", "entity"):
        shapes |= linear_shapes(f"{side}.text", z.H, z.D) | linear_shapes(f"{side}.image", z.H, z.V)
        shapes |= linear_shapes(f"{side}.joint", z.H, 2 * z.H)
    return shapes


def naive_jmel(*, sizes: Sizes, tokens: bool, seed: int) -> Naive:
    """A run of JMEL on made-up numbers; ``tokens``: entity texts and pictures as WikiMEL has them."""
    return run(
        sizes=sizes,
        tokens=tokens,
        shapes=weight_shapes(sizes),
        mention_scores=mention_scores,
        seed=seed,
    )
