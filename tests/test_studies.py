"""The grids of examples/studies/, their pages, and the tables and figures that the pages show."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from benchmarks.studies import main as studies
from linker.config import TrainConfig
from linker.config_text import read_config
from linker.evaluate import evaluate
from linker.train import train
from tests.recorded_for_tests import recorded_run
from tests.runs_for_tests import QUICK
from tests.stores_for_tests import planted_store

ROOT = Path(__file__).parent.parent
GRIDS = sorted((ROOT / "examples" / "studies").rglob("*.yaml"))
#: Grid → its page; a study may have more than one grid.
PAGE_OF = {path: path.stem.removesuffix("-melhi") for path in GRIDS}
PAGES = sorted((ROOT / "docs" / "studies").glob("*.md"))

#: What a grid holds beside cells, and a cell beside keys of a configuration.
KEYS, OF_CELLS = {"store", "output", "seeds", "defaults", "cells"}, {"store", "matrix"}


def cells(grid: dict[str, Any]) -> dict[str, tuple[str, TrainConfig]]:
    """Name → store and configuration."""
    found = {}
    for name, values in grid["cells"].items():
        keys = {key: value for key, value in values.items() if key not in OF_CELLS}
        config = read_config({**grid["defaults"], **keys})
        found[name] = (values.get("store", grid["store"]), config)
    return found


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_grid_is_a_study_of_three_seeds(path: Path) -> None:
    grid = yaml.safe_load(path.read_text())
    assert grid.keys() == KEYS
    assert len(set(grid["seeds"])) >= 3
    found = cells(grid)
    assert len({repr(cell) for cell in found.values()}) == len(found), "a cell stands twice"
    page = (ROOT / "docs" / "studies" / f"{PAGE_OF[path]}.md").read_text()
    assert f"drin-fs grid {path.relative_to(ROOT)}" in page


def test_cells_of_one_name_and_output_are_the_same_run() -> None:
    """Studies share what they have in common: a grid skips cells that are finished."""
    known: dict[tuple[str, str], Any] = {}
    for path in GRIDS:
        grid = yaml.safe_load(path.read_text())
        for name, cell in cells(grid).items():
            assert known.setdefault((grid["output"], name), cell) == cell, (path, name)
    assert len(GRIDS) == 11


def test_every_figure_of_a_page_is_there() -> None:
    names = set(PAGE_OF.values())
    assert {page.stem for page in PAGES} == names | {"README"}
    index = (ROOT / "docs" / "studies" / "README.md").read_text()
    for page in PAGES:
        text = page.read_text()
        figures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
        assert figures or page.stem == "README", page
        for figure in figures:
            assert (page.parent / figure).read_bytes()[:4] == b"\x89PNG", figure
        assert page.stem == "README" or f"({page.name})" in index


# tables and figures -------------------------------------------------------------------------------


def run(*arguments: str | Path) -> list[list[str]]:
    """The cells of the table that a command of studies prints."""
    result = CliRunner().invoke(studies, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stdout.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def figures(hits: float, **more: Any) -> dict[str, Any]:
    values = {"hits@1": hits, "hits@5": 0.75, "hits@10": 0.8, "mrr": 0.6}
    return {"test": {**values, "mentions": 40, "retrieved": 30}, **more}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two cells of three and of one run; the lists of one are short."""
    store = planted_store(tmp_path / "s.h5")
    for seed, hits in enumerate((0.5, 0.6, 0.7)):
        scores = {"test": np.zeros((40, 6), np.float32)}
        folder = tmp_path / "runs" / "whole" / f"seed-{seed}"
        recorded_run(folder, store, scores, seed=seed, **figures(hits))
    scores = {"test": np.zeros((40, 3), np.float32)}
    short = recorded_run(
        tmp_path / "runs" / "short", store, scores, seed=0, candidates=3, **figures(0.4)
    )
    short.write_config("model: {name: text}\ncandidates: 3\n")
    return tmp_path / "runs"


def test_cells_are_means_over_seeds(runs: Path, tmp_path: Path) -> None:
    table = run("cells", runs, "-o", tmp_path / "cells.png")
    assert table[0] == ["cell", "seeds", "hits@1", "hits@5", "hits@10", "mrr"]
    assert ["`whole`", "3", "60.0 ± 10.0", "75.0 ± 0.0", "80.0 ± 0.0", "60.0 ± 0.0"] in table
    assert ["`short`", "1", "40.0", "75.0", "80.0", "60.0"] in table
    assert (tmp_path / "cells.png").stat().st_size > 1000


def test_lengths_stand_side_by_side(runs: Path, tmp_path: Path) -> None:
    table = run("lengths", runs, "-o", tmp_path / "lengths.png")
    assert table[0] == ["hits@1", "3 candidates", "6 candidates"]
    assert table[2:] == [["gold among them", "75.0", "75.0"], ["text", "40.0", "60.0 ± 10.0"]]
    assert (tmp_path / "lengths.png").stat().st_size > 1000


def test_runs_of_whole_lists_are_scored_on_shorter_ones(tmp_path: Path) -> None:
    store, folders = planted_store(tmp_path / "s.h5"), tmp_path / "runs"
    for name, more in (("whole", {}), ("short", {"candidates": 2})):
        config = {**QUICK, "model": "text", "epochs": 1, **more}
        train(store, read_config(config), run=folders / name)
    table = run("lengths", folders, "--whole", "-o", tmp_path / "lengths.png")
    hits = [
        100 * evaluate(folders / name, candidates=length)["test"]["hits@1"]
        for name, length in (("short", 2), ("whole", 6), ("whole", 2))
    ]
    short, whole, cut = (f"{value:.1f}" for value in hits)
    assert table[3:] == [["text", short, whole], ["text, trained on 6", cut, whole]]


def test_the_gold_slot_is_scored_with_and_without(tmp_path: Path) -> None:
    store = planted_store(tmp_path / "s.h5")
    for protocol in ("strict", "paper"):
        for seed in (0, 1):
            config = {**QUICK, "epochs": 1, "protocol": protocol, "seed": seed}
            train(store, read_config(config), run=tmp_path / "runs" / protocol / f"seed-{seed}")
    table = run("gold-slot", tmp_path / "runs", "-o", tmp_path / "slot.png")
    assert table[0][1:] == ["trained under", "scored strict", "scored paper", "gain by the slot"]
    rows = {line[1]: line for line in table[2:]}
    assert rows.keys() == {"strict", "paper"}
    for protocol, column in (("strict", 2), ("paper", 3)):
        for own in ("strict", "paper"):
            hits = [
                100
                * evaluate(tmp_path / "runs" / own / f"seed-{seed}", protocol=protocol)["test"][
                    "hits@1"
                ]
                for seed in (0, 1)
            ]
            wanted = f"{np.mean(hits):.1f} ± {np.std(hits, ddof=1):.1f}"
            assert rows[own][column] == wanted
    assert (tmp_path / "slot.png").stat().st_size > 1000
