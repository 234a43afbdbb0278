"""Grids as files: cells, what they take from the grid, matrices and their names, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.errors import ConfigError
from linker.config_text import read_config
from linker.grid_file import Grid, parse_grid, read_grid
from linker.grid_names import check_names, multiplied
from linker.seeds import parse_seeds

ROOT = Path(__file__).parent.parent


def grid(text: str) -> Grid:
    return parse_grid("store: a.h5\n" + text, where="grid.yaml")


def names(text: str) -> list[str]:
    return [cell.name for cell in grid(text).cells]


def refusal(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        grid(text)
    return raised.value


def test_a_cell_has_the_defaults_its_own_keys_and_the_seed() -> None:
    read = grid(
        """
defaults: {epochs: 2, lr: 0.01}
seeds: [4, 5]
cells:
  drin: {}
  wide: {batch_size: 8, model: {edge_kind: vector}}
  text: {model: {name: text}, seeds: 0-2, store: b.h5}
"""
    )
    drin, wide, text = read.cells
    assert drin.config(4) == read_config({"epochs": 2, "lr": 0.01, "seed": 4})
    assert wide.config(5) == read_config(
        {"epochs": 2, "lr": 0.01, "seed": 5, "batch_size": 8, "model": {"edge_kind": "vector"}}
    )
    assert (text.seeds, str(text.store)) == ((0, 1, 2), "b.h5")
    assert (drin.seeds, str(drin.store)) == ((4, 5), "a.h5")
    assert text.config(0).model.name == "text"


def test_a_preset_stands_below_defaults_and_an_ablation_above_all() -> None:
    read = grid("""
preset: drin-wikimel
defaults: {epochs: 3}
cells:
  paper: {}
  no-ti: {ablate: [ti, static]}
  plain: {preset: text-wikimel, epochs: 4}
""")
    paper, no_ti, plain = (cell.config(0) for cell in read.cells)
    assert (paper.protocol, paper.epochs) == ("paper", 3)
    assert getattr(no_ti.model.options, "edges", ()) == ("tt", "it", "ii")
    assert getattr(no_ti.model.options, "edge_update", "") == "static"
    assert (plain.model.name, plain.epochs) == ("text", 4)


def test_a_model_that_does_not_learn_is_told_from_one_that_does() -> None:
    learns = {cell.name: cell.learns for cell in grid("cells: {a: {model: bert}, b: {}}").cells}
    assert learns == {"a": False, "b": True}


def test_the_store_of_the_command_counts_but_for_cells_with_their_own(tmp_path: Path) -> None:
    file = tmp_path / "g.yaml"
    file.write_text("store: a.h5\ncells: {one: {}, two: {store: b.h5}}\noutput: out\n")
    read = read_grid(file, store="c.h5")
    assert [str(cell.store) for cell in read.cells] == ["c.h5", "b.h5"]
    assert (read.output, read.text) == (Path("out"), file.read_text())


# matrices ---------------------------------------------------------------------------------------


def test_a_matrix_multiplies_every_cell_unless_it_has_its_own() -> None:
    text = """
cells:
  drin: {}
  bert: {model: bert, matrix: {}}
  text: {model: text, matrix: {batch_size: [8, 16]}}
