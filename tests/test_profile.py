"""--profile says where the time of training went; order and compile change how a run gets there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import featurestore
from linker.config_text import read_config
from linker.job import prepare_job
from linker.profiling import PARTS
from linker.report import profile_table
from linker.train import train
from tests.runs_for_tests import QUICK, QuickRun, without_clock
from tests.terminal import shown

SHORT: dict[str, Any] = {**QUICK, "epochs": 2}


@pytest.fixture(scope="module")
def profiled(quick: QuickRun, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    run = tmp_path_factory.mktemp("profiled") / "run"
    summary = train(quick.store, read_config(SHORT), run=run, profile=True)
    assert json.loads((run / "profile.json").read_text()) == summary["profile"]
    assert "profile" not in json.loads((run / "summary.json").read_text())
    return summary


def test_a_profile_counts_what_was_read(quick: QuickRun, profiled: dict[str, Any]) -> None:
    config = read_config(SHORT)
    with featurestore.open(quick.store) as store:
        loader = prepare_job(store, config).loader("train", shuffled=True)
        costs = []
        for epoch in range(2):
            loader.requests.set_epoch(epoch)
            costs += [batch.cost for batch in loader]
    found = profiled["profile"]
    assert found["batches"] == len(costs)
    for name in ("slots", "distinct", "bytes"):
        assert found["read"][name] == sum(getattr(cost, name) for cost in costs), name
    assert 0 <= found["read"]["cached"] <= 1


def test_the_parts_of_a_profile_are_those_of_a_step(profiled: dict[str, Any]) -> None:
    seconds = profiled["profile"]["seconds"]
    assert list(seconds) == [*PARTS, "other"]
    assert seconds["forward"] > 0
    assert seconds["backward"] > 0
    text = shown(profile_table(profiled["profile"]), width=100)
    for part in PARTS:
        assert part in text
    assert f"{profiled['profile']['batches']} batches read" in " ".join(text.split())


def test_a_profiled_run_is_the_same_run(quick: QuickRun, tmp_path: Path) -> None:
    plain = train(quick.store, read_config(SHORT), run=tmp_path / "plain")
    again = train(quick.store, read_config(SHORT), run=tmp_path / "again", profile=True)
    del again["profile"]
    assert without_clock(again) == without_clock(plain)


def test_a_local_order_reads_fewer_entities_and_trains_on_all_mentions(
    quick: QuickRun, tmp_path: Path, profiled: dict[str, Any]
) -> None:
    local = {**SHORT, "order": "local", "order_block": 4}
    found = train(quick.store, read_config(local), run=tmp_path / "local", profile=True)
    read, random = found["profile"]["read"], profiled["profile"]["read"]
    assert read["slots"] == random["slots"]
    assert read["distinct"] < random["distinct"]


def test_compile_hands_the_network_to_torch(
    quick: QuickRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[tuple[nn.Module, dict[str, Any]]] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **how: compiled.append((self, how)))
    with featurestore.open(quick.store) as store:
        plain = prepare_job(store, read_config(SHORT)).module()
        assert compiled == []
        module = prepare_job(store, read_config({**SHORT, "compile": True})).module()
    assert compiled == [(module.network, {"dynamic": True})]
    assert module.network.state_dict().keys() == plain.network.state_dict().keys()
