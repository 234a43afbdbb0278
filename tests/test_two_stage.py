"""``full-kb`` by several processes, and behind a first stage: against all entities, and plainly."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import featurestore
import linker.full_kb
from featurestore import Store
from featurestore.errors import ConfigError
from featurestore.progress import Silent
from featurestore.schema import NO_ROW
from linker.config_text import read_config
from linker.first_stage import FirstStage
from linker.full_kb import Ranked, rank_all_entities
from linker.job import Job, prepare_job
from linker.knowledge_base import KnowledgeBase
from linker.models.base import Model
from linker.ranks import Ranks, recall
from tests.stores_for_tests import planted_store

#: 300 entities: enough for an index with several lists.
GROUPS, NAMESAKES = 100, 3
ENTITIES = GROUPS * NAMESAKES

MODELS: dict[str, dict[str, Any]] = {
    "text": {"name": "text"},
    "drin": {"name": "drin"},
    "melhi": {"name": "melhi", "text_threshold": 0.0, "image_threshold": 0.8},
    "clip": {"name": "clip"},
}
#: Vectors that miss some golds.
FIELDS = "clip_image:clip_text"

ALL = FirstStage(method="exact", retrieve=ENTITIES)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two-stage")
    return planted_store(folder / "planted.h5", groups=GROUPS, namesakes=NAMESAKES, clip_scale=80.0)


@pytest.fixture(scope="module")
def store(path: Path) -> Iterator[Store]:
    with featurestore.open(path) as opened:
        yield opened


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linker.full_kb, "MENTIONS", 16)  # 40 mentions: three groups


def ranked(
    store: Store, model: str, stage: FirstStage | None, *, devices: int = 1
) -> tuple[Ranked, Job, Model[Any]]:
    job = prepare_job(store, read_config({"model": MODELS[model], "device": "cpu"}))
    torch.manual_seed(4)
    network = job.match.build().eval()
    found = rank_all_entities(
        job, network, "test", progress=Silent(), devices=devices, first_stage=stage
    )
    return found, job, network


def assert_same_ranks(one: Ranks, other: Ranks) -> None:
    for name in ("optimistic", "pessimistic", "retrieved"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def nearest_by_sorting(store: Store, fields: str, count: int) -> np.ndarray:
    """(n, count) rows of entities by the cosine of two fields, in float64, of the test mentions."""
    mention, entity = fields.split(":")
    rows = np.array(store.mentions.split("test"))
    ours = store.mentions.gather(mention, rows).astype(np.float64)
    theirs = store.entities.gather(entity, np.arange(len(store.entities))).astype(np.float64)
    cosines = (ours / np.linalg.norm(ours, axis=1, keepdims=True)) @ (
        theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
    ).T
    return np.argsort(-cosines, axis=1, kind="stable")[:, :count]


# several processes --------------------------------------------------------------------------------


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_two_processes_give_the_ranks_of_one(
    store: Store, one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an index that they share."""
    monkeypatch.setattr(linker.full_kb, "threads_of_each", lambda processes: 1)
    stage = FirstStage(method="ivf", retrieve=40, probe=3, fields="text_span:text_mean")
    one, _, _ = ranked(store, "text", stage)
    two, _, _ = ranked(store, "text", stage, devices=2)
    assert_same_ranks(two.ranks, one.ranks)
    assert two.entities == one.entities == ENTITIES
    assert len(set(one.ranks.optimistic)) > 5, "the ranks say something"


@pytest.mark.parametrize("devices", [2, 3, 8])
@pytest.mark.parametrize("model", MODELS)
def test_what_a_process_is_told_gives_the_ranks_of_this_one(
    store: Store, one_thread: None, monkeypatch: pytest.MonkeyPatch, model: str, devices: int
) -> None:
    """Without the processes, which cost seconds each: every task by one that was told as they are."""
    told: list[int] = []

    def here(opening: Any, tasks: Sequence[Any], *, processes: int) -> Iterator[tuple[int, Any]]:
        opened = [pickle.loads(pickle.dumps(opening))(n) for n in range(processes)]
        for number in reversed(range(len(tasks))):  # as they come
            told.append(number)
            yield number, pickle.loads(pickle.dumps(opened[number % processes](tasks[number])))

    one, _, _ = ranked(store, model, None)
    monkeypatch.setattr(linker.full_kb, "map_in_processes", here)
    several, _, _ = ranked(store, model, None, devices=devices)
    assert told == [2, 1, 0]
    assert_same_ranks(several.ranks, one.ranks)


# a first stage ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "pairs"), [*((name, 1 << 14) for name in MODELS), ("text", 100)])
def test_a_first_stage_that_retrieves_all_changes_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, model: str, pairs: int
) -> None:
    monkeypatch.setattr(linker.full_kb, "PAIRS", {"cpu": pairs})
    everything, _, _ = ranked(store, model, None)
    found, _, _ = ranked(store, model, ALL)
    assert_same_ranks(found.ranks, everything.ranks)
    assert recall(found.ranks, "retrieved") == 1


