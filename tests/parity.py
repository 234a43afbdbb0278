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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from featurestore.errors import ConfigError
from linker.batch import Batch
from linker.losses import MARGIN, triplet_loss
from linker.metrics import rank_gold, reference_hits, summarise
from linker.models import model_class
from linker.models.base import Model, ModelConfig
from linker.models.drin import DrinConfig

SCORE_TOLERANCE = 1e-5
LOSS_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4
#: A weight whose largest recorded gradient is smaller than this is measured against this.
GRADIENT_FLOOR = 1e-4

#: Heads of the recorded transformers: the one size that no array shows.
RECORDED_HEADS = 4

DEFAULT_DIRECTORY = Path(__file__).parent / "golden" / "models"


class Mismatch(Exception):
    """The recording and the model differ in more than numbers; the message is the line's reason."""


@dataclass(frozen=True)
class Recording:
    """The arrays of one file, by their name inside the ``in``, ``param``, ``grad``, ``out`` groups."""

    name: str
    inputs: Mapping[str, Tensor]
    weights: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]

    @property
    def model(self) -> str:
        return self.name.split("-")[0]

    @property
    def words(self) -> list[str]:
        """The parts of the name that tell the variant."""
        return self.name.split("-")[1:]

    @property
    def retrieved(self) -> int:
        """K: the last score column is the gold slot (protocol ``paper``)."""
        return self.outputs["scores"].shape[1] - 1


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


def read_recording(path: Path) -> Recording:
    groups: dict[str, dict[str, Tensor]] = {"in": {}, "param": {}, "grad": {}, "out": {}}
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        for key in arrays.files:
            group, name = key.split("/", maxsplit=1)
            groups[group][name] = torch.from_numpy(np.array(arrays[key]))
    return Recording(path.stem, groups["in"], groups["param"], groups["grad"], groups["out"])


# from recorded inputs to a batch -------------------------------------------------------------


def batch_of(recording: Recording) -> Batch:
    """The recorded inputs as a batch in which every pair has an entity row of its own."""
    inputs = recording.inputs
    pairs = inputs["sim_mention_text_entity_image"].shape
    mentions = inputs["mention_text"]
    count = inputs["mention_text_mask"].sum(dim=1).long()
    start, end = inputs["mention_start"].long(), inputs["mention_end"].long()
    text, cls = entity_text_vectors(inputs)
    return Batch(
        mention_rows=torch.arange(pairs[0]),
        answer=inputs["answer"].long(),
        candidates=torch.arange(pairs.numel()).view(pairs),
        retrieved=recording.retrieved,
        mention_text_span=spans(mentions, start, end),
        mention_text_cls=mentions[:, 0],
        mention_text_tokens=mentions,
        mention_token_count=count,
        mention_token_start=start,
        mention_token_end=end,
        mention_image_mean=inputs["mention_image"].mean(dim=1),
        mention_image_regions=inputs["mention_image"],
        mention_objects=without_ones(inputs["mention_objects"], rank=3),
        mention_object_scores=inputs["mention_object_scores"],
        entity_text=text.flatten(0, 1),
        entity_text_cls=cls.flatten(0, 1),
        entity_image=without_ones(inputs["entity_image"], rank=3).flatten(0, 1),
        entity_objects=without_ones(inputs["entity_objects"], rank=4).flatten(0, 1),
        entity_object_scores=inputs["entity_object_scores"].flatten(0, 1),
        sim_image_text=inputs["sim_mention_image_entity_text"],
        sim_text_image=inputs["sim_mention_text_entity_image"],
    )


