"""Recordings of the reference models: the arrays of a file, and the batch they make.

See ``tests/golden/models/README.md`` for the names inside a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from linker.batch import Batch


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


def read_recording(path: Path) -> Recording:
    groups: dict[str, dict[str, Tensor]] = {"in": {}, "param": {}, "grad": {}, "out": {}}
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        for key in arrays.files:
            group, name = key.split("/", maxsplit=1)
            groups[group][name] = torch.from_numpy(np.array(arrays[key]))
    return Recording(path.stem, groups["in"], groups["param"], groups["grad"], groups["out"])


def batch_of(recording: Recording) -> Batch:
    """The recorded inputs as a batch in which every pair has an entity row of its own."""
    inputs = recording.inputs
    pairs = inputs["sim_mention_text_entity_image"].shape
    mentions = inputs["mention_text"]
    count = inputs["mention_text_mask"].sum(dim=1).long()
    start, end = inputs["mention_start"].long(), inputs["mention_end"].long()
    text, cls = entity_text_vectors(inputs, maximum="maxpool" in recording.words)
    return Batch(
        mention_rows=torch.arange(pairs[0]),
        answer=inputs["answer"].long(),
        candidates=torch.arange(pairs.numel()).view(pairs),
        retrieved=recording.retrieved,
        mention_text_span=spans(mentions, start, end),
        mention_text_cls=mentions[:, 0],
        mention_text_tokens=mentions,
        mention_text_padded=mentions,
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


def entity_text_vectors(
    inputs: Mapping[str, Tensor], *, maximum: bool = False
) -> tuple[Tensor, Tensor]:
    """x_e and c_e, each (B, C, D): mean or maximum of tokens 1 … n-2, and token 0; or what is pooled."""
    text = inputs["entity_text"]
    if text.ndim == 3:
        return text, text
    counts = inputs["entity_text_mask"].sum(dim=2).long().flatten().tolist()
    inner = [row[1 : n - 1] for row, n in zip(text.flatten(0, 1), counts, strict=True)]
    vectors = [row.amax(dim=0) if maximum else row.mean(dim=0) for row in inner]
    return torch.stack(vectors).view(*text.shape[:2], -1), text[:, :, 0]


def without_ones(features: Tensor, *, rank: int) -> Tensor:
    """The features with the axis before the last averaged away where there is one too many."""
    return features.mean(dim=-2) if features.ndim == rank + 1 else features
