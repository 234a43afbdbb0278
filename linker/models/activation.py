"""GELU(LayerNorm(x)) on a processor, one pass forward and one backward, in C (``_activation.c``).

torch does it in two operations, each with a copy of the rows in float32 where these are bfloat16. It does
so here too where the kernel was not built, and on processors without AVX-512, where it is as fast.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linker.models.kernels import compiled_kernels

if TYPE_CHECKING:
    from jaxtyping import Float

_TAKEN = (torch.float32, torch.bfloat16)


def norm_gelu(
    x: Float[Tensor, "*R H"], norm: nn.LayerNorm, dtype: torch.dtype
) -> Float[Tensor, "*R H"]:
    """The rows normalised and activated, in a type of numbers; computed in float32 at least."""
    library = None if torch.compiler.is_compiling() else _library()
    weights = norm.weight, norm.bias
    if (
        library is None
        or not x.is_cpu
        or not x.numel()
        or x.shape[-1:] != tuple(norm.normalized_shape)
        or x.dtype not in _TAKEN
        or dtype not in _TAKEN
        or any(weight.dtype != torch.float32 for weight in weights)
    ):
        return F.gelu(norm(x.to(dtype))).to(dtype)
    active: Tensor = _NormGelu.apply(x, *weights, norm.eps, dtype)
    return active


class _NormGelu(torch.autograd.Function):
    """:func:`norm_gelu` by the kernel. Sums are taken in an order that does not depend on the threads."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gain: Tensor, bias: Tensor, eps: float, dtype: torch.dtype
    ) -> Tensor:
        x, gain, bias = x.contiguous(), gain.contiguous(), bias.contiguous()
        rows, width = x.numel() // x.shape[-1], x.shape[-1]
        y = torch.empty_like(x, dtype=dtype)
        means, scales = torch.empty(2, rows).unbind()
        _need().activation_forward(
            *_place(x),
            *_place(y),
            *(gain.data_ptr(), bias.data_ptr(), eps, means.data_ptr(), scales.data_ptr()),
            *(rows, width, torch.get_num_threads()),
        )
        ctx.save_for_backward(x, gain, bias, means, scales)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, gain, bias, means, scales = ctx.saved_tensors
        gradient = gradient.contiguous()
        rows, width = x.numel() // x.shape[-1], x.shape[-1]
        of_x, sums = torch.empty_like(x), torch.empty(2, width)
        failed = _need().activation_backward(
            *_place(gradient),
            *_place(x),
            *_place(of_x),
            *(gain.data_ptr(), bias.data_ptr(), means.data_ptr(), scales.data_ptr()),
            *(sums.data_ptr(), rows, width, torch.get_num_threads()),
        )
        if failed:
            raise MemoryError("no memory for the gradient of a normalisation")
        return of_x, sums[0], sums[1], None, None


def _place(values: Tensor) -> tuple[int, bool]:
    return values.data_ptr(), values.dtype == torch.bfloat16


def _need() -> ctypes.CDLL:
    library = _library()
    assert library is not None
    return library


@cache
def _library() -> ctypes.CDLL | None:
    library = compiled_kernels()
    if library is None or not library.activation_level():
        return None
    many, pointer, number, real = ctypes.c_int64, ctypes.c_void_p, ctypes.c_int, ctypes.c_float
    library.activation_forward.restype = None
    library.activation_forward.argtypes = [
        *(pointer, number, pointer, number, pointer, pointer, real, pointer, pointer),
        *(many, many, number),
    ]
    library.activation_backward.argtypes = [
        *(pointer, number, pointer, number, pointer, number),
        *[pointer] * 5,
        *(many, many, number),
    ]
    return library
