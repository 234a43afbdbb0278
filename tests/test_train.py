"""Training: what is learned, that it can be repeated and continued, and what stops it."""

from __future__ import annotations

import re
import shutil
import signal
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import yaml

import featurestore
from cli.main import main
from featurestore.errors import ConfigError, FieldMissing, UnknownId
from linker.config_layers import layered_config
from linker.config_text import read_config
from linker.diagnosis import TrainingDiverged, diagnosed
from linker.evaluate import evaluate
from linker.job import prepare_job
from linker.run_folder import RunError
from linker.train import train
from tests.flips import flip
from tests.runs_for_tests import (
    QUICK,
    QuickRun,
    Recording,
    figures_of,
    read_csv,
    without_clock,
)
from tests.stores_for_tests import planted_store

#: Dropout, so that a wrong random number anywhere shows.
WITH_DROPOUT: dict[str, Any] = {
    "model": {
        "name": "drin",
        "mention_text": "transformer",
        "transformer_layers": 1,
        "transformer_heads": 2,
        "transformer_feedforward": 8,
    },
    **QUICK,
    "epochs": 4,
}


# what is learned ----------------------------------------------------------------------------------


def test_drin_finds_what_text_alone_cannot(quick: QuickRun, tmp_path: Path) -> None:
    text = {**QUICK, "model": {"name": "text"}}
    alone = train(quick.store, read_config(text), run=tmp_path / "text")
    assert quick.summary["edges"] == ["tt", "ti", "it", "ii"]
    assert quick.summary["test"]["hits@1"] > alone["test"]["hits@1"] + 0.25
    assert alone["test"]["hits@1"] < 0.6  # three entities share a name


def test_mentions_without_their_gold_count_as_misses_or_not_at_all(quick: QuickRun) -> None:
    found = quick.summary["test"]["retrieved"]
    assert found < quick.summary["test"]["mentions"] == 40
    assert quick.summary["test"]["hits@20"] == found / 40
    assert quick.summary["test"]["mean_rank"] is None
    among_found = evaluate(quick.folder, denominator="retrieved")["test"]
    assert among_found["hits@20"] == 1.0
    assert 1.0 <= among_found["mean_rank"] <= 6.0


def test_the_paper_protocol_trains_with_nil_golds_and_says_so(
    quick: QuickRun, tmp_path: Path
) -> None:
    progress = Recording()
    config = read_config({**QUICK, "epochs": 1, "protocol": "paper"})
    summary = train(quick.store, config, run=tmp_path / "run", progress=progress)
    with featurestore.open(quick.store) as store:
        nil = {
            name: sum(store.mentions[row]["gold"] == -1 for row in rows)
            for name, rows in store.mentions.splits.items()
        }
    assert summary["empty_gold_slots"] == nil
    assert nil["train"] > 0
    assert any(
        line.startswith(f"{nil['train']} training mentions have a gold") for line in progress.lines
    )


def test_mixed_precision_trains(quick: QuickRun, tmp_path: Path) -> None:
    config = read_config({**QUICK, "epochs": 1, "precision": "bf16-mixed"})
    assert train(quick.store, config, run=tmp_path / "run")["valid"]["mrr"] > 0.2


# the same again -----------------------------------------------------------------------------------


