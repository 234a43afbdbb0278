"""Whole runs with ``--text online``: repeated, continued, scored again, shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import featurestore
from cli.main import main
from featurestore.errors import ConfigError, EncoderError
from featurestore.options import IngestOptions
from linker.checkpoint import Place, load_weights, read_place
from linker.config_text import read_config
from linker.data import BatchReader
from linker.evaluate import evaluate
from linker.job import prepare_job
from linker.link import Linker
from linker.recorded import RecordedRun
from linker.report_rows import read_table
from linker.run_folder import RunFolder
from linker.train import train
from tests.golden_for_tests import ENCODERS, RAW, TEXT_ONLY
from tests.link_for_tests import scores_by_position, stored_mention
from tests.runs_for_tests import Recording, figures_of, without_clock

QUICK: dict[str, Any] = {
    "model": {"name": "text"},
    "epochs": 3,
    "batch_size": 8,
    "lr": 0.01,
    "metrics": {"ks": [1, 3]},
}
FROZEN: dict[str, Any] = {**QUICK, "text": {"source": "online"}}
#: Parts of a few texts, so that there is more than one to a batch.
FINETUNED: dict[str, Any] = {
    **QUICK,
    "text": {"source": "online", "finetune": True, "lr": 1e-3, "batch_tokens": 300},
}


@pytest.fixture(scope="module")
def store(store_of: Callable[[Path, IngestOptions], Path]) -> Path:
    """The golden WikiMEL, its texts alone."""
    return store_of(RAW / "wikimel", TEXT_ONLY)


@pytest.fixture(scope="module")
def frozen(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frozen") / "run"
    train(store, read_config(FROZEN), run=folder)
    return folder


@pytest.fixture(scope="module")
def finetuned(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finetuned") / "run"
    train(store, read_config(FINETUNED), run=folder)
    return folder


def figures(folder: Path) -> list[dict[str, str]]:
    return figures_of(folder / "metrics.csv")


def encoder_weights(folder: Path) -> dict[str, torch.Tensor]:
    weights = load_file(RunFolder(folder).best_weights)
    return {name: value for name, value in weights.items() if name.startswith("text.encoder.")}


def test_a_frozen_run_has_the_figures_of_a_stored_one(
    store: Path, frozen: Path, tmp_path: Path
) -> None:
    train(store, read_config(QUICK), run=tmp_path / "stored")
    for one, other in zip(figures(frozen), figures(tmp_path / "stored"), strict=True):
        values = [{key: float(value) for key, value in row.items()} for row in (one, other)]
        assert values[0] == pytest.approx(values[1], abs=1e-5)


def test_a_finetuned_run_learns_something_else(frozen: Path, finetuned: Path) -> None:
    losses = [[float(row["train_loss"]) for row in figures(run)] for run in (frozen, finetuned)]
    assert losses[0][-1] != pytest.approx(losses[1][-1], abs=1e-4)
    assert not encoder_weights(frozen)
    learnt = encoder_weights(finetuned)
    pretrained = load_file(ENCODERS / "bert" / "model.safetensors")
    name = "embeddings.word_embeddings.weight"
    assert not torch.equal(learnt[f"text.encoder.{name}"], pretrained[name])
    assert set(learnt) == {f"text.encoder.{name}" for name in pretrained}


@pytest.mark.parametrize("split", ["valid", "test"])
@pytest.mark.parametrize("kind", ["frozen", "finetuned"])
def test_evaluate_repeats_the_figures_of_the_summary(
    kind: str, split: str, request: pytest.FixtureRequest
) -> None:
    run = request.getfixturevalue(kind)
    summary = RunFolder(run).read_summary()
    again = evaluate(run, split=split)
    assert again[split] == summary[split]
    assert again["text"] == summary["text"] == f"online, {kind.replace('tuned', '-tuned')}"


@pytest.mark.parametrize("values", [FROZEN, FINETUNED], ids=["frozen", "finetuned"])
def test_a_run_resumed_within_an_epoch_equals_an_uninterrupted_one(
    store: Path, tmp_path: Path, values: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    whole = request.getfixturevalue("frozen" if values is FROZEN else "finetuned")
    folder = tmp_path / "run"
    with featurestore.open(store) as opened:
        train_size, valid_size = (len(opened.mentions.split(name)) for name in ("train", "valid"))
    stopped = Recording(interrupt_after=train_size + valid_size + 2 * QUICK["batch_size"])
    with pytest.raises(KeyboardInterrupt):
        train(store, read_config({**values, "checkpoint_steps": 1}), run=folder, progress=stopped)
    assert read_place(RunFolder(folder).last) == Place(epochs=1, batches=1)
    summary = train(store, read_config(values), run=folder, resume=True)
    assert without_clock(summary) == without_clock(RunFolder(whole).read_summary())
    assert figures(folder) == figures(whole)
    one, two = (load_file(RunFolder(each).best_weights) for each in (folder, whole))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_workers_read_the_same_batches(store: Path, finetuned: Path, tmp_path: Path) -> None:
    train(store, read_config({**FINETUNED, "workers": 1}), run=tmp_path / "run")
    assert figures(tmp_path / "run") == figures(finetuned)


def test_a_run_cannot_be_continued_with_another_text_source(store: Path, finetuned: Path) -> None:
    with pytest.raises(ConfigError, match="started with other options: text"):
        train(store, read_config(FROZEN), run=finetuned, resume=True)


def test_a_run_says_which_encoder_it_had_and_refuses_another(
    store: Path, finetuned: Path, tmp_path: Path
) -> None:
    config = RunFolder(finetuned).read_config()
    assert config["text"]["encoder"] == str(ENCODERS / "bert")
    recorded = RunFolder(finetuned).read_environment()["text_encoder"]
    assert "model.safetensors" in recorded["files"]
    folder = RunFolder(tmp_path / "run")
    train(store, read_config({**FROZEN, "epochs": 1}), run=folder.path)
    environment = folder.read_environment()
    environment["text_encoder"]["files"]["model.safetensors"] = "0" * 64
    folder.environment.write_text(json.dumps(environment))
    with pytest.raises(EncoderError, match="not the text encoder that the run was trained with"):
        evaluate(folder.path)


def test_a_summary_counts_what_was_trained(frozen: Path, finetuned: Path) -> None:
    few, many = (RunFolder(run).read_summary()["parameters"] for run in (frozen, finetuned))
    assert few == sum(value.numel() for value in load_file(RunFolder(frozen).best_weights).values())
    learnt = sum(
        value.numel() for name, value in encoder_weights(finetuned).items() if "pooler" not in name
    )
    assert many == few + learnt


def test_a_table_says_how_texts_were_encoded(frozen: Path, finetuned: Path) -> None:
    table = read_table([RecordedRun(frozen), RecordedRun(finetuned)])
    labels = [row.model for row in table.rows]
    assert labels == ["text, text online, frozen", "text, text online, fine-tuned"]


def test_the_flags_reach_the_configuration(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--text", "online", "--finetune", "--entity-text", "name", "--set", "text.lr=0.001"]
    arguments = ["train", str(store), "--model", "text", "--epochs", "1", "-o", str(tmp_path / "r")]
    assert main([*arguments, *flags, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == "online, fine-tuned, entity name"
    section = RunFolder(tmp_path / "r").read_config()["text"]
    assert (section["finetune"], section["entity"], section["lr"]) == (True, "name", 0.001)
    assert main(["train", str(store), "--finetune"]) == 2
    assert "--finetune needs --text online" in capsys.readouterr().err


@pytest.mark.parametrize("chunk", [64, 2])  # more than there are mentions, or fewer: kept entities
@pytest.mark.parametrize("kind", ["frozen", "finetuned"])
def test_linking_a_mention_of_the_store_gives_its_own_scores(
    kind: str, chunk: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(request.getfixturevalue(kind))
    monkeypatch.setattr("linker.link.BATCH", chunk)
    with Linker.from_run(folder.path) as linker:
        rows = list(linker.store.mentions.split("test"))
        mentions = [stored_mention(linker.store, row, RAW / "wikimel") for row in rows]
        linked = scores_by_position(linker.link(mentions, top=100))
        job = prepare_job(linker.store, read_config(folder.read_config()))
        network = job.module().network.eval()
        load_weights(network, folder.best_weights)
        assert job.online is not None
        texts = job.online.reader(job.match.made, with_entities=True)
        reader = BatchReader(store=job.store, paths=job.match.paths, protocol="strict", texts=texts)
        with torch.inference_mode():
            expected = network(reader[np.array(rows)].float()).numpy()
    assert len(rows) > 2
    assert np.ptp(expected, axis=1).min() > 1e-3  # the candidates can be told apart
    np.testing.assert_allclose(linked, expected, atol=1e-5)


def test_full_kb_is_refused_where_training_makes_the_features(frozen: Path) -> None:
    with pytest.raises(ConfigError, match="makes those of texts itself"):
        evaluate(frozen, protocol="full-kb")
