"""``drin-fs inspect``: harmless strings, readable numbers, JSON, pipes, no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import featurestore
from cli.console import clean, figure, size
from cli.main import main
from cli.render import overview
from cli.render_row import entity_view, mention_view
from featurestore.describe import describe_entity, describe_mention
from featurestore.schema import IMAGE_STATUS
from featurestore.summary import summarise
from tests.hdf5_edits import edited
from tests.terminal import shown
from tests.tiny_store import PROVENANCE, SIZES, TinyStore, write_tiny_store


def inspect_json(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Any:
    assert main(["inspect", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


# strings of unknown origin ----------------------------------------------------------------------

HOSTILE = "\x1b[31mred\x07 [bold]x[/bold] [/] :smile: \x9b2J a\nb\u202e"


def test_markup_and_terminal_commands_of_a_store_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    change = {
        "entities/title": [HOSTILE] * 8,
        "entities/description": [HOSTILE] * 8,
        "entities/image_path": [HOSTILE] * 8,
        "entities/id": [f"{HOSTILE}{i}" for i in range(8)],
        "mentions/id": [f"{HOSTILE}{i}" for i in range(10)],
        "mentions/sentence": [HOSTILE] * 10,
        "mentions/topic": [HOSTILE] * 10,
    }
    tiny = write_tiny_store(tmp_path / "s.h5", change=change)
    with edited(tiny.path) as file:
        file.attrs["dataset"] = HOSTILE
        notes = PROVENANCE | {"notes": [HOSTILE], "encoders": {HOSTILE: {"name": HOSTILE}}}
        file.attrs["provenance"] = json.dumps(notes)
    with featurestore.open(tiny.path) as store:
        views = [overview(summarise(store)), mention_view(describe_mention(store, 0)),
                 entity_view(describe_entity(store, 0))]  # fmt: skip
    for view in views:
        text = shown(view, width=300)
        for character in "\x1b\x07\x9b\u202e":
            assert character not in text
        assert "\\x1b[31mred\\x07 [bold]x[/bold] [/] :smile: \\x9b2J a b\\u202e" in text


@given(st.text())
def test_cleaning_leaves_nothing_that_a_terminal_obeys(text: str) -> None:
    shown_text = clean(text)
    assert shown_text.replace("\u200c", "").replace("\u200d", "").isprintable()
    if text.isprintable():
        assert shown_text == text


def test_spelling_that_needs_invisible_joiners_is_kept() -> None:
    assert clean("می\u200cخواهم") == "می\u200cخواهم"


def test_json_holds_the_strings_as_they_are_and_no_terminal_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5", change={"entities/title": [f"é{HOSTILE}"] * 8})
    assert main(["inspect", str(tiny.path), "--entity", "Q100", "--json"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out)["title"] == f"é{HOSTILE}"
    assert "é" in out
    for character in "\x1b\x07\x9b\u202e":
        assert character not in out


# numbers for people -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (9_994, "9.99 kB"), (9_996, "10.0 kB"),
     (99_960, "100 kB"), (999_600, "1.00 MB"), (1_270_000_000, "1.27 GB"), (10**16, "10000 TB")],
)  # fmt: skip
def test_sizes_have_three_figures(number: int, text: str) -> None:
    assert size(number) == text


@given(st.floats(-9e30, 9e30))
def test_figures_are_short_and_true(value: float) -> None:
    text = figure(value)
    assert len(text) <= 9
    assert float(text) == pytest.approx(value, rel=0.06, abs=5e-4 if abs(value) >= 1e-3 else 0)


# the command ------------------------------------------------------------------------------------


def test_json_is_the_whole_summary(tiny: TinyStore, capsys: pytest.CaptureFixture[str]) -> None:
    found = inspect_json(capsys, tiny.path)
    assert found["dataset"] == "tiny"
    assert found["candidates"] == SIZES["K"]
    assert found["provenance"] == PROVENANCE
    assert [split["name"] for split in found["splits"]] == ["train", "valid", "test"]
    assert set(found["splits"][0]["recall"]) == {"1", "4"}
    entities = next(table for table in found["tables"] if table["name"] == "entities")
    assert set(entities["pictures"]) == set(IMAGE_STATUS)
    tokens = next(field for field in entities["fields"] if field["name"] == "text_tokens")
    assert (tokens["shape"], tokens["chunks"]) == ([8, 7, 6], [1, 7, 6])


def test_json_of_a_mention_and_of_an_entity(
    tiny: TinyStore, capsys: pytest.CaptureFixture[str]
) -> None:
    by_id = inspect_json(capsys, tiny.path, "--mention", "m6-0", "--top", "2")
    assert by_id == inspect_json(capsys, tiny.path, "--mention", "6", "--top", "2")
    assert (by_id["row"], by_id["split"], by_id["span"]) == (6, "valid", [12, 17])
    assert len(by_id["candidates"]) in (2, 3)
    entity = inspect_json(capsys, tiny.path, "--entity", "Q103")
    assert (entity["row"], entity["title"]) == (3, "Title № 3 é")


def test_a_value_that_is_no_number_is_null_in_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    similarities = np.full((10, SIZES["C"]), np.nan, np.float32)
    tiny = write_tiny_store(tmp_path / "s.h5", change={"mentions/sim_image_text": similarities})
    found = inspect_json(capsys, tiny.path, "--mention", "0")
    assert found["candidates"][0]["sim_image_text"] is None


def test_a_mention_and_an_entity_at_once_are_a_usage_error(
    tiny: TinyStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(tiny.path), "--mention", "0", "--entity", "0"]) == 2
    assert "give one of them" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mention", "m33-0"], "nearest ids: m3-0"),
        (["--entity", "77"], "no id '77', and no row of that number"),
    ],
)
def test_what_is_not_in_the_store_is_a_data_problem(
    tiny: TinyStore, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["inspect", str(tiny.path), *arguments]) == 3
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_a_pipe_gets_plain_lines_that_are_not_cut(tmp_path: Path) -> None:
    sentence = "Here stands name0, " + "and so on " * 40
    change = {"mentions/sentence": [sentence] * 10, "mentions/char_end": np.full(10, 17, np.int32)}
    tiny = write_tiny_store(tmp_path / "s.h5", change=change)
    for arguments in ([], ["--mention", "0"], ["--entity", "0"]):
        command = [sys.executable, "-m", "cli", "inspect", str(tiny.path), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert "\x1b" not in done.stdout
        assert done.stderr == ""
        assert all(line == line.rstrip() for line in done.stdout.splitlines())
        if "--mention" in arguments:
            assert sentence.replace("name0", "⟦name0⟧").rstrip() in done.stdout


WITHOUT_TORCH = """
import sys
for name in ("torch", "transformers", "lightning", "torchvision", "PIL"):
    sys.modules[name] = None
from cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("arguments", "word"),
    [([], "bert-base-cased"), (["--mention", "m1-0"], "⟦name1⟧"), (["--entity", "3"], "Q103")],
)
def test_inspect_works_where_torch_is_not_installed(
    tiny: TinyStore, arguments: list[str], word: str
) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, "inspect", str(tiny.path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert word in done.stdout
