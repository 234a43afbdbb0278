"""Work is done once a distinct text, and its result reaches exactly the rows that hold it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from featurestore.distinct import Distinct


@given(values=st.lists(st.sampled_from("abcdefg"), max_size=40), block=st.integers(1, 50))
def test_every_row_gets_its_own_value_once(values: list[str], block: int) -> None:
    distinct = Distinct(values)
    seen: dict[int, str] = {}
    wanted = np.arange(len(distinct))
    for rows, places in distinct.rows(wanted, block=block):
        assert len(rows) <= block
        assert (np.diff(rows) > 0).all()
        for row, place in zip(rows.tolist(), places.tolist(), strict=True):
            assert row not in seen
            seen[row] = distinct.values[place]
    assert [seen[row] for row in range(len(values))] == values


def test_values_stand_in_order_of_first_appearance() -> None:
    distinct = Distinct(["b", "a", "b", "c"])
    assert distinct.values == ["b", "a", "c"]
    assert [distinct.first_row(number) for number in range(3)] == [0, 1, 3]


def test_only_the_rows_of_the_values_asked_for_come() -> None:
    distinct = Distinct(["b", "a", "b", "c"])
    ((rows, places),) = distinct.rows(np.array([2, 0]), block=10)
    assert rows.tolist() == [0, 2, 3]
    assert places.tolist() == [1, 1, 0]
