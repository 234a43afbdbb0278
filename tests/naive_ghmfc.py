"""GHMFC once more, as plainly as its formulas read: one mention at a time, in float64, from recorded
inputs and weights. It shares no code with the product."""

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
    attention,
    attention_shapes,
    cosine,
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

ENCODER = "mention_encoder.intermediate_layer"
FINAL = "mention_encoder.final_layer.linear"
ENTITY = "entity_encoder.final_layer"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The options of GHMFC that change what is computed."""

    mention: str = "multimodal"
    attention: str = "bi"
    pooling: str = "max"
    maximum: str = "padded"
    entity_text: str = "linear"
    tokens: bool = False  # entity text as WikiMEL stores it
    entity_maximum: bool = False
    heads: int = 4


def cross_attention(
    own: Tensor, read: Tensor, weights: Tensors, at: str, *, real: int, heads: int
) -> Tensor:
    """CA(own, read); of ``own`` only the ``real`` first rows are looked at."""

    def mixed(rows: Tensor, linear_name: str, norm: int) -> Tensor:
        found = []
        for row in rows:
            first = layer_norm(row, weights, f"{at}.layernorms.{norm}")
            second = linear(first, weights, f"{at}.{linear_name}") + first
            found.append(layer_norm(second, weights, f"{at}.layernorms.{norm + 1}"))
        return torch.stack(found)

    p = mixed(attention(own, read, weights, f"{at}.a2b_attention", heads), "a2b_ffn", 0)
    return mixed(attention(p, own[:real], weights, f"{at}.b2a_attention", heads), "b2a_ffn", 2)


def mention_vector(inputs: Tensors, weights: Tensors, b: int, variant: Variant) -> Tensor:
    n, heads = int(inputs["mention_text_mask"][b].sum()), variant.heads
    start, end = int(inputs["mention_start"][b]), int(inputs["mention_end"][b])
    text, image = inputs["mention_text"][b], inputs["mention_image"][b]
    if variant.mention in ("linear", "none"):
        own = span(text[:n], start, end)
        return linear(own, weights, FINAL) if variant.mention == "linear" else own
    positions = len(text) if variant.maximum == "padded" else n
    if variant.mention == "multimodal" and variant.attention == "bi":
        read_text = cross_attention(
            text, image, weights, f"{ENCODER}.t2v_attention", real=n, heads=heads
        )
        read_image = cross_attention(
            image, text[:n], weights, f"{ENCODER}.v2t_attention", real=len(image), heads=heads
        )
        of_text = linear(read_text[:positions].amax(dim=0), weights, f"{ENCODER}.text_linear")
        of_image = linear(read_image.amax(dim=0), weights, f"{ENCODER}.image_linear")
        both = gelu(of_text), gelu(of_image)
        gate = torch.softmax(linear(torch.cat(both), weights, f"{ENCODER}.score_linear"), dim=0)
        return gate[0] * both[0] + gate[1] * both[1]
    if variant.mention == "multimodal":
        encoded = cross_attention(text, image, weights, ENCODER, real=n, heads=heads)
    else:
        encoded = transformer(text, n, weights, ENCODER, heads)
    if variant.pooling == "span":
        return span(encoded[:n], start, end)
    return encoded[:positions].amax(dim=0)


def mention_scores(inputs: Tensors, weights: Tensors, b: int, *, variant: Variant) -> Tensor:
    """The (C,) scores of mention b."""
    mention = mention_vector(inputs, weights, b, variant)
    scores = []
    for c in range(inputs["entity_text"].shape[1]):
        entity, _ = entity_texts(inputs, b, c, maximum=variant.entity_maximum)
        if variant.entity_text == "linear":
            entity = linear(entity, weights, ENTITY)
        scores.append(cosine(mention, entity))
    return torch.stack(scores)


def cross_shapes(at: str, width: int, read: int) -> Shapes:
    shapes = attention_shapes(f"{at}.a2b_attention", width, read)
    shapes |= attention_shapes(f"{at}.b2a_attention", width, width)
    shapes |= linear_shapes(f"{at}.a2b_ffn", width, width)
    shapes |= linear_shapes(f"{at}.b2a_ffn", width, width)
    for i in range(4):
        shapes |= norm_shapes(f"{at}.layernorms.{i}", width)
    return shapes


def weight_shapes(sizes: Sizes, variant: Variant) -> Shapes:
    """Every weight of the reference, by its name there."""
    z = sizes
    shapes: Shapes = {}
    if variant.mention == "linear":
        shapes |= linear_shapes(FINAL, z.H, z.D)
    elif variant.mention == "transformer":
        shapes |= transformer_shapes(ENCODER, z)
    elif variant.mention == "multimodal" and variant.attention == "text":
        shapes |= cross_shapes(ENCODER, z.D, z.V)
    elif variant.mention == "multimodal":
        shapes |= cross_shapes(f"{ENCODER}.t2v_attention", z.D, z.V)
        shapes |= cross_shapes(f"{ENCODER}.v2t_attention", z.V, z.D)
        shapes |= linear_shapes(f"{ENCODER}.text_linear", z.H, z.D)
        shapes |= linear_shapes(f"{ENCODER}.image_linear", z.H, z.V)
        shapes |= linear_shapes(f"{ENCODER}.score_linear", 2, 2 * z.H)
    if variant.entity_text == "linear":
        shapes |= linear_shapes(ENTITY, z.H, z.D)
    return shapes


def naive_ghmfc(*, sizes: Sizes, variant: Variant, seed: int) -> Naive:
    """A run of GHMFC on made-up numbers."""
    return run(
        sizes=sizes,
        tokens=variant.tokens,
        shapes=weight_shapes(sizes, variant),
        mention_scores=functools.partial(mention_scores, variant=variant),
        seed=seed,
    )
