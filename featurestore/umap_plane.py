"""The points of a plane placed by UMAP instead of its axes: who is near whom, clusters apart.

Needs ``umap-learn``; imported when asked for.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from featurestore.plane import Plane
from featurestore.store import Store

#: Neighbours that UMAP keeps together, as its authors have it by default.
NEIGHBOURS = 15

#: Points that UMAP needs at least.
FEWEST = 8


def umap_plane(store: Store, plane: Plane) -> Plane:
    """The same rows as in ``plane``, placed anew; equal seeds give equal places.

    Features of the rows are in memory as a whole: 5,000 of 384 numbers are 8 MB. ``explained`` is NaN:
    these are no principal axes.

    Raises:
        ModuleNotFoundError: ``umap-learn`` is not installed.
    """
    from umap import UMAP

    parts = [(store.mentions, plane.mentions), (store.entities, plane.entities)]
    features = np.concatenate(
        [
            table.gather(field, part.rows).astype(np.float32)
            for field, (table, part) in zip(plane.fields, parts, strict=True)
        ]
    )
    mapper = UMAP(
        n_neighbors=min(NEIGHBOURS, len(features) - 1),
        metric="cosine",
        random_state=plane.seed,
        n_jobs=1,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of equal rows and small samples, which are no news here
        points = np.asarray(mapper.fit_transform(features), np.float32)
    split = len(plane.mentions.rows)
    return replace(
        plane,
        mentions=replace(plane.mentions, points=points[:split]),
        entities=replace(plane.entities, points=points[split:]),
        explained=(float("nan"), float("nan")),
    )
