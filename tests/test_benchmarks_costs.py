"""The costs of all stages, and the index of many ids, at sizes whose figures mean nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import cost_training, costs, index, index_run
from benchmarks.alternatives.contract import Disagreement
from benchmarks.cost_encoders import Taken
from benchmarks.cost_keys import OPTIONAL, Cost
from benchmarks.cost_texts import entity_texts, made_up_words, sentences, titles
from benchmarks.data import TINY, Workspace
from benchmarks.index_store import Numbered, write_index_store
from benchmarks.plan_costs import Costs
from benchmarks.saved import save
from benchmarks.steps import Step, watched
from featurestore import Table
from featurestore.progress import Silent
from tests.benchmarks_for_tests import no_collections_between_turns  # noqa: F401


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "data", TINY, Silent())


def test_every_cost_is_measured_and_a_plan_can_be_made_of_them(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost_training, "peak_memory", lambda command: 123_000_000)
    report = costs.measure(workspace)
    names = {row.name for row in report.rows}
    assert names == {str(cost) for cost in set(Cost) - OPTIONAL}
    assert all(row.figures["µs"] or row.figures["bytes"] for row in report.rows)
    machine = {"processor": "", "cores": 1, "memory_gb": 1.0}
    save(tmp_path / "costs.json", {"costs": report}, sizes="tiny", machine=machine)
    read = Costs.read(tmp_path / "costs.json")
    assert read.sizes[Cost.TRAINING] == 123_000_000
    assert read.sizes[Cost.WRITE_MENTION_PICTURE] > 1_000  # 49 regions of 32 numbers
    assert not list(workspace.folder.glob("costs/*.h5"))


def test_costs_are_listed_by_stage_and_those_not_measured_left_out() -> None:
    taken = [
        Taken(cost=Cost.TRAIN, seconds=0.5, of="a batch"),
        Taken(cost=Cost.READ_ENTITY, seconds=0.002, size=900.0),
    ]
    report = costs.report(taken, rounds=3)
    assert [row.name for row in report.rows] == [Cost.READ_ENTITY, Cost.TRAIN]
    assert report.rows[0].figures == {"µs": 2e3, "bytes": 900.0, "measured on": ""}
    assert set(report.left_out) == OPTIONAL


def test_made_up_texts_have_the_lengths_of_real_ones() -> None:
    words = made_up_words(500)
    assert len(set(words)) == 500
    for made, mean in ((sentences, 13), (entity_texts, 37)):
        assert np.mean([len(text.split()) for text in made(words, 2_000)]) == pytest.approx(
            mean, abs=1
        )
    assert all(len(title.split()) == 2 for title in titles(words, 50))


# an index of many ids -----------------------------------------------------------------------------------


def test_numbered_texts_are_a_sequence() -> None:
    texts = Numbered("Q", 5)
    assert list(texts) == texts[:] == ["Q0", "Q1", "Q2", "Q3", "Q4"]
    assert (texts[-1], texts[1:4:2], len(texts)) == ("Q4", ["Q1", "Q3"], 5)


def test_the_index_is_written_searched_and_removed(workspace: Workspace) -> None:
    report = index.measure(workspace)
    figures = {row.name: row.figures for row in report.rows}
    assert figures["writing ids and their index"]["seconds"]
    for name in ("opening", "finding 50 ids", "ids of 50 rows"):
        assert figures[name]["first ms"]
        assert ("cold searches" in report.left_out) != bool(figures[name]["cold ms"])
    assert not list(workspace.folder.glob("*index*"))


def test_ids_in_other_rows_end_the_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "index.h5"
    write_index_store(path, entities=300, mentions=20, candidates=5)
    found = index_run.search(path, ids=20, batch=4, rounds=1)
    assert [len(taken) for taken in found.seconds.values()] == [1, 2, 2, 2]
    find = Table.find
    monkeypatch.setattr(Table, "find", lambda table, ids: find(table, ids)[::-1])
    with pytest.raises(Disagreement, match="rows of ids"):
        index_run.search(path, ids=20, batch=4, rounds=1)
    monkeypatch.setattr(Table, "find", find)
    monkeypatch.setattr(Table, "ids", lambda table, rows: ["Q0"] * len(rows))
    with pytest.raises(RuntimeError, match="other ids"):
        index_run.search(path, ids=20, batch=4, rounds=1)


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    plan = index._PLANS["tiny"]
    with pytest.raises(RuntimeError, match="no such store"):
        index._searched(tmp_path / "missing.h5", plan)


def test_memory_is_that_which_was_not_there_before() -> None:
    steps: dict[str, Step] = {}
    with watched(steps, "nothing"):
        pass
    with watched(steps, "much"):
        held = np.ones(4_000_000)
        held += 1
    assert steps["nothing"].anonymous < 16_000_000
    assert steps["much"].anonymous == 0 or steps["much"].anonymous > 24_000_000
