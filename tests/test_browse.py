"""Selections of rows against plain loops, and the plane that a store is drawn on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import featurestore
from featurestore.browse import (
    MentionFilter,
    Selections,
    mention_topics,
    pointing_at,
    select_entities,
    select_mentions,
)
from featurestore.errors import FieldMissing, UnknownId
from featurestore.plane import sample_plane
from featurestore.search import search, search_rows
from featurestore.store import Store
from tests.hdf5_edits import edited
from tests.tiny_store import SIZES, TinyStore, write_tiny_store

TOPICS = ["", "a", "b & c"]


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> TinyStore:
    topics = np.random.default_rng(5).choice(TOPICS, 90).tolist()
    path = tmp_path_factory.mktemp("varied") / "s.h5"
    return write_tiny_store(
        path, entities=12, mentions=(50, 15, 25), change={"mentions/topic": topics}
    )


@pytest.fixture(scope="module")
def opened(varied: TinyStore) -> Iterator[Store]:
    with featurestore.open(varied.path) as store:
        yield store


@given(
    split=st.sampled_from([None, "train", "valid", "test"]),
    picture=st.sampled_from([None, True, False]),
    retrieved=st.sampled_from([None, True, False]),
    topic=st.sampled_from([None, *TOPICS]),
)
def test_a_selection_is_what_a_plain_loop_finds(
    varied: TinyStore,
    opened: Store,
    split: str | None,
    picture: bool | None,
    retrieved: bool | None,
    topic: str | None,
) -> None:
    chosen = MentionFilter(split=split, picture=picture, retrieved=retrieved, topic=topic)
    values = varied.values
    has = {0: True, 1: False, 2: False, 3: False, 4: None}
    expected = [
        row
        for row in range(90)
        if (split is None or row in varied.splits[split])
        and (picture is None or has[int(values["mentions/image_status"][row])] == picture)
        and (retrieved is None or (values["mentions/answer"][row] < SIZES["K"]) == retrieved)
        and (topic is None or values["mentions/topic"][row] == topic)
    ]
    assert select_mentions(opened, chosen).tolist() == expected


def test_unknown_names_are_said(opened: Store) -> None:
    with pytest.raises(UnknownId, match="no mention has the topic 'x'"):
        select_mentions(opened, MentionFilter(topic="x"))
    with pytest.raises(UnknownId, match="no split 'x'"):
        select_mentions(opened, MentionFilter(split="x"))


def test_topics_are_counted_most_frequent_first(varied: TinyStore, opened: Store) -> None:
    topics, given_topics = mention_topics(opened), varied.values["mentions/topic"]
    assert topics.counts == {topic: given_topics.count(topic) for topic in TOPICS}
    assert list(topics.counts.values()) == sorted(topics.counts.values(), reverse=True)
    names = list(topics.counts)
    assert [names[code] for code in topics.codes.tolist()] == given_topics


def test_who_points_at_an_entity(varied: TinyStore, opened: Store) -> None:
    golds, lists = varied.values["mentions/gold"], varied.values["mentions/candidates"]
    seen = 0
    for entity in range(12):
        found = pointing_at(opened, entity)
        assert found.gold_of.tolist() == [row for row in range(90) if golds[row] == entity]
        assert found.candidate_of.tolist() == [
            row for row in range(90) if entity in lists[row] and golds[row] != entity
        ]
        seen += len(found.candidate_of)
    assert seen > 50
    with pytest.raises(UnknownId):
        pointing_at(opened, 12)


def test_selections_are_computed_once(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    selections = Selections(opened)
    chosen = MentionFilter(split="test", topic="a")
    first = selections.mentions(chosen)
    monkeypatch.setattr("featurestore.browse.select_mentions", None)
    assert selections.mentions(MentionFilter(split="test", topic="a")) is first


def test_what_a_store_does_not_know_is_an_error(tmp_path: Path) -> None:
    lacking = {"entities/image_status", "mentions/image_status", "mentions/topic"}
    tiny = write_tiny_store(tmp_path / "s.h5", without=lacking)
    with featurestore.open(tiny.path) as store:
        assert mention_topics(store).counts == {}
        with pytest.raises(FieldMissing, match="image_status"):
            select_entities(store, picture=True)
        assert select_entities(store).tolist() == list(range(8))


@given(text=st.sampled_from(["title", "3", "description", "Q10", "name1", "é", "nowhere"]))
def test_rows_of_a_search_are_those_of_its_hits(opened: Store, text: str) -> None:
    for table in ("entities", "mentions"):
        hits = search(opened, text, limit=100, tables=[table])
        rows, complete = search_rows(opened, text, table=table, limit=100)
        assert rows.tolist() == [hit.row for hit in hits.hits]
        assert complete
        some, all_of_it = search_rows(opened, text, table=table, limit=2)
        assert some.tolist() == rows[:2].tolist()
        assert all_of_it == (len(rows) <= 2)


# the plane --------------------------------------------------------------------------------------


def test_the_plane_is_spanned_by_the_principal_axes_of_both_tables(
    varied: TinyStore, opened: Store
) -> None:
    plane = sample_plane(opened)
    assert plane.fields == ("clip_text", "clip_text")
    every = np.concatenate(
        [varied.values["mentions/clip_text"], varied.values["entities/clip_text"]]
    ).astype(np.float64)
    _, scales, axes = np.linalg.svd(every - every.mean(axis=0), full_matrices=False)
    expected = (every - every.mean(axis=0)) @ axes[:2].T
    found = np.concatenate([plane.mentions.points, plane.entities.points])
    assert np.allclose(np.abs(found), np.abs(expected), atol=1e-5)
    shares = np.square(scales) / np.square(scales).sum()
    assert np.allclose(plane.explained, shares[:2], atol=1e-5)


def test_a_large_store_is_sampled_the_same_each_time(opened: Store) -> None:
    plane, again = sample_plane(opened, points=40), sample_plane(opened, points=40)
    assert (len(plane.mentions.rows), len(plane.entities.rows)) == (20, 12)
    assert (plane.mentions.of, plane.entities.of) == (90, 12)
    assert plane.mentions.rows.tolist() == again.mentions.rows.tolist()
    assert np.array_equal(plane.mentions.points, again.mentions.points)
    other = sample_plane(opened, points=40, seed=1)
    assert plane.mentions.rows.tolist() != other.mentions.rows.tolist()


def test_rows_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5")
    with edited(tiny.path) as file:
        file["mentions/clip_text"][2, 1] = np.nan
        file["mentions/clip_text"][7] = np.inf
    with featurestore.open(tiny.path) as store:
        plane = sample_plane(store)
    assert plane.mentions.rows.tolist() == [0, 1, 3, 4, 5, 6, 8, 9]
    assert np.isfinite(plane.entities.points).all()


def test_without_a_common_space_there_is_no_plane(tmp_path: Path) -> None:
    lacking = {
        "entities/clip_text",
        "entities/text_mean",
        "entities/text_cls",
        "mentions/clip_image",
    }
    tiny = write_tiny_store(tmp_path / "s.h5", without=lacking)
    with featurestore.open(tiny.path) as store, pytest.raises(FieldMissing, match="one space"):
        sample_plane(store)
