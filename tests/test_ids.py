"""The id index: every id finds its row, nothing else does, and colliding hashes do no harm."""

from __future__ import annotations

import difflib
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore import ids as ids_module
from featurestore.chunks import TextColumn
from featurestore.errors import UnknownId
from featurestore.ids import IdIndex, build_index, hash_ids

ID = st.text(st.characters(codec="utf-8"), max_size=12)
DISTINCT_IDS = st.lists(ID, unique=True, max_size=40)


def index_of(ids: list[str]) -> IdIndex:
    hashes, rows = build_index(ids)
    encoded = [text.encode() for text in ids]
    offsets = np.cumsum([0, *map(len, encoded)])
    column = TextColumn(np.frombuffer(b"".join(encoded), np.uint8), offsets, "t")
    return IdIndex(hashes, rows, ids=column, where="x.h5::/entities")


@given(DISTINCT_IDS, st.lists(ID, max_size=5))
def test_every_id_is_found_at_its_row_and_no_other_id_is(ids: list[str], others: list[str]) -> None:
    expected = [ids.index(text) if text in ids else -1 for text in ids + others]
    assert index_of(ids).find(ids + others).tolist() == expected


@given(DISTINCT_IDS, st.integers(1, 4), st.lists(ID, max_size=5))
def test_ids_with_colliding_hashes_are_told_apart(
    ids: list[str], hashes: int, others: list[str]
) -> None:
    def colliding(texts: list[str]) -> np.ndarray:
        return np.array([len(text) % hashes for text in texts], np.uint64)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids_module, "hash_ids", colliding)
        index = index_of(ids)
        expected = [ids.index(text) if text in ids else -1 for text in ids + others]
        assert index.find(ids + others).tolist() == expected


def test_the_hash_is_blake2b_of_eight_bytes_read_as_little_endian() -> None:
    expected = int.from_bytes(blake2b("Zürich".encode(), digest_size=8).digest(), "little")
    assert hash_ids(["Q42", "Zürich"]).tolist()[1] == expected


def test_an_index_is_sorted_by_hash() -> None:
    hashes, rows = build_index([f"Q{i}" for i in range(500)])
    assert (np.diff(hashes.astype(object)) > 0).all()
    assert sorted(rows.tolist()) == list(range(500))


@pytest.mark.parametrize("together", [20, 64, 499, 500])
def test_an_index_sorted_range_by_range_is_that_sorted_at_once(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"Q{i}" for i in range(500)]
    at_once = build_index(ids)
    monkeypatch.setattr(ids_module, "_SORTED", together)
    monkeypatch.setattr(ids_module, "_HASHED", 7)
    for found, expected in zip(build_index(ids), at_once, strict=True):
        assert found.dtype == expected.dtype
        assert found.tolist() == expected.tolist()


def test_equal_hashes_keep_the_order_of_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids_module, "_SORTED", 4)
    monkeypatch.setattr(
        ids_module, "hash_ids", lambda texts: np.array([len(t) << 62 for t in texts], np.uint64)
    )
    hashes, rows = build_index(["bb", "a", "cc", "d", "ee", "f"])
    assert (hashes >> 62).tolist() == [1, 1, 1, 2, 2, 2]
    assert rows.tolist() == [1, 3, 5, 0, 2, 4]


def test_an_unknown_id_names_the_nearest_ones() -> None:
    with pytest.raises(UnknownId) as caught:
        index_of(["Berlin", "Bern", "Rome"]).rows(["Rome", "Berlni", "Nowhere"])
    assert caught.value.what == "unknown id 'Berlni' (and 1 more)"
    assert caught.value.where == "x.h5::/entities"
    assert caught.value.hint == "nearest ids: Berlin, Bern"


@given(DISTINCT_IDS, ID)
def test_the_nearest_of_few_ids_are_those_of_a_plain_comparison(
    ids: list[str], wanted: str
) -> None:
    expected = difflib.get_close_matches(wanted, ids, n=3, cutoff=0.5)
    assert index_of(ids).nearest(wanted) == expected


def test_the_nearest_of_many_ids_are_found_among_those_that_share_letters() -> None:
    ids = [f"{letter}{number}" for letter in "ABCDE" for number in range(1000)]
    assert index_of(ids).nearest("C12x") == ["C12", "C912", "C812"]
    assert index_of([*ids, "Rhinoceros"]).nearest("Rhinozeros" * 100) == []
    assert index_of([*ids, "Rhinoceros"]).nearest("Rhinozeros") == ["Rhinoceros"]


def test_an_unknown_id_near_to_none_says_how_to_see_ids() -> None:
    with pytest.raises(UnknownId, match="see some ids with: drin-fs inspect STORE"):
        index_of(["Berlin"]).rows(["12345678"])


def test_an_empty_table_holds_no_id() -> None:
    assert index_of([]).find(["Q1", ""]).tolist() == [-1, -1]
    with pytest.raises(UnknownId, match="unknown id 'Q1'"):
        index_of([]).rows(["Q1"])
