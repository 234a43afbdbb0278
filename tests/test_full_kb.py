"""Protocol ``full-kb``: ranks among all entities, block by block, against a naive loop."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import featurestore
import linker.full_kb
from cli.main import main
from featurestore import Store
from featurestore.errors import ConfigError, DataError, FieldMissing
from featurestore.progress import Silent
from featurestore.schema import NIL, NO_ROW, PADDING
from featurestore.writer import StoreWriter
from linker.batch import Batch
from linker.config_text import read_config
from linker.diagnosis import TrainingDiverged
from linker.evaluate import evaluate
from linker.full_kb import rank_all_entities
from linker.job import Job, prepare_job
from linker.knowledge_base import KnowledgeBase, similarity_scale
from linker.metrics import rank_gold, rank_gold_in_blocks
from linker.models.base import Model
from linker.ranks import Ranks
from linker.train import train
from tests.runs_for_tests import QUICK, Recording
from tests.stores_for_tests import planted_store

CPU = torch.device("cpu")
DRIN: dict[str, Any] = {"name": "drin"}
MODELS: dict[str, dict[str, Any]] = {
    "text": {"name": "text"},
    "drin": DRIN,
    "drin-one-layer": {**DRIN, "layers": 1},
    "melhi": {"name": "melhi", "text_threshold": 0.0, "image_threshold": 0.8},
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted_store(tmp_path_factory.mktemp("full-kb") / "planted.h5", clip_scale=80.0)


@pytest.fixture(scope="module")
def store(path: Path) -> Iterator[Store]:
    with featurestore.open(path) as opened:
        yield opened


def job_of(store: Store, model: dict[str, Any]) -> Job:
    return prepare_job(store, read_config({"model": model, "device": "cpu"}))


def network_of(job: Job) -> Model[Any]:
    torch.manual_seed(4)
    return job.match.build().eval()


def small_blocks(monkeypatch: pytest.MonkeyPatch, *, mentions: int, pairs: int) -> None:
    monkeypatch.setattr(linker.full_kb, "MENTIONS", mentions)
    monkeypatch.setattr(linker.full_kb, "PAIRS", {"cpu": pairs})


def base_of(job: Job) -> KnowledgeBase:
    return KnowledgeBase(store=job.store, paths=job.match.paths, device=CPU, reader="the test")


def everything_at_once(job: Job, rows: np.ndarray) -> Batch:
    """The mentions with every entity as a candidate, put together without the product's reader."""
    features: dict[str, Tensor] = {}
    for name, path in job.match.paths.items():
        table, _, field = path.partition("/")
        of = job.store.table(table)
        wanted = rows if table == "mentions" else np.arange(len(of))
        values = torch.from_numpy(np.array(of.gather(field, wanted)))
        features[name] = values.float() if values.is_floating_point() else values.long()
    for name, side, other in (
        ("sim_image_text", "clip_image", "clip_text"),
        ("sim_text_image", "clip_text", "clip_image"),
    ):
        if name in features:
            ours = job.store.mentions.gather(side, rows).astype(np.float32)
            theirs = job.store.entities.view(other).astype(np.float32)
            features[name] = torch.from_numpy(80 * ours @ theirs.T)
    entities = len(job.store.entities)
    return Batch(
        mention_rows=torch.from_numpy(rows),
        answer=torch.zeros(len(rows), dtype=torch.int64),
        candidates=torch.arange(entities).repeat(len(rows), 1),
        retrieved=entities,
        **features,
    )


# ranks --------------------------------------------------------------------------------------------


@st.composite
def scored(draw: st.DrawFn) -> tuple[Tensor, Tensor, list[tuple[int, Tensor]]]:
    """Scores with ties and NaN, golds or none, and the same scores in blocks of any order."""
    mentions, candidates = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    score = st.sampled_from([-1.0, 0.0, 0.5, math.nan, math.inf, -math.inf])
    row = st.lists(score, min_size=candidates, max_size=candidates)
    scores = torch.tensor(draw(st.lists(row, min_size=mentions, max_size=mentions)))
    gold = st.lists(st.integers(0, candidates), min_size=mentions, max_size=mentions)
    size = draw(st.integers(1, candidates))
    firsts = draw(st.permutations(range(0, candidates, size)))
    return scores, torch.tensor(draw(gold)), [(n, scores[:, n : n + size]) for n in firsts]


@settings(deadline=None)
@given(case=scored())
def test_ranks_of_blocks_are_those_of_all_scores_at_once(
    case: tuple[Tensor, Tensor, list[tuple[int, Tensor]]],
) -> None:
    scores, answer, blocks = case
    count = scores.shape[1]
    assert_same_ranks(
        rank_gold_in_blocks(blocks, answer, candidates=count, waiting=count),
        rank_gold(scores, answer, retrieved=count),
    )


