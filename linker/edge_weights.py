"""The edges that a trained DRIN gave the candidates of one mention. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeWeights:
    """The edges of one mention, as each graph layer reads them.

    The first layer reads what the store says (cosine of texts, CLIP similarities as cosines, cosine
    of objects); the layers behind it read what the one before made of it. An edge that a layer does
    not read, because it is off or cannot reach the score any more, is NaN.

    ``weights``: (L, C, 4) by layer, candidate in the order of retrieval, and edge of ``edges``. Where
    an edge has one number a channel (``edge_kind`` vector), their mean. ``deviations``: (L, C, 4)
    their standard deviation, 0 where an edge is one number.
    ``scores``: (C,) of this pass. ``retrieved``: K; under protocol ``paper`` the gold slot is one
    candidate more, the last.
    """

    run: str
    model: str
    protocol: str
    row: int
    edges: tuple[str, ...]
    edge_kind: str
    edge_update: str
    retrieved: int
    scores: NDArray[np.float32]
    weights: NDArray[np.float32]
    deviations: NDArray[np.float32]

    @property
    def layers(self) -> int:
        return len(self.weights)

    def place(self, rank: int | None) -> int | None:
        """The place of a candidate in ``weights``; None where the network did not see it.

        Args:
            rank: its place in the order of retrieval, from 1; None for the gold slot.
        """
        if rank is None:
            return self.retrieved if self.retrieved < len(self.scores) else None
        return rank - 1 if rank <= self.retrieved else None

    def of(self, edge: str, *, layer: int) -> NDArray[np.float32]:
        """(C,) the weights of an edge that a layer reads; layers count from 1."""
        return self.weights[layer - 1, :, self.edges.index(edge)]
