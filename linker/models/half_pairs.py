"""Products of stored float16 rows on a processor, in C (``_pairs.c``).

torch has none of float16 and float32: rows are converted to be multiplied, and once more for their norms,
which is twice the memory of what is read. Here a row is converted in a register, where it stands.

It is compiled when the package is built; where that could not be done, or the processor lacks the
instructions, :func:`dots_of_halves` is None and torch does the work.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from linker.models.kernels import compiled_kernels

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def dots_of_halves(
    queries: Float[Tensor, "B Q D"], rows: Float[Tensor, "U D"], places: Int[Tensor, "B N"]
) -> tuple[Float[Tensor, "B Q N"], Float[Tensor, "B N"]] | None:
    """Every query times the rows at the places of its mention, and the norms of these rows.

    None where it is not for this: rows that are no float16 of a processor, a gradient that is wanted,
    places that all mentions share, a network that is being compiled, no kernel.

    Raises:
        IndexError: a place beyond the rows.
    """
    library = None if torch.compiler.is_compiling() else _library()
    halves = rows.is_cpu and rows.dtype == torch.float16 and rows.is_contiguous()
    learnt = queries.requires_grad or rows.requires_grad
    if library is None or not halves or learnt or not places.is_contiguous():
        return None
    mentions, ways, width = queries.shape
    each = places.shape[1]
    if width != rows.shape[1] or len(places) != mentions or not queries.numel() or not each:
        return None  # torch says what is wrong
    places = places.to(torch.int64)
    least, most = places.aminmax()
    if least < 0 or most >= len(rows):
        raise IndexError(f"places from {least} to {most} of {len(rows)} rows")
    queries = queries.float().contiguous()
    dots, squares = torch.empty(mentions, ways, each), torch.empty(mentions, each)
    library.pairs_dots(
        rows.data_ptr(),
        width,
        queries.data_ptr(),
        ways,
        places.data_ptr(),
        mentions,
        each,
        dots.data_ptr(),
        squares.data_ptr(),
        kernel_level(),
        torch.get_num_threads(),
    )
    return dots, squares.sqrt_()


@cache
def kernel_level() -> int:
    """The kernel that is used: 2 AVX-512, 1 AVX2, 0 none."""
    library = compiled_kernels()
    return library.pairs_level() if library is not None else 0


@cache
def _library() -> ctypes.CDLL | None:
    library = compiled_kernels()
    if library is None or not kernel_level():
        return None
    many, pointer, number = ctypes.c_int64, ctypes.c_void_p, ctypes.c_int
    library.pairs_dots.restype = None
    library.pairs_dots.argtypes = [
        *(pointer, many, pointer, many, pointer, many, many, pointer, pointer, number, number)
    ]
    return library