def test_golds_that_the_first_stage_misses_have_no_rank_and_are_in_the_denominator(
    store: Store,
) -> None:
    stage = FirstStage(method="exact", retrieve=20, fields=FIELDS)
    found, job, network = ranked(store, "drin", stage)
    rows = np.array(store.mentions.split("test"))
    gold, nearest = store.mentions.gather("gold", rows), nearest_by_sorting(store, FIELDS, 20)
    reached = (nearest == gold[:, None]).any(axis=1)
    assert np.isfinite(found.ranks.optimistic).tolist() == reached.tolist()
    assert found.ranks.retrieved.tolist() == (gold != NO_ROW).tolist()
    assert 0 < reached.sum() < found.ranks.retrieved.sum(), "some golds are missed"
    assert recall(found.ranks, "all") == reached.mean()
    assert recall(found.ranks, "retrieved") == reached.sum() / (gold != NO_ROW).sum()

    base = KnowledgeBase(
        store=store, paths=job.match.paths, device=torch.device("cpu"), reader="the test"
    )
    with torch.inference_mode():
        scores = network(base.lists(base.read_mentions(rows), nearest)).numpy()
    for own, golds, near, rank in zip(scores, gold, nearest, found.ranks.optimistic, strict=True):
        if golds in near:
            assert rank == 1 + (own > own[near == golds]).sum()


def test_the_lists_of_a_batch_hold_what_the_store_has_and_zero_for_no_entity(store: Store) -> None:
    job = prepare_job(store, read_config({"model": MODELS["drin"], "device": "cpu"}))
    base = KnowledgeBase(
        store=store, paths=job.match.paths, device=torch.device("cpu"), reader="the test"
    )
    rows = np.array([136, 140])
    places = np.array([[7, 3, NO_ROW], [3, NO_ROW, 299]])
    places[1, 0] = store.mentions.gather("gold", rows)[1]
    batch = base.lists(base.read_mentions(rows), places)
    texts = batch.need("entity_text_cls")[batch.candidates].numpy()
    field = job.match.paths["entity_text_cls"].removeprefix("entities/")
    stored = store.entities.gather(field, [7, 3]).astype(np.float32)
    np.testing.assert_array_equal(texts[0], [*stored, np.zeros_like(stored[0])])
    assert not texts[1, 1].any()
    assert batch.answer.tolist()[1] == 0
    assert batch.need("sim_image_text")[0, 2] == batch.need("sim_image_text")[1, 1] == 0
    mentions = store.mentions.gather("clip_image", rows).astype(np.float32)
    entity = store.entities.gather("clip_text", [299]).astype(np.float32)[0]
    assert batch.need("sim_image_text")[1, 2] == pytest.approx(80 * mentions[1] @ entity, rel=1e-3)


# an index -----------------------------------------------------------------------------------------


def test_an_index_of_which_all_is_searched_finds_what_comparing_all_finds(
    store: Store, tmp_path: Path
) -> None:
    texts = "text_span:text_mean"
    exact, _, _ = ranked(store, "text", FirstStage(method="exact", retrieve=40, fields=texts))
    kept = tmp_path / "index"
    stage = FirstStage(method="ivf", retrieve=40, index=kept, fields=texts)
    whole, _, _ = ranked(store, "text", replace(stage, probe=99))
    assert whole.retrieval is not None
    assert recall(exact.ranks, "all") > 0.5
    assert (whole.retrieval.lists, whole.retrieval.probe) == (7, 7)
    differing = whole.ranks.optimistic != exact.ranks.optimistic
    assert differing.mean() <= 0.05, "but for the last of 40, as float16 rounds"
    made = kept.stat().st_mtime_ns
    part, _, _ = ranked(store, "text", replace(stage, probe=1))
    assert kept.stat().st_mtime_ns == made, "the index was used again"
    assert recall(part.ranks, "all") < recall(whole.ranks, "all")


def test_an_index_of_something_else_or_a_part_of_one_is_refused(
    store: Store, tmp_path: Path
) -> None:
    kept = tmp_path / "index"
    stage = FirstStage(method="ivf", retrieve=40, index=kept)
    ranked(store, "text", stage)
    with pytest.raises(ConfigError) as raised:
        ranked(store, "text", replace(stage, fields="text_span:text_mean"))
    assert raised.value.where == str(kept)
    assert "vectors vectors of weights" in raised.value.what
    assert raised.value.what.endswith("→ entities/text_mean")
    whole = kept.read_bytes()
    for damaged in (whole[:-5], whole[:50], b"", whole[:-24] + b"\xff" * 8 + whole[-16:]):
        kept.write_bytes(damaged)
        with pytest.raises(ConfigError, match="this is no index of drin-fs, or a part of one"):
            ranked(store, "text", stage)
        assert kept.read_bytes() == damaged, "nothing is overwritten"


def test_codes_find_most_of_what_vectors_find(tmp_path: Path) -> None:
    texts = "text_span:text_mean"
    path = planted_store(tmp_path / "many.h5", groups=3400, namesakes=3)
    with featurestore.open(path) as store:
        exact, _, _ = ranked(store, "text", FirstStage(method="exact", retrieve=500, fields=texts))
        stage = FirstStage(method="ivf-pq", retrieve=500, probe=1000, fields=texts)
        coded, _, _ = ranked(store, "text", stage)
    assert coded.retrieval is not None
    assert (coded.retrieval.lists, coded.retrieval.probe) == (100, 100)
    both = np.isfinite(exact.ranks.optimistic) & np.isfinite(coded.ranks.optimistic)
    assert both.sum() >= 0.8 * np.isfinite(exact.ranks.optimistic).sum() > 0


def test_codes_of_few_entities_are_refused(store: Store) -> None:
    with pytest.raises(ConfigError, match="ivf-pq learns its codes from 9,984 entities or more"):
        ranked(store, "text", FirstStage(method="ivf-pq", retrieve=40))
