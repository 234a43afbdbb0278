"""GELU(LayerNorm(x)) in C: values and gradients of the formulas in float64."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linker.models import activation
from linker.models.activation import norm_gelu

WIDTHS = (1, 7, 15, 16, 17, 33, 64, 200)
#: Types of the rows and of what is made of them; rounding of the latter, relative to its size.
TYPES = [
    (torch.float32, torch.float32, 2e-6),
    (torch.bfloat16, torch.bfloat16, 2**-8),
    (torch.bfloat16, torch.float32, 2e-6),
]


@pytest.fixture
def kernel() -> None:
    """Skips where torch does it."""
    if activation._library() is None:
        pytest.skip("not compiled, or this processor lacks AVX-512")


@pytest.fixture
def without_kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(activation, "compiled_kernels", lambda: None)
    activation._library.cache_clear()
    yield
    activation._library.cache_clear()


def made(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layer(width: int) -> nn.LayerNorm:
    norm = nn.LayerNorm(width)
    with torch.no_grad():
        norm.weight.copy_(1 + 0.3 * made(width, seed=1))
        norm.bias.copy_(0.5 * made(width, seed=2))
    return norm


def exactly(x: Tensor, norm: nn.LayerNorm, sent: Tensor) -> tuple[Tensor, ...]:
    """Values, and the gradients of x, gain and bias, in float64."""
    wide = x.detach().double().requires_grad_()
    gain, bias = (w.detach().double().requires_grad_() for w in (norm.weight, norm.bias))
    y = F.gelu(F.layer_norm(wide, norm.normalized_shape, gain, bias, norm.eps))
    return y, *torch.autograd.grad(y, (wide, gain, bias), sent.double())


def found(x: Tensor, norm: nn.LayerNorm, sent: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    x = x.detach().requires_grad_()
    y = norm_gelu(x, norm, dtype)
    assert y.dtype == dtype
    return y, *torch.autograd.grad(y, (x, norm.weight, norm.bias), sent)


def close(one: Tensor, exact: Tensor, bound: float) -> None:
    size = float(exact.detach().abs().max()) + 1e-3
    assert float((one.detach().double() - exact.detach()).abs().max()) <= bound * size


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("given", "dtype", "rounding"), TYPES)
def test_values_and_gradients_are_those_of_float64(
    kernel: None, width: int, given: torch.dtype, dtype: torch.dtype, rounding: float
) -> None:
    x = (3 * made(3, 50, width) + 1).to(given)
    sent, norm = made(3, 50, width, seed=3).to(dtype), layer(width)
    y, of_x, of_gain, of_bias = found(x, norm, sent, dtype)
    exact = exactly(x, norm, sent)
    assert (y.shape, of_x.shape, of_x.dtype) == (x.shape, x.shape, given)
    close(y, exact[0], rounding)
    if width > 1:  # of one number it is 0, and what is left of 1 / √eps its rounding
        close(of_x, exact[1], 2**-8 if given == torch.bfloat16 else 5e-6)
    close(of_gain, exact[2], 5e-6)
    close(of_bias, exact[3], 5e-6)


def test_bfloat16_is_what_float32_rounds_to(kernel: None) -> None:
    x, norm = made(40, 96).bfloat16(), layer(96)
    wide = norm_gelu(x, norm, torch.float32)
    assert torch.equal(norm_gelu(x, norm, torch.bfloat16), wide.bfloat16())


@pytest.mark.parametrize("value", [0.0, 1.0, -2.5, 1e4, 1e-6, 3e18])
def test_rows_of_one_value_and_of_any_size_are_normalised(kernel: None, value: float) -> None:
    norm = layer(33)
    for x in (torch.full((2, 33), value), value * made(2, 33)):
        exact = F.gelu(F.layer_norm(x.double(), (33,), norm.weight.double(), norm.bias.double()))
        close(norm_gelu(x, norm, torch.float32), exact, 2e-3 if value > 1 else 1e-5)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_not_finite_shows(kernel: None, value: float, dtype: torch.dtype) -> None:
    x, norm = made(3, 20).to(dtype), layer(20)
    x[1, 7] = value
    y, of_x, of_gain, _ = found(x, norm, torch.ones_like(x), dtype)
    assert y[1].isnan().all()
    assert y[::2].isfinite().all()
    assert of_x[1].isnan().all()
    assert of_x[::2].isfinite().all()
    assert of_gain.isnan().all()


def test_the_whole_curve_is_that_of_gelu(kernel: None) -> None:
    """Bias alone reaches it: a row of one number is normalised to 0."""
    norm = nn.LayerNorm(1)
    z = torch.cat(
        [torch.linspace(-14, 14, 4001), torch.tensor([0.0, -0.0, 1e-30, 60.0, -60.0, 1e20])]
    )
    for some in z.split(1):
        with torch.no_grad():
            norm.bias.copy_(some)
            y = norm_gelu(torch.zeros(1, 1), norm, torch.float32).double()
        exact = F.gelu(some.double())
        assert float((y - exact).abs()) <= 3e-7 * max(1.0, float(exact.abs()))


def test_results_do_not_depend_on_the_number_of_threads(kernel: None) -> None:
    x, norm, sent = made(300, 40), layer(40), made(300, 40, seed=3)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(found(x, norm, sent, torch.float32))
    finally:
        torch.set_num_threads(before)
    for some in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(some, results[0], strict=True))


def test_rows_that_do_not_stand_behind_each_other_are_taken_as_they_are(kernel: None) -> None:
    x, norm = made(6, 24, 10).transpose(1, 2), layer(24)
    assert torch.equal(
        norm_gelu(x, norm, torch.float32), norm_gelu(x.contiguous(), norm, torch.float32)
    )


@pytest.mark.parametrize("given", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(0, 8), (4, 8)])
def test_torch_does_the_rest(
    without_kernel: None, given: torch.dtype, shape: tuple[int, int]
) -> None:
    x, norm = made(*shape).to(given), layer(8).to(given)
    expected = F.gelu(norm(x))
    assert torch.equal(norm_gelu(x, norm, given), expected)


def test_other_types_and_no_rows_are_left_to_torch(kernel: None) -> None:
    norm = layer(8)
    assert norm_gelu(made(0, 8), norm, torch.float32).shape == (0, 8)
    double = norm_gelu(made(4, 8).double(), norm.double(), torch.float64)
    assert double.dtype == torch.float64
    with pytest.raises(RuntimeError, match="normalized_shape"):
        norm_gelu(made(4, 7), layer(8), torch.float32)
