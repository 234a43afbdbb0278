"""Which mentions of each batch a process reads, where several share one training. Imports no torch.

The batch of a step is the same however many processes there are; each reads a piece of it. Pieces are
contiguous, in the order of the processes, and their sizes differ by one at most, so that a batch with
fewer mentions than processes leaves some without any: such a process reads the first mention of the
batch, takes part in the step as all do, and counts nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A process's part of the batch of a step: ``count`` of its ``total`` mentions, from ``first`` on.

    ``shared``: there are other processes, whatever this one's part is.
    """

    total: int
    first: int
    count: int
    shared: bool

    @property
    def end(self) -> int:
        return self.first + self.count

    @property
    def read(self) -> slice:
        """What the process reads of the batch: its piece, or the stand-in of one that has none."""
        return slice(self.first, self.end) if self.count else slice(0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Which one this process is of how many; by default, alone."""

    rank: int = 0
    size: int = 1

    def piece(self, total: int) -> Piece:
        """Its part of a batch of so many mentions."""
        first = total * self.rank // self.size
        end = total * (self.rank + 1) // self.size
        return Piece(total=total, first=first, count=end - first, shared=self.size > 1)
