"""Entities and mentions of a store as points of a plane: what lies near what, at a glance.

Texts of both tables are embedded by one encoder, so they share a space; the two principal axes of a
sample of both span the plane.

    with featurestore.open("wikimel.h5") as store:
        plane = sample_plane(store)
        plane.entities.points                  # (n, 2) float32
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featurestore.errors import FieldMissing
from featurestore.export.projection import Projection, principal_plane
from featurestore.store import Store
from featurestore.table import Table

#: Feature of the mentions and that of the entities that lie in one space, the best first.
SPACES: tuple[tuple[str, str], ...] = (
    ("clip_text", "clip_text"),
    ("text_span", "text_mean"),
    ("text_cls", "text_cls"),
    ("clip_image", "clip_image"),
)

#: Rows that are read at a time (chosen here: a megabyte or two of features).
_ROWS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanePoints:
    """Sampled rows of one table, ascending: ``rows`` (n,) int64, ``points`` (n, 2) float32; of ``of``."""

    rows: NDArray[np.int64]
    points: NDArray[np.float32]
    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """``fields``: feature of mentions, feature of entities. ``seed``: of the sample.

    ``explained``: share of the sample's variance that each axis shows, of both together at most 1.
    """

    fields: tuple[str, str]
    seed: int
    mentions: PlanePoints
    entities: PlanePoints
    explained: tuple[float, float]


def sample_plane(store: Store, *, points: int = 5000, seed: int = 0) -> Plane:
    """Project a sample of both tables, half of ``points`` from each where there are so many.

    Equal stores and seeds give equal planes. Rows that are not finite are left out.

    Raises:
        FieldMissing: the tables have no features of one space.
    """
    mention_field, entity_field = _space(store)
    rng = np.random.default_rng(seed)
    parts = [
        (store.mentions, mention_field, _sample(len(store.mentions), points // 2, rng)),
        (store.entities, entity_field, _sample(len(store.entities), points // 2, rng)),
    ]
    finite = [(table, field, _finite(table, field, rows)) for table, field, rows in parts]

    def blocks() -> Iterator[np.ndarray]:
        for table, field, rows in finite:
            yield from _blocks(table, field, rows)

    projection = principal_plane(blocks, store.width(f"mentions/{mention_field}"))
    placed = [_place(table, field, rows, projection) for table, field, rows in finite]
    return Plane(
        fields=(mention_field, entity_field),
        seed=seed,
        mentions=placed[0],
        entities=placed[1],
        explained=_explained(
            np.concatenate([part.points for part in placed]), blocks(), projection
        ),
    )


def _space(store: Store) -> tuple[str, str]:
    for mention_field, entity_field in SPACES:
        paths = (f"mentions/{mention_field}", f"entities/{entity_field}")
        if all(map(store.has, paths)) and store.width(paths[0]) == store.width(paths[1]):
            return mention_field, entity_field
    raise FieldMissing(
        "mentions and entities have no features of one space",
        where=str(store.path),
        hint="ingest again with --clip or --text-encoder",
    )


def _sample(rows: int, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    if rows <= most:
        return np.arange(rows)
    return np.sort(rng.choice(rows, most, replace=False))


def _blocks(table: Table, field: str, rows: NDArray[np.int64]) -> Iterator[np.ndarray]:
    for first in range(0, len(rows), _ROWS):
        yield table.gather(field, rows[first : first + _ROWS]).astype(np.float32)


def _finite(table: Table, field: str, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    kept = [np.isfinite(block).all(axis=1) for block in _blocks(table, field, rows)]
    return rows[np.concatenate([np.empty(0, bool), *kept])]


def _place(
    table: Table, field: str, rows: NDArray[np.int64], projection: Projection
) -> PlanePoints:
    points = [projection(block) for block in _blocks(table, field, rows)]
    return PlanePoints(
        rows=rows,
        points=np.concatenate([np.empty((0, 2), np.float32), *points]),
        of=len(table),
    )


def _explained(
    points: NDArray[np.float32], blocks: Iterator[np.ndarray], projection: Projection
) -> tuple[float, float]:
    whole = sum(float(np.square(block - projection.mean).sum()) for block in blocks)
    first, second = np.square(points, dtype=np.float64).sum(axis=0).tolist()
    return (first / whole, second / whole) if whole else (0.0, 0.0)
