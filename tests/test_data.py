"""Batches: what they hold, in which order they come, and what happens when the store lacks a field."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

import featurestore
from featurestore import Store
from featurestore.errors import DataError, FieldMissing, StoreError
from featurestore.schema import BY_PATH, NO_ROW
from linker.batch import Batch
from linker.config_text import read_config
from linker.data import BatchLoader, BatchReader, Protocol
from linker.fields import ENTITY_TEXT, PER_CANDIDATE, SOURCES, stored_paths
from linker.matching import Match, match_model
from linker.reading import total
from linker.requests import Requests
from tests.hdf5_edits import edited
from tests.stores_for_tests import D, V, planted_store

#: Every feature that the planted store can fill.
FEATURES = sorted({*SOURCES, "entity_text"} - {"mention_image_regions"})


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted_store(tmp_path_factory.mktemp("data") / "planted.h5")


@pytest.fixture(scope="module")
def planted(path: Path) -> Iterator[Store]:
    with featurestore.open(path) as store:
        yield store


def reader_of(store: Store, protocol: Protocol = "strict") -> BatchReader:
    paths = stored_paths(store, FEATURES, pooling="auto", reader="the test")
    return BatchReader(store=store, paths=paths, protocol=protocol)


def nil_mention(store: Store) -> int:
    return int(np.flatnonzero(store.mentions.view("gold") == NO_ROW)[0])


def assert_same(one: Batch, other: Batch) -> None:
    for field in fields(Batch):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, torch.Tensor):
            assert a.dtype == b.dtype, field.name
            assert torch.equal(a, b), field.name
        else:
            assert a == b, field.name


# what a batch holds -------------------------------------------------------------------------------


def naive_pair(store: Store, field: str, entity: int) -> np.ndarray:
    if entity == NO_ROW:
        return np.zeros(store.entities.stored(field).shape[1:], store.entities.stored(field).dtype)
    return store.entities.gather(field, [entity])[0]


@settings(max_examples=25, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("protocol", ["strict", "paper"])
def test_a_batch_equals_a_gather_of_every_mention_by_itself(
    planted: Store, protocol: Protocol, data: st.DataObject
) -> None:
    last = len(planted.mentions) - 1
    rows = data.draw(st.lists(st.integers(0, last), min_size=1, max_size=9))
    reader = reader_of(planted, protocol)
    batch = reader[np.array(rows)]
    for name, path in reader.paths.items():
        table, _, field = path.partition("/")
        values = getattr(batch, name)
        for place, row in enumerate(rows):
            mention = planted.mentions[row]
            slots = mention["candidates"].tolist()
            slots += [mention["gold"]] if protocol == "paper" else []
            if table == "entities":
                wanted = np.stack([naive_pair(planted, field, entity) for entity in slots])
                found = values[batch.candidates[place]].numpy()
            else:
                wanted = np.asarray(mention[field])
                wanted = wanted[: len(slots)] if name in PER_CANDIDATE else wanted
                found = values[place].numpy()
            np.testing.assert_array_equal(found, wanted, err_msg=f"{name}[{row}]")


def test_each_entity_stands_once_in_a_batch(planted: Store) -> None:
    rows = np.arange(20)
    batch = reader_of(planted)[rows]
    distinct = np.unique(planted.mentions.gather("candidates", rows))
    features = batch.need("entity_text")
    assert int(batch.candidates.max()) == len(distinct) - 1
    stored = planted.entities.gather("text_mean", distinct[distinct != NO_ROW])
    assert np.array_equal(features[len(distinct) - len(stored) : len(distinct)], stored)


def test_batches_of_about_as_many_entities_have_the_same_shapes(planted: Store) -> None:
    reader = reader_of(planted)
    for mentions in (1, 20):
        features = reader[np.arange(mentions)].need("entity_text")
        distinct = len(np.unique(planted.mentions.gather("candidates", np.arange(mentions))))
        assert len(features) == -(-distinct // 16) * 16
        assert not features[distinct:].any()


def test_paper_adds_the_gold_slot_and_strict_leaves_it_out(planted: Store) -> None:
    strict, paper = (reader_of(planted, p)[np.arange(8)] for p in ("strict", "paper"))
    assert strict.candidates.shape == strict.need("sim_image_text").shape == (8, 6)
    assert paper.candidates.shape == paper.need("sim_text_image").shape == (8, 7)
    assert strict.retrieved == paper.retrieved == 6
    assert torch.equal(strict.need("sim_image_text"), paper.need("sim_image_text")[:, :6])


def test_the_gold_slot_of_a_nil_gold_has_zero_features(planted: Store) -> None:
    row = nil_mention(planted)
    batch = reader_of(planted, "paper")[np.array([row])]
    slot = batch.candidates[0, -1]
    assert int(batch.answer[0]) == batch.retrieved
    for name in ("entity_text", "entity_image", "entity_objects"):
        assert not batch.need(name)[slot].any(), name
    others = batch.candidates[0, :-1]
    assert batch.need("entity_text")[others].any(dim=1).all()


def test_features_keep_the_stored_dtype_and_indices_are_int64(planted: Store) -> None:
    batch = reader_of(planted)[np.arange(3)]
    assert batch.need("entity_text").dtype == torch.float16
    assert batch.need("sim_image_text").dtype == torch.float32
    for index in (batch.answer, batch.candidates, batch.mention_rows, batch.mention_token_start):
        assert index is not None
        assert index.dtype == torch.int64


@pytest.mark.parametrize("protocol", ["strict", "paper"])
def test_a_widened_batch_is_the_stored_one_as_float32(planted: Store, protocol: Protocol) -> None:
    rows = np.arange(40)
    stored = reader_of(planted, protocol)
    widened = BatchReader(store=planted, paths=stored.paths, protocol=protocol, widen=True)
    assert_same(widened[rows], stored[rows].float())


def test_features_that_a_model_takes_as_they_are_stay_so(planted: Store) -> None:
    rows, kept = np.arange(40), {"entity_text", "entity_image"}
    stored = reader_of(planted)
    partly = BatchReader(
        store=planted, paths=stored.paths, protocol="strict", widen=True, as_stored=kept
    )
    batch = partly[rows]
    assert batch.need("entity_text").dtype == batch.need("entity_image").dtype == torch.float16
    assert batch.need("entity_objects").dtype == torch.float32
    assert_same(batch, stored[rows].float(besides=kept))


def test_a_batch_says_what_reading_it_took(planted: Store) -> None:
    rows = np.arange(20)
    path = "entities/text_mean"
    batch = BatchReader(store=planted, paths={"entity_text": path}, protocol="strict")[rows]
    candidates = planted.mentions.gather("candidates", rows)
    distinct = np.unique(candidates)
    assert (batch.cost.batches, batch.cost.slots) == (1, candidates.size)
    assert batch.cost.distinct == len(distinct)
    assert batch.cost.bytes == (distinct != NO_ROW).sum() * D * 2
    assert batch.cost.seconds > 0
    both = total([batch.cost, batch.cost])
    assert (both.batches, both.bytes) == (2, 2 * batch.cost.bytes)


def test_only_what_was_asked_for_is_read(planted: Store) -> None:
    reader = BatchReader(
        store=planted, paths={"entity_text": "entities/text_mean"}, protocol="strict"
    )
    batch = reader[np.arange(2)]
    filled = {f.name for f in fields(Batch) if getattr(batch, f.name) is not None}
    always = {"mention_rows", "answer", "candidates", "retrieved", "cost"}
    assert filled == always | {"entity_text"}


def test_every_feature_of_a_batch_has_a_source_in_the_schema() -> None:
    own = {"mention_rows", "answer", "candidates", "retrieved", "texts", "cost"}
    assert {f.name for f in fields(Batch)} - own == {*SOURCES, "entity_text"}
    for source in (*SOURCES.values(), *ENTITY_TEXT.values()):
        for choice in source.choices:
            assert f"{source.table}/{choice}" in BY_PATH


# the order ----------------------------------------------------------------------------------------


def order(*, seed: int | None, epoch: int, rows: range = range(10, 75)) -> list[int]:
    requests = Requests(rows=rows, batch_size=8, seed=seed)
    requests.set_epoch(epoch)
    batches = list(requests)
    assert len(batches) == len(requests)
    return np.concatenate(batches).tolist()


@given(seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 1000))
def test_an_epoch_asks_for_every_mention_once_in_an_order_of_seed_and_epoch(
    seed: int, epoch: int
) -> None:
    first = order(seed=seed, epoch=epoch)
    assert sorted(first) == list(range(10, 75))
    assert order(seed=seed, epoch=epoch) == first
    assert order(seed=seed, epoch=epoch + 1) != first
    assert order(seed=seed + 1, epoch=epoch) != first


def test_without_a_seed_mentions_come_as_they_stand() -> None:
    assert order(seed=None, epoch=3) == list(range(10, 75))


def test_the_order_before_a_pass_does_not_change_the_next_one(planted: Store) -> None:
    requests = Requests(rows=range(30), batch_size=7, seed=1)
    assert np.concatenate(list(requests)).tolist() == np.concatenate(list(requests)).tolist()


# loaders ------------------------------------------------------------------------------------------


class CountingReader(BatchReader):
    """Remembers which requests it was asked."""

    def __init__(self, reader: BatchReader) -> None:
        super().__init__(store=reader.store, paths=reader.paths, protocol=reader.protocol)
        self.asked: list[list[int]] = []

    def __getitem__(self, rows: np.ndarray) -> Batch:
        self.asked.append(rows.tolist())
        return super().__getitem__(rows)


def test_the_loader_reads_one_batch_ahead_and_nothing_before_it_is_asked(planted: Store) -> None:
    reader = CountingReader(reader_of(planted))
    batches = iter(BatchLoader(reader=reader, requests=Requests(rows=range(40), batch_size=10)))
    assert reader.asked == []
    first = next(batches)
    assert first.mention_rows.tolist() == list(range(10))
    assert len(reader.asked) <= 2
    assert [b.mention_rows[0].item() for b in batches] == [10, 20, 30]


def test_an_error_while_reading_ahead_reaches_the_caller(planted: Store) -> None:
    loader = BatchLoader(
        reader=reader_of(planted),
        requests=Requests(rows=range(0, len(planted.mentions) + 10), batch_size=100),
    )
    with pytest.raises(DataError, match="outside the table"):
        list(loader)


def test_a_reader_pickles_as_the_path_of_its_store(planted: Store) -> None:
    reader = reader_of(planted, "paper")
    copy = pickle.loads(pickle.dumps(reader))
    assert len(pickle.dumps(reader)) < 5000
    assert_same(copy[np.arange(5)], reader[np.arange(5)])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_gives_the_batches_of_its_reader(planted: Store, workers: int) -> None:
    reader = reader_of(planted, "paper")
    requests = Requests(rows=range(50), batch_size=16, seed=5)
    loader = BatchLoader(reader=reader, requests=requests, workers=workers)
    assert len(loader) == 4
    for rows, batch in zip(requests, loader, strict=True):
        assert_same(batch, reader[rows])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("workers", [(0, 0), (0, 2), (2, 0), (1, 2)])
@pytest.mark.parametrize("done", [0, 1, 3, 4])
def test_a_loader_goes_on_after_the_last_batch_that_another_handed_out(
    planted: Store, workers: tuple[int, int], done: int
) -> None:
    reader = reader_of(planted)
    first, second = (
        BatchLoader(
            reader=reader, requests=Requests(rows=range(50), batch_size=16, seed=5), workers=number
        )
        for number in workers
    )
    first.requests.set_epoch(7)
    batches = iter(first)
    for _ in range(done):
        next(batches)  # others may have been read ahead by now
    second.load_state_dict(first.state_dict())
    wanted = Requests(rows=range(50), batch_size=16, seed=5)
    wanted.set_epoch(7)
    for rows, batch in zip(list(wanted)[done:], second, strict=True):
        assert_same(batch, reader[rows])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_give_the_same_batches_however_they_were_started(
    planted: Store, method: str
) -> None:
    reader = reader_of(planted)
    requests = Requests(rows=range(30), batch_size=8, seed=2)
    loader = DataLoader(
        reader, batch_size=None, sampler=requests, num_workers=1, multiprocessing_context=method
    )
    for rows, batch in zip(requests, loader, strict=True):
        assert_same(batch, reader[rows])


# models and stores --------------------------------------------------------------------------------


def match(store_path: Path, model: dict[str, object], pooling: str = "auto") -> Match:
    config = read_config({"model": model, "entity_pooling": pooling})
    with featurestore.open(store_path) as store:
        return match_model(config.model, store, pooling=config.entity_pooling)


def test_a_model_gets_the_widths_of_the_store(path: Path) -> None:
    found = match(path, {"name": "drin"})
    assert (found.text_width, found.image_width) == (D, V)
    assert found.edges == ("tt", "ti", "it", "ii")
    assert found.edges_off == {}


@pytest.mark.parametrize(
    ("pooling", "read"), [("auto", "text_mean"), ("mean", "text_mean"), ("max", "text_max")]
)
def test_entity_pooling_chooses_the_stored_vector(path: Path, pooling: str, read: str) -> None:
    assert match(path, {"name": "text"}, pooling).paths["entity_text"] == f"entities/{read}"


def test_a_pooled_vector_serves_as_entity_text_and_as_its_token_0(tmp_path: Path) -> None:
    only_pooled = planted_store(
        tmp_path / "pooled.h5",
        without={"entities/text_mean", "entities/text_max", "entities/text_cls"},
        pooled_text=True,
    )
    paths = match(only_pooled, {"name": "drin"}).paths
    assert paths["entity_text"] == paths["entity_text_cls"] == "entities/text_pooled"


NO_DETECTOR = {f"{t}/{f}" for t in ("mentions", "entities") for f in ("objects", "object_scores")}
NO_CLIP = {"mentions/sim_image_text", "mentions/sim_text_image"}
NO_IMAGES = {"mentions/image_mean", "entities/image_pooled"}


@pytest.mark.parametrize(
    ("without", "edges", "option"),
    [
        (NO_DETECTOR, ("tt", "ti", "it"), "--detector"),
        (NO_CLIP, ("tt", "ii"), "--clip"),
        (NO_IMAGES, ("tt",), "--image-encoder"),
        (NO_IMAGES | NO_CLIP | NO_DETECTOR, ("tt",), "--image-encoder"),
    ],
)
def test_edges_left_to_the_store_are_those_it_can_serve(
    tmp_path: Path, without: set[str], edges: tuple[str, ...], option: str
) -> None:
    found = match(planted_store(tmp_path / "less.h5", without=without), {"name": "drin"})
    assert found.edges == edges
    assert set(found.edges_off) == {"tt", "ti", "it", "ii"} - set(edges)
    assert all(option in reason for reason in found.edges_off.values())


def test_an_edge_asked_for_by_name_must_be_servable(tmp_path: Path) -> None:
    store = planted_store(tmp_path / "no-objects.h5", without=NO_DETECTOR)
    with pytest.raises(FieldMissing) as raised:
        match(store, {"name": "drin", "edges": ["tt", "ii"]})
    assert str(raised.value) == (
        "edge ii of model drin reads entity_object_scores, and this store has no "
        "entities/object_scores (detector score of each box; 0 = no such box)\n"
        f"  where: {store}::/entities/object_scores\n"
        "  next:  leave the edge out: --set model.edges=tt,ti,it, or ingest again with --detector"
    )


def test_named_edges_that_the_store_serves_need_nothing_of_the_others(tmp_path: Path) -> None:
    store = planted_store(tmp_path / "no-objects.h5", without=NO_DETECTOR)
    found = match(store, {"name": "drin", "edges": ["tt", "it"]})
    assert found.edges == ("tt", "it")
    assert "entity_objects" not in found.paths


@pytest.mark.parametrize("model", ["drin", "text"])
def test_a_store_without_text_features_serves_no_model(tmp_path: Path, model: str) -> None:
    without = {"entities/text_mean", "entities/text_max", "entities/text_cls"}
    store = planted_store(tmp_path / "no-text.h5", without=without)
    with pytest.raises(FieldMissing, match=f"model {model} reads entity_text.*text_mean") as raised:
        match(store, {"name": model})
    assert "ingest again with --text-encoder" in str(raised.value)


def test_a_missing_pooling_names_the_field_and_the_option(path: Path) -> None:
    with pytest.raises(FieldMissing, match="no entities/text_pooled") as raised:
        match(path, {"name": "text"}, "pooled")
    assert "--text-encoder" in str(raised.value)


def test_texts_of_two_widths_are_refused(tmp_path: Path) -> None:
    store = planted_store(tmp_path / "widths.h5", mention_width=D + 2)
    with pytest.raises(DataError, match="the text width is not the same everywhere") as raised:
        match(store, {"name": "text"})
    assert f"entities/text_mean {D}" in str(raised.value)
    assert f"mentions/text_span {D + 2}" in str(raised.value)


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("candidates", 10**6, "1000000 is no row of 36 entities"),
        ("candidates", -2, "-2 is no row of 36 entities"),
        ("answer", -1, "-1 of 6 candidates"),
        ("answer", 7, "7 of 6 candidates"),
        ("token_count", 0, "0 tokens"),
        ("token_end", -7, "the tokens .* to -7 are no span"),
    ],
)
def test_what_no_sound_store_holds_is_refused_with_its_place(
    tmp_path: Path, field: str, value: int, what: str
) -> None:
    path = planted_store(tmp_path / "s.h5")
    with edited(path) as file:
        file[f"mentions/{field}"][4] = value
    paths = {
        f"mention_{name}": f"mentions/{name}"
        for name in ("token_start", "token_end", "token_count")
    }
    with featurestore.open(path) as store, pytest.raises(StoreError, match=what) as caught:
        BatchReader(store=store, paths=paths, protocol="strict")[np.array([3, 4])]
    assert caught.value.where.startswith(f"mentions/{field}[4")
