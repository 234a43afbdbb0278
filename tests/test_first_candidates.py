"""``candidates``: a model sees the first K of each list alone, and everything that follows says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import featurestore
from cli.main import main
from cli.render_row import mention_view
from cli.render_run import edges_view
from featurestore.describe import describe_mention
from featurestore.errors import ConfigError
from featurestore.store import Store
from linker.baseline import evaluate_untrained
from linker.config_text import read_config
from linker.data import BatchReader, Protocol
from linker.evaluate import evaluate
from linker.explain import edge_weights
from linker.fields import SOURCES
from linker.mistakes import mistakes
from linker.recorded import RecordedRun
from linker.report import run_table
from linker.run_folder import RunError, RunFolder
from linker.train import train
from linker.verdicts import judge, judge_mention
from tests.recorded_for_tests import recorded_run
from tests.runs_for_tests import QUICK, Recording, without_clock
from tests.stores_for_tests import planted_store
from tests.terminal import shown
from tests.web_for_tests import serving

#: K of the planted store, and how many of them are seen.
LISTED, SEEN = 6, 3

PROTOCOLS: tuple[Protocol, ...] = ("strict", "paper")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted_store(tmp_path_factory.mktemp("planted") / "planted.h5", clip_scale=100.0)


@pytest.fixture
def store(path: Path):
    with featurestore.open(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def run_of(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A run of drin that saw the first candidates, once for each protocol."""
    made: dict[str, Path] = {}

    def run(protocol: str = "strict") -> Path:
        if protocol not in made:
            made[protocol] = tmp_path_factory.mktemp("runs") / "drin"
            config = {**QUICK, "epochs": 1, "candidates": SEEN, "protocol": protocol}
            train(path, read_config(config), run=made[protocol])
        return made[protocol]

    return run


def reader(store: Store, protocol: Protocol, first: int | None) -> BatchReader:
    names = ("entity_image", "mention_image_mean", "sim_image_text", "sim_text_image")
    paths = {name: SOURCES[name].stored_in(store) or "" for name in names}
    return BatchReader(store=store, paths=paths, protocol=protocol, first=first)


def answers(store: Store, split: str) -> np.ndarray:
    rows = store.mentions.split(split)
    return store.mentions.gather("answer", np.arange(rows.start, rows.stop))


# reading ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("first", [1, SEEN, LISTED])
def test_a_batch_holds_the_first_of_the_whole_one(
    store: Store, protocol: Protocol, first: int
) -> None:
    rows = np.arange(20)
    whole, cut = reader(store, protocol, None)[rows], reader(store, protocol, first)[rows]
    slots = [*range(first), *([LISTED] if protocol == "paper" else [])]
    assert cut.retrieved == first
    for name in ("sim_image_text", "sim_text_image"):
        assert torch.equal(cut.need(name), whole.need(name)[:, slots])
    of_cut = cut.need("entity_image")[cut.candidates]
    assert torch.equal(of_cut, whole.need("entity_image")[whole.candidates[:, slots]])
    assert torch.equal(cut.answer, whole.answer.clamp(max=first))
    assert bool((whole.answer >= first).any())


def test_entities_behind_the_first_are_not_read(store: Store) -> None:
    rows = np.arange(5)
    whole, cut = reader(store, "strict", None), reader(store, "strict", SEEN)
    first = np.unique(store.mentions.gather("candidates", rows)[:, :SEEN])
    assert cut.distinct_entities(rows).tolist() == first.tolist()
    assert cut.entities_of(range(5)).tolist() == first.tolist()
    costs = cut[rows].cost, whole[rows].cost
    assert (costs[0].slots, costs[0].distinct) == (5 * SEEN, len(first))
    less = len(whole.distinct_entities(rows)) - len(first)
    (row,) = store.entities.gather("image_pooled", np.array([0]))
    assert costs[1].bytes - costs[0].bytes == less * row.nbytes > 0


# figures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["candidates", "bert", "clip"])
def test_untrained_figures_are_those_of_the_first_scores(
    path: Path, store: Store, name: str, tmp_path: Path
) -> None:
    evaluate_untrained(path, read_config({"model": name}), run=tmp_path / "whole")
    cut = read_config({"model": name, "candidates": SEEN})
    summary = evaluate_untrained(path, cut, run=tmp_path / "cut")
    scores = RecordedRun(tmp_path / "whole").scores("test")[:, :SEEN]
    assert np.array_equal(RecordedRun(tmp_path / "cut").scores("test"), scores)
    answer = answers(store, "test")
    found = answer < SEEN
    assert summary["candidates"] == SEEN
    assert summary["test"]["retrieved"] == found.sum() < (answer < LISTED).sum()
    best = scores.argmax(axis=1)
    assert summary["test"]["hits@1"] == np.mean(found & (best == answer))


