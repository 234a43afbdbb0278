"""What the processes of one training tell each other. One that is alone says nothing, to nobody.

Each process scores its piece of every batch (:mod:`linker.pieces`). What depends on the whole batch or
on a whole split, the loss and the ranks, is computed by all of them from the scores of all, so that
every process knows the same figures and takes the same decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments import ClusterEnvironment
from torch import Tensor

from linker.pieces import Piece, Share
from linker.ranks import Ranks
from linker.requests import Requests

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """This process among those of its training; by default, alone.

    ``local``: its number on its machine. ``devices``, ``nodes``: processes a machine, and machines.
    ``group``: a process group over the processor's memory; None = the default group is one.
    ``environment``: Lightning's, of who has started them.
    """

    rank: int = 0
    local: int = 0
    devices: int = 1
    nodes: int = 1
    group: Any = None
    environment: ClusterEnvironment | None = None

    @property
    def size(self) -> int:
        return self.devices * self.nodes

    @property
    def several(self) -> bool:
        return self.size > 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes, prints and asks."""
        return self.rank == 0

    @property
    def share(self) -> Share:
        return Share(rank=self.rank, size=self.size)

    def whole(self, values: Tensor, piece: Piece) -> Tensor:
        """(total, …) the rows of all processes, of which ``values`` (count, …) are this one's.

        As they are, to the bit: every row is added to zeros.
        """
        if not piece.shared:
            return values
        rows = values.new_zeros(piece.total, *values.shape[1:])
        rows[piece.first : piece.end] = values
        dist.all_reduce(rows)
        return rows

    def whole_ranks(self, parts: Sequence[Ranks], requests: Requests) -> Ranks:
        """The ranks of all mentions of a pass, in their order.

        Args:
            parts: of this process, those of its piece of every step.
        """
        if not self.several:
            return Ranks.concatenate(parts)
        columns = torch.zeros(3, len(requests.rows), dtype=torch.float64)
        for step, part in enumerate(parts):
            piece = requests.piece(step)
            before = step * requests.batch_size
            place = slice(before + piece.first, before + piece.end)
            for column, values in zip(
                columns, (part.optimistic, part.pessimistic, part.retrieved), strict=True
            ):
                column[place] = torch.from_numpy(values)
        dist.all_reduce(columns, group=self.group)
        optimistic, pessimistic, retrieved = columns.numpy()
        return Ranks(
            optimistic=optimistic, pessimistic=pessimistic, retrieved=retrieved.astype(bool)
        )

    def all_of(self, value: T) -> list[T]:
        """The value of every process, in their order."""
        if not self.several:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self.group)
        return values

    def from_first(self, make: Callable[[], T]) -> T:
        """What the first process makes; the others make nothing, and wait for it."""
        if not self.several:
            return make()
        values: list[Any] = [make() if self.is_first else None]
        dist.broadcast_object_list(values, src=0, group=self.group)
        made: T = values[0]
        return made


#: The only process of its training.
ALONE = Processes()
