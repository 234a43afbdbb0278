"""A store with nothing but the views that DRIN reads, for any number of entities.

It is written in blocks, from one pool of random numbers, so that neither its making nor its memory
grows with features; of ids, the writer holds 20 bytes a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.index_store import Numbered
from featurestore.options import FeatureDtype
from featurestore.progress import Progress, Silent, Stage
from featurestore.writer import StoreWriter

#: Numbers written at once, of one field.
_BLOCK = 1 << 22

#: Numbers in the pool beyond a block: where its windows begin. A prime, so that they seldom repeat.
_PLACES = 1_000_003


@dataclass(frozen=True, kw_only=True)
class BareSizes:
    """The shape of a bare store."""

    entities: int
    splits: Mapping[str, int]  # name → mentions
    candidates: int = 100
    text_width: int = 768
    image_width: int = 2048
    mention_objects: int = 3
    entity_objects: int = 1

    @property
    def mentions(self) -> int:
        return sum(self.splits.values())

    def views(self) -> Iterator[tuple[str, int, tuple[int, ...]]]:
        """(path, rows, shape of a row) of every view."""
        text, image = (self.text_width,), (self.image_width,)
        yield "entities/text_mean", self.entities, text
        yield "entities/text_cls", self.entities, text
        yield "entities/image_pooled", self.entities, image
        yield "entities/objects", self.entities, (self.entity_objects, *image)
        yield "mentions/text_span", self.mentions, text
        yield "mentions/image_mean", self.mentions, image
        yield "mentions/objects", self.mentions, (self.mention_objects, *image)


def write_bare_store(
    path: Path,
    sizes: BareSizes,
    *,
    dtype: FeatureDtype = "float16",
    seed: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Write the store, ids Q0, Q1, …, and return its path. Equal arguments give equal content."""
    progress = progress or Silent()
    rng = np.random.default_rng(seed)
    pool = rng.standard_normal(_BLOCK + _PLACES, np.float32).astype(dtype)
    with StoreWriter.create(path, dtype=dtype) as writer:
        writer.table("entities", Numbered("Q", sizes.entities))
        writer.table("mentions", Numbered("m", sizes.mentions))
        _write_columns(writer, sizes, rng)
        rows = sum(count for _, count, _ in sizes.views())
        with progress.stage("a store of random views", rows, "rows") as stage:
            for name, count, shape in sizes.views():
                _write_view(writer, name, count, shape, pool=pool, rng=rng, stage=stage)
        writer.publish(dataset="bare", provenance={"seed": seed})
    return path


def _write_view(
    writer: StoreWriter,
    path: str,
    rows: int,
    shape: tuple[int, ...],
    *,
    pool: np.ndarray,
    rng: np.random.Generator,
    stage: Stage,
) -> None:
    """Every block is a window of the pool, at a place of its own."""
    feature = writer.feature(path, shape)
    size = int(np.prod(shape))
    step = max(1, _BLOCK // size)
    for first in range(0, rows, step):
        block = range(first, min(first + step, rows))
        place = int(rng.integers(_PLACES))
        values = pool[place : place + len(block) * size]
        feature.write(block, values.reshape(len(block), *shape))
        stage.advance(len(block))


def _write_columns(writer: StoreWriter, sizes: BareSizes, rng: np.random.Generator) -> None:
    """Splits, sentences, candidates with the gold among them, scores and similarities."""
    bounds = np.cumsum([0, *sizes.splits.values()]).tolist()
    writer.splits(
        {n: range(a, b) for n, (a, b) in zip(sizes.splits, pairwise(bounds), strict=True)}
    )
    mentions, k = sizes.mentions, sizes.candidates
    candidates = rng.integers(0, sizes.entities, (mentions, k), np.int32)
    answer = rng.integers(0, k, mentions, np.int32)
    writer.text("mentions/sentence", [f"sentence {row}" for row in range(mentions)])
    writer.column("mentions/candidates", candidates)
    writer.column("mentions/gold", candidates[np.arange(mentions), answer])
    writer.column("mentions/answer", answer)
    for name in ("sim_image_text", "sim_text_image"):
        similarities = rng.standard_normal((mentions, k + 1), np.float32)
        writer.column(f"mentions/{name}", similarities * 5 + 20)
    for table, rows, objects in (
        ("entities", sizes.entities, sizes.entity_objects),
        ("mentions", mentions, sizes.mention_objects),
    ):
        scores = rng.random((rows, objects), np.float32)
        writer.column(f"{table}/object_scores", scores)