def test_a_run_scores_and_records_as_it_was_trained(
    run_of: Callable[..., Path], store: Store
) -> None:
    run = run_of()
    summary = RecordedRun(run).summary
    answer = answers(store, "test")
    assert RecordedRun(run).scores("test").shape == (40, SEEN)
    assert summary["test"]["retrieved"] == (answer < SEEN).sum()
    again = evaluate(run)
    assert again["test"] == summary["test"]
    assert again["candidates"] == SEEN


def test_another_number_is_scored_on_request(run_of: Callable[..., Path], store: Store) -> None:
    more = evaluate(run_of(), candidates=LISTED)
    assert more["candidates"] == LISTED
    assert more["test"]["retrieved"] == (answers(store, "test") < LISTED).sum()


def test_as_many_as_there_are_change_nothing(path: Path, tmp_path: Path) -> None:
    config = {**QUICK, "epochs": 1}
    whole = train(path, read_config(config), run=tmp_path / "whole")
    all_of_them = read_config({**config, "candidates": LISTED})
    same = train(path, all_of_them, run=tmp_path / "same")
    assert without_clock(same) == without_clock(whole) | {"candidates": LISTED}


def test_a_run_that_is_older_than_the_key_saw_whole_lists(path: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "old")
    train(path, read_config({**QUICK, "epochs": 1}), run=run.path)
    kept = [line for line in run.config.read_text().splitlines() if "candidates:" not in line]
    run.config.write_text("\n".join(kept) + "\n")
    summary = json.loads(run.summary.read_text())
    del summary["candidates"]
    run.summary.write_text(json.dumps(summary))
    assert RecordedRun(run.path).candidates is None
    assert evaluate(run.path)["test"] == summary["test"]
    with featurestore.open(path) as store:
        assert len(judge(store, run.path, split="test").rows) == 40


# refusals -----------------------------------------------------------------------------------------


def test_more_than_there_are_is_refused(path: Path, run_of: Callable[..., Path]) -> None:
    message = f"first 7 candidates .* and the store lists {LISTED}"
    with pytest.raises(ConfigError, match=message):
        evaluate_untrained(path, read_config({"model": "candidates", "candidates": 7}))
    with pytest.raises(ConfigError, match=message):
        evaluate(run_of(), candidates=7)
    with pytest.raises(ConfigError, match="change it with --candidates"):
        read_config({"candidates": 0})


def test_what_is_recorded_is_what_the_run_saw(run_of: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match="own settings") as refused:
        evaluate(run_of(), candidates=2, record=True)
    assert "--candidates 2" in str(refused.value)


def test_a_knowledge_base_has_no_list(path: Path, run_of: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match="no list of candidates"):
        evaluate(run_of(), candidates=2, protocol="full-kb")
    config = read_config({"model": "bert", "candidates": 2})
    with pytest.raises(ConfigError, match="no list of candidates"):
        evaluate_untrained(path, config, protocol="full-kb")


def test_a_run_of_short_lists_ranks_a_whole_knowledge_base_and_says_so(
    path: Path, tmp_path: Path
) -> None:
    run, told = tmp_path / "text", Recording()
    config = {**QUICK, "model": "text", "epochs": 1, "candidates": SEEN}
    train(path, read_config(config), run=run)
    figures = evaluate(run, protocol="full-kb", progress=told)
    assert figures["candidates"] is None
    assert any(f"the first {SEEN} candidates" in line for line in told.lines)


def test_scores_of_another_length_are_refused(path: Path, store: Store, tmp_path: Path) -> None:
    scores = np.zeros((40, SEEN), np.float32)
    run = recorded_run(tmp_path / "run", path, {"test": scores})
    with pytest.raises(
        RunError, match=r"scores of 3 candidates a mention, and the store lists 6\n"
    ):
        judge(store, run.path, split="test")
    other = recorded_run(tmp_path / "other", path, {"test": scores}, candidates=4)
    with pytest.raises(RunError, match="of which the run saw the first 4"):
        judge(store, other.path, split="test")
    more = recorded_run(tmp_path / "more", path, {"test": np.zeros((40, 9))}, candidates=9)
    with pytest.raises(RunError, match="scores of 9 candidates"):
        judge(store, more.path, split="test")


