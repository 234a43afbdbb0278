"""--profile says where the time of training went; order and compile change how a run gets there."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.profilers import PassThroughProfiler
from torch import nn

import featurestore
from linker.config_text import read_config
from linker.job import prepare_job
from linker.profile_table import profile_table
from linker.profiling import PARTS
from linker.tracing import KEPT, WAIT, WARM_UP
from linker.train import train
from linker.trainer import make_trainer
from tests.runs_for_tests import QUICK, QuickRun, without_clock
from tests.snapshots import check_snapshot
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


def test_the_parts_of_a_profile_are_those_of_the_run(profiled: dict[str, Any]) -> None:
    seconds = profiled["profile"]["seconds"]
    assert {doing: tuple(parts) for doing, parts in seconds.items()} == dict(PARTS)
    for doing, part in [
        *(("training", part) for part in PARTS["training"]),
        *(("validation", part) for part in PARTS["validation"]),
        ("run", "saving"),
        ("run", "other"),
    ]:
        assert seconds[doing][part] > 0, (doing, part)


def test_steps_that_are_traced_are_not_timed(profiled: dict[str, Any]) -> None:
    found = profiled["profile"]
    assert (found["batches"], found["timed"]) == (12, 12 - WARM_UP - KEPT)
    assert found["validated"] == 3  # of one epoch; the first ends while steps are recorded


def test_a_trace_holds_the_kept_steps_and_their_parts(profiled: dict[str, Any]) -> None:
    trace = profiled["profile"]["trace"]
    path = Path(trace["path"])
    assert (path.name, path.stat().st_size) == ("trace.json.gz", trace["bytes"])
    assert trace["steps"] == [WAIT + WARM_UP + 1, WAIT + WARM_UP + KEPT]
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    steps = {e["name"] for e in events if str(e.get("name")).startswith("ProfilerStep#")}
    assert len(steps) == KEPT
    marks = Counter(e["name"] for e in events if e.get("cat") == "user_annotation")
    assert marks["training: forward"] == marks["training: backward"] == KEPT
    assert any(e["name"] == "aten::addmm" for e in events)


def test_a_run_of_few_steps_has_no_trace(quick: QuickRun, tmp_path: Path) -> None:
    config = read_config({**QUICK, "epochs": 1, "batch_size": 48, "model": {"name": "text"}})
    found = train(quick.store, config, run=tmp_path / "run", profile=True)["profile"]
    assert (found["batches"], found["timed"], found["trace"]) == (2, 2, None)
    assert not (tmp_path / "run/trace.json.gz").exists()
    assert "no trace: the run has too few steps" in shown(profile_table(found), width=80)


PROFILE: dict[str, Any] = {
    "batches": 5640,
    "timed": 5634,
    "validated": 820,
    "seconds": {
        "training": {
            "waiting for data": 12.3456,
            "copying": 30.1,
            "forward": 1234.5,
            "backward": 2345.6,
            "optimiser": 78.9,
        },
        "validation": {
            "waiting for data": 1.2,
            "copying": 3.4,
            "forward": 150.0,
            "metrics": 0.6,
        },
        "run": {"encoding texts": 0.0, "saving": 4.5, "other": 6.7},
    },
    "trace": {"path": "runs/once/trace.json.gz", "bytes": 1_234_567, "steps": [5, 8]},
    "read": {
        "seconds": 98.7,
        "slots": 36_096_000,
        "distinct": 9_876_543,
        "bytes": 123_456_789_012,
        "disk_bytes": 12_345_678,
        "cached": 0.987,
    },
}


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_of_a_profile(width: int) -> None:
    text = shown(profile_table(PROFILE), width=width)
    assert max(map(len, text.splitlines())) <= width
    check_snapshot(f"profile-{width}", text)


def test_without_a_profile_lightning_has_none(quick: QuickRun) -> None:
    trainer = make_trainer(device=torch.device("cpu"), precision="32")
    assert type(trainer.profiler) is PassThroughProfiler


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