def assert_same_ranks(one: Ranks, other: Ranks) -> None:
    for name in ("optimistic", "pessimistic", "retrieved"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def naive_ranks(scores: np.ndarray, gold: np.ndarray) -> list[float]:
    """Expected rank of every gold by counting; inf where there is none."""
    ranks = []
    for row, place in zip(scores, gold, strict=True):
        if place == NO_ROW:
            ranks.append(math.inf)
            continue
        better = sum(score > row[place] for score in row)
        tied = sum(score == row[place] for score in row) - 1
        ranks.append(1 + better + tied / 2)
    return ranks


@pytest.mark.parametrize(("mentions", "pairs"), [(7, 35), (16, 16), (256, 1 << 14)])
@pytest.mark.parametrize("model", MODELS)
def test_ranks_are_those_of_a_naive_loop_over_all_entities(
    store: Store, monkeypatch: pytest.MonkeyPatch, model: str, mentions: int, pairs: int
) -> None:
    job = job_of(store, MODELS[model])
    network, rows = network_of(job), np.array(job.rows("test"))
    with torch.no_grad():
        scores = network(everything_at_once(job, rows)).numpy()
    small_blocks(monkeypatch, mentions=mentions, pairs=pairs)
    ranks, entities, _ = rank_all_entities(job, network, "test", progress=Silent())
    assert entities == 36
    expected = naive_ranks(scores, store.mentions.gather("gold", rows))
    np.testing.assert_array_equal(ranks.expected, expected)
    assert ranks.retrieved.tolist() == [math.isfinite(rank) for rank in expected]
    assert 1 < np.median(ranks.expected) < 36, "the untrained model is neither perfect nor blind"


def test_scores_are_those_of_all_entities_as_candidates_at_once(store: Store) -> None:
    rows = np.arange(40, 52)
    for model in MODELS.values():
        job = job_of(store, model)
        network, base = network_of(job), base_of(job)
        mentions = base.read_mentions(rows)
        for size in (1, 5, 36, 100):
            firsts = range(0, len(base), size)
            with torch.no_grad():
                blocks = network.score_in_blocks(
                    lambda base=base, mentions=mentions, firsts=firsts, size=size: (
                        base.block(mentions, first, size) for first in firsts
                    )
                )
                scores = torch.cat(list(blocks), dim=1)
                expected = network(everything_at_once(job, rows))
            torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)


def test_a_block_holds_its_entities_as_candidates_of_every_mention(store: Store) -> None:
    base = base_of(job_of(store, DRIN))
    rows = np.arange(20)
    block = base.block(base.read_mentions(rows), 30, 10)  # 6 are left
    assert block.candidates.tolist() == [list(range(6))] * 20
    assert block.retrieved == 6
    gold = store.mentions.gather("gold", rows)
    assert block.answer.tolist() == [g - 30 if g >= 30 else 6 for g in gold]
    stored = store.entities.gather("text_mean", np.arange(30, 36)).astype(np.float32)
    np.testing.assert_array_equal(block.need("entity_text").numpy(), stored)


