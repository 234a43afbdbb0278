"""Which mentions make up the batches of an epoch, known before anything is read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Sampler

from featurestore import Store
from linker.pieces import Piece, Share


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbours:
    """Mentions that are to stand in the same batch.

    ``keys``: (rows,) one number a mention of the split; equal ones belong together, near ones are
    put together. ``block``: how many stand side by side.
    """

    keys: np.ndarray
    block: int


class Requests(Sampler[np.ndarray]):
    """Yields the mention rows of each batch: a function of (seed, epoch, step) alone.

    Neither the number of processes that read batches nor what was asked for before has a part in it,
    so that an epoch continues at any step as if it had never stopped (:meth:`start_at`).

    Args:
        rows: the mention rows to go through once an epoch.
        batch_size: mentions a batch; the last one holds what is left.
        seed: of the shuffling; None = as they stand.
        neighbours: shuffle blocks of them instead of single mentions.
        share: of this process in every batch; the batches are those of one process.
    """

    def __init__(
        self,
        *,
        rows: range,
        batch_size: int,
        seed: int | None = None,
        neighbours: Neighbours | None = None,
        share: Share | None = None,
    ) -> None:
        self.rows = rows
        self.batch_size = batch_size
        self.seed = seed
        self.neighbours = neighbours
        self.share = share or Share()
        self.epoch = 0
        self.first = 0  # step at which the next pass begins

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next pass has."""
        self.epoch = epoch

    def start_at(self, *, epoch: int, step: int) -> None:
        """Let the next pass be what is left of an epoch from a step on, both counted from 0."""
        self.epoch, self.first = epoch, step

    def __iter__(self) -> Iterator[np.ndarray]:
        order, step = self._order(), self.first
        self.first = 0
        for first in range(step * self.batch_size, len(order), self.batch_size):
            batch = order[first : first + self.batch_size]
            yield batch[self.share.piece(len(batch)).read]

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return math.ceil(len(self.rows) / self.batch_size)

    def piece(self, step: int) -> Piece:
        """The part of a step's batch that this process reads; steps are counted from 0."""
        return self.share.piece(min(self.batch_size, len(self.rows) - step * self.batch_size))

    def _order(self) -> np.ndarray:
        order = np.arange(self.rows.start, self.rows.stop)
        if self.seed is None:
            return order
        rng = np.random.default_rng([self.seed, self.epoch])
        rng.shuffle(order)
        if self.neighbours is None:
            return order
        keys = self.neighbours.keys[order - self.rows.start]
        order = order[np.argsort(keys, kind="stable")]  # equal keys stay shuffled
        block = self.neighbours.block
        first = int(rng.integers(block))  # so that blocks begin elsewhere in every epoch
        blocks = np.split(order, range(first, len(order), block))
        return np.concatenate([blocks[place] for place in rng.permutation(len(blocks))])


def sharing_candidates(store: Store, rows: range, *, block: int) -> Neighbours:
    """Mentions with the same best candidate side by side: most of their candidates are the same.

    Candidates are retrieved by the name of the mention, so equal names have equal lists.
    """
    candidates = store.mentions.view("candidates")[rows.start : rows.stop]
    return Neighbours(keys=np.array(candidates[:, 0]), block=block)
