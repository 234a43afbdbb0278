"""Configurations, run folders and mentions that a stranger wrote: what is said of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from featurestore.errors import ConfigError
from linker.config_layers import layered_config, parse_setting
from linker.config_text import to_yaml
from linker.link_mentions import MentionError, MentionInput
from linker.run_folder import RunError, RunFolder
from linker.yaml_text import MOST_CHARACTERS, read_file, read_value

QUOTES = "put quotes around what is to be a text"


def error_of(path: Path, text: str) -> ConfigError:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        layered_config(file=path)
    return caught.value


# YAML -----------------------------------------------------------------------------------------------


def test_an_alias_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    laughs = "a: &a [x, x]\nb: &b [*a, *a]\n"
    error = error_of(path, laughs)
    assert error.what == "not YAML (*a stands for another value: write that value itself)"
    assert error.where == f"{path}:2"
    assert "stands for another value" in error_of(path, "a: &a {b: *a}\n").what
    assert "stands for another value" in error_of(path, "a: &a {b: 1}\nc: {<<: *a}\n").what


@pytest.mark.parametrize("text", ["[" * 21, "{a: " * 21, "\n  " + "- " * 3000 + "x", "{? " * 25])
def test_depth_is_bounded(tmp_path: Path, text: str) -> None:
    assert "nested more than 20 levels" in error_of(tmp_path / "c.yaml", f"a: {text}").what


@pytest.mark.parametrize(
    "value",
    ["2001-99-99", "2001-01-01T25:61:61Z", "!!int x", "!!float x", "!!bool x", "!!timestamp x",
     "9" * 5000, "0x" + "f" * 5000, str(2**63)],
)  # fmt: skip
def test_a_value_that_is_not_what_it_looks_like_is_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "c.yaml"
    error = error_of(path, f"epochs: {value}\n")
    assert error.what.startswith("not YAML (a value that cannot be read: ")
    assert (error.where, error.hint) == (str(path), QUOTES)
    with pytest.raises(ConfigError, match="a value that cannot be read") as caught:
        parse_setting(f"epochs={value}")
    assert (caught.value.where, caught.value.hint) == ("--set epochs", QUOTES)


@pytest.mark.parametrize("value", ["!!python/object/apply:os.mkdir [x]", "!!python/name:os.system"])
def test_no_object_is_made(tmp_path: Path, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    error = error_of(tmp_path / "c.yaml", f"epochs: {value}\n")
    assert "could not determine a constructor for the tag" in error.what
    assert not (tmp_path / "x").exists()


def test_length_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    error = error_of(path, "# " + "c" * MOST_CHARACTERS)
    assert error.what == "50,002 characters, of 50,000 that are read"
    assert error.hint == "give a configuration as drin-fs train --print-config prints it"
    assert "bytes is no configuration" in error_of(path, "é" * 4 * MOST_CHARACTERS).what
    assert len(to_yaml(layered_config(preset_name="drin-wikimel"))) * 4 < MOST_CHARACTERS


def test_what_is_plain_is_read() -> None:
    assert read_value("{a: [1, 2.5, x, null, true], b: {c: ''}}", where="here") == {
        "a": [1, 2.5, "x", None, True],
        "b": {"c": ""},
    }


@pytest.mark.parametrize("name", ["null", "{name: {a: 1}}", "[drin]", "{name: [1]}"])
def test_a_model_that_is_no_name_is_said(tmp_path: Path, name: str) -> None:
    error = error_of(tmp_path / "c.yaml", f"model: {name}\n")
    assert ", not a name" in error.what
    assert (error.where, error.hint) == ("model.name", "drin-fs train --model lists the models")


def test_a_long_value_is_shown_in_part(tmp_path: Path) -> None:
    error = error_of(tmp_path / "c.yaml", f"epochs: {'x' * 9000}\n")
    assert error.what.startswith("epochs is 'xxx")
    assert len(error.what) < 400


def test_what_is_no_text_is_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot read the configuration") as caught:
        read_file(tmp_path / "c.yaml")
    assert caught.value.where == str(tmp_path / "c.yaml")


# runs -----------------------------------------------------------------------------------------------


@pytest.fixture
def run(quick: Any, tmp_path: Path) -> Path:
    """A finished run, free to be damaged."""
    return Path(shutil.copytree(quick.folder, tmp_path / "run"))


def damaged(path: Path) -> RunError:
    folder = RunFolder(path.parent)
    with pytest.raises(RunError) as caught:
        folder.read_summary() if path.name == "summary.json" else folder.read_environment()
    assert caught.value.where == str(path)
    assert (
        caught.value.hint
        == "put the file back from a copy, or start the run again with --overwrite"
    )
    return caught.value


@pytest.mark.parametrize("name", ["summary.json", "environment.json"])
@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "no JSON (Expecting value"),
        (b"[" * 5000, "no JSON ("),
        (b'{"store": 1}', "store: Input should be"),
        (b"[]", "Input should be"),
        (b"\xff", "can't decode byte 0xff"),
        (b'{"a": ' * 30 + b"1" + b"}" * 30, "nested more than 20 levels"),
    ],
)
def test_a_file_of_a_run_that_is_damaged_is_named(
    run: Path, name: str, content: bytes, what: str
) -> None:
    (run / name).write_bytes(content)
    error = damaged(run / name)
    assert error.what.startswith(f"{name} of the run is damaged (")
    assert what in error.what or (name, what) == ("summary.json", "store: Input should be")


@pytest.mark.parametrize(
    ("place", "value", "what"),
    [
        (("test",), None, "test: Input should be a valid dictionary"),
        (("test", "mentions"), None, "test: Value error, mentions missing"),
        (("test", "hits@x"), 0.5, "test.hits@x.[key]: String should match pattern"),
        (("test", "mrr"), "good", "test.mrr: Input should be"),
        (("seed",), "1", "seed: Input should be a valid integer"),
        (("store", "sentences"), [], "store.sentences: Input should be a valid dictionary"),
        (("changed",), {"a": {"b": 1}}, "changed.a"),
    ],
)
def test_a_figure_that_is_none_is_named(
    run: Path, place: tuple[str, ...], value: object, what: str
) -> None:
    path = run / "summary.json"
    summary = json.loads(path.read_text())
    inner = summary
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path.write_text(json.dumps(summary))
    assert f"summary.json of the run is damaged ({what}" in damaged(path).what


def test_the_report_of_a_damaged_run_is_a_message(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "summary.json").write_text("{")
    assert main(["report", str(run)]) == 3
    shown = capsys.readouterr().err
    assert "error: summary.json of the run is damaged (no JSON" in shown
    assert "next:  put the file back from a copy, or start the run again with --overwrite" in shown


def test_runs_of_which_one_lacks_a_digest_are_compared(run: Path, quick: Any) -> None:
    path = run / "summary.json"
    summary = json.loads(path.read_text())
    del summary["store"]["sentences"]["test"]
    path.write_text(json.dumps(summary))
    assert main(["report", str(run), str(quick.folder)]) == 0


def test_a_configuration_of_a_run_is_bounded_too(run: Path) -> None:
    (run / "config.yaml").write_text("a: &a [x]\nb: *a\n")
    with pytest.raises(RunError, match="stands for another value") as caught:
        RunFolder(run).read_config()
    assert caught.value.where == f"{run / 'config.yaml'}:2"


# mentions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "what"),
    [({"candidates": ["\ud800"]}, "a candidate"), ({"id": "\ud800"}, "the id")],
)
def test_half_a_character_is_no_text(given: dict[str, Any], what: str) -> None:
    with pytest.raises(MentionError) as caught:
        MentionInput(sentence="Paris", start=0, end=5, where="in.jsonl:7", **given)
    assert caught.value.what == f"{what} is no text: surrogates not allowed"
    assert caught.value.where == "in.jsonl:7"
