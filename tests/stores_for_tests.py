"""A small store with a planted signal: texts narrow a mention down to a few entities, pictures decide.

Entities come in groups that share one name, so that their text vectors are nearly the same; each has
a picture of its own. A mention's text points at the group and its picture at the entity, through the
CLIP similarities above all. A model that reads text alone can at best guess within the group.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featurestore.schema import BY_PATH
from featurestore.writer import StoreWriter

Array = NDArray[np.float32]

#: Widths of the planted store: text D, visual V, tokens T, objects of a mention and of an entity.
D, V, T, O_MENTION, O_ENTITY = 12, 10, 6, 3, 1

SPLITS: Mapping[str, int] = {"train": 96, "valid": 40, "test": 40}


def planted_store(
    path: Path,
    *,
    splits: Mapping[str, int] = SPLITS,
    groups: int = 12,
    namesakes: int = 3,
    candidates: int = 6,
    not_retrieved: int = 8,
    nil: int = 3,
    without: Collection[str] = (),
    pooled_text: bool = False,
    mention_width: int = D,
    nan_similarity: int | None = None,
    clip_scale: float | None = None,
    also: Mapping[str, NDArray[np.generic]] | None = None,
    topics: Sequence[str] | None = None,
    seed: int = 0,
) -> Path:
    """Write the store and return its path.

    Args:
        splits: name → mentions.
        groups, namesakes: entities = groups × namesakes.
        candidates: K; every namesake of a gold is among them.
        not_retrieved: every so many mentions the gold is not among the candidates.
        nil: of every so many of these the gold is not even an entity.
        without: paths ``table/field`` to leave out, as an ingest without an encoder does.
        pooled_text: store ``entities/text_pooled`` besides.
        mention_width: another width for ``mentions/text_span``, which then is noise.
        nan_similarity: a mention whose similarities are NaN.
        also: columns to store besides.
        topics: of the mentions.
        clip_scale: store CLIP embeddings besides, and similarities of so many times their cosine.
    """
    rng = np.random.default_rng(seed)
    world = _World(rng, groups=groups, namesakes=namesakes)
    count = sum(splits.values())
    gold = rng.integers(0, len(world.group), count)
    values = {**world.entity_values(), **world.mention_values(gold)}
    values |= world.pair_values(gold, candidates, not_retrieved=not_retrieved, nil=nil)
    if pooled_text:
        values["entities/text_pooled"] = world.text
    if mention_width != D:
        values["mentions/text_span"] = rng.standard_normal((count, mention_width))
    if nan_similarity is not None:
        values["mentions/sim_image_text"][nan_similarity] = np.nan
    if clip_scale is not None:
        values |= world.clip_values(values, gold, clip_scale)
    values |= also or {}
    starts = np.cumsum([0, *splits.values()]).tolist()
    with StoreWriter.create(path) as writer:
        writer.table("entities", [f"Q{i}" for i in range(len(world.group))])
        writer.table("mentions", [f"m{i}" for i in range(count)])
        writer.splits(
            {name: range(a, b) for name, a, b in zip(splits, starts, starts[1:], strict=False)}
        )
        writer.text("mentions/sentence", [f"sentence {i}" for i in range(count)])
        if topics is not None:
            writer.text("mentions/topic", topics)
        for name, value in values.items():
            if name not in without:
                _write(writer, name, value)
        writer.publish(dataset="planted", provenance={"seed": seed})
    return path


def _write(writer: StoreWriter, path: str, values: NDArray[np.generic]) -> None:
    field = BY_PATH[path]
    if field.layout == "column":
        writer.column(path, values)
    else:
        writer.feature(path, values.shape[1:]).write(range(len(values)), values)


class _World:
    """Entities and what belongs to them; every method draws on the same random numbers."""

    def __init__(self, rng: np.random.Generator, *, groups: int, namesakes: int) -> None:
        self.rng = rng
        self.group = np.repeat(np.arange(groups), namesakes)
        self.text = self._noisy(_units(rng, groups, D)[self.group], 0.02)
        self.image = _units(rng, len(self.group), V)

    def _noisy(self, values: Array, amount: float) -> Array:
        noise = self.rng.standard_normal(values.shape).astype(np.float32)
        return values + np.float32(amount) * noise

    def entity_values(self) -> dict[str, NDArray[np.generic]]:
        count = len(self.group)
        return {
            "entities/text_cls": self._noisy(self.text, 0.05),
            "entities/text_mean": self.text,
            "entities/text_max": self._noisy(self.text, 0.1),
            "entities/image_pooled": self.image,
            "entities/objects": self._noisy(self.image, 0.1)[:, None],
            "entities/object_scores": np.ones((count, O_ENTITY), np.float32),
        }

    def mention_values(self, gold: NDArray[np.int64]) -> dict[str, NDArray[np.generic]]:
        count = len(gold)
        tokens = self._noisy(np.repeat(self.text[gold][:, None], T, axis=1), 0.1)
        objects = self._noisy(np.repeat(self.image[gold][:, None], O_MENTION, axis=1), 0.2)
        return {
            "mentions/token_count": np.full(count, T, np.int32),
            "mentions/token_start": np.ones(count, np.int32),
            "mentions/token_end": np.full(count, 3, np.int32),
            "mentions/text_tokens": tokens,
            "mentions/text_cls": tokens[:, 0],
            "mentions/text_span": tokens[:, 2:4].mean(axis=1),
            "mentions/image_mean": self._noisy(self.image[gold], 0.1),
            "mentions/objects": objects,
            "mentions/object_scores": np.full((count, O_MENTION), 0.9, np.float32),
        }

    def pair_values(
        self, gold: NDArray[np.int64], candidates: int, *, not_retrieved: int, nil: int
    ) -> dict[str, NDArray[np.generic]]:
        lists = np.empty((len(gold), candidates), np.int32)
        answer = np.full(len(gold), candidates, np.int32)
        for row, entity in enumerate(gold):
            same = np.flatnonzero(self.group == self.group[entity])
            others = self.rng.permutation(np.flatnonzero(self.group != self.group[entity]))
            if row % not_retrieved == 0:
                same = same[same != entity]
            chosen = self.rng.permutation(np.concatenate([same, others])[:candidates])
            lists[row] = chosen
            if entity in chosen:
                answer[row] = int(np.flatnonzero(chosen == entity)[0])
        is_nil = (answer == candidates) & (np.arange(len(gold)) % (nil * not_retrieved) == 0)
        slots = np.concatenate([lists, gold[:, None]], axis=1)
        agreement = np.einsum("nv,ncv->nc", self.image[gold], self.image[slots])
        return {
            "mentions/candidates": lists,
            "mentions/gold": np.where(is_nil, -1, gold).astype(np.int32),
            "mentions/answer": answer,
            "mentions/sim_image_text": self._noisy(30 * agreement, 2.0),
            "mentions/sim_text_image": self._noisy(30 * agreement, 2.0),
        }

    def clip_values(
        self, values: Mapping[str, NDArray[np.generic]], gold: NDArray[np.int64], scale: float
    ) -> dict[str, NDArray[np.generic]]:
        slots = np.concatenate([values["mentions/candidates"], gold[:, None]], axis=1)
        made: dict[str, NDArray[np.generic]] = {}
        for side, other in (("image", "text"), ("text", "image")):
            entities = _unit_length(self._noisy(self.image, 0.3))
            mentions = _unit_length(self._noisy(self.image[gold], 0.3))
            made[f"entities/clip_{other}"], made[f"mentions/clip_{side}"] = entities, mentions
            cosines = np.einsum("nv,ncv->nc", mentions, entities[slots])
            made[f"mentions/sim_{side}_{other}"] = np.float32(scale) * cosines
        return made


def _units(rng: np.random.Generator, count: int, width: int) -> Array:
    return _unit_length(rng.standard_normal((count, width)).astype(np.float32))


def _unit_length(vectors: Array) -> Array:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
