"""Ablations by name: what they set, what they leave to the store, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import featurestore
from featurestore.errors import ConfigError
from linker.ablations import EDGES
from linker.config import TrainConfig
from linker.config_layers import layered_config
from linker.config_text import read_config, to_yaml
from linker.job import prepare_job
from linker.models.drin import DrinConfig
from tests.tiny_store import write_tiny_store


def drin(config: TrainConfig) -> DrinConfig:
    assert isinstance(config.model.options, DrinConfig)
    return config.model.options


def test_the_edges_are_those_of_drin() -> None:
    assert EDGES == ("tt", "ti", "it", "ii")


@pytest.mark.parametrize(
    ("names", "left"),
    [("tt", "ti it ii"), ("ii, ti", "tt it"), ("tt,ti,it,ii", "")],
)
def test_an_ablated_edge_is_off_and_the_others_stay(names: str, left: str, tmp_path: Path) -> None:
    tiny = write_tiny_store(tmp_path / "tiny.h5")
    with featurestore.open(tiny.path) as store:
        auto = prepare_job(store, layered_config(ablate=names)).config
    named = layered_config(preset_name="drin-wikimel", ablate=names)
    assert drin(auto).edges == drin(named).edges == tuple(left.split())


def test_what_the_store_cannot_serve_stays_off_beside_an_ablation(tmp_path: Path) -> None:
    without = {"entities/objects", "mentions/objects"}
    tiny = write_tiny_store(tmp_path / "tiny.h5", without=without)
    with featurestore.open(tiny.path) as store:
        job = prepare_job(store, layered_config(ablate="tt"))
    assert job.match.edges == ("ti", "it")
    assert list(job.match.edges_off) == ["ii"]
    assert job.config.model.model_dump()["edges"] == ["ti", "it"]
    assert "without" not in job.config.model.model_dump()


def test_kinds_of_edges_are_ablations_too_and_combine_with_edges() -> None:
    config = layered_config(settings=["model.layers=3"], ablate="static,ti,vector")
    options = drin(config)
    assert (options.edge_update, options.edge_kind, options.layers) == ("static", "vector", 3)
    assert config.model.without == ("ti",)


def test_a_configuration_with_an_ablation_survives_being_written() -> None:
    config = layered_config(ablate="ii,tt")
    assert read_config(yaml.safe_load(to_yaml(config))) == config
    assert config.model.model_dump()["without"] == ["tt", "ii"]


@pytest.mark.parametrize(
    ("names", "model", "message"),
    [
        ("tx", "drin", "no ablation 'tx'"),
        ("", "drin", "no ablation ''"),
        ("mask_rcnn", "drin", "drin-fs ingest … --ablate mask_rcnn"),
        ("tt", "text", "take parts of drin away, and the model is text"),
    ],
)
def test_what_cannot_be_ablated_is_refused(names: str, model: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        layered_config(flags={"model.name": model}, ablate=names)
    assert message in str(raised.value)
    assert raised.value.where == "--ablate"


def test_an_unknown_edge_in_a_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no edge 'xx'") as raised:
        read_config({"model": {"name": "drin", "without": "xx"}})
    assert raised.value.where == "model.without"