def test_two_runs_of_one_configuration_agree_in_every_figure(
    quick: QuickRun, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    one = train(quick.store, read_config(WITH_DROPOUT), run=tmp_path / "one")
    torch.manual_seed(2)  # what happened before in the process does not matter
    two = train(quick.store, read_config({**WITH_DROPOUT, "workers": 1}), run=tmp_path / "two")
    assert without_clock(one) == without_clock(two)
    assert figures_of(tmp_path / "one/metrics.csv") == figures_of(tmp_path / "two/metrics.csv")
    assert_same_weights(tmp_path / "one", tmp_path / "two")


def assert_same_weights(one: Path, two: Path) -> None:
    for name in ("last", "best"):
        states = [
            torch.load(run / f"checkpoints/{name}.ckpt", weights_only=True)["state_dict"]
            for run in (one, two)
        ]
        for key, value in states[0].items():
            assert torch.equal(value, states[1][key]), f"{name} {key}"


def test_another_seed_gives_another_run(quick: QuickRun, tmp_path: Path) -> None:
    train(quick.store, read_config({**QUICK, "epochs": 1, "seed": 1}), run=tmp_path / "run")
    one, two = (read_csv(run / "metrics.csv")[0] for run in (quick.folder, tmp_path / "run"))
    assert one["train_loss"] != two["train_loss"]


def test_training_leaves_the_random_state_of_the_process_alone(
    quick: QuickRun, tmp_path: Path
) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    train(quick.store, read_config({**QUICK, "epochs": 1}), run=tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_interrupted_and_resumed_run_equals_an_uninterrupted_one(
    quick: QuickRun, tmp_path: Path
) -> None:
    config = read_config(WITH_DROPOUT)
    whole = train(quick.store, config, run=tmp_path / "whole")
    progress = Recording(interrupt_after=2 * (96 + 40) + 50)  # within the third epoch
    on_interrupt = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(quick.store, config, run=tmp_path / "parts", progress=progress)
    assert signal.getsignal(signal.SIGINT) is on_interrupt
    assert progress.lines[-1].startswith("stopped after epoch 2; continue with --resume")
    assert len(read_csv(tmp_path / "parts/metrics.csv")) == 2

    progress = Recording()
    resumed = train(quick.store, config, run=tmp_path / "parts", resume=True, progress=progress)
    assert progress.done == progress.total == 2 * (96 + 40)
    assert without_clock(resumed) == without_clock(whole)
    assert figures_of(tmp_path / "parts/metrics.csv") == figures_of(tmp_path / "whole/metrics.csv")
    assert_same_weights(tmp_path / "parts", tmp_path / "whole")


def test_a_finished_run_is_resumed_with_more_epochs_or_as_it_is(
    quick: QuickRun, tmp_path: Path
) -> None:
    train(quick.store, read_config({**QUICK, "epochs": 2}), run=tmp_path / "run")
    again = train(
        quick.store, read_config({**QUICK, "epochs": 2}), run=tmp_path / "run", resume=True
    )
    assert again["epochs"] == 2
    longer = train(
        quick.store, read_config({**QUICK, "epochs": 3}), run=tmp_path / "run", resume=True
    )
    assert longer["epochs"] == 3
    straight = train(quick.store, read_config({**QUICK, "epochs": 3}), run=tmp_path / "straight")
    assert without_clock(longer) == without_clock(straight)


def test_a_resumed_run_must_be_the_same_run(quick: QuickRun, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(quick.store, read_config({**QUICK, "epochs": 2}), run=run)
    with pytest.raises(ConfigError, match=r"other options: lr 0.01 → 0.5"):
        train(quick.store, read_config({**QUICK, "lr": 0.5}), run=run, resume=True)
    with pytest.raises(ConfigError, match="already finished 2 epochs"):
        train(quick.store, read_config({**QUICK, "epochs": 1}), run=run, resume=True)
    other = planted_store(tmp_path / "other.h5", seed=1)
    with pytest.raises(RunError, match="not the store the run was trained from"):
        train(other, read_config(QUICK), run=run, resume=True)


# what goes wrong ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "row", "of"),
    [
        ("mentions/sim_image_text", 37, "mention m37"),
        ("mentions/text_span", 12, "mention m12"),
        ("entities/image_pooled", 20, "entity Q20"),
    ],
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_no_number_names_batch_field_and_row(
    tmp_path: Path, path: str, row: int, of: str, value: float
) -> None:
    store = planted_store(tmp_path / "nan.h5")
    spoil(store, path, row, value)
    with pytest.raises(TrainingDiverged) as raised:
        train(store, read_config({**QUICK, "batch_size": 4}), run=tmp_path / "run")
    error = raised.value
    assert error.exit_code == 1
    assert re.match(r"the loss is (nan|inf|-inf) in epoch 1, batch \d+: ", error.what)
    assert f": {path}[{row}] of {of} is not finite" in error.what
    assert error.where.startswith(f"{store}::/{path}[{row}]; the batch: mentions m")
    assert "ingest again; drin-fs verify" in error.hint


def spoil(store: Path, path: str, row: int, value: float) -> None:
    """Write a number that the writer would refuse into a store."""
    with h5py.File(store, "r+") as file:
        file[path][row, ..., 0] = value


def test_a_loss_that_is_no_number_names_the_weight_that_grew_beyond_all_numbers(
    quick: QuickRun, tmp_path: Path
) -> None:
    config = read_config({**QUICK, "lr": 3e38, "checkpoint_steps": 1})
    with pytest.raises(TrainingDiverged) as raised:
        train(quick.store, config, run=tmp_path / "run")
    assert raised.value.exit_code == 1
    assert re.match(
        r"(the loss is nan in epoch 1, batch \d: its fields are finite, and the weight \S+ no longer is"
        r"|the weight network\.\S+ is not finite any more: nothing was saved, what was there is kept)$",
        raised.value.what,
    )
    assert raised.value.hint == "try a lower --lr, or --precision 32"
    last = tmp_path / "run/checkpoints/last.ckpt"
    if last.exists():
        state = torch.load(last, weights_only=True)["state_dict"]
        assert all(bool(torch.isfinite(value).all()) for value in state.values())


def test_a_batch_of_finite_numbers_says_so(quick: QuickRun) -> None:
    with featurestore.open(quick.store) as store:
        job = prepare_job(store, read_config(QUICK))
        network, reader = job.module().network, job.loader("train").reader
        batch = reader[np.arange(7)].float()
        error = diagnosed("the loss is nan", batch, reader=reader, network=network)
        assert error.what.endswith("all weights are finite, and the computation between overflowed")
        assert error.where == "the batch: mentions m0, m1, m2, m3, m4 and 2 more"
        name, weight = next(iter(network.named_parameters()))
        torch.nn.init.constant_(weight, float("inf"))
        error = diagnosed("the loss is nan", batch, reader=reader, network=network)
        assert (
            error.what
            == f"the loss is nan: its fields are finite, and the weight {name} no longer is"
        )


def test_scores_that_are_no_numbers_stop_the_validation(tmp_path: Path) -> None:
    store = planted_store(tmp_path / "nan.h5", nan_similarity=97)  # a validation mention
    with pytest.raises(TrainingDiverged, match=r"scores NaN in epoch 1.*\[97\] of mention m97"):
        train(store, read_config({**QUICK, "batch_size": 4}), run=tmp_path / "run")


def test_edges_the_store_cannot_serve_are_off_and_reported(tmp_path: Path) -> None:
    without = {"entities/objects", "entities/object_scores"}
    store = planted_store(tmp_path / "less.h5", without=without)
    progress = Recording()
    run = tmp_path / "run"
    config = read_config({**QUICK, "epochs": 1})
    summary = train(store, config, run=run, progress=progress)
    reason = "the store has no entities/object_scores, entities/objects (made by --detector)"
    assert summary["edges"] == ["tt", "ti", "it"]
    assert summary["edges_off"] == {"ii": reason}
    assert progress.lines[0] == f"WARNING: edge ii of drin is off: {reason}"
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["edges"] == ["tt", "ti", "it"]
    resumed = train(store, config, run=run, resume=True)
    assert resumed["edges_off"] == {"ii": reason}


def test_a_preset_insists_on_its_edges(tmp_path: Path) -> None:
    store = planted_store(tmp_path / "less.h5", without={"entities/objects"})
    config = layered_config(preset_name="drin-wikimel")
    with pytest.raises(FieldMissing, match="edge ii of model drin reads entity_objects"):
        train(store, config, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_store_without_a_validation_split_is_refused_before_anything_is_made(
    tmp_path: Path,
) -> None:
    store = planted_store(tmp_path / "no-valid.h5", splits={"train": 30, "test": 10})
    with pytest.raises(UnknownId, match="no split 'valid'"):
        train(store, read_config(QUICK), run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("splits", [{}, {"test": 0}])
def test_a_store_without_test_mentions_gives_a_summary_without_test_figures(
    tmp_path: Path, splits: dict[str, int]
) -> None:
    store = planted_store(tmp_path / "no-test.h5", splits={"train": 30, "valid": 10, **splits})
    summary = train(store, read_config({**QUICK, "epochs": 1}), run=tmp_path / "run")
    assert "valid" in summary
    assert "test" not in summary


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize(
    ("options", "what"),
    [({"device": "cuda"}, "finds no CUDA device"), ({"precision": "16-mixed"}, "needs a GPU")],
)
def test_a_device_that_is_not_here_is_refused(
    quick: QuickRun, tmp_path: Path, options: dict[str, str], what: str
) -> None:
    with pytest.raises(ConfigError, match=what):
        train(quick.store, read_config({**QUICK, **options}), run=tmp_path / "run")


def test_damage_is_noticed_while_training_if_asked_for(
    quick: QuickRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Path(shutil.copy(quick.store, tmp_path / "s.h5"))
    with featurestore.open(store) as opened:
        extent = opened.entities.stored("text_mean").extent
    assert extent is not None
    flip(store, extent.offset + 5, 1)
    command = ["train", str(store), "--epochs", "1", "-o"]
    assert main([*command, str(tmp_path / "unnoticed")]) == 0
    capsys.readouterr()
    assert main([*command, str(tmp_path / "noticed"), "--verify-reads"]) == 3
    message = capsys.readouterr().err
    assert "bytes are not what was written" in message
    assert f"{store}::/entities/text_mean[0 " in message
    assert "drin-fs repair" in message
