"""float32 to float16 within an error bound, and back.

How much is lost is bounded by the length of the vectors, which is cheap, and computed by casting back
only where that bound does not do. Casting and measuring is one pass of :mod:`featurestore.native`. Where
that was not built, torch casts several times as fast as NumPy, by an instruction of the processor, and
takes seconds to load: it casts where it is loaded, and :func:`prepare` loads it for many values. All make
the same values (a test compares them).
"""

from __future__ import annotations

import math
import sys
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from featurestore import native
from featurestore.native import Norms

#: Largest relative L2 error of a stored vector. float16 rounds each value within 2⁻¹¹ = 4.9e-4, so
#: 1e-3 is kept unless values overflow (above 65504) or vanish (chosen here, because a cosine then
#: changes by 2e-3 at most, and by 5e-5 at most among random pairs of 768 values:
#: ``python -m benchmarks precision``).
FLOAT16_BOUND = 1e-3

#: Relative error of a normal float16, and the largest absolute error of one that is not.
_ROUNDING, _VANISHING = 2.0**-11, 2.0**-25
_LARGEST = 65504.0

#: NumPy casts 2.5e8 values in a second, torch 3e9, loading torch takes two (all on one core).
_MANY = 1_000_000_000


def to_float16(values: np.ndarray) -> tuple[np.ndarray, float]:
    """The (n, W) float32 vectors as float16, and a bound of their relative L2 errors.

    The error is ``inf`` where a value overflows, is infinite or NaN; the values are then unspecified.
    """
    kernels = native.bits()
    if kernels is not None and _is_plain(values):
        stored, norms = kernels.rounded(values)
    else:
        lengths = np.sqrt(np.einsum("ij,ij->i", values, values))
        norms = Norms(float(lengths.min(initial=np.inf)), float(lengths.max(initial=0.0)))
        stored = rounded(values)
    bound = close_bound(norms, values.shape[1])
    return stored, _exact_error(stored, values) if bound is None else bound


def _is_plain(values: np.ndarray) -> bool:
    return values.dtype == np.float32 and values.flags.c_contiguous


def close_bound(norms: Norms, width: int) -> float | None:
    """A bound of the relative L2 errors of float16 vectors; None where it may be too large."""
    least, largest = norms
    if least > largest:  # there is no vector
        return 0.0
    if not largest <= _LARGEST:  # so that no value is larger; true for NaN
        return None
    # a vector's values that vanish add at most this to its error
    lost = _VANISHING * math.sqrt(width)
    return None if lost > (FLOAT16_BOUND - _ROUNDING) * least else _ROUNDING + lost / least


def rounded_within(bound: float, values: np.ndarray) -> np.ndarray:
    """The (n, W) finite float32 vectors as float32, rounded to float16 where that keeps the bound."""
    back, relative = _there_and_back(values)
    with np.errstate(invalid="ignore"):
        return np.where((relative <= bound)[:, None], back, values)


def prepare(values: int) -> None:
    """Load torch, if it is installed, for so many values that it pays."""
    if values >= _MANY and native.bits() is None:
        with suppress(ImportError):
            import_module("torch")


def rounded(values: np.ndarray) -> np.ndarray:
    """The float32 values as float16, to the nearest; beyond its range, infinite."""
    kernels = native.bits()
    if kernels is not None and _is_plain(values):
        return kernels.rounded(values.reshape(1, -1))[0].reshape(values.shape)
    torch = sys.modules.get("torch")
    if torch is None:
        with np.errstate(over="ignore"):
            return values.astype(np.float16)
    stored = np.empty(values.shape, np.float16)
    torch.from_numpy(stored).copy_(torch.from_numpy(np.asarray(_Writable(values))))
    return stored


def widened(values: np.ndarray) -> np.ndarray:
    """float16 or float32 values as float32; an array of float32 is returned as it is.

    Looked up in a table of all 65,536 halves: two to three times as fast as NumPy's cast.
    """
    if values.dtype != np.float16:
        return values.astype(np.float32, copy=False)
    return _all_halves()[values.view(np.uint16)]


@cache
def _all_halves() -> np.ndarray:
    """(65536,) float32 what each pattern of 16 bits stands for; 256 KiB."""
    return np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)


class _Writable:
    """An array that torch takes without a warning that it cannot be written to: nothing does."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = values  # which has to live as long
        interface: dict[str, Any] = values.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}


def _exact_error(stored: np.ndarray, values: np.ndarray) -> float:
    """The largest error as it is."""
    back = stored.astype(np.float32)
    if not np.isfinite(back).all():
        return float("inf")
    return float(_relative_errors(back, values).max(initial=0.0))


def _there_and_back(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The vectors rounded to float16 as float32, and the (n,) relative error of each."""
    back = rounded(values).astype(np.float32)
    finite = np.isfinite(back).all(axis=1)
    relative = np.full(len(values), np.inf)
    relative[finite] = _relative_errors(back[finite], values[finite])
    return back, relative


def _relative_errors(back: np.ndarray, values: np.ndarray) -> np.ndarray:
    error = back - values
    norms = np.sqrt(np.einsum("ij,ij->i", values, values, dtype=np.float64))
    errors = np.sqrt(np.einsum("ij,ij->i", error, error, dtype=np.float64))
    return np.divide(errors, norms, out=np.zeros_like(errors), where=norms > 0)
