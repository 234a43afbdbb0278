"""MEL-HI once more, as plainly as its formulas read: one mention and one LSTM step at a time, in
float64, from recorded inputs and weights. It shares no code with the product."""

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
    linear,
    linear_shapes,
    run,
    span,
)

LSTM = "mention_encoder.mention_lstm"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The options of MEL-HI, and how entity texts are stored."""

    text_threshold: float = 0.0
    image_threshold: float = 0.6
    tokens: bool = False


def last_state(steps: Tensor, weights: Tensors) -> Tensor:
    """The last hidden state of the LSTM over (n, 3D) steps, one of zeros where there is none."""
    if not len(steps):
        steps = torch.zeros(1, steps.shape[1], dtype=steps.dtype)
    hidden = cell = torch.zeros(steps.shape[1], dtype=steps.dtype)
    for step in steps:
        gates = weights[f"{LSTM}.weight_ih_l0"] @ step + weights[f"{LSTM}.bias_ih_l0"]
        gates = gates + weights[f"{LSTM}.weight_hh_l0"] @ hidden + weights[f"{LSTM}.bias_hh_l0"]
        into, forget, new, out = gates.chunk(4)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(into) * torch.tanh(new)
        hidden = torch.sigmoid(out) * torch.tanh(cell)
    return hidden


def keeps_picture(inputs: Tensors, p: Tensor, b: int, variant: Variant) -> bool:
    """Whether mention b's picture fits its sentence and some candidate."""
    mean = inputs["mention_image"][b].mean(dim=0)
    fits_some = False
    for c in range(inputs["entity_image"].shape[1]):
        similarity = cosine(mean, entity_picture(inputs, b, c))
        fits_some = fits_some or bool(similarity > variant.image_threshold)
    return fits_some and bool(cosine(inputs["mention_text"][b, 0], p) > variant.text_threshold)


def mention_scores(inputs: Tensors, weights: Tensors, b: int, *, variant: Variant) -> Tensor:
    """The (C,) scores of mention b."""
    n = int(inputs["mention_text_mask"][b].sum())
    start, end = int(inputs["mention_start"][b]), int(inputs["mention_end"][b])
    text = inputs["mention_text"][b, :n]
    p = linear(inputs["mention_image"][b].mean(dim=0), weights, "image_map_text")
    keep = float(keeps_picture(inputs, p, b, variant))
    w = span(text, start, end)
    z = torch.stack([torch.cat([token, w, keep * p]) for token in text])
    sides = torch.cat([last_state(z[1 : start + 1], weights), last_state(z[end + 1 :], weights)])
    mention = linear(sides, weights, "mention_encoder.mention_final_map")
    scores = []
    for c in range(inputs["entity_text"].shape[1]):
        q = keep * linear(entity_picture(inputs, b, c), weights, "image_map_text")
        x, _ = entity_texts(inputs, b, c)
        scores.append(cosine(mention, linear(torch.cat([x, q]), weights, "entity_final_map")))
    return torch.stack(scores)


def weight_shapes(sizes: Sizes) -> Shapes:
    """Every weight of the reference, by its name there."""
    z = sizes
    shapes: Shapes = {
        f"{LSTM}.weight_ih_l0": (12 * z.D, 3 * z.D),
        f"{LSTM}.weight_hh_l0": (12 * z.D, 3 * z.D),
        f"{LSTM}.bias_ih_l0": (12 * z.D,),
        f"{LSTM}.bias_hh_l0": (12 * z.D,),
    }
    shapes |= linear_shapes("image_map_text", z.D, z.V)
    shapes |= linear_shapes("mention_encoder.mention_final_map", z.H, 6 * z.D)
    return shapes | linear_shapes("entity_final_map", z.H, 2 * z.D)


def naive_melhi(*, sizes: Sizes, variant: Variant, seed: int) -> Naive:
    """A run of MEL-HI on made-up numbers."""
    return run(
        sizes=sizes,
        tokens=variant.tokens,
        shapes=weight_shapes(sizes),
        mention_scores=functools.partial(mention_scores, variant=variant),
        seed=seed,
    )
