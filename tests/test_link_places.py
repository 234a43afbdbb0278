"""``drin-fs link`` where an encoder is left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from tests.link_for_tests import write_run

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
