"""How fast a step could be if it were its matrix products alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.timing import Act, in_turn

#: Rows and columns of the matrices that a processor's speed is tried on, and how often.
_TRIED, _ROUNDS = 2048, 3


@dataclass(frozen=True, slots=True)
class Products:
    """The matrix products of a step.

    ``operations``: multiplications and additions. ``per_second``: of a product of square matrices, by
    the type of its numbers.
    """

    operations: int
    per_second: dict[torch.dtype, float]

    def seconds(self, dtype: torch.dtype) -> float:
        """What the step cannot take less than, all of its products in this type."""
        return self.operations / self.per_second[dtype]


def products_of(step: Act) -> Products:
    """Count the products of one step, and try how fast such are."""
    with FlopCounterMode(display=False) as counter:
        step(0)
    return Products(counter.get_total_flops(), speeds())


def speeds() -> dict[torch.dtype, float]:
    """Operations a second of a matrix product, in float32 and bfloat16."""
    acts: dict[str, Act] = {}
    for dtype in (torch.float32, torch.bfloat16):
        matrix = torch.rand(_TRIED, _TRIED).to(dtype)
        acts[str(dtype)] = lambda _, matrix=matrix: torch.mm(matrix, matrix)  # type: ignore[misc]
    times = in_turn(acts, rounds=_ROUNDS)
    operations = 2 * _TRIED**3
    return {
        dtype: operations / times[str(dtype)].fastest for dtype in (torch.float32, torch.bfloat16)
    }
