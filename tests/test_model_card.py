"""``RUN/README.md``: what it says, that nothing in it is obeyed, and that a user's own is left alone."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import featurestore
from cli.main import COMMANDS
from featurestore.errors import ConfigError
from featurestore.writer import StoreWriter
from linker.baseline import evaluate_untrained
from linker.card_data import _encoder_rows
from linker.citations import citation
from linker.config_text import read_config
from linker.markdown import block, code, escaped
from linker.model_card import model_card, write_card
from linker.models import MODELS
from linker.run_folder import CARD_MARK, RunFolder
from linker.train import train
from tests.runs_for_tests import QUICK, QuickRun, Recording


def front_matter(text: str) -> dict[str, Any]:
    """What the hub reads."""
    assert text.startswith("---\n")
    values: dict[str, Any] = yaml.safe_load(text[4:].partition("\n---\n")[0])
    return values


def test_a_card_tells_what_the_run_recorded(quick: QuickRun) -> None:
    text = (quick.folder / "README.md").read_text()
    summary = quick.summary
    for said in (
        "# drin on planted",
        f"fingerprint `{summary['store']['fingerprint']}`",
        "36 entities; 176 mentions: train 96, valid 40, test 40",
        "| `layers` | `2` |",
        "| `batch_size` | `16` | `64` |",
        f"{summary['epochs']} epochs of ",
        f"the best is epoch {summary['best_epoch']}, by hits@1",
        "protocol strict: the model sees the retrieved candidates only",
        "drin-fs train planted.h5 --config drin/config.yaml -o drin-again",
        "87.5 % of valid, 87.5 % of test have their gold among them",
        "<https://arxiv.org/abs/2310.05589>",
    ):
        assert said in text, said
    row = re.search(r"^\| test \| (.*) \|$", text, re.MULTILINE)
    assert row is not None
    assert row[1].split(" | ")[0] == f"{100 * summary['test']['hits@1']:.1f}"
    assert row[1].split(" | ")[-2:] == ["40", str(summary["test"]["retrieved"])]
    assert str(quick.store.parent) not in text


def test_the_hub_can_read_the_figures(quick: QuickRun) -> None:
    values = front_matter((quick.folder / "README.md").read_text())
    (model,) = values["model-index"]
    assert model["name"] == "drin-planted"
    assert [each["dataset"]["split"] for each in model["results"]] == ["valid", "test"]
    figures = {each["type"]: each["value"] for each in model["results"][1]["metrics"]}
    assert figures["mrr"] == round(quick.summary["test"]["mrr"], 6)


def test_every_command_of_a_card_is_one_of_ours(quick: QuickRun) -> None:
    lines = re.findall(r"^(drin-fs .*)$", (quick.folder / "README.md").read_text(), re.MULTILINE)
    assert len(lines) == 4
    for line in lines:
        _, command, *arguments = shlex.split(line)
        COMMANDS[command].load(command).make_context(command, arguments)


def test_the_paper_protocol_says_that_answers_leak(quick: QuickRun, tmp_path: Path) -> None:
    config = read_config({**QUICK, "epochs": 1, "model": "text", "protocol": "paper"})
    train(quick.store, config, run=tmp_path / "run")
    assert "the answer may leak" in (tmp_path / "run/README.md").read_text()
    assert "the answer may leak" not in (quick.folder / "README.md").read_text()


def test_a_split_that_was_not_scored_is_named(quick: QuickRun, tmp_path: Path) -> None:
    config = read_config({**QUICK, "epochs": 1, "model": "text"})
    summary = train(quick.store, config, run=tmp_path / "run", score=("valid",))
    text = (tmp_path / "run/README.md").read_text()
    assert "test" not in summary
    assert not (tmp_path / "run/ranks/test.csv").exists()
    assert "the test split was not scored" in text
    assert len(front_matter(text)["model-index"][0]["results"]) == 1


def test_an_untrained_model_has_a_card_that_makes_it_again(quick: QuickRun, tmp_path: Path) -> None:
    config = read_config({"model": {"name": "clip", "pair": "text-image"}})
    evaluate_untrained(quick.store, config, splits=["valid", "test"], run=tmp_path / "clip")
    text = (tmp_path / "clip/README.md").read_text()
    assert "Nothing was trained." in text
    assert "of one seed" not in text
    assert (
        "drin-fs evaluate planted.h5 --model clip --set model.pair=text-image --protocol strict "
        "--ties expected --denominator all -o clip-again"
    ) in text


# ours, and the user's ---------------------------------------------------------------------------


def test_a_card_is_written_anew_and_goes_with_the_run(quick: QuickRun, tmp_path: Path) -> None:
    config, run = read_config({**QUICK, "epochs": 1, "model": "text"}), tmp_path / "run"
    train(quick.store, config, run=run)
    assert "1 epochs of " in (run / "README.md").read_text()
    longer = config.model_copy(update={"epochs": 2})
    train(quick.store, longer, run=run, resume=True)
    assert "2 epochs of " in (run / "README.md").read_text()
    RunFolder(run).discard()
    assert not (run / "README.md").exists()


def test_a_card_of_the_user_is_never_replaced(quick: QuickRun, tmp_path: Path) -> None:
    run, progress = Path(shutil.copytree(quick.folder, tmp_path / "run")), Recording()
    mine = (run / "README.md").read_text().replace(CARD_MARK, "") + "And I say: good.\n"
    (run / "README.md").write_text(mine)
    with featurestore.open(quick.store) as store:
        write_card(RunFolder(run), store, progress=progress)
    assert progress.lines == [
        f"{run / 'README.md'} was not written by drin-fs, and is left as it is"
    ]
    train(quick.store, read_config({**QUICK, "epochs": 1}), run=run, overwrite=True)
    assert (run / "README.md").read_text() == mine
    RunFolder(run).discard()
    assert [path.name for path in run.iterdir()] == ["README.md"]


# hostile stores ---------------------------------------------------------------------------------

HOSTILE = "---\n# <script>alert(1)</script> ![x](http://e.org/a.png) |`*~~~ {{x}} \x1b[31m"


def test_names_of_a_store_are_text_and_nothing_else(quick: QuickRun, tmp_path: Path) -> None:
    run = Path(shutil.copytree(quick.folder, tmp_path / "run"))
    path = tmp_path / "hostile `~~~` [x](y).h5"
    encoder = {"name": HOSTILE, "revision": HOSTILE, "options": {HOSTILE: HOSTILE}}
    with featurestore.open(quick.store) as good, StoreWriter.create(path) as writer:
        writer.table("entities", list(good.entities.ids(range(len(good.entities)))))
        writer.table("mentions", list(good.mentions.ids(range(len(good.mentions)))))
        writer.splits({HOSTILE: range(len(good.mentions))})
        for name in ("candidates", "gold", "answer"):
            values = good.mentions.gather(name, range(len(good.mentions)))
            writer.column(f"mentions/{name}", values)
        writer.publish(dataset=HOSTILE, provenance={"encoders": {HOSTILE: encoder, "x": 3}})
    with featurestore.open(path) as store:
        text = model_card(RunFolder(run), store)
    front_matter(text)
    body = text.split("\n---\n", 1)[1]
    assert "\x1b" not in text
    assert not re.search(r"(?<!\\)<script", re.sub("`[^`]*`", "", body))
    assert not re.search(r"(?<!\\)!\\?\[", re.sub("`[^`]*`", "", body))
    assert sum(line.startswith("# ") for line in body.splitlines()) == 1
    assert sum(line.startswith("~~~") for line in body.splitlines()) == 6


@given(st.text())
def test_escaped_text_is_one_line_without_active_characters(text: str) -> None:
    line = escaped(text)
    assert "\n" not in line
    assert not re.search(r"(?<!\\)(\\\\)*[`*_<>\[\]|]", line)
    assert code(text) == "–" or code(text).strip("`").count("`") == 0
    assert block([text], language="sh").count("~~~") == 2


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["encoders", "name", "files", "options"]), inner)
        ),
    )
)
def test_any_provenance_has_rows(provenance: object) -> None:
    for row in _encoder_rows(provenance):
        assert len(row) == 4
        assert not any("\n" in cell for cell in row)


# citations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_a_model_cites_its_publication(model: str) -> None:
    cited = citation(model)
    if model in ("image", "bert", "candidates"):  # of no publication of their own
        assert cited is None
    else:
        assert cited is not None
        assert re.search(r"et al\., .*[12]\d{3}", cited.text)
        assert ("doi" in cited.text or "arXiv" in cited.text) == bool(cited.url)


def test_an_unknown_model_has_no_citation() -> None:
    with pytest.raises(ConfigError):
        citation("drinn")
