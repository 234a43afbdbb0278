"""Vectors of entities, made once and looked up while the text encoder does not change.

A batch of 64 mentions × 100 candidates refers to some 5,000 entities, and the next one to mostly the
same: a frozen encoder reads each entity once for the whole run, a fine-tuned one once for each pass
over a split that is scored.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

#: Consecutive entities that are always encoded together, so that a vector does not depend on the
#: split or on the order in which entities are asked for, not even in its rounding (chosen here:
#: enough to fill an encoder, few to encode in vain).
BLOCK = 256


class EntityTable:
    """Grows by whole blocks; its memory is that of the features of the blocks asked for.

    Args:
        entities: rows of the store's entity table.
    """

    def __init__(self, *, entities: int, device: torch.device) -> None:
        self.entities = entities
        blocks = -(-entities // BLOCK)
        self._slots = torch.full((blocks,), -1, device=device)  # block → place among those here
        self._filled = 0
        self._values: dict[str, Tensor] = {}  # (filled · BLOCK, D)

    def missing(self, rows: np.ndarray) -> dict[int, np.ndarray]:
        """The blocks that hold some of these rows and are not here: number → all its rows."""
        known = self._slots.cpu().numpy() >= 0
        return {
            block: np.arange(block * BLOCK, min((block + 1) * BLOCK, self.entities))
            for block in np.unique(rows // BLOCK).tolist()
            if not known[block]
        }

    def add(self, features: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Features of blocks: number → name → (rows of the block, D)."""
        for block in features:
            self._slots[block] = self._filled
            self._filled += 1
        names = next(iter(features.values()), {})
        for name in names:
            new = [_whole_block(block[name]) for block in features.values()]
            old = [self._values[name]] if name in self._values else []
            self._values[name] = torch.cat([*old, *new])

    def look_up(self, rows: Tensor) -> dict[str, Tensor]:
        """(U, D) features of entities that are here; zero for a row below 0, which is none."""
        known = rows.clamp_min(0)
        place = self._slots[known // BLOCK] * BLOCK + known % BLOCK
        nobody = (rows < 0).unsqueeze(1)
        return {name: value[place].masked_fill(nobody, 0) for name, value in self._values.items()}


def _whole_block(values: Tensor) -> Tensor:
    """With zeros behind them; the last block of a table is shorter than the others."""
    return torch.cat([values, values.new_zeros((BLOCK - len(values), *values.shape[1:]))])
