"""Configurations: their layers, what is refused and how, and that they survive being written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from cli.main import main
from cli.train import train as train_command
from featurestore.errors import ConfigError
from linker.config import Section, TextSection, TrainConfig
from linker.config_layers import layered_config, merged, parse_setting, preset_notes
from linker.config_text import FLAGS, known_keys, read_config, to_yaml
from linker.models import MODELS
from linker.presets import PRESETS, preset, preset_sources


def refused(values: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as raised:
        read_config(values)
    assert raised.value.exit_code == 2
    return str(raised.value)


# layers -------------------------------------------------------------------------------------------


def test_later_layers_win(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("epochs: 7\nlr: 0.5\nseed: 1\nloss: {margin: 0.1}\n")
    config = layered_config(
        preset_name="drin-wikimel",
        file=file,
        settings=["lr=0.25", "seed=2", "model.layers=3"],
        flags={"seed": 3, "epochs": None, "model.name": "drin"},
    )
    assert (config.batch_size, config.protocol) == (64, "paper")  # the preset
    assert (config.epochs, config.loss.margin) == (7, 0.1)  # the file
    assert config.loss.negatives == "batch"  # the preset, beside the file's margin
    assert (config.lr, config.model.options.model_dump()["layers"]) == (0.25, 3)  # --set
    assert config.seed == 3  # the flag


def test_the_configuration_of_a_resumed_run_lies_below_all_layers() -> None:
    config = layered_config(start={"epochs": 4, "lr": 0.1}, flags={"epochs": 9})
    assert (config.epochs, config.lr) == (9, 0.1)


def test_another_model_drops_the_options_of_the_one_below() -> None:
    config = layered_config(preset_name="drin-wikimel", flags={"model.name": "text"})
    assert config.model.model_dump() == {"name": "text", "width": None}
    assert merged({"model": {"name": "drin", "layers": 3}}, {"model": {"name": "drin"}}) == {
        "model": {"name": "drin", "layers": 3}
    }


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a.b=3", {"a": {"b": 3}}),
        ("lr=1e-4", {"lr": "1e-4"}),  # YAML 1.1 wants 1.0e-4; the number is read later
        ("edges=tt,ti", {"edges": ["tt", "ti"]}),
        ("edges=[tt, ti]", {"edges": ["tt", "ti"]}),
        ("edges=[]", {"edges": []}),
        ("width=null", {"width": None}),
        ("text=a=b", {"text": "a=b"}),
    ],
)
def test_a_setting_is_a_key_and_a_yaml_value(text: str, values: dict[str, Any]) -> None:
    assert parse_setting(text) == values


@pytest.mark.parametrize(
    ("text", "where"), [("epochs", "--set"), ("=3", "--set"), ("a=[1", "--set a")]
)
def test_a_malformed_setting_is_refused(text: str, where: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_setting(text)
    assert raised.value.where == where


def test_single_values_stand_for_lists_of_one() -> None:
    config = layered_config(settings=["model.edges=tt", "metrics.ks=1", "lr=1e-4", "precision=32"])
    assert config.model.options.model_dump()["edges"] == ("tt",)
    assert (config.metrics.ks, config.lr, config.precision) == ((1,), 1e-4, "32")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("epochs: [", "not YAML"),
        ("- 1\n- 2\n", "a configuration is a mapping"),
        ("\0", "not YAML"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, content: str, what: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=what) as raised:
        layered_config(file=file)
    assert str(file) in raised.value.where


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        layered_config(file=tmp_path / "none.yaml")


# what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "near"),
    [
        ({"epoch": 3}, "epochs"),
        ({"batchsize": 3}, "batch_size"),
        ({"layers": 3}, "model.layers"),
        ({"margin": 0.2}, "loss.margin"),
        ({"model": {"name": "drin", "layer": 3}}, "model.layers"),
        ({"metrics": {"tierule": "expected"}}, "metrics.tie_rule"),
    ],
)
def test_an_unknown_key_suggests_the_near_one(values: dict[str, Any], near: str) -> None:
    message = refused(values)
    assert message.startswith("unknown key ")
    assert message.endswith(f"next:  did you mean {near}?")


def test_an_unknown_key_like_no_other_lists_the_keys() -> None:
    assert "next:  keys: model, protocol, candidates, entity_pooling" in refused({"zzz": 1})


@pytest.mark.parametrize(
    ("values", "what", "change"),
    [
        ({"lr": "fast"}, "lr is 'fast': input should be a valid number", "--lr"),
        ({"epochs": 0}, "epochs is 0: input should be greater than or equal to 1", "--epochs"),
        ({"precision": "64"}, "precision is '64': input should be '32'", "--precision"),
        ({"loss": {"margin": -1}}, "loss.margin is -1", "--set loss.margin=…"),
        ({"model": {"edges": ["tt", "xx"]}}, "model.edges is 'xx'", "--set model.edges=…"),
    ],
)
def test_a_wrong_value_names_the_option_to_change(
    values: dict[str, Any], what: str, change: str
) -> None:
    message = refused(values)
    assert message.startswith(what)
    assert message.endswith(f"next:  change it with {change}")


def test_the_selected_figure_must_be_reported() -> None:
    assert "metrics.select is hits@3, but metrics.ks holds only 1, 5" in refused(
        {"metrics": {"ks": [1, 5], "select": "hits@3"}}
    )


def test_the_figure_that_stops_a_run_must_be_reported() -> None:
    assert "stopping.metric is hits@3, but metrics.ks holds only 1, 5, 10, 20" in refused(
        {"stopping": {"metric": "hits@3"}}
    )
    assert read_config({"stopping": {"metric": "hits@20"}}).stopping.metric == "hits@20"


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"schedule": {"warmup": 1.5}}, "schedule.warmup is 1.5: give a whole number of updates"),
        ({"schedule": {"warmup": -1}}, "change it with --warmup"),
        ({"schedule": {"kind": "step"}}, "change it with --schedule"),
        ({"accumulate": 0}, "change it with --accumulate"),
        ({"clip": 0}, "change it with --clip"),
        ({"ema": {"decay": 1}}, "change it with --ema"),
        ({"stopping": {"patience": 0}}, "change it with --patience"),
    ],
)
def test_options_of_the_updates_that_cannot_work_are_refused(
    values: dict[str, Any], what: str
) -> None:
    assert what in refused(values)


def test_an_unknown_model_or_preset_lists_the_choices() -> None:
    assert "the models are bert, candidates, clip, drin" in refused({"model": {"name": "drim"}})
    with pytest.raises(ConfigError, match="no preset 'mine'") as raised:
        preset("mine")
    assert "drin-wikimel, drin-wikidiverse" in str(raised.value)


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        read_config({}).epochs = 3


# written and read back ----------------------------------------------------------------------------


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "model": st.sampled_from(
                [{"name": "text"}, {"name": "drin", "edges": ["it"]}, {"edges": "auto"}]
            ),
            "protocol": st.sampled_from(["strict", "paper"]),
            "lr": st.floats(1e-12, 1e3),
            "precision": st.sampled_from(["32", "bf16-mixed"]),
            "metrics": st.fixed_dictionaries(
                {"ks": st.lists(st.integers(1, 99)).map(lambda k: [1, *k])}
            ),
        },
    )
)
def test_what_is_written_reads_back(values: dict[str, Any]) -> None:
    config = read_config(values)
    assert read_config(yaml.safe_load(to_yaml(config))) == config


def test_edges_are_left_to_the_store_unless_named() -> None:
    assert yaml.safe_load(to_yaml(read_config({})))["model"]["edges"] == "auto"
    named = read_config({"model": {"edges": ["ii", "tt"]}})
    assert yaml.safe_load(to_yaml(named))["model"]["edges"] == ["tt", "ii"]


def test_every_key_is_explained_where_it_is_printed() -> None:
    lines = to_yaml(read_config({})).splitlines()
    for number, line in enumerate(lines):
        if not line.lstrip().startswith(("#", "name:")):
            assert lines[number - 1].lstrip().startswith("#"), line


def sections(section: type[BaseModel]) -> list[type[BaseModel]]:
    inner = [f.annotation for f in section.model_fields.values()]
    found = [s for s in inner if isinstance(s, type) and issubclass(s, Section)]
    return [section, *(s for kind in found for s in sections(kind))]


@pytest.mark.parametrize("options", [TrainConfig, *(config for _, config in MODELS.values())])
def test_every_default_says_where_it_comes_from(options: type[BaseModel]) -> None:
    for section in sections(options):
        for name, field in section.model_fields.items():
            plain = not field.is_required() and not isinstance(field.default, BaseModel)
            if plain and section.__name__ != "ModelChoice":
                assert "Default" in (field.description or ""), f"{section.__name__}.{name}"


# presets and the command line ---------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_whole_configuration_of_the_paper_protocol(name: str) -> None:
    config = layered_config(preset_name=name)
    assert config.protocol == "paper"
    assert config.metrics.tie_rule == "optimistic"
    assert config.model.options.model_dump().get("edges") in (None, ("tt", "ti", "it", "ii"))
    assert not config.model.edges_from_store
    assert name.startswith(f"{config.model.name}-")
    machine = {"seed", "device", "workers", "verify_reads", "compile"}
    machine |= {"checkpoint_minutes", "checkpoint_steps", "cuda_graphs", "devices", "nodes"}
    of_online = {f"text.{key}" for key in TextSection.model_fields if key != "source"}
    of_what_is_off = {"order_block", "schedule.final", "clip_by", "ema.ramp"}
    of_what_is_off |= {"stopping.min_delta", "stopping.metric"}
    not_theirs = of_what_is_off | {"model", "candidates"}  # they see the whole list
    assert set(known_keys(TrainConfig)) - machine - of_online - not_theirs == {
        key for key in flat(preset(name)) if not key.startswith("model.")
    }


def flat(values: dict[str, Any], prefix: str = "") -> set[str]:
    keys: set[str] = set()
    for key, value in values.items():
        keys |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key}
    return keys


@pytest.mark.parametrize("model", [n for n, (network, _) in MODELS.items() if network.learns])
def test_presets_differ_where_the_datasets_do(model: str) -> None:
    wikimel, wikidiverse = (
        layered_config(preset_name=f"{model}-{d}") for d in ("wikimel", "wikidiverse")
    )
    assert (wikimel.metrics.ks, wikimel.metrics.denominator) == ((1, 5, 10, 20, 50), "all")
    assert (wikidiverse.metrics.ks, wikidiverse.metrics.denominator) == ((1, 3, 5), "retrieved")
    assert (wikimel.entity_pooling, wikidiverse.entity_pooling) == ("mean", "pooled")


def test_a_preset_handed_out_is_a_copy() -> None:
    preset("drin-wikimel")["loss"]["margin"] = 9
    assert preset("drin-wikimel")["loss"]["margin"] == 0.25


def test_the_flags_in_error_messages_exist() -> None:
    options = {flag for parameter in train_command.params for flag in parameter.opts}
    assert set(FLAGS.values()) <= options


def test_print_config_prints_what_would_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["train", "--preset", "drin-wikimel", "--epochs", "2", "--print-config"])
    printed = capsys.readouterr()
    assert (status, printed.err) == (0, "")
    config = read_config(yaml.safe_load(printed.out))
    assert config == layered_config(preset_name="drin-wikimel", flags={"epochs": 2})


@pytest.mark.parametrize("name", PRESETS)
def test_print_config_says_where_each_value_of_a_preset_comes_from(name: str) -> None:
    sources = preset_sources(name)
    assert sources.keys() == flat(preset(name)) - {"model.name"}
    config = layered_config(preset_name=name)
    assert preset_notes(name, config) == {key: f"Preset: {of}." for key, of in sources.items()}
    assert to_yaml(config, notes=preset_notes(name, config)).count("Preset:") == len(sources)


def test_a_value_that_is_not_the_presets_is_not_said_to_be() -> None:
    changed = layered_config(preset_name="drin-wikimel", settings=["loss.margin=1"])
    notes = preset_notes("drin-wikimel", changed)
    assert "loss.margin" not in notes
    assert "model.layers" in notes
    other = layered_config(preset_name="drin-wikimel", flags={"model.name": "ghmfc"})
    assert not [key for key in preset_notes("drin-wikimel", other) if key.startswith("model.")]


def test_a_wrong_key_on_the_command_line_is_a_usage_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["train", "--print-config", "--set", "model.layer=2"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "did you mean model.layers?" in printed.err


def test_set_options_stay_when_the_same_command_names_the_model():
    config = layered_config(
        settings=["model.edges=[tt]", "model.width=24"], flags={"model.name": "drin"}
    )
    assert config.model.options.edges == ("tt",)
    assert config.model.options.width == 24
    with pytest.raises(ConfigError, match=r"unknown key model\.layers"):
        layered_config(settings=["model.layers=3"], flags={"model.name": "text"})
