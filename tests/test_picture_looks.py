"""Pictures that look the same: the hash, the search by bands, and what the audit says of them."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import featurestore
from featurestore.audit.look import Look
from featurestore.audit.looks import (
    MOST_BITS,
    distances,
    hash_pictures,
    nearest,
    picture_hash,
)
from featurestore.audit.pictures import compare_pictures, similar_pictures
from featurestore.progress import Silent
from featurestore.sources.sample_pictures import draw
from featurestore.sources.sample_world import Theme
from featurestore.table import Table
from tests.tiny_store import SIZES, TinyStore, write_tiny_store

hashes = st.lists(st.integers(0, 2**64 - 1), max_size=30)


def drawn(seed: int) -> Image.Image:
    theme = Theme(ground="azure", figure="amber", pattern="chequered", shape="cross")
    return draw(theme, np.random.default_rng(seed)).picture


def encoded(picture: Image.Image, *, kind: str = "JPEG", quality: int = 85) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **({"quality": quality} if kind == "JPEG" else {}))
    return file.getvalue()


def hashed(data: bytes) -> int:
    value = picture_hash(data)
    assert value is not None
    return value


def bits_between(a: int, b: int) -> int:
    return (a ^ b).bit_count()


# the hash ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_size_quality_and_format_do_not_change_what_a_picture_looks_like(seed: int) -> None:
    picture = drawn(seed)
    first = hashed(encoded(picture))
    smaller = picture.resize((picture.width * 2 // 3, picture.height * 2 // 3))
    for other in (
        encoded(picture, quality=40),
        encoded(picture, kind="PNG"),
        encoded(smaller, quality=70),
    ):
        assert bits_between(first, hashed(other)) <= MOST_BITS


def test_other_drawings_of_the_same_theme_look_different() -> None:
    values = [hashed(encoded(drawn(seed))) for seed in range(12)]
    near = [bits_between(a, b) for place, a in enumerate(values) for b in values[:place]]
    assert min(near) > MOST_BITS


def test_what_is_lighter_than_its_left_neighbour_is_a_one() -> None:
    columns = np.tile(np.arange(9, dtype=np.uint8) * 20, (8, 1))
    assert hashed(encoded(Image.fromarray(columns), kind="PNG")) == 2**64 - 1
    columns[0] = columns[0, ::-1]
    assert hashed(encoded(Image.fromarray(columns), kind="PNG")) == 2**56 - 1


def test_plain_and_unreadable_pictures_are_counted_and_left_out() -> None:
    white = encoded(Image.new("RGB", (60, 60), "white"))
    found = hash_pictures([(1, white), (4, encoded(drawn(0))), (5, b"no picture"), (9, b"")])
    assert found.rows.tolist() == [4]
    assert (found.plain, found.unreadable) == (1, 2)


# the search -------------------------------------------------------------------------------------


def naive(wanted: np.ndarray, known: np.ndarray) -> list[tuple[int, int]]:
    answers = []
    for hash_ in wanted.tolist():
        bits = [bits_between(hash_, other) for other in known.tolist()]
        best = min(bits, default=65)
        answers.append((bits.index(best), best) if best <= MOST_BITS else (-1, 65))
    return answers


@given(hashes, st.lists(st.tuples(st.integers(0, 29), st.sets(st.integers(0, 63), max_size=6))))
def test_the_search_by_bands_finds_what_comparing_all_with_all_finds(
    known: list[int], changed: list[tuple[int, set[int]]]
) -> None:
    wanted = [1 << 63]
    for place, bits in changed:
        if known:
            wanted.append(known[place % len(known)] ^ sum(1 << bit for bit in bits))
    base, queries = np.array(known, np.uint64), np.array(wanted, np.uint64)
    places, bits_found = nearest(queries, base)
    assert list(zip(places.tolist(), bits_found.tolist(), strict=True)) == naive(queries, base)


def test_whichever_bits_differ_a_near_hash_is_found() -> None:
    rng = np.random.default_rng(0)
    known = rng.integers(0, 2**64 - 1, 500, dtype=np.uint64)
    flips = [rng.choice(64, MOST_BITS, replace=False).astype(np.uint64) for _ in known]
    wanted = known ^ np.array([np.bitwise_or.reduce(np.uint64(1) << bits) for bits in flips])
    places, bits = nearest(wanted, known)
    assert (places == np.arange(len(known))).all()
    assert (bits == MOST_BITS).all()


def test_many_hashes_of_one_band_are_compared_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurestore.audit.looks._PAIRS", 64)
    rng = np.random.default_rng(0)
    high = rng.integers(0, 2**24, 300, dtype=np.uint64) << np.uint64(40)  # the low bands are equal
    known = np.concatenate([high, high[:9]])
    wanted = high[:80] ^ (np.uint64(0b11) << np.uint64(45))
    places, bits = nearest(wanted, known)
    assert list(zip(places.tolist(), bits.tolist(), strict=True)) == naive(wanted, known)


def test_distances_count_bits() -> None:
    a = np.array([0, 2**64 - 1, 0b1011], np.uint64)
    b = np.array([2**64 - 1, 2**64 - 1, 0b0001], np.uint64)
    assert distances(a, b).tolist() == [64, 0, 2]


# the check --------------------------------------------------------------------------------------


def test_pictures_of_test_that_an_entity_has(tmp_path: Path) -> None:
    gold = np.full(10, 3, np.int32)
    change = {
        "mentions/gold": gold,
        "mentions/answer": np.full(10, SIZES["K"], np.int32),
        "mentions/candidates": np.full((10, SIZES["K"]), 7, np.int32),
    }
    tiny = write_tiny_store(tmp_path / "s.h5", change=change)
    entities = hash_pictures((row, encoded(drawn(row))) for row in range(1, 8))
    mentions = hash_pictures(
        [
            (7, encoded(drawn(2))),
            (8, encoded(drawn(3).resize((70, 70)), quality=60)),
            (9, encoded(drawn(50))),
        ]
    )
    with featurestore.open(tiny.path) as store:
        (found,) = compare_pictures(Look(store, Silent()), "test", mentions, entities)
        again = list(compare_pictures(Look(store, Silent()), "test", mentions, hash_pictures([])))
    assert again == []
    assert (found.severity, found.count, found.of) == ("warning", 2, 3)
    assert found.examples == ("m7-0 ~ Q102", "m8-0 ~ Q103")
    assert found.rows[:2] == (("mentions", 7), ("entities", 2))
    assert "for 1 of them the entity is the gold" in found.what


@pytest.fixture
def with_thumbnails(tiny: TinyStore, monkeypatch: pytest.MonkeyPatch) -> Look:
    """The tiny store, as if it had thumbnails: none of row 0, m6-0 and m8-0 are the entity 5's."""

    def thumbnail(table: Table, row: int) -> bytes | None:
        if row == 0:
            return None
        if table.name == "mentions":
            return encoded(drawn(5 if row in (2, 6, 8) else 100 + row))
        return encoded(drawn(row))

    monkeypatch.setattr("featurestore.audit.pictures.thumbnail", thumbnail)
    has = Table.__contains__
    monkeypatch.setattr(Table, "__contains__", lambda t, f: f == "thumbnail" or has(t, f))
    return Look(featurestore.open(tiny.path), Silent())


def test_held_out_mentions_are_compared_with_every_entity(with_thumbnails: Look) -> None:
    valid, test = similar_pictures(with_thumbnails)
    assert (valid.count, valid.of, valid.examples) == (1, 2, ("m6-0 ~ Q105",))
    assert (test.count, test.of, test.examples) == (1, 3, ("m8-0 ~ Q105",))
    assert "none for 1" in test.what


def test_without_pillow_that_is_said(
    with_thumbnails: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    (found,) = similar_pictures(with_thumbnails)
    assert found.skipped
    assert "Pillow is not installed" in found.what
