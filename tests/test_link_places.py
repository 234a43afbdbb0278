"""``drin-fs link`` where an encoder is left out, and where the store is on a web server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from tests.link_for_tests import write_run
from tests.range_server import RangeServer, serving

SENTENCE = "Then [[Michael Jordan]] scored."


@pytest.fixture(scope="module")
def run_of(golden_stores: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Runs of a model on the WikiMEL store."""

    def write(name: str) -> Path:
        folder = tmp_path_factory.mktemp("runs") / name
        return write_run(folder, golden_stores("wikimel"), {"name": name})

    return write


def linked(capsys: pytest.CaptureFixture[str], run: Path, *options: str) -> Any:
    assert main(["link", str(run), "--sentence", SENTENCE, "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


# none ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "part", "option"),
    [("text", "text", "--text-encoder"), ("image", "image", "--image-encoder")],
)
def test_none_is_no_name_on_the_hub(
    model: str, part: str, option: str, run_of: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["link", str(run_of(model)), "--sentence", SENTENCE, option, "none"]) == 2
    assert capsys.readouterr().err == (
        f"error: the run's model reads features of the {part} encoder, which {option} none leaves "
        f"out\n  where: {option} none\n"
        f"  next:  leave {option} out to take the one that made the store, or name a folder (one "
        "called none: ./none)\n"
    )


def test_a_model_goes_on_without_an_encoder_that_it_does_not_read(
    run_of: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of("image")
    without = ["--text-encoder", "none", "--clip", "none"]
    assert linked(capsys, run, *without) == linked(capsys, run)


# a store elsewhere --------------------------------------------------------------------------------


@pytest.fixture
def server(
    golden_stores: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RangeServer]:
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    monkeypatch.setenv("DRIN_FS_CACHE", str(tmp_path / "cache"))
    with serving(golden_stores("wikimel")) as running:
        yield running


def test_answers_from_a_store_on_a_server_are_those_of_the_file(
    run_of: Any, server: RangeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of("drin")
    command = ["link", str(run), "--sentence", SENTENCE, "--detector", "none", "--json"]
    answers = []
    for place in ([], ["--store", server.url]):
        assert main([*command, *place]) == 0
        printed = capsys.readouterr()
        answers.append(json.loads(printed.out))
    assert answers[0]["answers"]
    assert answers[0] == answers[1]
    assert f"{server.url}: " in printed.err
    assert server.requests > 1


def test_many_mentions_are_linked_with_a_store_on_a_server(
    run_of: Any, server: RangeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = tmp_path / "mentions.jsonl"
    line = {"sentence": SENTENCE, "candidates": ["Georgia (country)", "Michael Jordan"]}
    lines.write_text("".join(json.dumps(line) + "\n" for _ in range(3)), encoding="utf-8")
    command = ["link", str(run_of("text")), "--input", str(lines), "--store", server.url]
    assert main([*command, "-o", "-"]) == 0
    answers = [json.loads(each)["answers"] for each in capsys.readouterr().out.splitlines()]
    assert [len(each) for each in answers] == [2, 2, 2]


def test_a_store_on_a_server_must_be_that_of_the_run(
    run_of: Any,
    golden_stores: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    monkeypatch.setenv("DRIN_FS_CACHE", str(tmp_path / "cache"))
    run = run_of("text")
    with serving(golden_stores("wikidiverse")) as other:
        assert main(["link", str(run), "--sentence", SENTENCE, "--store", other.url]) == 3
    assert "this is not the store the run was trained from" in capsys.readouterr().err
