"""Products of stored float16 rows in C: those of torch, on every kernel that this processor has."""

from __future__ import annotations

import platform
import shutil

import pytest
import torch

from linker.models import half_pairs
from linker.models.half_pairs import dots_of_halves, kernel_level
from linker.models.layers import cosine_of_pairs

LEVELS = (1, 2)


@pytest.fixture(params=LEVELS)
def level(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The kernel that is used meanwhile."""
    if kernel_level() < request.param:
        pytest.skip("not compiled, or this processor lacks it")
    monkeypatch.setattr(half_pairs, "kernel_level", lambda: request.param)
    return int(request.param)


def made(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("width", [1, 7, 8, 9, 16, 33, 64, 2048])
@pytest.mark.parametrize("ways", [1, 3, 4, 5, 9])
def test_products_and_norms_are_those_of_float64(level: int, width: int, ways: int) -> None:
    rows, queries = made(11, width).half(), made(3, ways, width, seed=1)
    places = torch.randint(0, 11, (3, 7), generator=torch.Generator().manual_seed(2))
    found = dots_of_halves(queries, rows, places)
    assert found is not None
    dots, norms = found
    exact = rows.double()[places]
    bound = 1e-6 * width**0.5
    torch.testing.assert_close(
        dots.double(), queries.double() @ exact.transpose(1, 2), rtol=1e-6, atol=bound
    )
    torch.testing.assert_close(norms.double(), exact.norm(dim=2), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("parts", [None, 1, 3])
def test_cosines_are_those_that_torch_computes(
    level: int, parts: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = made(9, *(() if parts is None else (parts,)), 24).half()
    keys[4] = 0  # similar to nothing
    queries, candidates = made(2, 3, 24, seed=1).half(), torch.tensor([[0, 4, 8, 1], [2, 2, 4, 7]])
    ours = cosine_of_pairs(queries, keys, candidates)
    monkeypatch.setattr(half_pairs, "_library", lambda: None)
    theirs = cosine_of_pairs(queries, keys, candidates)
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_the_result_does_not_depend_on_the_number_of_threads(level: int) -> None:
    rows, queries = made(50, 130).half(), made(8, 3, 130, seed=1)
    places = torch.randint(0, 50, (8, 20), generator=torch.Generator().manual_seed(2))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(dots_of_halves(queries, rows, places))
    finally:
        torch.set_num_threads(before)
    for some in found[1:]:
        assert some is not None
        assert found[0] is not None
        assert torch.equal(some[0], found[0][0])
        assert torch.equal(some[1], found[0][1])


@pytest.mark.parametrize("place", [-1, 11])
def test_a_place_beyond_the_rows_is_refused(level: int, place: int) -> None:
    with pytest.raises(IndexError, match=f"places from .*{place}.* of 11 rows"):
        dots_of_halves(made(1, 1, 8), made(11, 8).half(), torch.tensor([[3, place]]))


def test_what_is_not_for_it_is_left_to_torch(level: int) -> None:
    rows, queries, places = made(11, 8).half(), made(2, 1, 8), torch.zeros(2, 3, dtype=torch.int64)
    assert dots_of_halves(queries, rows, places) is not None
    assert dots_of_halves(queries, rows.float(), places) is None
    assert dots_of_halves(queries, rows.t().contiguous().t(), places) is None
    assert dots_of_halves(queries.requires_grad_(), rows, places) is None
    queries = queries.detach()
    assert dots_of_halves(queries, rows, places[:1].expand(2, -1)) is None
    assert dots_of_halves(queries[..., :7], rows, places) is None
    assert dots_of_halves(queries[:, :0], rows, places) is None
    assert dots_of_halves(queries, rows, places[:, :0]) is None


def test_without_a_compiler_torch_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(half_pairs, "compiled_kernels", lambda: None)
    for cached in (half_pairs._library, kernel_level):
        cached.cache_clear()
    try:
        assert kernel_level() == 0
        places = torch.zeros(2, 3, dtype=torch.int64)
        assert dots_of_halves(made(2, 1, 8), made(11, 8).half(), places) is None
    finally:
        for cached in (half_pairs._library, kernel_level):
            cached.cache_clear()


def test_the_library_is_there_where_there_is_a_compiler() -> None:
    """Its build is optional, so nothing else would say that it failed."""
    if shutil.which("gcc") is None or platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("no compiler with OpenMP, or no kernels for this processor")
    assert kernel_level() > 0