def spans(tokens: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """(B, D) mean of each mention's tokens [start+1, end+1), as ingest stores it."""
    rows = zip(tokens, start.tolist(), end.tolist(), strict=True)
    return torch.stack([row[first + 1 : last + 1].mean(dim=0) for row, first, last in rows])


def entity_text_vectors(inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """x_e and c_e, each (B, C, D): mean over tokens 1 … n-2 and token 0; or the pooled vector."""
    text = inputs["entity_text"]
    if text.ndim == 3:
        return text, text
    counts = inputs["entity_text_mask"].sum(dim=2).long().flatten().tolist()
    rows = zip(text.flatten(0, 1), counts, strict=True)
    means = torch.stack([row[1 : n - 1].mean(dim=0) for row, n in rows])
    return means.view(*text.shape[:2], -1), text[:, :, 0]


def without_ones(features: Tensor, *, rank: int) -> Tensor:
    """The features with the axis before the last averaged away where there is one too many."""
    return features.mean(dim=-2) if features.ndim == rank + 1 else features


# from a recording to a model -----------------------------------------------------------------

#: Recorded name → our name of DRIN's weights, as patterns tried in this order.
DRIN_NAMES = (
    (r"vertex_encoder\.mention_text_encoder\.final_layer\.linear", "mention_text"),
    (
        r"vertex_encoder\.mention_text_encoder\.intermediate_layer\.transformer",
        "mention_text.encoder",
    ),
    (r"vertex_encoder\.entity_text_encoder\.final_layer", "entity_text"),
    (r"vertex_encoder\.mention_image_linear", "images.mi"),
    (r"vertex_encoder\.entity_image_linear", "images.ei"),
    (r"gcn_layers\.(\d+)\.layer_norm", r"graph.\1.norm"),
    (r"gcn_layers\.(\d+)", r"graph.\1"),
)


def numbered(recording: Recording, prefix: str) -> int:
    """How many numbered modules follow ``prefix`` in the recorded names."""
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.")
    return len({found[1] for name in recording.weights if (found := pattern.match(name))})


def drin_config(recording: Recording) -> DrinConfig:
    """DRIN's options, from the recorded weights where they show them and else from the name."""
    sentence = "vertex_encoder.mention_text_encoder"
    transformer = f"{sentence}.intermediate_layer.transformer.layers"
    names = recording.weights.keys()
    mention_text = "none"
    if f"{sentence}.final_layer.linear.weight" in names:
        mention_text = "linear"
    feedforward = recording.weights.get(f"{transformer}.0.linear1.weight")
    if feedforward is not None:
        mention_text = "transformer"
    entity_linear = "vertex_encoder.entity_text_encoder.final_layer.weight" in names
    return DrinConfig.model_validate(
        {
            "mention_text": mention_text,
            "entity_text": "linear" if entity_linear else "none",
            "layers": numbered(recording, "gcn_layers"),
            "edges": ("tt", "it") if "noedges" in recording.words else ("tt", "ti", "it", "ii"),
            "edge_update": "static" if "static" in recording.words else "dynamic",
            "edge_kind": "vector" if "gcn_layers.0.w_m.weight" in names else "scalar",
            "width": recording.weights["gcn_layers.0.w_h.weight"].shape[0],
            "transformer_layers": max(1, numbered(recording, transformer)),
            "transformer_heads": RECORDED_HEADS,
            "transformer_feedforward": 1 if feedforward is None else feedforward.shape[0],
            "transformer_dropout": 0.0,
        }
    )


@dataclass(frozen=True)
class Reference:
    """How the recordings of one model are read."""

    config: Callable[[Recording], ModelConfig]
    names: tuple[tuple[str, str], ...]

    def our_name(self, recorded: str) -> str:
        for pattern, ours in self.names:
            if re.match(pattern, recorded):
                return re.sub(f"^{pattern}", ours, recorded)
        raise Mismatch(f"no counterpart is known for the weight {recorded}")


REFERENCES = {"drin": Reference(drin_config, DRIN_NAMES)}


def load_model(
    recording: Recording, *, config: ModelConfig | None = None
) -> tuple[Model, dict[str, str]]:
    """Our model with the recorded weights, and our name of every recorded weight.

    Args:
        config: the model's options, where they are not to be read from the recording.

    Raises:
        Mismatch: the model or one of its weights has no counterpart.
    """
    try:
        cls, _ = model_class(recording.model)
    except ConfigError as error:
        raise Mismatch(error.what) from error
    if recording.model not in REFERENCES:
        raise Mismatch(f"tests/parity.py does not know how {recording.model} was recorded")
    reference = REFERENCES[recording.model]
    model = cls(
        config=reference.config(recording) if config is None else config,
        text_width=recording.inputs["mention_text"].shape[-1],
        image_width=recording.inputs["mention_image"].shape[-1],
    )
    ours = dict(model.named_parameters())
    names = {recorded: reference.our_name(recorded) for recorded in recording.weights}
    if unset := ours.keys() - set(names.values()):
        raise Mismatch(f"not recorded: {', '.join(sorted(unset))}")
    with torch.no_grad():
        for recorded, name in names.items():
            if name not in ours:
                continue
            if ours[name].shape != recording.weights[recorded].shape:
                raise Mismatch(f"{recorded} has another shape than {name}")
            ours[name].copy_(recording.weights[recorded])
    return model.eval(), names


# comparison ----------------------------------------------------------------------------------


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
