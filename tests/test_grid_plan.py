"""What a grid is going to do, before it does anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from featurestore.errors import ConfigError, StoreError
from linker.baseline import evaluate_untrained
from linker.config_text import read_config, to_yaml
from linker.grid_file import Grid
from linker.grid_plan import PlannedRun, plan_grid
from linker.job import prepare_job
from linker.run_folder import RunFolder
from tests.grids_for_tests import DEFAULTS, grid_of_cells
from tests.stores_for_tests import planted_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted_store(tmp_path_factory.mktemp("plan") / "planted.h5")


def actions(plans: tuple[PlannedRun, ...]) -> list[str]:
    return [plan.action for plan in plans]


def test_a_run_a_seed_and_one_of_what_does_not_learn(store: Path, tmp_path: Path) -> None:
    cells = {"drin": {}, "bert": {"model": "bert"}}
    plans = plan_grid(grid_of_cells(store, cells, seeds=[3, 5]), output=tmp_path / "runs")
    assert [(plan.name, plan.action) for plan in plans] == [
        ("drin seed 3", "train"), ("drin seed 5", "train"), ("bert", "score")
    ]  # fmt: skip
    folders = [plan.folder.relative_to(tmp_path / "runs").as_posix() for plan in plans]
    assert folders == ["drin/seed-3", "drin/seed-5", "bert"]
    assert [plan.config.seed for plan in plans] == [3, 5, 0]
    assert not (tmp_path / "runs").exists()  # nothing was written


def test_only_some_cells(store: Path, tmp_path: Path) -> None:
    grid = grid_of_cells(
        store, {"drin": {}, "text-a": {"model": "text"}, "bert": {"model": "bert"}}
    )

    def chosen(*only: str) -> list[str]:
        return [plan.cell for plan in plan_grid(grid, output=tmp_path, only=only)]

    assert chosen("bert", "drin") == ["drin", "bert"]
    assert chosen("t*") == ["text-a"]
    with pytest.raises(ConfigError, match="no cell 'dirn'") as raised:
        chosen("dirn")
    assert raised.value.hint == "did you mean drin?"


def test_a_store_that_cannot_be_read_stops_all(store: Path, tmp_path: Path) -> None:
    grid = grid_of_cells(store, {"drin": {}, "far": {"store": str(tmp_path / "no.h5")}})
    with pytest.raises(StoreError, match="the store of cell far cannot be opened"):
        plan_grid(grid, output=tmp_path)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ({"model": "ghmfc"}, "no mentions/image_regions"),
        ({"model": {"name": "drin", "mention_text": "transformer", "transformer_heads": 5}}, "5"),
        ({"device": "cpu", "precision": "16-mixed"}, "16-mixed needs a GPU"),
    ],
)
def test_a_cell_that_cannot_run_says_why_and_what_next(
    store: Path, tmp_path: Path, cell: dict[str, object], reason: str
) -> None:
    grid = grid_of_cells(store, {"bad": cell, "good": {}})
    bad, good = plan_grid(grid, output=tmp_path)
    assert (bad.action, good.action) == ("impossible", "train")
    assert reason in bad.reason


def test_a_store_without_a_split_to_train_on(tmp_path: Path) -> None:
    store = planted_store(tmp_path / "test-only.h5", splits={"test": 16})
    grid = grid_of_cells(store, {"drin": {}, "bert": {"model": "bert"}})
    drin, bert = plan_grid(grid, output=tmp_path)
    assert (drin.action, bert.action) == ("impossible", "score")
    assert "train" in drin.reason
    assert bert.splits == ("test",)


def test_two_cells_of_one_configuration_are_refused(store: Path, tmp_path: Path) -> None:
    grid = grid_of_cells(store, {"a": {}, "b": {"model.layers": 2, "workers": 1}})
    with pytest.raises(ConfigError, match="cells a and b are the same"):
        plan_grid(grid, output=tmp_path)


def test_a_folder_that_is_a_run_or_a_file_is_refused(store: Path, tmp_path: Path) -> None:
    grid = grid_of_cells(store, {"a": {}})
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    with pytest.raises(ConfigError, match="a run itself"):
        plan_grid(grid, output=tmp_path)
    with pytest.raises(ConfigError, match="this is a file"):
        plan_grid(grid, output=tmp_path / "config.yaml")


# what is in the folders -------------------------------------------------------------------------


def begin(grid: Grid, folder: Path, **changes: object) -> None:
    """What a run leaves that was stopped before its first checkpoint."""
    import featurestore
    from linker.machine import environment

    folder.mkdir(parents=True)
    cell = grid.cells[0]
    with featurestore.open(cell.store) as opened:
        job = prepare_job(opened, cell.config(0))
        run = RunFolder(folder)
        run.write_config(to_yaml(job.config.model_copy(update=changes)))
        run.write_environment(environment(job.device, opened))


def test_what_was_begun_continues_or_is_replaced(store: Path, tmp_path: Path) -> None:
    grid = grid_of_cells(store, {"drin": {}})
    begin(grid, tmp_path / "drin" / "seed-0", workers=3)  # decides nothing
    assert actions(plan_grid(grid, output=tmp_path)) == ["continue"]
    assert actions(plan_grid(grid, output=tmp_path, overwrite=True)) == ["replace"]


def test_what_was_begun_otherwise_is_refused_or_replaced(store: Path, tmp_path: Path) -> None:
    grid = grid_of_cells(store, {"drin": {}})
    begin(grid, tmp_path / "drin" / "seed-0", lr=0.5)
    (plan,) = plan_grid(grid, output=tmp_path)
    assert plan.action == "impossible"
    assert plan.reason == (
        "the folder holds a run with other options: lr 0.5 → 0.01; replace it with --overwrite"
    )
    assert actions(plan_grid(grid, output=tmp_path, overwrite=True)) == ["replace"]


def test_another_store_is_another_run(store: Path, tmp_path: Path) -> None:
    other = planted_store(tmp_path / "other.h5", seed=1)
    config = read_config({**DEFAULTS, "model": "bert"})
    evaluate_untrained(store, config, splits=("valid", "test"), run=tmp_path / "runs" / "bert")

    def plan(path: Path, *, overwrite: bool = False) -> PlannedRun:
        grid = grid_of_cells(path, {"bert": {"model": "bert"}})
        return plan_grid(grid, output=tmp_path / "runs", overwrite=overwrite)[0]

    assert plan(store).action == plan(store, overwrite=True).action == "keep"
    assert plan(other).action == "impossible"
    assert f"a run of another store: {store}" in plan(other).reason
    assert plan(other, overwrite=True).action == "score"


def test_a_damaged_run_is_not_taken_for_anything(store: Path, tmp_path: Path) -> None:
    grid = grid_of_cells(store, {"drin": {}})
    folder = tmp_path / "drin" / "seed-0"
    begin(grid, folder)
    (folder / "summary.json").write_text("{")
    (plan,) = plan_grid(grid, output=tmp_path)
    assert plan.action == "impossible"
    assert "summary.json of the run is damaged" in plan.reason
    assert actions(plan_grid(grid, output=tmp_path, overwrite=True)) == ["replace"]


def test_a_cell_whose_folder_is_a_run_is_refused(store: Path, tmp_path: Path) -> None:
    grid = grid_of_cells(store, {"drin": {}})
    begin(grid, tmp_path / "drin")
    (plan,) = plan_grid(grid, output=tmp_path, overwrite=True)
    assert plan.action == "impossible"
    assert "is a run itself" in plan.reason
