"""What is done on a GPU alone: CUDA graphs. Skipped where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from linker.batch import Batch
from linker.config_text import read_config
from linker.graphed import Graphed
from linker.losses import triplet_loss
from linker.models import model_class
from linker.models.base import Model
from linker.train import train
from tests.model_batches import IMAGE_WIDTH, TEXT_WIDTH, random_batch
from tests.runs_for_tests import QUICK, QuickRun

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

#: Each kind of model that is recorded.
RECORDED: dict[str, tuple[str, dict[str, Any]]] = {
    "drin": ("drin", {}),
    "drin-vector": ("drin", {"edge_kind": "vector"}),
    "drin-static": ("drin", {"edge_update": "static", "edges": ("tt", "it")}),
    "text": ("text", {}),
    "image": ("image", {}),
}


def built(name: str, options: dict[str, Any]) -> Model[Any]:
    network, config = model_class(name)
    torch.manual_seed(0)
    model = network(
        config=config.model_validate(options), text_width=TEXT_WIDTH, image_width=IMAGE_WIDTH
    )
    return model.cuda().train()


def scored(model: Model[Any], scores: torch.Tensor, batch: Batch) -> list[torch.Tensor]:
    """The scores, and the gradient of each weight."""
    model.zero_grad()
    triplet_loss(scores, batch.answer, retrieved=batch.retrieved).backward()
    gradients = [weight.grad for weight in model.parameters()]
    assert all(gradient is not None for gradient in gradients)
    return [scores.detach().clone(), *(g.clone() for g in gradients if g is not None)]


@pytest.mark.parametrize("kind", RECORDED)
@pytest.mark.parametrize("low", [False, True], ids=["float32", "bfloat16"])
def test_a_graph_gives_the_scores_and_gradients_of_the_network(kind: str, low: bool) -> None:
    model = built(*RECORDED[kind])
    assert model.recordable
    graphed = Graphed(model)
    tolerance = {"rtol": 0.02, "atol": 0.02} if low else {"rtol": 1e-4, "atol": 1e-6}
    # the second has the form of the first, the third needs a graph of its own
    for seed, entities in enumerate((11, 40, 600, 11)):
        batch = random_batch(seed=seed, entities=entities).to("cuda")
        with torch.autocast("cuda", torch.bfloat16, enabled=low):
            wanted = scored(model, model(batch), batch)
            found = scored(model, graphed(batch), batch)
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, **tolerance)


def test_a_graph_reads_the_weights_as_they_are() -> None:
    model = built("drin", {})
    graphed = Graphed(model)
    batch = random_batch().to("cuda")
    before = graphed(batch).detach().clone()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.1)
    after = graphed(batch).detach().clone()
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, model(batch), rtol=1e-4, atol=1e-6)


def test_recording_takes_no_random_numbers() -> None:
    model = built("text", {})
    torch.manual_seed(5)
    expected = torch.rand(3, device="cuda")
    torch.manual_seed(5)
    Graphed(model)(random_batch().to("cuda"))
    assert torch.equal(torch.rand(3, device="cuda"), expected)


def test_gradients_of_several_batches_add_up() -> None:
    model = built("drin", {})
    graphed = Graphed(model)
    batches = [random_batch(seed=seed).to("cuda") for seed in (0, 1)]

    def added(score: Any) -> list[torch.Tensor]:
        model.zero_grad()
        for batch in batches:
            triplet_loss(score(batch), batch.answer, retrieved=batch.retrieved).backward()
        return [w.grad.clone() for w in model.parameters() if w.grad is not None]

    for one, other in zip(added(graphed), added(model), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_run_reads_ahead_while_graphs_are_recorded(quick: QuickRun, tmp_path: Path) -> None:
    config = {**QUICK, "epochs": 3, "cuda_graphs": True, "device": "cuda"}
    with_graphs = train(quick.store, read_config(config), run=tmp_path / "graphs")
    plain = train(
        quick.store, read_config({**config, "cuda_graphs": False}), run=tmp_path / "plain"
    )
    assert with_graphs["valid"]["mrr"] == pytest.approx(plain["valid"]["mrr"], abs=0.05)
