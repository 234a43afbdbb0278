"""The benchmark of the order of mentions: what a batch holds, and runs in several orders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import featurestore
from benchmarks import order, store_runs
from benchmarks.data import TINY, Workspace
from benchmarks.saved import load
from featurestore.progress import Silent
from tests.benchmarks_for_tests import no_collections_between_turns  # noqa: F401
from tests.stores_for_tests import planted_store


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted_store(tmp_path_factory.mktemp("planted") / "planted.h5")


def run(*arguments: object) -> str:
    done = CliRunner().invoke(order.main, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_sample_is_measured_in_every_order(tmp_path: Path) -> None:
    report = order.measure(Workspace(tmp_path, TINY, Silent()))
    assert len(report.rows) == len(order.BLOCKS)
    for row in report.rows:
        assert 0 < row.figures["bits"] <= row.figures["of bits"]


def test_neighbours_share_entities_and_mix_less(planted: Path) -> None:
    with featurestore.open(planted) as store:
        settings = {"model": "drin", "batch_size": 16}
        random, local = (order.mixture(store, settings, block) for block in (0, 16))
    assert local.bits < random.bits <= random.most
    assert local.distinct <= random.distinct
    assert local.names < random.names


def test_models_are_trained_in_each_order_once(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "figures.json"
    arguments = (planted, "--seeds", "0,3", "--runs", tmp_path / "runs", "--json", target)
    output = run(*arguments)
    assert "local, blocks of 8" in output
    assert len(list((tmp_path / "runs").glob("*/*/summary.json"))) == 4
    rows = load([target])["order-runs"].rows
    assert [row["name"] for row in rows] == ["random", "local, blocks of 8"]
    assert all(0 <= row["hits@1, seed 3"] <= 1 for row in rows)

    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a finished run was trained again")

    monkeypatch.setattr(store_runs, "train", refuse)
    assert run(*arguments) == output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--blocks", "8,x"), "'8,x' is not integers"),
        (("--blocks", "1"), "order_block"),
        (("--model", "dring"), "dring"),
    ],
)
def test_wrong_arguments_are_explained(
    planted: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = CliRunner().invoke(order.main, [str(planted), *arguments])
    assert done.exit_code != 0
    assert message in done.output
    assert "Traceback" not in done.output
