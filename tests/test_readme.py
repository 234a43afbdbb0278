"""What the README and the Makefile tell people to type is what the program takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from cli.main import COMMANDS
from featurestore.ingest import ingest
from featurestore.sources.sample import write_sample

ROOT = Path(__file__).parent.parent


def commands_in(path: Path) -> list[str]:
    """Every ``drin-fs`` command of a text file, continued lines joined, comments dropped."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ").replace("$(BIN)/", "")
    lines = re.findall(r"^[ \t]+(drin-fs .*)$", text, flags=re.MULTILINE)
    return [line.partition("  #")[0] for line in lines]


#: The lines that describe the commands rather than use them: ``drin-fs ingest    build …``.
DESCRIPTIONS = re.compile(r"drin-fs \w+ {2,}\w")


@pytest.mark.parametrize(
    "line",
    [
        line
        for name in ("README.md", "Makefile")
        for line in commands_in(ROOT / name)
        if not DESCRIPTIONS.match(line)
    ],
)
def test_a_command_that_is_shown_is_understood(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    COMMANDS[name].load(name).make_context(name, arguments)


def test_commands_are_found_in_the_readme() -> None:
    assert len(commands_in(ROOT / "README.md")) > 8


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    write_sample(tmp_path / "raw", layout="preprocessed", mentions=40, entities=40)
    (tmp_path / "demo").mkdir()
    ingest(tmp_path / "raw", tmp_path / "demo" / "sample.h5")
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    assert "[0 1 2]" in capsys.readouterr().out
