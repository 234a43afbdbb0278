"""Four forms that a feature vector can be kept in, and what rounding to each of them costs.

The store knows float32 and float16. bfloat16 and one byte a value are kept by benchmarks alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

#: The arrays that a form keeps of (n, …, W) float32 values, each with n rows.
Parts: TypeAlias = tuple[np.ndarray, ...]

#: Numbers rounded at once.
_BLOCK = 1 << 22

#: Random pairs of vectors, of each field, whose cosine is computed.
_PAIRS = 4096


@dataclass(frozen=True, kw_only=True)
class Form:
    """How values become what is kept, and float32 again.

    ``widen`` is given writable parts and a float32 tensor of their shape, which it may fill.
    """

    name: str
    pack: Callable[[np.ndarray], Parts]
    widen: Callable[[Parts, Tensor], Tensor]

    def rounded(self, values: np.ndarray) -> np.ndarray:
        """The float32 values that come back of float32 values."""
        return self.widen(self.pack(values), torch.empty(values.shape)).numpy()

    def row_bytes(self, shape: tuple[int, ...]) -> int:
        """Bytes of a row of this shape."""
        return sum(part.nbytes for part in self.pack(np.zeros((1, *shape), np.float32)))


def _keep(values: np.ndarray) -> Parts:
    return (np.array(values, np.float32),)


def _kept(parts: Parts, out: Tensor) -> Tensor:
    return torch.from_numpy(parts[0])


def _to_float16(values: np.ndarray) -> Parts:
    return (values.astype(np.float16),)


def _from_float16(parts: Parts, out: Tensor) -> Tensor:
    return out.copy_(torch.from_numpy(parts[0]))


def _to_bfloat16(values: np.ndarray) -> Parts:
    """NumPy has no bfloat16: its bits, as uint16."""
    exact = torch.from_numpy(np.array(values, np.float32))
    return (exact.to(torch.bfloat16).view(torch.uint16).numpy(),)


def _from_bfloat16(parts: Parts, out: Tensor) -> Tensor:
    return out.copy_(torch.from_numpy(parts[0]).view(torch.bfloat16))


def _to_int8(values: np.ndarray) -> Parts:
    """Every vector in 254 steps from its largest magnitude to the opposite, and the step."""
    step = np.abs(values).max(axis=-1, keepdims=True) / np.float32(127)
    steps = np.divide(values, step, out=np.zeros_like(values), where=step > 0)
    return np.rint(steps).astype(np.int8), step.astype(np.float32)


def _from_int8(parts: Parts, out: Tensor) -> Tensor:
    return out.copy_(torch.from_numpy(parts[0])).mul_(torch.from_numpy(parts[1]))


#: Name → form; the first is exact, and is what the others are compared with.
FORMS: Mapping[str, Form] = {
    form.name: form
    for form in (
        Form(name="float32", pack=_keep, widen=_kept),
        Form(name="float16", pack=_to_float16, widen=_from_float16),
        Form(name="bfloat16", pack=_to_bfloat16, widen=_from_bfloat16),
        Form(name="int8", pack=_to_int8, widen=_from_int8),
    )
}
EXACT = "float32"

#: Those that a store can hold.
STORED = ("float32", "float16")


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Of all vectors of some fields; 0 = exact.

    ``mean``, ``largest``: length of the error of a vector over the vector's length. ``cosine``: how
    far the cosine of two vectors of a field, drawn at random, moves at most.
    """

    mean: float
    largest: float
    cosine: float


#: What ``size_and_errors`` says; ppm = millionths.
COLUMNS = ("bytes an entity", "mean error, ppm", "largest error, ppm", "cosine moves, ppm")


def size_and_errors(form: Form, views: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Column → figure, of the (n, …, W) entity views in a form."""
    errors = rounding_errors(form, views)
    size = sum(form.row_bytes(view.shape[1:]) for view in views.values())
    figures = (size, 1e6 * errors.mean, 1e6 * errors.largest, 1e6 * errors.cosine)
    return dict(zip(COLUMNS, figures, strict=True))


def rounding_errors(form: Form, views: Mapping[str, np.ndarray]) -> Errors:
    """What rounding the (n, …, W) views to a form does to them. They are read in blocks."""
    total, counted, largest, cosine = 0.0, 0, 0.0, 0.0
    random = np.random.default_rng(0)
    for view in views.values():
        vectors = view.reshape(-1, view.shape[-1])
        step = max(1, _BLOCK // vectors.shape[1])
        for first in range(0, len(vectors), step):
            errors = _relative_errors(form, vectors[first : first + step].astype(np.float32))
            total += float(errors.sum())
            counted += len(errors)
            largest = max(largest, float(errors.max(initial=0.0)))
        pairs = random.integers(len(vectors), size=(2, _PAIRS))
        for block in np.array_split(pairs, max(1, _PAIRS // step), axis=1):
            one, other = (vectors[rows].astype(np.float32) for rows in block)
            moved = _cosines(form.rounded(one), form.rounded(other)) - _cosines(one, other)
            cosine = max(cosine, float(np.abs(moved).max(initial=0.0)))
    return Errors(mean=total / max(counted, 1), largest=largest, cosine=cosine)


def _relative_errors(form: Form, vectors: np.ndarray) -> np.ndarray:
    """(m,) of those of the (n, W) vectors that are not zero, which every form keeps."""
    lengths = _lengths(vectors)
    return _lengths(form.rounded(vectors) - vectors)[lengths > 0] / lengths[lengths > 0]


def _cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(n,) of each pair; 0 where one of them is zero."""
    products = np.einsum("ij,ij->i", one, other, dtype=np.float64)
    lengths = _lengths(one) * _lengths(other)
    return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)


def _lengths(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
