"""``docs/own-dataset.md``: every command of the page runs, in order, and prints what the page shows."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest

import featurestore
from cli.main import main
from tests.own_wiki import own_wiki

PAGE = Path(__file__).parent.parent / "docs" / "own-dataset.md"


class Step(NamedTuple):
    """The commands of a block, and the lines that the page shows below it."""

    commands: list[str]
    shown: list[str]


def steps() -> list[Step]:
    page = PAGE.read_text(encoding="utf-8")
    found: list[Step] = []
    for kind, block in re.findall(r"^```(sh|text)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        if kind == "sh":
            found.append(Step(block.replace("\\\n", " ").strip().splitlines(), []))
        else:
            found[-1].shown.extend(block.strip().splitlines())
    return found


def plain(text: str) -> str:
    """Words with one blank between them: what a table's width does not change."""
    return " ".join(text.split())


def run(command: str, wiki: str) -> int:
    program, *arguments = shlex.split(command.replace('"$WIKI"', wiki))
    assert program == "drin-fs"
    return main(arguments)


def test_every_command_of_the_page_runs_and_prints_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    first, *rest = steps()
    assert len(rest) == 8
    for command in first.commands:
        assert run(command, "") == 0
    with own_wiki(Path("sample", "wiki")) as wiki:
        for step in rest:
            capsys.readouterr()
            for command in step.commands:
                assert run(command, wiki.api) == 0, (command, capsys.readouterr().err)
            output = plain(capsys.readouterr().out)
            for line in step.shown:
                assert plain(line) in output, (step.commands, line)
    with featurestore.open(Path("own.h5")) as store:
        assert len(store.mentions) == 59
        assert len(store.entities) == 22


def test_the_page_shows_a_line_of_the_sample_and_a_row_that_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    first, titles, mentions, *_ = steps()
    for command in first.commands + titles.commands:
        assert run(command, "") == 0
    page = plain(PAGE.read_text(encoding="utf-8"))
    lines = Path("sample", "mentions.jsonl").read_text(encoding="utf-8").splitlines()
    assert plain(lines[2]) in page
    items = [json.loads(line) for line in lines]
    assert len({item["document"] for item in items}) == 20
    capsys.readouterr()
    assert run(f"{mentions.commands[0]} --strict", "") == 3
    told = re.findall(r"line \d+, mention: .*", capsys.readouterr().err)
    assert len(told) == 1
    assert plain(told[0]) in page
    assert not Path("own", "mentions.jsonl").exists()


def test_equal_options_write_equal_samples(tmp_path: Path) -> None:
    options = ["--layout", "own", "--mentions", "20", "--entities", "18"]
    for name in ("a", "b"):
        assert main(["sample", str(tmp_path / name), *options]) == 0
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*")]
    assert len(files) > 40
    for name in files:
        one, other = tmp_path / "a" / name, tmp_path / "b" / name
        assert one.is_dir() or one.read_bytes() == other.read_bytes(), name
