"""Ranks among the entities that a first stage retrieves: the model scores these and no others."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from featurestore.schema import NO_ROW
from linker.diagnosis import scored_nan
from linker.first_stage import Search
from linker.knowledge_base import KnowledgeBase
from linker.metrics import rank_gold
from linker.models.base import Model
from linker.ranks import Ranks


class TwoStages:
    """Ranks the golds of some mentions, by their rows.

    ``retrieved`` of the ranks means what it means under ``full-kb``: the gold is in the entity table.
    A gold that the first stage misses has no rank: it is no hit, and adds 0 to the MRR.

    Args:
        pairs: mention–entity pairs to score at a time.
    """

    def __init__(
        self, network: Model[Any], base: KnowledgeBase, search: Search, *, pairs: int
    ) -> None:
        self._network = network
        self._base = base
        self._search = search
        self._pairs = pairs

    def __call__(self, rows: np.ndarray) -> Ranks:
        """The ranks (n,).

        Raises:
            TrainingDiverged: the model scores NaN for a gold.
        """
        places = self._search(rows)
        step = max(1, self._pairs // places.shape[1])
        return Ranks.concatenate(
            self._rank(rows[first : first + step], places[first : first + step])
            for first in range(0, len(rows), step)
        )

    def _rank(self, rows: np.ndarray, places: np.ndarray) -> Ranks:
        mentions = self._base.read_mentions(rows)
        batch = self._base.lists(mentions, places)
        absent = torch.from_numpy(places == NO_ROW).to(self._base.device)
        scores = self._network(batch).masked_fill(absent, -torch.inf)
        ranks = rank_gold(scores, batch.answer, retrieved=places.shape[1])
        if ranks.nan_golds:
            broken = rows[ranks.retrieved & np.isinf(ranks.optimistic)]
            raise scored_nan(self._base.store.mentions.ids(broken))
        in_table = mentions.batch.answer < len(self._base)
        return Ranks(
            optimistic=ranks.optimistic,
            pessimistic=ranks.pessimistic,
            retrieved=in_table.cpu().numpy(),
        )
