"""What a search may vary, and what is refused before the first trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")

import optuna
from hypothesis import given
from hypothesis import strategies as st

from featurestore.errors import ConfigError
from linker.tune_space import Space, read_space


def space(search: dict[str, Any], **defaults: Any) -> Space:
    return read_space({"defaults": defaults, "search": search})


def chosen(search: Space) -> dict[str, Any]:
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    return {each.key: each.suggest(trial) for each in search.parameters}


def test_values_are_of_the_kind_that_the_key_takes() -> None:
    found = space(
        {
            "lr": {"low": "1e-4", "high": 1e-2, "log": True},  # YAML reads 1e-4 as a text
            "model.layers": {"low": 1, "high": 4},
            "model.edges": [["tt", "ti"], "tt"],
            "model.transformer_dropout": {"low": 0, "high": 0.5, "step": 0.25},
            "batch_size": {"low": 16, "high": 64, "step": 16},
        }
    )
    values = chosen(found)
    assert 1e-4 <= values["lr"] <= 1e-2
    assert isinstance(values["model.layers"], int)
    assert values["model.transformer_dropout"] in (0.0, 0.25, 0.5)
    assert values["batch_size"] in (16, 32, 48, 64)
    config = found.config(values)
    assert config.lr == values["lr"]
    assert config.model.options.model_dump()["layers"] == values["model.layers"]
    by_key = {each.key: each for each in found.parameters}
    assert by_key["model.edges"].value(0) == ["tt", "ti"]


def test_defaults_lie_below_what_is_searched() -> None:
    config = space({"model.width": [8, 16]}, model="text", epochs=3).first()
    assert (config.model.name, config.epochs) == ("text", 3)
    assert config.model.options.model_dump() == {"width": 8}


def test_models_can_be_searched_by_name() -> None:
    found = space({"model": ["text", "drin"], "lr": [0.1]})
    assert found.config({"lr": 0.1, "model.name": "text"}).model.name == "text"


@pytest.mark.parametrize(
    ("values", "message", "where"),
    [
        ({"search": {"lrr": [1]}}, "unknown key lrr", "space, search.lrr"),
        ({"search": {"model.layer": [1]}}, "unknown key model.layer", "space, search.model.layer"),
        (
            {"search": {"lr": {"low": 2, "high": 1}}},
            "low 2 is more than high 1",
            "space, search.lr",
        ),
        ({"search": {"lr": {"low": 0, "high": 1, "log": True}}}, "log needs a low above 0", ""),
        ({"search": {"lr": {"low": 1e-3}}}, "high: Field required", "space, search.lr"),
        ({"search": {"lr": {"low": 1, "hihg": 2, "high": 2}}}, "hihg: Extra inputs", ""),
        ({"search": {"lr": {"low": 1, "high": 2, "log": True, "step": 1}}}, "log and step", ""),
        ({"search": {"epochs": {"low": 1, "high": 2.5}}}, "epochs takes whole numbers only", ""),
        ({"search": {"lr": [-1, 0.1]}}, "lr is -1: input should be greater than 0", ""),
        ({"search": {"loss.negatives": ["batch", "rows"]}}, "loss.negatives is 'rows'", ""),
        ({"search": {"lr": []}}, "lr has neither a range nor choices", "space, search.lr"),
        ({"search": {"lr": 3}}, "lr has neither a range nor choices", ""),
        ({"search": {"seed": [0, 1]}}, "seed is not to be searched: the best of several seeds", ""),
        ({"search": {"protocol": ["paper"]}}, "protocol is not to be searched", ""),
        ({"search": {"metrics.tie_rule": ["expected"]}}, "metrics.tie_rule is not to be", ""),
        ({"search": {"workers": [0, 2]}}, "it does not change what is learned", ""),
        ({"search": {"model": ["text", "clip"]}}, "model clip has nothing to learn", "space"),
        ({"search": {}}, "nothing to search", "space"),
        ({"search": {"lr": [1]}, "trials": 3}, "unknown key trials", "space"),
        ({"search": {"lr": [1]}, "defaults": {"epoch": 3}}, "unknown key epoch", ""),
        ({"search": [1]}, "defaults and search are mappings", "space"),
        ({"search": {3: [1]}}, "3 is no key", "space, search.3"),
    ],
)
def test_what_cannot_work_is_refused_with_its_place(
    values: dict[str, Any], message: str, where: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        read_space(values)
    assert message in raised.value.what
    assert where in raised.value.where


def test_the_nearest_key_is_named() -> None:
    with pytest.raises(ConfigError) as raised:
        space({"loss.negatves": ["row"]})
    assert raised.value.hint == "did you mean loss.negatives?"


def test_a_file_is_read_and_named(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("search:\n  lr: {low: 1e-4, high: 1e-5}\n")
    with pytest.raises(ConfigError, match=r"low 0\.0001 is more than high 1e-05") as raised:
        read_space(file)
    assert raised.value.where == f"{file}, search.lr"


def test_the_cells_of_a_grid_are_all_combinations() -> None:
    found = space(
        {
            "lr": [0.1, 0.01],
            "model.layers": {"low": 1, "high": 3},
            "loss.margin": {"low": 0.1, "high": 0.3, "step": 0.1},
        }
    )
    cells = found.cells()
    assert len(cells) == len({tuple(cell.values()) for cell in cells}) == 18
    assert cells[0] == {"lr": 0, "model.layers": 1, "loss.margin": 0.1}
    with pytest.raises(ConfigError, match="lr has no end of values"):
        space({"lr": {"low": 0.1, "high": 0.2}}).cells()
    with pytest.raises(ConfigError, match="a grid of 1,000,000 cells"):
        space({"epochs": {"low": 1, "high": 1000}, "batch_size": {"low": 1, "high": 1000}}).cells()


@given(
    low=st.floats(1e-6, 1.0), width=st.floats(0, 1.0), log=st.booleans(), seed=st.integers(0, 99)
)
def test_a_value_lies_within_its_range(low: float, width: float, log: bool, seed: int) -> None:
    found = space({"loss.margin": {"low": low, "high": low + width, "log": log}})
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask()
    value = found.parameters[0].suggest(trial)
    assert low <= value <= low + width
    assert found.parameters[0].value(trial.params["loss.margin"]) == value