matrix: {lr: [0.1, 0.01]}
"""
    assert names(text) == [
        "drin-lr=0.1", "drin-lr=0.01", "bert", "text-batch_size=8", "text-batch_size=16"
    ]  # fmt: skip
    assert [cell.config(0).lr for cell in grid(text).cells][:2] == [0.1, 0.01]


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ("{model: [drin, text]}", ["drin", "text"]),
        ("{model: [{name: drin, layers: 1}, bert]}", ["drin-layers=1", "bert"]),
        ("{model.edges: [[tt, ti], [], auto]}", ["edges=tt+ti", "edges=none", "edges=auto"]),
        ("{store: [x/f16.h5, y/f32.h5]}", ["store=f16", "store=f32"]),
        ("{ablate: [null, 'ti,it']}", ["ablate=none", "ablate=ti+it"]),
        ("{text.lr: [0.1], lr: [0.5]}", ["text.lr=0.1-lr=0.5"]),
        ("{verify_reads: [true, false]}", ["verify_reads=true", "verify_reads=false"]),
        ("{preset: [drin-wikimel]}", ["drin-wikimel"]),
        ("{text.encoder: [org/bert base]}", ["encoder=org_bert_base"]),
    ],
)
def test_names_tell_the_values_and_are_safe(matrix: str, expected: list[str]) -> None:
    assert names(f"matrix: {matrix}") == expected


@given(st.lists(st.lists(st.integers(-5, 5), min_size=1, max_size=3, unique=True), max_size=3))
def test_a_matrix_has_each_combination_once(values: list[list[int]]) -> None:
    matrix = {f"k{place}": own for place, own in enumerate(values)}
    made = list(multiplied("cell", matrix, where="g"))
    assert len({name for name, _ in made}) == len(made)
    assert sorted(tuple(keys.values()) for _, keys in made) == sorted(
        {tuple(keys.values()) for _, keys in made}
    )
    for name, keys in made:
        assert name == "-".join(["cell", *(f"{key}={value}" for key, value in keys.items())])


# what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("cels: {a: {}}", "unknown key cels of a grid", "did you mean cells?"),
        ("epochs: 3\ncells: {a: {}}", "unknown key epochs of a grid", "below defaults or in a cell"),
        ("cells: {a: {epoch: 3}}", "unknown key epoch", "did you mean epochs?"),
        ("cells: {a: {model.layer: 3}}", "unknown key model.layer", "did you mean model.layers?"),
        ("cells: {a: {model: drim}}", "there is no model 'drim'", "did you mean 'drin'?"),
        ("cells: {a: {seed: 3}}", "a grid has seeds", "seeds: [0, 1, 2]"),
        ("cells: {a: {preset: nix}}", "no preset 'nix'", "drin-wikimel"),
        ("cells: {a: {ablate: nix}}", "no ablation 'nix'", "ablations: tt"),
        ("seeds: [1, 1]\ncells: {a: {}}", "seed 1 stands there twice", "0,1,2"),
        ("seeds: [x]\ncells: {a: {}}", "'x' is no seed", "[0, 1, 2]"),
        ("seeds: []\ncells: {a: {}}", "0 seeds", ""),
        ("cells: {}", "the grid has no cells", ""),
        ("cells: [a]", "no mapping", ""),
        ("cells: {1: {}}", "the key 1 is no text", "quotation marks"),
        ("cells: {logs: {}}", "'logs' is no name of a cell", "not logs"),
        ("cells: {seed-3: {}}", "'seed-3' is no name of a cell", "seed-N"),
        ("cells: {'../x': {}}", "is no name of a cell", "letters"),
        ("cells: {Drin: {}, drin: {epochs: 3}}", "cells Drin and drin", "a name each"),
        ("matrix: {lr: 3}", "lr has no list of values", "lr: [1, 2]"),
        ("matrix: {seeds: [[1], [2]]}", "without a matrix", "seeds: [0, 1, 2]"),
        ("matrix: {lr: ['0.1', 0.1]}", "two cells are named", "a name each"),
        ("matrix: {lr: [" + "1," * 200 + "], epochs: [" + "1," * 200 + "]}", "40,000", ""),
    ],
)  # fmt: skip
def test_what_cannot_be_a_grid_is_refused(text: str, what: str, hint: str) -> None:
    error = refusal(text)
    assert what in error.what
    assert hint in error.hint
    assert "grid.yaml" in error.where


def test_an_error_names_the_cell() -> None:
    assert refusal("cells: {a: {}, b: {lr: -1}}").where == "grid.yaml: cell b, configuration"


def test_a_cell_without_a_store_is_refused() -> None:
    with pytest.raises(ConfigError, match="no store is named"):
        parse_grid("cells: {a: {}}", where="g")


def test_a_name_may_be_as_long_as_folders_allow() -> None:
    check_names(["a" * 120], where="g")
    with pytest.raises(ConfigError, match="is no name of a cell"):
        check_names(["a" * 121], where="g")


# seeds ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0,1,2", (0, 1, 2)), ("2-4", (2, 3, 4)), ("0-1, 7", (0, 1, 7)), ("5", (5,))],
)
def test_seeds_are_a_list_or_a_range(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "1,,2", "3-1", "-1", "0-5000", "1,1", "4294967296"])
def test_other_seeds_are_refused(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_seeds(text)
    assert raised.value.where == "--seeds"


# examples ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda p: p.name)
def test_an_example_is_a_grid(path: Path) -> None:
    read = read_grid(path)
    assert len(read.cells) > 3
    assert {cell.seeds for cell in read.cells if cell.learns} == {(0, 1, 2)}


def test_the_wikimel_example_has_what_it_promises() -> None:
    cells = read_grid(ROOT / "examples" / "wikimel.yaml").cells
    models = [cell.config(0).model.name for cell in cells]
    assert {"drin", "ghmfc", "melhi", "text", "candidates", "clip"} <= set(models)
