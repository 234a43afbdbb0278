"""Rows, products and sums of pairs against what they are defined as."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from linker.models import drin_entities, pairs
from linker.models.drin import Drin, DrinConfig
from linker.models.layers import shortened
from tests.model_batches import IMAGE_WIDTH, TEXT_WIDTH, random_batch

MENTIONS, CANDIDATES, ENTITIES, WAYS, WIDTH = 5, 7, 40, 3, 6


@pytest.fixture(params=[1, 1 << 20], ids=["a mention at a time", "all at once"])
def _blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "_BLOCK", request.param)


def made(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def chosen(*, shared: bool) -> Tensor:
    generator = torch.Generator().manual_seed(9)
    if shared:
        return torch.randperm(ENTITIES, generator=generator)[:CANDIDATES].expand(MENTIONS, -1)
    return torch.randint(0, ENTITIES, (MENTIONS, CANDIDATES), generator=generator)


def spread_plainly(rows: Tensor, candidates: Tensor) -> Tensor:
    return rows[candidates]


def dots_plainly(queries: Tensor, rows: Tensor, candidates: Tensor) -> Tensor:
    return torch.einsum("bqd,bcd->bqc", queries, rows[candidates])


def sums_plainly(weights: Tensor, rows: Tensor, candidates: Tensor) -> Tensor:
    return torch.einsum("bqc,bcd->bqd", weights, rows[candidates])


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("shared", [False, True], ids=["lists of their own", "one list"])
@pytest.mark.parametrize(
    ("ours", "plain", "sizes"),
    [
        (pairs.spread, spread_plainly, [(ENTITIES, WIDTH)]),
        (pairs.spread, spread_plainly, [(ENTITIES, 2, WIDTH)]),
        (pairs.spread, spread_plainly, [(ENTITIES,)]),
        (pairs.pair_dots, dots_plainly, [(MENTIONS, WAYS, WIDTH), (ENTITIES, WIDTH)]),
        (pairs.pair_sums, sums_plainly, [(MENTIONS, WAYS, CANDIDATES), (ENTITIES, WIDTH)]),
    ],
    ids=["spread", "spread of several", "spread of numbers", "dots", "sums"],
)
def test_values_and_gradients_are_those_of_indexing(
    ours: Callable[..., Tensor],
    plain: Callable[..., Tensor],
    sizes: list[tuple[int, ...]],
    shared: bool,
) -> None:
    inputs = [made(*size, seed=seed) for seed, size in enumerate(sizes)]
    candidates = chosen(shared=shared)
    expected, found = plain(*inputs, candidates), ours(*inputs, candidates)
    torch.testing.assert_close(found, expected)
    above = made(*expected.shape, seed=7).detach()
    wanted = torch.autograd.grad(expected, inputs, above)
    torch.testing.assert_close(torch.autograd.grad(found, inputs, above), wanted)


def test_gradients_of_short_rows_are_summed_in_float32() -> None:
    rows = torch.zeros(2, 4, dtype=torch.bfloat16, requires_grad=True)
    candidates = torch.zeros(50, 20, dtype=torch.int64)  # the same row 1,000 times
    pairs.spread(rows, candidates).sum().backward()
    assert rows.grad is not None
    assert rows.grad[0].tolist() == [1000.0] * 4  # bfloat16 does not count beyond 256
    assert rows.grad[1].tolist() == [0.0] * 4


def test_rows_become_numbers_of_the_type_of_the_queries() -> None:
    queries, rows, candidates = made(5, 3, 6), made(40, 6).detach().half(), chosen(shared=False)
    found = pairs.pair_dots(queries, rows, candidates)
    torch.testing.assert_close(found, dots_plainly(queries, rows.float(), candidates))
    found.sum().backward()
    assert queries.grad is not None


@pytest.mark.parametrize("edges", [("tt", "ti", "it", "ii"), ("tt", "ii"), ("ti",)], ids="+".join)
def test_drin_is_the_same_with_products_of_pairs_and_of_all_entities(
    edges: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def results(few: int) -> list[Tensor]:
        monkeypatch.setattr(drin_entities, "_FEW", few)
        torch.manual_seed(3)
        config = DrinConfig.model_validate({"edges": edges, "layers": 3, "width": 10})
        model = Drin(config=config, text_width=TEXT_WIDTH, image_width=IMAGE_WIDTH)
        scores = model(random_batch(entities=60))
        scores.square().sum().backward()
        return [scores, *(weight.grad for weight in model.parameters() if weight.grad is not None)]

    torch.testing.assert_close(results(0), results(10**9), rtol=1e-5, atol=1e-5)


def test_stored_halves_are_shortened_as_float32_is() -> None:
    halves = made(1300, 3).detach().half()  # more than are converted together
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(shortened(halves), halves.float().bfloat16())
    assert torch.equal(shortened(halves), halves.float())
