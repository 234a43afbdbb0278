"""Entities by their stored vectors, found by an index of faiss: quicker than all of them, and not exact.

The index holds every vector in memory, 4 bytes a value, beside its own graph or lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore.construct.dense import BLOCK, DenseEntities
from featurestore.schema import NO_ROW

#: Neighbours of a vector in the graph, and vectors that are looked at for a mention beside k (the
#: usual middle values of faiss).
_LINKS, _LOOKED_AT = 32, 256

#: Vectors that a centre is made of at most, and share of the lists that is searched (chosen here:
#: faiss asks for 39 to 256 vectors a centre; of WikiMEL's golds within 100 an eighth of the lists loses
#: 22 points, a quarter 11, a half 4: mentions do not lie where entities do).
_TRAINED, _SEARCHED = 64, 2


class IndexedEntities:
    """The vectors of :class:`DenseEntities` in an index.

    Args:
        kind: ``hnsw`` or ``ivf``.
        k: entities to find for a mention, at most.
    """

    def __init__(self, entities: DenseEntities, *, kind: str, k: int) -> None:
        import faiss

        self._entities = entities
        self._k = k
        usable: list[NDArray[np.int64]] = []
        self._index: Any = None
        for first in range(0, len(entities), BLOCK):
            vectors = entities.vectors(first, first + BLOCK)
            real = np.flatnonzero(np.isfinite(vectors[:, 0]))
            if self._index is None:
                self._index = _empty_index(faiss, entities, kind, vectors.shape[1], k)
            self._index.add(vectors[real])
            usable.append(entities.known[first + real])
        self._places = np.append(np.concatenate(usable), NO_ROW)  # -1 of faiss is its last

    def find(self, mentions: Sequence[str]) -> NDArray[np.int32]:
        """(n, k) places of entities, best first, ``NO_ROW`` where there is none."""
        queries = self._entities.queries(mentions)
        real = np.isfinite(queries[:, 0])
        _, found = self._index.search(np.where(real[:, None], queries, 0), self._k)
        found[~real] = -1
        return self._places[found].astype(np.int32)


def _empty_index(faiss: Any, entities: DenseEntities, kind: str, width: int, k: int) -> Any:
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(width, _LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efSearch = max(_LOOKED_AT, 2 * k)
        return index
    lists = max(1, int(np.sqrt(len(entities))))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
    wanted = np.linspace(0, len(entities) - 1, min(len(entities), lists * _TRAINED)).astype(int)
    sample = np.concatenate([entities.vectors(row, row + 1) for row in wanted.tolist()])
    index.train(sample[np.isfinite(sample[:, 0])])
    index.nprobe = max(1, lists // _SEARCHED)
    return index
