"""Runs found below folders, and put together by what they differ in."""

from __future__ import annotations

from pathlib import Path

import pytest

from linker.recorded import RecordedRun
from linker.run_folder import RunError, RunFolder
from linker.run_groups import group_runs, runs_below
from tests.recorded_for_tests import recorded_run
from tests.stores_for_tests import planted_store


def _run(folder: Path, store: Path, *, seed: int, config: str = "model: {name: text}\n") -> None:
    run = recorded_run(folder, store, {}, seed=seed)
    run.write_config(config + f"seed: {seed}\n")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted_store(tmp_path_factory.mktemp("groups") / "planted.h5")


def test_runs_are_found_below_folders_by_the_value_of_their_numbers(
    store: Path, tmp_path: Path
) -> None:
    for seed in (10, 2, 0):
        _run(tmp_path / "text" / f"seed-{seed}", store, seed=seed)
    (tmp_path / "text" / "seed-3").mkdir()
    (tmp_path / "text" / "seed-3" / "config.yaml").write_text("seed: 3\n")  # was not finished
    found = runs_below([tmp_path, tmp_path / "text" / "seed-2"])
    assert [path.name for path in found] == ["seed-0", "seed-2", "seed-10"]


def test_a_folder_without_runs_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run, and holds no finished one"):
        runs_below([tmp_path])
    with pytest.raises(RunError, match="no such run folder"):
        runs_below([tmp_path / "absent"])


def test_an_unfinished_run_that_is_named_is_an_error(tmp_path: Path) -> None:
    RunFolder(tmp_path).write_config("seed: 3\n")
    with pytest.raises(RunError, match=r"no summary\.json: it was not finished"):
        runs_below([tmp_path])


def test_seeds_are_one_group_and_other_options_another(store: Path, tmp_path: Path) -> None:
    for seed in (1, 0):
        _run(tmp_path / "text" / f"seed-{seed}", store, seed=seed)
    _run(tmp_path / "longer", store, seed=0, config="model: {name: text}\nepochs: 3\n")
    _run(tmp_path / "slow", store, seed=2, config="model: {name: text}\nworkers: 2\n")
    groups = group_runs(map(RecordedRun, runs_below([tmp_path])))
    assert {g.name: [r.summary["seed"] for r in g.runs] for g in groups} == {
        "longer": [0],
        "text": [0, 1, 2],
    }


def test_other_scores_rules_and_stores_are_other_groups(store: Path, tmp_path: Path) -> None:
    _run(tmp_path / "a", store, seed=0)
    recorded_run(tmp_path / "b", store, {}, protocol="paper")
    other = planted_store(tmp_path / "other.h5", seed=1)
    recorded_run(tmp_path / "c", other, {})
    assert len(group_runs(map(RecordedRun, runs_below([tmp_path])))) == 3


def test_keys_of_any_type_and_order_are_read(store: Path, tmp_path: Path) -> None:
    """A configuration that was damaged is still one, and equal to its like."""
    for seed, config in enumerate(
        ("{1.5: a, b: [c, {2: d, e: f}]}", "{b: [c, {e: f, 2: d}], 1.5: a}")
    ):
        _run(tmp_path / f"seed-{seed}", store, seed=seed, config=f"model: {config}\n")
    assert len(group_runs(map(RecordedRun, runs_below([tmp_path])))) == 1
