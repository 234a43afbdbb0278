"""What the README and the Makefile tell people to type is what the program takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from cli.main import COMMANDS
from featurestore.ingest import ingest
from featurestore.sources.sample import write_sample
from linker.config_layers import layered_config

ROOT = Path(__file__).parent.parent


def commands_in(path: Path) -> list[str]:
    """Every ``drin-fs`` command of a text file, continued lines joined, comments dropped."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ").replace("$(BIN)/", "")
    lines = re.findall(r"^[ \t]+(drin-fs .*)$", text, flags=re.MULTILINE)
    return [line.partition("  #")[0] for line in lines]


def commands_in_tables(path: Path) -> list[str]:
    """Every command of a table's cell: a whole one, of a table that says what to type."""
    rows = [line for line in path.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    return [command for row in rows for command in re.findall(r"`(drin-fs [^`]*)`", row)]


#: The lines that describe the commands rather than use them: ``drin-fs ingest    build …``.
DESCRIPTIONS = re.compile(r"drin-fs \w+ {2,}\w")


@pytest.mark.parametrize(
    "line",
    [
        line
        for name in ("README.md", "Makefile", "docs/reproduce.md")
        for line in commands_in(ROOT / name)
        if not DESCRIPTIONS.match(line)
    ]
    + commands_in_tables(ROOT / "docs" / "reproduce.md"),
)
def test_a_command_that_is_shown_is_understood(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    COMMANDS[name].load(name).make_context(name, arguments)


def test_commands_are_found_in_the_pages() -> None:
    assert len(commands_in(ROOT / "README.md")) > 8
    assert len(commands_in_tables(ROOT / "docs" / "reproduce.md")) > 16


@pytest.mark.parametrize("line", commands_in_tables(ROOT / "docs" / "reproduce.md"))
def test_a_published_figure_has_the_conditions_that_the_page_says(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    given = COMMANDS[name].load(name).make_context(name, arguments).params
    if name == "train":
        config = layered_config(preset_name=given["preset"], ablate=given["ablate"])
    elif name == "evaluate":
        flags = {
            "model.name": given["model"],
            "protocol": given["protocol"],
            "metrics.tie_rule": given["tie_rule"],
            "metrics.denominator": given["denominator"],
        }
        config = layered_config(settings=given["settings"], flags=flags)
    else:
        return
    wikidiverse = "wikidiverse.h5" in line
    assert (config.protocol, config.metrics.tie_rule) == ("paper", "optimistic")
    assert config.metrics.denominator == ("retrieved" if wikidiverse else "all")
    assert config.metrics.ks[:4] == ((1, 3, 5) if wikidiverse else (1, 5, 10, 20))


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    write_sample(tmp_path / "raw", layout="preprocessed", mentions=40, entities=40)
    (tmp_path / "demo").mkdir()
    ingest(tmp_path / "raw", tmp_path / "demo" / "sample.h5")
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    assert "[0 1 2]" in capsys.readouterr().out
