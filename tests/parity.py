"""Recorded numbers of the reference implementation, against ours: ``python -m tests.parity [DIR]``.

A recording is one .npz (see ``tests/golden/models/README.md``), named after a model and a variant
of it. From the arrays we read every size and most options, load the recorded weights, and compare
in float32:

- scores and loss, as the largest absolute difference;
- the gradient of every weight, as max|Δ| / max(max|recorded|, 1e-4). The second term is there
  because scores and loss are of order 1, so that float32 resolves their gradients to about 1e-8:
  a weight whose gradient is smaller than 1e-4 has fewer than four digits that mean something;
- the recorded top-k, with the metrics applied to the recorded scores: equal.

A weight recorded without a gradient, or with zeros only, must have none, or zeros, or not exist.

Prints a line a recording, and exits with 1 if one fails or there is none.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from linker.losses import MARGIN, triplet_loss
from linker.metrics import rank_gold, reference_hits
from linker.models.base import Model
from linker.ranks import summarise
from tests.parity_models import load_model
from tests.parity_recordings import Mismatch, Recording, batch_of, read_recording

SCORE_TOLERANCE = 1e-5
LOSS_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4
#: A weight whose largest recorded gradient is smaller than this is measured against this.
GRADIENT_FLOOR = 1e-4

DEFAULT_DIRECTORY = Path(__file__).parent / "golden" / "models"


@dataclass(frozen=True)
class Difference:
    """How far our model is from a recording."""

    score: float
    loss: float
    gradient: float

    @property
    def small(self) -> bool:
        """Whether all are within tolerance; NaN is not."""
        return (
            self.score <= SCORE_TOLERANCE
            and self.loss <= LOSS_TOLERANCE
            and self.gradient <= GRADIENT_TOLERANCE
        )


def compare(recording: Recording) -> Difference:
    """Run our model on a recording.

    Raises:
        Mismatch: there is no such model, a weight has no counterpart, or top-k differs.
    """
    model, names = load_model(recording)
    batch = batch_of(recording)
    scores = model(batch)
    loss = triplet_loss(
        scores, batch.answer, retrieved=batch.retrieved, negatives="batch", margin=MARGIN
    )
    loss.backward()
    check_top_k(recording)
    return Difference(
        score=float((scores.detach() - recording.outputs["scores"]).abs().max()),
        loss=float((loss.detach() - recording.outputs["loss"]).abs()),
        gradient=max(gradient_differences(recording, model, names).values()),
    )


def gradient_differences(
    recording: Recording, model: Model, names: Mapping[str, str]
) -> dict[str, float]:
    """The relative difference (see the top of this file) of every weight's gradient."""
    ours = dict(model.named_parameters())
    differences: dict[str, float] = {}
    for recorded, name in names.items():
        expected = recording.gradients[recorded]
        if not expected.numel():  # the reference computed none
            expected = torch.zeros_like(recording.weights[recorded])
        found = ours[name].grad if name in ours else None
        if found is None:
            found = torch.zeros_like(expected)
        scale = max(float(expected.abs().max()), GRADIENT_FLOOR)
        differences[recorded] = float((found - expected).abs().max()) / scale
    return differences


def check_top_k(recording: Recording) -> None:
    """Compare ``out/top<k>`` with our metrics of the recorded scores.

    Raises:
        Mismatch: they differ, or our two ways to compute top-k do.
    """
    scores, answer = recording.outputs["scores"], recording.inputs["answer"].long()
    ranks = rank_gold(scores, answer, retrieved=recording.retrieved)
    for name, recorded in recording.outputs.items():
        if not (match := re.fullmatch(r"top(\d+)", name)):
            continue
        k = int(match[1])
        hits = reference_hits(scores, answer, retrieved=recording.retrieved, k=k)
        metrics = summarise(ranks, ks=[k], denominator="all", ties="optimistic")
        for ours in (float(hits.double().mean()), metrics.hits[k]):
            if abs(ours - float(recorded)) > 1e-6:
                raise Mismatch(f"{name} was recorded as {float(recorded):.4f}, ours is {ours:.4f}")


def line_of(path: Path, width: int) -> tuple[str, bool]:
    """The line to print for one recording, and whether it passed."""
    name = f"{path.stem:<{width}}"
    try:
        difference = compare(read_recording(path))
    except Exception as error:  # whatever breaks, the other recordings still get their line
        kind = "" if isinstance(error, Mismatch) else f"{type(error).__name__}: "
        reason = kind + " ".join(str(error).split())
        return f"{name}  {'-':>11}  {'-':>11}  {'-':>11}  FAIL  {reason}", False
    numbers = f"{difference.score:>11.2e}  {difference.loss:>11.2e}  {difference.gradient:>11.2e}"
    return f"{name}  {numbers}  {'ok' if difference.small else 'FAIL'}", difference.small


def main(arguments: list[str]) -> int:
    """Compare every recording of a folder; 0 if all pass."""
    if len(arguments) > 1:
        print("usage: python -m tests.parity [DIR]", file=sys.stderr)
        return 2
    directory = Path(arguments[0]) if arguments else DEFAULT_DIRECTORY
    paths = sorted(directory.glob("*.npz"))
    if not paths:
        print(f"no recording (*.npz) in {directory}", file=sys.stderr)
        return 1
    width = max(len("recording"), *(len(path.stem) for path in paths))
    print(f"{'recording':<{width}}  {'max|Δscore|':>11}  {'|Δloss|':>11}  {'rel Δgrad':>11}")
    passed = True
    for path in paths:
        line, ok = line_of(path, width)
        print(line, flush=True)
        passed &= ok
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
