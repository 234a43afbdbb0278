"""float32 to float16 within an error bound, as NumPy rounds and about twice as fast.

NumPy converts value by value. Almost every value of a feature is a normal number in both types, and
for these rounding to the nearest, ties to even, is a few operations on their bits, which NumPy does
for a whole block at once.
"""

from __future__ import annotations

import numpy as np

#: Largest relative L2 error of a stored vector. float16 rounds each value within 2⁻¹¹ = 4.9e-4, so
#: 1e-3 is kept unless values overflow (above 65504) or vanish (chosen here, because a cosine then
#: changes by 2e-3 at most, and by about 1e-5 where the errors of 768 values are independent:
#: ``python -m benchmarks precision``).
FLOAT16_BOUND = 1e-3

#: Relative error of a normal float16, and the largest absolute error of one that is not.
_ROUNDING, _VANISHING = 2.0**-11, 2.0**-25
_LARGEST = 65504.0

_MAGNITUDE, _SIGN = np.uint32(0x7FFFFFFF), np.uint32(0x8000)
_SMALLEST_NORMAL = np.uint32(0x38800000)  # 2⁻¹⁴ as float32
_BECOMES_ZERO = np.uint32(0x38000000)  # 2⁻¹⁵: what the arithmetic below turns into 0
#: Takes 112 from the exponent, which is how the biases differ, and adds just under half a unit.
_REBIAS = np.uint32(0xC8000FFF)
_DROPPED = np.uint32(13)  # bits of the fraction that float16 has less
_ONE, _SIGN_DISTANCE = np.uint32(1), np.uint32(16)


def to_float16(values: np.ndarray) -> tuple[np.ndarray, float]:
    """The (n, W) float32 vectors as float16, and a bound of their relative L2 errors.

    The error is ``inf`` where a value overflows, is infinite or NaN; the values are then unspecified.
    """
    norms = np.sqrt(np.einsum("ij,ij->i", values, values))
    if not len(norms) or not np.all(norms <= _LARGEST):  # so that no value is larger; false for NaN
        return _exactly(values)
    # a vector's values that vanish add at most this to its error
    lost = _VANISHING * np.sqrt(values.shape[1])
    least = float(norms.min())
    if lost > (FLOAT16_BOUND - _ROUNDING) * least:
        return _exactly(values)
    return _rounded(values), _ROUNDING + lost / least


def _rounded(values: np.ndarray) -> np.ndarray:
    """The values as float16; none may be larger than float16 can hold."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    magnitude = bits & _MAGNITUDE
    subnormal = np.flatnonzero((magnitude < _SMALLEST_NORMAL) & (magnitude != 0))
    half = np.maximum(magnitude, _BECOMES_ZERO)
    odd = half >> _DROPPED
    odd &= _ONE
    half += _REBIAS
    half += odd
    half >>= _DROPPED
    np.right_shift(bits, _SIGN_DISTANCE, out=magnitude)
    magnitude &= _SIGN
    half |= magnitude
    result = half.astype(np.uint16).view(np.float16)
    if len(subnormal):
        result.reshape(-1)[subnormal] = values.reshape(-1)[subnormal].astype(np.float16)
    return result


def _exactly(values: np.ndarray) -> tuple[np.ndarray, float]:
    """NumPy's float16, and the largest error as it is."""
    with np.errstate(over="ignore"):
        stored = values.astype(np.float16)
    back = stored.astype(np.float32)
    if not np.isfinite(back).all():
        return stored, float("inf")
    error = back
    error -= values
    norms = np.sqrt(np.einsum("ij,ij->i", values, values, dtype=np.float64))
    errors = np.sqrt(np.einsum("ij,ij->i", error, error, dtype=np.float64))
    relative = np.divide(errors, norms, out=np.zeros_like(errors), where=norms > 0)
    return stored, float(relative.max(initial=0.0))
