"""The comparison of a model with its naive reference, in float64."""

from __future__ import annotations

from typing import Any

import torch

from linker.losses import triplet_loss
from tests.naive_parts import Naive, in_float64
from tests.parity_models import REFERENCES, load_model
from tests.parity_recordings import Recording, batch_of


def assert_equals_naive(name: str, naive: Naive, **options: Any) -> None:
    """Our scores, loss and every gradient in float64 are the naive ones, to rounding.

    Args:
        name: of the recording that the run would be: the model, and words of the variant.
        options: of the model, that the weights do not show.
    """
    outputs = {"scores": naive.scores}
    recording = Recording(name, in_float64(naive.inputs), naive.weights, {}, outputs)
    config = REFERENCES[recording.model].config(recording).model_copy(update=options)
    model, names = load_model(recording, config=config)
    batch = batch_of(recording)
    scores = model.double()(batch)
    loss = triplet_loss(scores, batch.answer, retrieved=batch.retrieved)
    loss.backward()
    torch.testing.assert_close(scores.detach(), naive.scores, rtol=0, atol=1e-12)
    torch.testing.assert_close(loss.detach(), naive.loss, rtol=0, atol=1e-12)
    ours = dict(model.named_parameters())
    for recorded, weight in names.items():
        found = ours[weight].grad if weight in ours else None
        expected = naive.gradients[recorded]
        zero = torch.zeros_like(naive.weights[recorded]).double()
        found, expected = (zero if g is None else g for g in (found, expected))
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-11, msg=recorded)
