"""Accumulation, clipping and averaging do what their formulas say: against loops written out by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import featurestore
from featurestore import Store
from linker.averaging import decay_at
from linker.config_text import read_config
from linker.evaluate import evaluate
from linker.job import Job, prepare_job
from linker.losses import triplet_loss
from linker.schedules import factor_of, updates_of_run
from linker.train import train
from linker.trainer import reproducible
from tests.runs_for_tests import QUICK, QuickRun, read_csv

#: 5 batches an epoch, the last of 16 mentions.
CONFIG: dict[str, Any] = {**QUICK, "model": {"name": "drin", "layers": 1}, "batch_size": 20}

Weights = dict[str, Tensor]


@pytest.fixture
def store(quick: QuickRun) -> Iterator[Store]:
    with featurestore.open(quick.store) as opened:
        yield opened


def by_hand(job: Job) -> Iterator[Weights]:
    """The weights after every update of a run without dropout, as a loop over batches has them."""
    config = job.config
    with reproducible(config.seed, job.device):
        network = job.module().network
    adam = torch.optim.Adam(network.parameters(), lr=config.lr, fused=True)
    updates = updates_of_run(config, mentions=len(job.rows("train")))
    factor, update = factor_of(config.schedule, updates), 0
    loader = job.loader("train", shuffled=True)
    for epoch in range(config.epochs):
        loader.requests.set_epoch(epoch)
        for index, batch in enumerate(loader):
            loss = triplet_loss(
                network(batch.float()),
                batch.answer,
                retrieved=batch.retrieved,
                negatives=config.loss.negatives,
                margin=config.loss.margin,
            )
            (loss / config.accumulate).backward()
            if (index + 1) % config.accumulate and index + 1 < len(loader):
                continue
            _clip(network, config.clip, config.clip_by)
            adam.param_groups[0]["lr"] = config.lr * factor(update)
            adam.step()
            adam.zero_grad()
            update += 1
            yield {name: value.clone() for name, value in network.state_dict().items()}
    assert update == updates


def _clip(network: nn.Module, bound: float | None, by: str) -> None:
    gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
    if bound is None:
        return
    if by == "value":
        for gradient in gradients:
            gradient.clamp_(-bound, bound)
        return
    norm = float(torch.cat([gradient.flatten() for gradient in gradients]).norm())
    for gradient in gradients:
        gradient.mul_(min(1.0, bound / norm))


def assert_close(found: Weights, wanted: Weights) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=name)


def last_weights(run: Path, key: str = "state_dict") -> Weights:
    state = torch.load(run / "checkpoints/last.ckpt", weights_only=True)[key]
    return {name.removeprefix("network."): value for name, value in state.items()}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate": 2},
        {"clip": 0.02},
        {"clip": 0.001, "clip_by": "value"},
        {"accumulate": 3, "clip": 0.02, "schedule": {"kind": "linear", "warmup": 2}},
    ],
)
def test_training_is_the_loop_written_out(
    store: Store, tmp_path: Path, options: dict[str, Any]
) -> None:
    config = read_config({**CONFIG, "epochs": 2, **options})
    train(store.path, config, run=tmp_path / "run")
    *_, wanted = by_hand(prepare_job(store, config))
    assert_close(last_weights(tmp_path / "run"), wanted)
    if options:
        *_, plain = by_hand(prepare_job(store, read_config({**CONFIG, "epochs": 2})))
        assert any(not torch.allclose(wanted[name], plain[name], atol=1e-5) for name in plain)


@pytest.mark.parametrize("ramp", [True, False])
def test_the_average_is_the_formula_of_the_weights_of_every_update(
    store: Store, tmp_path: Path, ramp: bool
) -> None:
    config = read_config(
        {**CONFIG, "epochs": 2, "accumulate": 2, "ema": {"decay": 0.6, "ramp": ramp}}
    )
    run = tmp_path / "run"
    train(store.path, config, run=run)
    average: Weights = {}
    for number, weights in enumerate(by_hand(prepare_job(store, config))):
        if not number:
            average = weights
            continue
        kept = min(0.6, (1 + number) / (10 + number)) if ramp else 0.6
        average = {name: kept * average[name] + (1 - kept) * weights[name] for name in weights}
    assert_close(last_weights(run), average)
    assert_close(last_weights(run, "current_model_state"), weights)


def test_what_is_validated_kept_and_tested_is_the_average(store: Store, tmp_path: Path) -> None:
    config = read_config({**CONFIG, "epochs": 3, "ema": {"decay": 0.95, "ramp": False}})
    plain = train(store.path, read_config({**CONFIG, "epochs": 3}), run=tmp_path / "plain")
    run = tmp_path / "run"
    summary = train(store.path, config, run=run)
    best_epoch = read_csv(run / "metrics.csv")[summary["best_epoch"] - 1]
    assert summary["valid"]["mrr"] == float(best_epoch["valid_mrr"]) != plain["valid"]["mrr"]
    best = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    kept = load_file(run / "checkpoints/best.safetensors")
    for name, value in kept.items():
        assert torch.equal(value, best["state_dict"][f"network.{name}"])
    assert any(
        not torch.equal(value, best["current_model_state"][f"network.{name}"])
        for name, value in kept.items()
    )
    assert evaluate(run)["test"] == summary["test"]


def test_an_average_does_not_change_what_is_trained(store: Store, tmp_path: Path) -> None:
    for name, options in (("plain", {}), ("average", {"ema": {"decay": 0.9}})):
        train(store.path, read_config({**CONFIG, "epochs": 2, **options}), run=tmp_path / name)
    plain = last_weights(tmp_path / "plain")
    trained = last_weights(tmp_path / "average", "current_model_state")
    assert all(torch.equal(value, trained[name]) for name, value in plain.items())


def test_the_ramp_ends_at_the_decay() -> None:
    shares = [decay_at(update, decay=0.5, ramp=True) for update in range(1, 12)]
    assert shares[0] == 2 / 11
    assert shares == sorted(shares)
    assert shares[-1] == 0.5
    assert decay_at(1, decay=0.5, ramp=False) == 0.5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gradients_of_float16_are_clipped_on_a_gpu(store: Store, tmp_path: Path) -> None:
    options = {"precision": "16-mixed", "clip": 0.02, "accumulate": 2, "ema": {"decay": 0.9}}
    config = read_config({**CONFIG, "epochs": 2, "device": "cuda", **options})
    assert train(store.path, config, run=tmp_path / "run", profile=True)["valid"]["mrr"] > 0.2
