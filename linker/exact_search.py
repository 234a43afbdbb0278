"""The entities whose vectors are nearest to a mention's: all of them are compared, in blocks."""

from __future__ import annotations

import numpy as np
import torch

from featurestore.construct.top_k import RunningTop, stacked
from linker.search_vectors import SearchVectors

#: Entities of a block (chosen here: at 768 values they take 25 MB as float32).
BLOCK = 8192


class ExactSearch:
    """Equal cosines go to the entity that stands first; matrix products round in float32.

    Args:
        retrieve: entities to find for a mention, at most.
    """

    def __init__(self, vectors: SearchVectors, *, retrieve: int) -> None:
        self._vectors = vectors
        self._retrieve = retrieve

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """(n, retrieve) int32 places of entities, best first; ``NO_ROW`` where there is none."""
        base = self._vectors.base
        queries = self._vectors.mentions(rows)
        best = [RunningTop(self._retrieve) for _ in rows]
        for first in range(0, len(base), BLOCK):
            places = np.arange(first, min(first + BLOCK, len(base)))
            with torch.autocast(base.device.type, enabled=False):  # float32 in any precision
                cosines = queries @ self._vectors.entities(places).T
            found = cosines.nan_to_num(nan=-torch.inf).cpu().numpy()
            for top, own in zip(best, found, strict=True):
                top.add(first, own)
        base.store.release_pages()
        return stacked([top.rows for top in best], self._retrieve)
