"""float16 as NumPy makes it, bit by bit, and an error that is never understated."""

from __future__ import annotations

import sys
from importlib import import_module

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from featurestore import halves, native
from featurestore.halves import FLOAT16_BOUND, rounded, to_float16

#: Every float32 that float16 can hold, zeros and those that vanish included.
HELD = st.floats(-65504, 65504, width=32)


def same_bits(one: np.ndarray, other: np.ndarray) -> bool:
    return one.dtype == other.dtype == np.float16 and one.tobytes() == other.tobytes()


def true_error(values: np.ndarray) -> float:
    exact = values.astype(np.float64)
    norms = np.linalg.norm(exact, axis=1)
    errors = np.linalg.norm(values.astype(np.float16).astype(np.float64) - exact, axis=1)
    return float((errors[norms > 0] / norms[norms > 0]).max(initial=0.0))


@pytest.fixture(params=["kernels", "torch or NumPy"], autouse=True)
def who(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who casts, where a test does not choose itself."""
    if request.param != "kernels":
        monkeypatch.setattr(native, "bits", lambda: None)


@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=HELD))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the same for all examples
def test_values_are_numpys_and_their_error_is_not_understated(values: np.ndarray) -> None:
    stored, error = to_float16(values)
    assert same_bits(stored, values.astype(np.float16))
    assert error >= true_error(values) * (1 - 1e-9)


@pytest.mark.parametrize("bad", [65520.0, 1e30, np.inf, np.nan])
def test_what_float16_cannot_hold_has_an_infinite_error(bad: float) -> None:
    values = np.ones((3, 8), np.float32)
    values[1, 2] = bad
    assert to_float16(values)[1] == np.inf


def test_a_vector_that_vanishes_breaks_the_bound_and_one_that_does_not_keeps_it() -> None:
    values = np.full((2, 768), 1e-8, np.float32)
    assert to_float16(values)[1] > FLOAT16_BOUND
    values[:, 0] = 1
    assert to_float16(values)[1] < FLOAT16_BOUND


def test_all_round_every_kind_of_value_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    bits = np.arange(0, 2**32, 2**32 // 6_700_417, dtype=np.uint64).astype(np.uint32)
    values = bits.view(np.float32)  # every exponent, hundreds of mantissas of each
    values = values[~np.isnan(values)]
    import_module("torch")
    from_kernel = rounded(values)
    monkeypatch.setattr(native, "bits", lambda: None)
    from_torch = rounded(values)
    assert same_bits(from_kernel, from_torch)
    monkeypatch.delitem(sys.modules, "torch")
    assert same_bits(rounded(values), from_torch)


def test_many_values_load_torch_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def load(name: str) -> None:
        asked.append(name)
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(halves, "import_module", load)
    if native.bits() is not None:
        halves.prepare(10**9)
    monkeypatch.setattr(native, "bits", lambda: None)
    halves.prepare(10**6)
    assert not asked
    halves.prepare(10**9)
    assert asked == ["torch"]


def test_values_that_cannot_be_written_to_are_cast_without_a_word() -> None:
    values = np.ones((2, 40_000), np.float32)
    values.flags.writeable = False
    assert same_bits(rounded(values), np.ones((2, 40_000), np.float16))


def test_zeros_are_exact() -> None:
    values = np.array([[0.0, -0.0, 1.0]], np.float32)
    assert same_bits(to_float16(values)[0], values.astype(np.float16))
    stored, error = to_float16(np.zeros((2, 3), np.float32))
    assert (stored.tolist(), error) == ([[0.0] * 3] * 2, 0.0)


def test_nothing_is_nothing() -> None:
    stored, error = to_float16(np.empty((0, 5), np.float32))
    assert (stored.shape, stored.dtype, error) == ((0, 5), np.float16, 0.0)