def test_of_every_block_one_that_holds_a_gold_comes_first(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks wait in memory until every gold is scored, so the others must come later."""
    small_blocks(monkeypatch, mentions=2, pairs=6)
    asked: list[tuple[int, bool]] = []
    original = KnowledgeBase.block

    def block(self: KnowledgeBase, mentions: Any, first: int, size: int) -> Batch:
        made = original(self, mentions, first, size)
        asked.append((first, bool((made.answer < made.retrieved).any())))
        return made

    monkeypatch.setattr(KnowledgeBase, "block", block)
    job = job_of(store, MODELS["text"])
    rank_all_entities(job, network_of(job), "test", progress=Silent())
    assert len(asked) == 20 * 12
    for first in range(0, len(asked), 12):
        holds = [gold for _, gold in asked[first : first + 12]]
        assert holds == sorted(holds, reverse=True)
        assert sorted(n for n, _ in asked[first : first + 12]) == list(range(0, 36, 3))


# what is no entity, and what cannot be scored -----------------------------------------------------


def padded_store(path: Path) -> Path:
    """Five rows, one of them the padding and one NIL, and a mention of each; text alone."""
    vectors = np.eye(5, 6, dtype=np.float32)
    with StoreWriter.create(path) as writer:
        writer.table("entities", ["Q0", PADDING, "Q2", "Q3", NIL])
        writer.table("mentions", [f"m{i}" for i in range(6)])
        writer.splits({"train": range(0), "valid": range(0), "test": range(6)})
        writer.feature("entities/text_mean", (6,)).write(range(5), vectors)
        spans = np.concatenate([vectors, vectors[:1]])
        writer.feature("mentions/text_span", (6,)).write(range(6), spans)
        writer.column("mentions/candidates", np.ones((6, 2), np.int32))
        writer.column("mentions/gold", np.array([0, 1, 2, 3, 4, NO_ROW], np.int32))
        writer.column("mentions/answer", np.full(6, 2, np.int32))
        writer.publish(dataset="padded", provenance={})
    return path


def test_what_is_no_entity_is_not_ranked_and_a_gold_outside_the_table_has_no_rank(
    tmp_path: Path,
) -> None:
    with featurestore.open(padded_store(tmp_path / "padded.h5")) as store:
        job = job_of(store, MODELS["text"])
        network = network_of(job)
        network.load_state_dict(
            {
                name: torch.eye(6) if name.endswith("weight") else torch.zeros(6)
                for name in network.state_dict()
            }
        )
        base = base_of(job)
        assert base.rows.tolist() == [0, 2, 3]
        ranks, entities, _ = rank_all_entities(job, network, "test", progress=Silent())
    assert entities == 3
    assert ranks.retrieved.tolist() == [True, False, True, True, False, False]
    assert ranks.pessimistic.tolist() == [1, math.inf, 1, 1, math.inf, math.inf]


def test_the_scale_of_similarities_is_found_from_the_stored_ones(store: Store) -> None:
    for name in ("sim_image_text", "sim_text_image"):
        assert similarity_scale(store, name) == pytest.approx(80, rel=1e-3)


def test_embeddings_of_another_model_are_refused(tmp_path: Path) -> None:
    path = planted_store(tmp_path / "own.h5", clip_scale=100.0)
    with featurestore.open(path) as store:
        job = job_of(store, {**DRIN, "edges": ["tt", "it"]})
        original = store.mentions.gather

        def gather(field: str, rows: Any) -> Any:
            values = original(field, rows)
            return values[:, ::-1] if field == "clip_image" else values

        store.mentions.gather = gather  # type: ignore[method-assign]
        with pytest.raises(DataError, match="mentions/sim_image_text is not mentions/clip_image"):
            base_of(job)


def test_a_store_without_embeddings_serves_only_models_without_similarities(
    tmp_path: Path,
) -> None:
    path = planted_store(tmp_path / "preprocessed.h5")
    with featurestore.open(path) as store:
        with pytest.raises(FieldMissing) as raised:
            base_of(job_of(store, DRIN))
        assert str(raised.value) == (
            "the test reads sim_image_text, which under protocol full-kb is computed for every "
            "entity, and this store has no mentions/clip_image (CLIP image embedding, unit length)\n"
            f"  where: {path}::/mentions/clip_image\n"
            "  next:  ingest from raw data with --clip (preprocessed data has similarities of the "
            "candidates only), or train without it: drin with --set model.edges=tt,ii"
        )
        assert len(base_of(job_of(store, {**DRIN, "edges": ["tt", "ii"]}))) == 36


def test_a_model_that_scores_nan_is_an_error_that_names_mentions(store: Store) -> None:
    job = job_of(store, MODELS["text"])
    network = network_of(job)
    with torch.no_grad():
        next(network.parameters()).fill_(torch.nan)
    with pytest.raises(TrainingDiverged, match="the model scores NaN for the gold") as raised:
        rank_all_entities(job, network, "test", progress=Silent())
    assert "mentions m136, m137" in raised.value.where


# the command --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "text"
    train(path, read_config({**QUICK, "model": "text", "epochs": 2}), run=folder)
    return folder


def test_evaluate_ranks_all_entities_and_says_so(run: Path) -> None:
    progress = Recording()
    figures = evaluate(run, protocol="full-kb", progress=progress)
    assert (figures["protocol"], figures["entities"]) == ("full-kb", 36)
    hits = [name for name in figures["test"] if name.startswith("hits@")]
    assert hits == ["hits@1", "hits@3", "hits@5", "hits@10", "hits@20"]
    assert (progress.total, progress.done) == (40, 40)
    strict = evaluate(run, protocol="strict")
    assert "entities" not in strict
    assert figures["test"]["retrieved"] > strict["test"]["retrieved"]
    found = evaluate(run, protocol="full-kb", denominator="retrieved")["test"]
    assert found["mean_rank"] >= 1


def test_the_command_prints_the_protocol_with_the_number_of_entities(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(run), "--protocol", "full-kb"]) == 0
    words = " ".join(capsys.readouterr().out.split())  # the caption may be cut into lines
    assert "protocol full-kb (36 entities), ties expected" in words
    assert main(["evaluate", str(run), "--protocol", "full-kb", "--split", "valid", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["valid"]["mentions"] == 40


def test_training_under_full_kb_is_refused_with_the_way_to_score_under_it(path: Path) -> None:
    with pytest.raises(ConfigError, match="protocol full-kb is for scoring: train under strict"):
        read_config({"protocol": "full-kb"})
    assert main(["train", str(path), "--protocol", "full-kb"]) == 2
