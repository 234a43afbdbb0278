"""The ablations as one grid: its rows on a store, what is left out, and the table of differences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.ablate import ablation_view
from cli.main import main
from featurestore.errors import ConfigError, FieldMissing
from linker.ablation_grid import ABLATIONS, ablation_grid
from linker.ablation_table import ablation_table
from linker.grid_file import parse_grid
from linker.grid_plan import plan_grid
from tests.recorded_for_tests import recorded_run
from tests.snapshots import check_snapshot
from tests.stores_for_tests import planted_store
from tests.terminal import shown


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted_store(tmp_path_factory.mktemp("ablate") / "planted.h5")


def options(store: Path, **settings: Any) -> dict[str, dict[str, Any]]:
    """Row → the options of its model."""
    grid = ablation_grid(store, seeds=(0,), settings=settings).grid
    return {cell.name: cell.config(0).model.model_dump(mode="json") for cell in grid.cells}


def test_each_row_takes_one_thing_away(store: Path) -> None:
    rows = options(store)
    whole = rows.pop("whole")
    changed = {
        name: {key: value for key, value in row.items() if whole.get(key) != value}
        for name, row in rows.items()
        if name != "picture-only"
    }
    assert changed == {
        **{f"without-{edge}": {"without": [edge]} for edge in ("tt", "ti", "it", "ii")},
        "static-edges": {"edge_update": "static"},
        "vector-edges": {"edge_kind": "vector"},
        "layers-1": {"layers": 1},
        "layers-3": {"layers": 3},
        "text-only": {"without": ["ti", "it", "ii"]},
    }
    assert rows["picture-only"]["name"] == "image"


def test_the_whole_model_is_compared_with_other_numbers_of_layers(store: Path) -> None:
    rows = options(store, model={"layers": 3})
    assert rows["whole"]["layers"] == 3
    assert {name for name in rows if name.startswith("layers")} == {"layers-1", "layers-2"}


def test_every_row_can_be_planned_and_read_again(store: Path, tmp_path: Path) -> None:
    grid = ablation_grid(store, seeds=(0, 1), settings={"epochs": 2, "seed": 7}).grid
    plans = plan_grid(grid, output=tmp_path)
    assert {plan.action for plan in plans} == {"train"}
    assert [plan.seed for plan in plans[:2]] == [0, 1]
    again = parse_grid(grid.text, where="grid.yaml")
    assert again.cells == grid.cells


def test_what_the_store_cannot_serve_is_left_out_and_said(tmp_path: Path) -> None:
    without = {"entities/objects", "mentions/objects", "entities/image_pooled"}
    store = planted_store(tmp_path / "s.h5", without=without)
    ablations = ablation_grid(store, seeds=(0,))
    assert {"without-ti", "without-ii", "picture-only"} <= set(ablations.left_out)
    assert "entities/objects" in ablations.left_out["without-ii"]
    assert {row.name for row in ablations.rows} == {cell.name for cell in ablations.grid.cells}
    assert {row.name for row in ABLATIONS} - {row.name for row in ablations.rows} == {
        *ablations.left_out, "layers-2"
    }  # fmt: skip


def test_rows_that_would_be_the_same_are_run_once(tmp_path: Path) -> None:
    without = {"mentions/sim_image_text", "entities/objects"}  # edges tt and ti
    store = planted_store(tmp_path / "s.h5", without=without)
    left_out = ablation_grid(store, seeds=(0,)).left_out
    assert left_out["text-only"] == "the same as without-ti on this store"


def test_another_model_or_an_unknown_key_is_refused(store: Path) -> None:
    with pytest.raises(ConfigError, match="the model is text"):
        ablation_grid(store, seeds=(0,), settings={"model": {"name": "text"}})
    with pytest.raises(ConfigError, match="unknown key epoch"):
        ablation_grid(store, seeds=(0,), settings={"epoch": 3})


def test_a_store_without_texts_has_no_whole_model(tmp_path: Path) -> None:
    store = planted_store(tmp_path / "s.h5", without={"entities/text_mean"})
    with pytest.raises(FieldMissing, match="model drin reads entity_text"):
        ablation_grid(store, seeds=(0,))


# the table --------------------------------------------------------------------------------------


def run(folder: Path, store: Path, *, seed: int, hits: float) -> None:
    figures = {"hits@1": hits, "mrr": hits + 0.1, "mentions": 40, "retrieved": 35}
    recorded_run(folder / f"seed-{seed}", store, {}, seed=seed, test=figures)


@pytest.fixture
def runs(store: Path, tmp_path: Path) -> Path:
    for seed, hits in ((0, 0.6), (1, 0.8)):
        run(tmp_path / "whole", store, seed=seed, hits=hits)
        run(tmp_path / "without-tt", store, seed=seed, hits=hits - 0.2 - 0.1 * seed)
    run(tmp_path / "layers-3", store, seed=1, hits=0.9)
    return tmp_path


def test_differences_are_means_over_the_seeds_of_both(runs: Path) -> None:
    table = ablation_table(ABLATIONS, runs)
    assert table is not None
    figures = {line.name: line.figures["hits@1"] for line in table.lines}
    assert list(figures) == ["whole", "without-tt", "layers-3"]
    assert figures["whole"].mean == pytest.approx(0.7)
    assert figures["whole"].deviation == pytest.approx(0.2 / 2**0.5)
    assert figures["whole"].difference is None
    assert figures["without-tt"].difference == pytest.approx(-0.25)
    assert figures["layers-3"].difference == pytest.approx(0.1)  # of seed 1 alone
    assert figures["layers-3"].deviation is None


def test_there_is_no_table_of_nothing(tmp_path: Path) -> None:
    assert ablation_table(ABLATIONS, tmp_path) is None


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits(runs: Path, width: int) -> None:
    table = ablation_table(ABLATIONS, runs)
    assert table is not None
    check_snapshot(f"ablations-{width}", shown(ablation_view(table), width=width))


def test_a_dry_run_lists_the_rows(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["ablate", str(store), "-o", str(tmp_path / "r"), "--dry-run", "--seeds", "1,2"]
    assert main([*command, "--only", "whole", "--only", "text-*", "--epochs", "3", "--json"]) == 0
    lines = json.loads(capsys.readouterr().out)
    assert [(line["cell"], line["seed"], line["epochs"]) for line in lines] == [
        ("whole", 1, 3), ("whole", 2, 3), ("text-only", 1, 3), ("text-only", 2, 3)
    ]  # fmt: skip
    assert not (tmp_path / "r").exists()
