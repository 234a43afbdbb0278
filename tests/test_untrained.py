"""Models without weights: their scores, scoring them on a store, and the list of all models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import featurestore
from cli.main import main
from featurestore.errors import ConfigError, FieldMissing, StoreError, UnknownId
from linker.baseline import evaluate_untrained
from linker.config import TrainConfig
from linker.config_text import read_config
from linker.evaluate import evaluate
from linker.matching import IMAGE_FIELDS, TEXT_FIELDS, match_model
from linker.models import MODELS, list_models
from linker.models.untrained import (
    BertConfig,
    BertCosine,
    CandidateOrder,
    CandidatesConfig,
    ClipConfig,
    ClipZeroShot,
)
from linker.recorded import RecordedRun
from linker.report import run_table
from linker.report_rows import read_table
from linker.run_folder import RunError, RunFolder
from linker.train import train
from tests.model_batches import FEATURES, IMAGE_WIDTH, TEXT_WIDTH, random_batch
from tests.naive_parts import cosine
from tests.runs_for_tests import QUICK
from tests.stores_for_tests import planted_store

# scores --------------------------------------------------------------------------------------


def test_candidates_rank_as_they_were_retrieved() -> None:
    batch = random_batch()
    model = CandidateOrder(config=CandidatesConfig(), text_width=None, image_width=None)
    assert model(batch).tolist() == 5 * [[0, -1, -2, -3, -4, -5, -6]]


@pytest.mark.parametrize("mention", ["span", "cls"])
@pytest.mark.parametrize("entity", ["text", "cls"])
def test_bert_is_the_cosine_of_the_vectors_it_names(mention: str, entity: str) -> None:
    batch = random_batch()
    config = BertConfig.model_validate({"mention": mention, "entity": entity})
    scores = BertCosine(config=config, text_width=TEXT_WIDTH, image_width=None)(batch)
    mentions = batch.need(f"mention_text_{mention}")
    entities = batch.need("entity_text" if entity == "text" else "entity_text_cls")
    for b, row in enumerate(batch.candidates.tolist()):
        expected = torch.stack([cosine(mentions[b], entities[u]) for u in row])
        torch.testing.assert_close(scores[b], expected)


def test_clip_scores_are_the_stored_similarities_or_their_sum() -> None:
    batch = random_batch()
    image_text, text_image = batch.need("sim_image_text"), batch.need("sim_text_image")
    expected = {"image-text": image_text, "text-image": text_image, "sum": image_text + text_image}
    for pair, scores in expected.items():
        config = ClipConfig.model_validate({"pair": pair})
        model = ClipZeroShot(config=config, text_width=None, image_width=None)
        assert torch.equal(model(batch), scores)


def test_candidates_say_nothing_about_the_gold_slot_of_protocol_paper() -> None:
    batch = random_batch()
    model = CandidateOrder(config=CandidatesConfig(), text_width=None, image_width=None)
    strict = replace(batch, candidates=batch.candidates[:, :-1], retrieved=6)
    assert torch.equal(model(batch)[:, :6], model(strict))


# on a store ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted_store(tmp_path_factory.mktemp("planted") / "planted.h5")


def config_of(name: str, options: dict[str, Any] | None = None, **values: Any) -> TrainConfig:
    return read_config({"model": {"name": name, **(options or {})}, **values})


def test_the_figures_of_candidates_are_those_of_the_stored_order(planted: Path) -> None:
    figures = evaluate_untrained(planted, config_of("candidates"), splits=["valid", "test"])
    with featurestore.open(planted) as store:
        for split in ("valid", "test"):
            rows = store.mentions.split(split)
            answer = store.mentions.gather("answer", np.arange(rows.start, rows.stop))
            rank = np.where(answer < 6, answer + 1.0, np.inf)
            assert figures[split]["hits@5"] == np.mean(rank <= 5)
            assert figures[split]["mrr"] == pytest.approx(np.mean(1 / rank))


@pytest.mark.parametrize("pair", ["image-text", "text-image", "sum"])
def test_the_figures_of_clip_are_those_of_the_stored_similarities(planted: Path, pair: str) -> None:
    figures = evaluate_untrained(planted, config_of("clip", {"pair": pair}))
    with featurestore.open(planted) as store:
        rows = store.mentions.split("test")
        fields = {"image-text": ["sim_image_text"], "text-image": ["sim_text_image"]}
        names = fields.get(pair, ["sim_image_text", "sim_text_image"])
        read = [store.mentions.gather(n, np.arange(rows.start, rows.stop)) for n in names]
        answer = store.mentions.gather("answer", np.arange(rows.start, rows.stop))
    best = np.sum([values.astype(np.float32) for values in read], axis=0)[:, :6].argmax(axis=1)
    assert figures["test"]["hits@1"] == np.mean(best == answer)
    assert figures["test"]["hits@1"] > 0.5, "the planted pictures tell namesakes apart"


def test_figures_say_what_they_depend_on(planted: Path) -> None:
    figures = evaluate_untrained(planted, config_of("clip", protocol="paper"))
    assert figures["model"] == "clip"
    assert figures["protocol"] == "paper"
    assert figures["options"] == {"pair": "sum"}
    assert figures["seed"] is None
    assert "epochs" not in figures
    assert figures["store"]["path"] == str(planted.resolve())


@pytest.mark.parametrize("name", [n for n, (network, _) in MODELS.items() if not network.learns])
def test_the_gold_slot_of_protocol_paper_changes_no_figure(planted: Path, name: str) -> None:
    strict, paper = (
        evaluate_untrained(planted, config_of(name, protocol=protocol))["test"]
        for protocol in ("strict", "paper")
    )
    assert strict == paper


def test_every_batch_field_of_a_width_is_known_by_it() -> None:
    batch = random_batch()
    widths = {name: batch.need(name).shape[-1] for name in FEATURES - {"texts"}}
    assert {n for n, width in widths.items() if width == TEXT_WIDTH} == set(TEXT_FIELDS)
    assert {n for n, width in widths.items() if width == IMAGE_WIDTH} == set(IMAGE_FIELDS)


def test_a_model_has_no_width_of_what_it_does_not_read(planted: Path) -> None:
    with featurestore.open(planted) as store:
        for name, reads in {
            "clip": (False, False),
            "bert": (True, False),
            "image": (False, True),
        }.items():
            match = match_model(config_of(name).model, store, pooling="auto")
            assert (match.text_width is not None, match.image_width is not None) == reads


def test_each_model_needs_its_own_fields_alone(tmp_path: Path) -> None:
    texts = {f"mentions/text_{n}" for n in ("span", "cls", "tokens")}
    store = planted_store(tmp_path / "no-text.h5", without=texts)
    for name in ("candidates", "clip"):
        assert evaluate_untrained(store, config_of(name))["test"]["mentions"] == 40
    with pytest.raises(FieldMissing, match="model bert reads mention_text_span"):
        evaluate_untrained(store, config_of("bert"))


def test_a_model_of_pictures_learns_from_a_store_without_texts(tmp_path: Path) -> None:
    texts = {f"{t}/text_{n}" for t in ("mentions", "entities") for n in ("span", "cls", "mean")}
    store = planted_store(tmp_path / "no-text.h5", without=texts)
    summary = train(store, config_of("image", **QUICK), run=tmp_path / "run")
    assert summary["test"]["hits@1"] > 0.5


def test_what_cannot_be_scored_is_refused(planted: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="model drin learns, so it needs a run") as raised:
        evaluate_untrained(planted, config_of("drin"))
    assert "bert, clip, candidates" in raised.value.what
    with pytest.raises(StoreError, match="this is a folder") as folder:
        evaluate_untrained(tmp_path, config_of("bert"))
    assert "a RUN is evaluated without --model" in folder.value.hint
    with pytest.raises(UnknownId, match="no split 'dev'"):
        evaluate_untrained(planted, config_of("bert"), splits=["dev"])
    with pytest.raises(RunError, match="this is a file") as file:
        evaluate(planted)
    assert "drin-fs evaluate STORE --model NAME" in file.value.hint


def test_what_has_no_weights_is_not_trained(planted: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="model clip has no weights") as raised:
        train(planted, config_of("clip"), run=tmp_path / "run")
    assert raised.value.hint.endswith(f"drin-fs evaluate {planted} --model clip")
    assert not (tmp_path / "run").exists()


# run folders and tables ----------------------------------------------------------------------


def test_a_filed_run_holds_what_a_report_needs_and_no_checkpoint(
    planted: Path, tmp_path: Path
) -> None:
    run = tmp_path / "clip"
    config = config_of("clip", {"pair": "text-image"})
    summary = evaluate_untrained(planted, config, splits=["valid", "test"], run=run)
    files = {str(p.relative_to(run)) for p in run.rglob("*")}
    assert files == {
        *("README.md", "config.yaml", "environment.json", "summary.json"),
        *("ranks", "ranks/valid.csv", "ranks/test.csv"),
        *("scores", "scores/valid.npy", "scores/test.npy"),
    }
    assert RunFolder(run).read_summary() == summary
    assert read_config(RunFolder(run).read_config()) == config
    again = evaluate(run, tie_rule="optimistic")
    assert again["options"] == {"pair": "text-image"}
    assert again["test"] == summary["test"]  # no ties


def test_a_filed_run_is_replaced_only_on_request(planted: Path, tmp_path: Path) -> None:
    run = tmp_path / "bert"
    evaluate_untrained(planted, config_of("bert"), run=run)
    with pytest.raises(ConfigError, match="the run folder is not empty") as raised:
        evaluate_untrained(planted, config_of("clip"), run=run)
    assert "--overwrite" in raised.value.hint
    assert "--resume" not in raised.value.hint
    assert RunFolder(run).read_summary()["model"] == "bert"
    evaluate_untrained(planted, config_of("clip"), run=run, overwrite=True)
    assert RunFolder(run).read_summary()["model"] == "clip"


def test_untrained_models_stand_beside_trained_ones(planted: Path, tmp_path: Path) -> None:
    trained, untrained = tmp_path / "text", tmp_path / "clip"
    train(planted, config_of("text", **{**QUICK, "epochs": 1}), run=trained)
    summary = evaluate_untrained(planted, config_of("clip"), run=untrained)
    table = read_table([RecordedRun(trained), RecordedRun(untrained)])
    assert [row.model for row in table.rows] == ["text", "clip (sum)"]
    assert [row.seeds for row in table.rows] == [(0,), (None,)]
    assert [list(row.cells) for row in table.rows] == [["valid", "test"], ["test"]]
    caption = str(run_table(summary).caption)
    assert caption.startswith("clip (sum); ")
    assert "seed" not in caption


# commands ------------------------------------------------------------------------------------


def test_the_command_scores_files_and_reports(
    planted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tmp_path / "clip")
    arguments = ["evaluate", "--model", "clip", str(planted), "--set", "model.pair=image-text"]
    conditions = ["--ties", "pessimistic", "--denominator", "retrieved", "--protocol", "paper"]
    assert main([*arguments, *conditions, "-o", run, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures == RunFolder(run).read_summary()
    assert (figures["options"], figures["protocol"]) == ({"pair": "image-text"}, "paper")
    assert (figures["tie_rule"], figures["denominator"]) == ("pessimistic", "retrieved")
    assert {"valid", "test"} <= figures.keys(), "a filed run has both splits"
    assert main([*arguments, "--split", "valid", "--json"]) == 0
    assert "test" not in json.loads(capsys.readouterr().out)
    assert main(["report", run]) == 0
    assert "clip (image-text)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a RUN folder, or a STORE with --model NAME"),
        (["s.h5", "--set", "model.pair=sum"], "--set needs --model NAME and a STORE"),
        (["runs/x", "-o", "runs/y"], "-o needs --model NAME and a STORE"),
        (["runs/x", "--overwrite"], "--overwrite needs --model NAME and a STORE"),
        (["s.h5", "--model", "bert", "--store", "t.h5"], "--store is for a RUN, without --model"),
        (["s.h5", "--model", "bert", "--other-store"], "--other-store is for a RUN"),
        (["s.h5", "--model", "bort"], "did you mean 'bert'?"),
        (["s.h5", "--model", "text"], "model text learns"),
    ],
)
def test_options_of_the_other_use_are_usage_errors(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *arguments]) == 2
    assert message in capsys.readouterr().err


# the list ------------------------------------------------------------------------------------


def test_the_list_says_what_each_model_reads_and_whether_it_learns() -> None:
    lines = {line.name: line for line in list_models()}
    flags = {n: (x.learns, x.reads_texts, x.reads_pictures) for n, x in lines.items()}
    assert flags["drin"] == (True, True, True)
    assert flags["text"] == (True, True, False)
    assert flags["image"] == (True, False, True)
    assert flags["bert"] == (False, True, False)
    assert flags["clip"] == (False, True, True)
    assert flags["candidates"] == (False, False, False)


@pytest.mark.parametrize(
    "arguments", [["train", "--model"], ["evaluate", "--model"], ["train", "s.h5", "--model"]]
)
def test_model_without_a_name_lists_the_models(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    rows = {line.split()[0]: line for line in printed.out.splitlines() if line.strip()}
    assert rows.keys() >= MODELS.keys()
    assert rows["clip"].split()[-3:] == ["–", "yes", "yes"]
    assert main([*arguments, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [model["name"] for model in listed] == list(MODELS)


def test_model_with_a_name_may_stand_before_the_store(
    planted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--model", "jmel", str(planted), "--print-config"]) == 0
    assert "name: jmel" in capsys.readouterr().out
