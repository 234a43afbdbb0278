"""Pairs of a mention and a candidate, made of one row a distinct entity: rows, products, sums.

``candidates`` (B, C) is a sparse matrix of B rows and U columns with C ones a row. What is done with it
on a processor reads a row where it stands, and once a pair: products of all mentions with all U rows
would compute forty numbers for each that is wanted. A GPU has the operations to spare, and computes them.

Every sum is taken in a fixed order, in float32 where numbers are shorter, and rounded once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Int

#: Bytes of rows that are copied and multiplied at a time: they stay in the processor's cache, and in
#: the same memory (chosen here: 2 to 8 MB take the same, all at once takes three times as long).
_BLOCK = 4 << 20


def spread(
    rows: Float[Tensor, "U ..."], candidates: Int[Tensor, "B C"]
) -> Float[Tensor, "B C ..."]:
    """One row a mention–candidate pair out of one row a distinct entity.

    On a GPU plain indexing is used because its gradient is summed in a fixed order; ``index_select``
    adds up in any order there.

    Where all mentions share one row of candidates (stride 0: a block of the knowledge base), they
    share one copy of the result as well, and nothing grows with B.
    """
    if is_shared(candidates):
        return rows[candidates[0]].expand(*candidates.shape, *rows.shape[1:])
    if rows.requires_grad and (rows.is_cpu or rows.dtype == torch.bfloat16):
        wide: Tensor = _Spread.apply(rows, candidates)
        return wide
    return _taken(rows, candidates)


def pair_dots(
    queries: Float[Tensor, "B Q D"], rows: Float[Tensor, "U D"], candidates: Int[Tensor, "B C"]
) -> Float[Tensor, "B Q C"]:
    """Every query times the rows of its mention's candidates, which become numbers of its type."""
    if not rows.is_cpu or is_shared(candidates):
        return queries @ spread(rows.to(queries.dtype), candidates).transpose(1, 2)
    dots: Tensor = _Dots.apply(queries, rows, candidates)
    return dots


def pair_sums(
    weights: Float[Tensor, "B Q C"], rows: Float[Tensor, "U D"], candidates: Int[Tensor, "B C"]
) -> Float[Tensor, "B Q D"]:
    """Sums of the rows of each mention's candidates, weighted in Q ways."""
    if not rows.is_cpu or is_shared(candidates):
        return weights @ spread(rows, candidates)
    sums: Tensor = _Sums.apply(weights, rows, candidates)
    return sums


def is_shared(candidates: Int[Tensor, "B C"]) -> bool:
    """Whether all mentions have the same candidates, which stand in memory once."""
    return candidates.stride(0) == 0


class _Spread(torch.autograd.Function):
    """``rows[candidates]``, whose gradient is summed in float32."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, candidates: Tensor) -> Tensor:
        ctx.save_for_backward(candidates)
        ctx.rows = rows.shape
        return _taken(rows, candidates)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (candidates,) = ctx.saved_tensors
        if not gradient.is_cpu:
            total = gradient.new_zeros(ctx.rows, dtype=torch.float32)
            total.index_put_((candidates,), gradient.float(), accumulate=True)
            return total.to(gradient.dtype), None
        order, begins = _by_row(candidates, ctx.rows[0])
        pairs = gradient.reshape(len(order), -1)
        return F.embedding_bag(order, pairs, begins, mode="sum").view(ctx.rows), None


class _Dots(torch.autograd.Function):
    """:func:`pair_dots`."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, rows: Tensor, candidates: Tensor) -> Tensor:
        ctx.save_for_backward(queries, rows, candidates)
        return _dots(queries, rows, candidates)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        queries, rows, candidates = ctx.saved_tensors
        of_queries = of_rows = None
        if ctx.needs_input_grad[0]:
            of_queries = _sums(gradient, rows.to(gradient.dtype), candidates)
        if ctx.needs_input_grad[1]:
            of_rows = _sums_by_row(gradient, queries, candidates, len(rows)).to(rows.dtype)
        return of_queries, of_rows, None


class _Sums(torch.autograd.Function):
    """:func:`pair_sums`."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, rows: Tensor, candidates: Tensor) -> Tensor:
        ctx.save_for_backward(weights, rows, candidates)
        return _sums(weights, rows, candidates)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        weights, rows, candidates = ctx.saved_tensors
        of_weights = of_rows = None
        if ctx.needs_input_grad[0]:
            of_weights = _dots(gradient, rows, candidates)
        if ctx.needs_input_grad[1]:
            of_rows = _sums_by_row(weights, gradient, candidates, len(rows))
        return of_weights, of_rows, None


def _taken(rows: Tensor, candidates: Tensor) -> Tensor:
    """``rows[candidates]``."""
    if not rows.is_cpu:
        return rows[candidates]
    # a fifth of the time that indexing takes; no view, so that a caller may add to it
    pairs = rows.new_empty(*candidates.shape, *rows.shape[1:])
    torch.index_select(rows, 0, candidates.reshape(-1), out=pairs.flatten(0, 1))
    return pairs


def _dots(queries: Tensor, rows: Tensor, candidates: Tensor) -> Tensor:
    """(B, Q, C) the products, a few mentions at a time."""
    mentions, each = candidates.shape
    row_bytes = rows.shape[1] * rows.element_size()
    together = min(mentions, max(1, _BLOCK // (each * row_bytes)))
    memory = rows.new_empty(together * each, rows.shape[1])
    converted = (
        None if rows.dtype == queries.dtype else torch.empty_like(memory, dtype=queries.dtype)
    )
    out = queries.new_empty(mentions, queries.shape[1], each)
    for first in range(0, mentions, together):
        block = candidates[first : first + together]
        keys = memory[: block.numel()]
        torch.index_select(rows, 0, block.reshape(-1), out=keys)
        if converted is not None:
            keys = converted[: len(keys)].copy_(keys)
        keys = keys.view(*block.shape, -1).transpose(1, 2)
        torch.bmm(queries[first : first + together], keys, out=out[first : first + together])
    return out


def _sums(weights: Tensor, rows: Tensor, candidates: Tensor) -> Tensor:
    """(B, Q, D) the weighted sums."""
    mentions, ways, each = weights.shape
    flat = candidates.unsqueeze(1).expand_as(weights).reshape(-1)
    begins = torch.arange(0, len(flat), each)
    sums = F.embedding_bag(flat, rows, begins, mode="sum", per_sample_weights=weights.reshape(-1))
    return sums.view(mentions, ways, -1)


def _sums_by_row(weights: Tensor, vectors: Tensor, candidates: Tensor, rows: int) -> Tensor:
    """(U, D) for every row the vectors (B, Q, D) of its pairs, weighted (B, Q, C)."""
    order, begins = _by_row(candidates.unsqueeze(1).expand_as(weights), rows)
    return F.embedding_bag(
        order // weights.shape[2],
        vectors.flatten(0, 1),
        begins,
        mode="sum",
        per_sample_weights=weights.reshape(-1)[order],
    )


def _by_row(candidates: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Pairs in the order of their rows, and where each row's (of U) begin among them."""
    flat = candidates.reshape(-1)
    counts = torch.bincount(flat, minlength=rows)
    return torch.argsort(flat, stable=True), counts.cumsum(0) - counts
