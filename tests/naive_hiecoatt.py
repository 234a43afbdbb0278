"""HieCoAtt once more, as plainly as its formulas read: one mention, one token and one region at a
time, in float64. It shares no code with the product; there is no recording of it, so its weights have
the product's names."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from tests.naive_parts import (
    Naive,
    Shapes,
    Sizes,
    Tensors,
    cosine,
    entity_texts,
    linear,
    linear_shapes,
    run,
)

WINDOWS = 3


def attend(items: list[Tensor], guide: Tensor | None, weights: Tensors, at: str) -> Tensor:
    """A(X; g)."""
    logits = []
    for x in items:
        hidden = weights[f"{at}.items.weight"] @ x
        if guide is not None:
            hidden = hidden + weights[f"{at}.guide.weight"] @ guide
        logits.append(weights[f"{at}.weigh.weight"][0].dot(torch.tanh(hidden)))
    return weighted(items, logits)


def weighted(items: list[Tensor], logits: list[Tensor]) -> Tensor:
    """Σ a_i x_i, a = softmax of the logits."""
    powers = [torch.exp(logit - max(logits)) for logit in logits]
    total = sum(powers)
    return sum((power / total * x for power, x in zip(powers, items, strict=True)), 0 * items[0])


def alternating(q: list[Tensor], v: list[Tensor], weights: Tensors, at: str) -> Tensor:
    """q̂ + v̂."""
    summary = attend(q, None, weights, f"{at}.summarise")
    image = attend(v, summary, weights, f"{at}.image")
    return image + attend(q, image, weights, f"{at}.text")


def parallel(q: list[Tensor], v: list[Tensor], weights: Tensors, at: str) -> Tensor:
    """q̂ + v̂."""
    w_b, w_q = weights[f"{at}.affinity.weight"], weights[f"{at}.text.weight"]
    w_v = weights[f"{at}.image.weight"]
    affinity = [[torch.tanh(q_t.dot(w_b @ v_r)) for v_r in v] for q_t in q]
    of_q, of_v = [], []
    for t, q_t in enumerate(q):
        seen = sum(affinity[t][r] * (w_v @ v_r) for r, v_r in enumerate(v))
        hidden = torch.tanh(w_q @ q_t + seen)
        of_q.append(weights[f"{at}.weigh_text.weight"][0].dot(hidden))
    for r, v_r in enumerate(v):
        seen = sum(affinity[t][r] * (w_q @ q_t) for t, q_t in enumerate(q))
        hidden = torch.tanh(w_v @ v_r + seen)
        of_v.append(weights[f"{at}.weigh_image.weight"][0].dot(hidden))
    return weighted(q, of_q) + weighted(v, of_v)


def phrases_of(words: list[Tensor], weights: Tensors) -> list[Tensor]:
    """For each token the maximum over the phrases that start there."""
    found = []
    for t in range(len(words)):
        grams = []
        for i in range(WINDOWS):
            kernel = weights[f"phrases.windows.{i}.weight"]  # (H, H, window)
            inside = range(min(i + 1, len(words) - t))
            grams.append(torch.tanh(sum(kernel[:, :, j] @ words[t + j] for j in inside)))
        found.append(torch.stack(grams).amax(dim=0))
    return found


def states_of(steps: list[Tensor], weights: Tensors) -> list[Tensor]:
    """The hidden states of the LSTM."""
    hidden = cell = torch.zeros_like(steps[0])
    states = []
    for step in steps:
        gates = weights["sentence.weight_ih_l0"] @ step + weights["sentence.bias_ih_l0"]
        gates = gates + weights["sentence.weight_hh_l0"] @ hidden + weights["sentence.bias_hh_l0"]
        into, forget, new, out = gates.chunk(4)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(into) * torch.tanh(new)
        hidden = torch.sigmoid(out) * torch.tanh(cell)
        states.append(hidden)
    return states


def mention_scores(inputs: Tensors, weights: Tensors, b: int, *, attention: str) -> Tensor:
    """The (C,) scores of mention b."""
    n = int(inputs["mention_text_mask"][b].sum())
    words = [linear(token, weights, "words") for token in inputs["mention_text"][b, :n]]
    regions = [linear(region, weights, "regions") for region in inputs["mention_image"][b]]
    phrases = phrases_of(words, weights)
    look = alternating if attention == "alternating" else parallel
    of_words = look(words, regions, weights, "attentions.0")
    of_phrases = look(phrases, regions, weights, "attentions.1")
    of_sentence = look(states_of(phrases, weights), regions, weights, "attentions.2")
    h = torch.tanh(weights["fuse_words.weight"] @ of_words)
    h = torch.tanh(weights["fuse_phrases.weight"] @ torch.cat([of_phrases, h]))
    h = torch.tanh(weights["fuse_sentence.weight"] @ torch.cat([of_sentence, h]))
    scores = []
    for c in range(inputs["entity_text"].shape[1]):
        text, _ = entity_texts(inputs, b, c)
        scores.append(cosine(h, linear(text, weights, "entity")))
    return torch.stack(scores)


def weight_shapes(sizes: Sizes, attention: str) -> Shapes:
    """Every weight."""
    z = sizes
    shapes = linear_shapes("words", z.H, z.D) | linear_shapes("regions", z.H, z.V)
    shapes |= linear_shapes("entity", z.H, z.D)
    shapes |= {f"phrases.windows.{i}.weight": (z.H, z.H, i + 1) for i in range(WINDOWS)}
    for each in ("ih", "hh"):
        shapes[f"sentence.weight_{each}_l0"] = (4 * z.H, z.H)
        shapes[f"sentence.bias_{each}_l0"] = (4 * z.H,)
    square, column = (z.H, z.H), (1, z.H)
    for i in range(3):
        at = f"attentions.{i}"
        if attention == "parallel":
            shapes |= {f"{at}.{name}.weight": square for name in ("affinity", "text", "image")}
            shapes |= {f"{at}.{name}.weight": column for name in ("weigh_text", "weigh_image")}
            continue
        for step in ("summarise", "image", "text"):
            shapes[f"{at}.{step}.items.weight"] = square
            shapes[f"{at}.{step}.weigh.weight"] = column
            if step != "summarise":
                shapes[f"{at}.{step}.guide.weight"] = square
    shapes["fuse_words.weight"] = square
    return shapes | {f"fuse_{name}.weight": (z.H, 2 * z.H) for name in ("phrases", "sentence")}


def naive_hiecoatt(*, sizes: Sizes, attention: str, tokens: bool, seed: int) -> Naive:
    """A run of HieCoAtt on made-up numbers; ``tokens``: entity texts as WikiMEL has them."""
    return run(
        sizes=sizes,
        tokens=tokens,
        shapes=weight_shapes(sizes, attention),
        mention_scores=functools.partial(mention_scores, attention=attention),
        seed=seed,
    )