# looking at a run ---------------------------------------------------------------------------------


def lost(store: Store) -> int:
    """The row of a test mention whose gold is listed behind what the run saw."""
    answer = answers(store, "test")
    rows = store.mentions.split("test")
    return rows.start + int(np.flatnonzero((answer >= SEEN) & (answer < LISTED))[0])


def test_a_gold_behind_the_first_is_an_error_that_was_not_retrieved(
    run_of: Callable[..., Path], store: Store
) -> None:
    verdicts = judge(store, run_of(), split="test")
    answer = answers(store, "test")
    assert verdicts.retrieved.tolist() == (answer < SEEN).tolist()
    assert verdicts.wrong[answer >= SEEN].all()
    found = mistakes(store, run_of(), split="test")
    groups = {group.reason: group.count for group in found.groups}
    assert found.candidates == SEEN
    known = store.mentions.gather("gold", np.arange(136, 176)) >= 0
    assert groups["gold_not_retrieved"] == ((answer >= SEEN) & known).sum()


def test_candidates_that_were_not_seen_have_no_score(
    run_of: Callable[..., Path], store: Store
) -> None:
    row = lost(store)
    verdict = judge_mention(store, run_of(), row)
    assert (verdict.candidates, verdict.rank, verdict.right) == (SEEN, None, False)
    assert np.isnan(verdict.scores[SEEN:]).all()
    assert np.isnan(verdict.ranks[SEEN:]).all()
    assert sorted(verdict.ranks[:SEEN].tolist()) == [1, 2, 3]
    assert verdict.order[SEEN:] == [3, 4, 5]
    mention = describe_mention(store, row, order=verdict.order)
    text = shown(mention_view(mention, [verdict]), width=140)
    place = mention.answer + 1
    assert f"wrong: the gold is candidate {place}, and it saw {SEEN}" in text
    assert f"drin, first {SEEN}, protocol strict" in text


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_edges_stand_beside_their_candidates(
    run_of: Callable[..., Path], store: Store, protocol: str
) -> None:
    row = lost(store)
    edges = edge_weights(run_of(protocol), store, row)
    gold_slot = SEEN if protocol == "paper" else None
    assert [edges.place(rank) for rank in (1, 3, 4, None)] == [0, 2, None, gold_slot]
    text = shown(edges_view(edges, describe_mention(store, row)), width=140)
    first_layer = text.split("layer 2")[0].splitlines()
    dashes = [line.count("–") for line in first_layer if line.split()[:1] in ([*"1"], [*"4"])]
    assert dashes == [0, 4]


def test_the_browser_shows_what_was_not_seen(path: Path, run_of: Callable[..., Path]) -> None:
    with featurestore.open(path) as store:
        name = store.mentions.ids([lost(store)])[0]
    with serving(path, [run_of()]) as server:
        reply = server.ask(f"/mention/{name}?by=drin")
        assert reply.status == 200
        assert reply.text.count("★ gold") == 1


# the command line ---------------------------------------------------------------------------------


def test_the_commands_take_a_number(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "text"
    few = ["--model", "text", "--epochs", "1", "--candidates", "3"]
    assert main(["train", str(path), "-o", str(run), *few]) == 0
    assert "text, first 3 candidates; hits and MRR in %" in capsys.readouterr().out
    assert "\ncandidates: 3\n" in (run / "config.yaml").read_text()
    assert main(["evaluate", str(run), "--candidates", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["candidates"] == 2
    order = ["evaluate", str(path), "--model", "candidates", "--json"]
    assert main([*order, "--candidates", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["candidates"] == 2
    assert main([*order, "--candidates", "50"]) == 2
    assert "the store lists 6" in capsys.readouterr().err


def test_a_table_names_short_lists() -> None:
    figures = {"hits@1": 0.5, "mrr": 0.5, "mentions": 4, "retrieved": 4}
    rules = {"protocol": "strict", "tie_rule": "expected", "denominator": "all"}
    summary: dict[str, Any] = {"model": "text", "seed": 1, "test": figures, **rules}
    assert "candidates" not in shown(run_table(summary), width=120)
    assert "text, first 25 candidates;" in shown(run_table(summary | {"candidates": 25}), width=120)
