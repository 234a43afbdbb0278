"""The order of mentions: a permutation that depends on seed and epoch, with neighbours or without."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import featurestore
from linker.requests import Neighbours, Requests, sharing_candidates
from tests.stores_for_tests import planted_store


def order(requests: Requests, epoch: int = 0) -> list[int]:
    requests.set_epoch(epoch)
    return [row for batch in requests for row in batch.tolist()]


def local(count: int, *, block: int, seed: int = 0, first: int = 0) -> Requests:
    keys = np.arange(count) // 10  # ten mentions of each name
    return Requests(
        rows=range(first, first + count),
        batch_size=16,
        seed=seed,
        neighbours=Neighbours(keys=keys, block=block),
    )


@given(count=st.integers(1, 200), block=st.integers(2, 20), epoch=st.integers(0, 3))
def test_every_mention_comes_once_in_a_local_order(count: int, block: int, epoch: int) -> None:
    requests = local(count, block=block, first=7)
    assert sorted(order(requests, epoch)) == list(range(7, 7 + count))


def test_a_local_order_depends_on_seed_and_epoch_alone() -> None:
    assert order(local(100, block=5), 2) == order(local(100, block=5), 2)
    assert order(local(100, block=5), 2) != order(local(100, block=5), 3)
    assert order(local(100, block=5, seed=1)) != order(local(100, block=5))


@pytest.mark.parametrize("kind", ["random", "local", "as they stand"])
@given(count=st.integers(1, 200), step=st.integers(0, 13), epoch=st.integers(0, 3))
def test_an_epoch_goes_on_at_any_step(kind: str, count: int, step: int, epoch: int) -> None:
    def requests() -> Requests:
        if kind == "local":
            return local(count, block=5)
        return Requests(rows=range(count), batch_size=16, seed=3 if kind == "random" else None)

    whole, rest = requests(), requests()
    whole.set_epoch(epoch)
    rest.start_at(epoch=epoch, step=step)
    assert [b.tolist() for b in rest] == [b.tolist() for b in list(whole)[step:]]
    assert len(rest) == len(whole)
    assert order(rest, epoch + 1) == order(whole, epoch + 1)  # the next epoch is whole


def test_mentions_with_equal_keys_stand_in_the_same_batch() -> None:
    def shared(requests: Requests) -> float:
        """Mean number of a batch's mentions that have a batch-mate with their key."""
        return float(
            np.mean([np.sum(np.bincount(batch // 10)[batch // 10] > 1) for batch in requests])
        )

    together = shared(local(1000, block=8))
    apart = shared(Requests(rows=range(1000), batch_size=16, seed=0))
    assert together > 14
    assert apart < 6


def test_neighbours_of_one_name_are_not_always_the_same() -> None:
    def pairs(epoch: int) -> set[tuple[int, int]]:
        rows = order(local(200, block=4), epoch)
        return set(pairwise(rows))

    assert len(pairs(0) & pairs(1)) < 60


def test_mentions_of_a_store_are_neighbours_by_their_best_candidate(tmp_path: Path) -> None:
    with featurestore.open(planted_store(tmp_path / "planted.h5")) as store:
        rows = store.mentions.split("valid")
        found = sharing_candidates(store, rows, block=4)
        wanted = [int(store.mentions[row]["candidates"][0]) for row in rows]
    assert found.keys.tolist() == wanted


@pytest.mark.parametrize("size", [1, 16, 64])
def test_batches_hold_as_many_as_asked_for(size: int) -> None:
    requests = Requests(rows=range(100), batch_size=size, seed=3)
    lengths = [len(batch) for batch in requests]
    assert lengths[:-1] == [size] * (len(requests) - 1)
    assert sum(lengths) == 100
