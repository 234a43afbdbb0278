"""What every registered model keeps to, whatever its network: one contract class, inherited."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

import linker.models.layers
from featurestore.errors import ConfigError
from linker.batch import Batch
from linker.losses import triplet_loss
from linker.models import MODELS, model_class
from linker.models.base import Model, ModelConfig
from tests.model_batches import (
    FEATURES,
    IMAGE_WIDTH,
    TEXT_WIDTH,
    blocks_of,
    changed,
    check_shapes,
    every_entity_for_every_mention,
    random_batch,
    select_mentions,
    with_only,
)

Options = dict[str, Any]


class ModelContract:
    """What every model keeps to, whether it learns or not: see the two contracts below."""

    name: ClassVar[str]
    variants: ClassVar[dict[str, Options]]
    #: False only where a score exists for retrieved candidates alone.
    ranks_knowledge_bases: ClassVar[bool] = True

    def config(self, options: Options) -> ModelConfig:
        return model_class(self.name)[1].model_validate(options)

    def requires(self, options: Options) -> frozenset[str]:
        return model_class(self.name)[0].requires(self.config(options))

    def model(self, options: Options) -> Model[Any]:
        """The same weights every time, without dropout."""
        torch.manual_seed(20)
        cls, _ = model_class(self.name)
        config = self.config(options)
        return cls(config=config, text_width=TEXT_WIDTH, image_width=IMAGE_WIDTH).eval()

    def scores(self, options: Options, batch: Batch) -> Tensor:
        with torch.no_grad():
            return self.model(options)(batch)

    def test_every_candidate_gets_one_finite_score(self, options: Options) -> None:
        scores = self.scores(options, random_batch())
        assert scores.shape == (5, 7)
        assert scores.dtype == torch.float32
        assert scores.isfinite().all()
        assert all(len(row.unique()) > 3 for row in scores), "the scores tell candidates apart"

    def test_the_shapes_are_those_annotated(
        self, options: Options, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batch, model = random_batch(), self.model(options)
        expected = model(batch)
        package = f"{linker.models.__name__}."
        check_shapes(
            monkeypatch, *(sys.modules[n] for n in list(sys.modules) if n.startswith(package))
        )
        torch.testing.assert_close(model(batch), expected, rtol=0, atol=0)
        if self.ranks_knowledge_bases:
            whole = every_entity_for_every_mention(batch)
            assert len(list(model.score_in_blocks(lambda: blocks_of(whole, 5)))) == 3

    def test_the_required_features_are_enough(self, options: Options) -> None:
        batch = random_batch()
        required = self.requires(options)
        assert required <= FEATURES
        lean = self.scores(options, with_only(batch, required))
        torch.testing.assert_close(lean, self.scores(options, batch), rtol=0, atol=0)

    def test_each_required_feature_is_read(self, options: Options) -> None:
        required = self.requires(options)
        for name in required:
            with pytest.raises(ValueError, match=f"the batch carries no {name}"):
                self.scores(options, with_only(random_batch(), required - {name}))

    def test_features_taken_as_float16_are_widened_by_the_model(self, options: Options) -> None:
        taken = model_class(self.name)[0].takes_float16
        short = changed(random_batch(), lambda n, t: t.half() if n in taken else t)
        expected = self.scores(options, short.float())
        torch.testing.assert_close(self.scores(options, short), expected, rtol=0, atol=1e-6)

    def test_scores_do_not_depend_on_the_other_mentions(self, options: Options) -> None:
        batch = random_batch()
        together = self.scores(options, batch)
        for row in range(len(batch)):
            alone = self.scores(options, select_mentions(batch, torch.tensor([row])))
            torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-5)

    def test_scores_do_not_depend_on_who_shares_an_entity(self, options: Options) -> None:
        batch = random_batch()
        pairs = batch.candidates.flatten()
        unshared = replace(
            changed(batch, lambda n, t: t[pairs] if n.startswith("entity_") else t),
            candidates=torch.arange(len(pairs)).view_as(batch.candidates),
        )
        expected = self.scores(options, batch)
        torch.testing.assert_close(self.scores(options, unshared), expected, rtol=0, atol=1e-5)

    def test_scores_follow_their_candidates_when_these_are_reordered(
        self, options: Options
    ) -> None:
        batch = random_batch()
        order = torch.randperm(7, generator=torch.Generator().manual_seed(1))
        reordered = replace(
            changed(batch, lambda n, t: t[:, order] if n.startswith("sim_") else t),
            candidates=batch.candidates[:, order],
        )
        expected = self.scores(options, batch)[:, order]
        torch.testing.assert_close(self.scores(options, reordered), expected, rtol=0, atol=1e-5)

    def test_scores_do_not_depend_on_padding(self, options: Options) -> None:
        batch = random_batch()
        count = batch.need("mention_token_count")
        longer = torch.full((5, 16, TEXT_WIDTH), 9.0)
        for row, tokens in enumerate(batch.need("mention_text_tokens")):
            longer[row, : count[row]] = tokens[: count[row]]
        padded = replace(batch, mention_text_tokens=longer)
        expected = self.scores(options, batch)
        torch.testing.assert_close(self.scores(options, padded), expected, rtol=0, atol=1e-5)

    @pytest.mark.parametrize("size", [1, 4, 11])
    def test_scores_in_blocks_are_those_of_all_candidates_at_once(
        self, options: Options, size: int
    ) -> None:
        whole = every_entity_for_every_mention(random_batch())
        with torch.no_grad():
            scores = list(self.model(options).score_in_blocks(lambda: blocks_of(whole, size)))
        assert [s.shape[1] for s in scores[:-1]] == [size] * (len(scores) - 1)
        expected = self.scores(options, whole)
        torch.testing.assert_close(torch.cat(scores, dim=1), expected, rtol=0, atol=1e-5)

    def test_the_list_of_models_has_a_line_for_it(self, options: Options) -> None:
        summary = model_class(self.name)[0].summary
        assert summary.endswith(".")
        assert len(summary) <= 72

    def test_every_option_is_described_with_the_source_of_its_default(
        self, options: Options
    ) -> None:
        for name, field in type(self.config(options)).model_fields.items():
            assert field.description, name
            assert "efault" in field.description, name

    def test_a_config_is_frozen_and_refuses_unknown_keys(self, options: Options) -> None:
        config = self.config(options)
        for name in type(config).model_fields:
            with pytest.raises(ValidationError, match="frozen"):
                setattr(config, name, None)
        with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
            self.config({**options, "witdh": 8})


class TrainedContract(ModelContract):
    """Inherit it once a model with weights, with the model's name and sets of options to try."""

    def test_it_learns(self, options: Options) -> None:
        model = self.model(options)
        assert model.learns
        assert any(weight.requires_grad for weight in model.parameters())

    def test_a_gradient_reaches_every_weight(self, options: Options) -> None:
        model, batch = self.model(options), random_batch()
        loss = triplet_loss(model(batch), batch.answer, retrieved=batch.retrieved)
        loss.backward()
        for name, weight in model.named_parameters():
            assert weight.grad is not None, name
            assert weight.grad.isfinite().all(), name
            assert weight.grad.any(), name

    def test_saved_weights_give_the_same_scores(self, options: Options, tmp_path: Path) -> None:
        batch, trained = random_batch(), self.model(options)
        with torch.no_grad():
            for weight in trained.parameters():
                weight += 0.1 * torch.randn_like(weight)
        torch.save(trained.state_dict(), tmp_path / "weights.pt")
        loaded = self.model(options)
        assert not torch.equal(loaded(batch), trained(batch))
        loaded.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
        assert torch.equal(loaded(batch), trained(batch))

    def test_bfloat16_autocast_gives_float32_scores_close_to_the_full_ones(
        self, options: Options
    ) -> None:
        batch, model = random_batch(), self.model(options)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            scores = model(batch)
            triplet_loss(scores, batch.answer, retrieved=7).backward()
        assert scores.dtype == torch.float32
        torch.testing.assert_close(scores, self.scores(options, batch), rtol=0, atol=0.03)
        assert all(w.grad is not None and w.grad.isfinite().all() for w in model.parameters())


class UntrainedContract(ModelContract):
    """Inherit it once a model without weights."""

    def test_it_learns_nothing(self, options: Options) -> None:
        model = self.model(options)
        assert not model.learns
        assert not model.state_dict()

    def test_training_and_scoring_give_the_same_scores(self, options: Options) -> None:
        batch, model = random_batch(), self.model(options)
        assert torch.equal(model.train()(batch), self.scores(options, batch))

    def test_bfloat16_autocast_changes_nothing(self, options: Options) -> None:
        batch, model = random_batch(), self.model(options)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            scores = model(batch)
        assert scores.dtype == torch.float32
        assert torch.equal(scores, self.scores(options, batch))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each contract test once for each of the class's variants."""
    if "options" in metafunc.fixturenames:
        variants = metafunc.cls.variants
        metafunc.parametrize("options", variants.values(), ids=variants.keys())


class TestDrin(TrainedContract):
    name = "drin"
    variants: ClassVar[dict[str, Options]] = {
        "paper": {},
        "narrow": {"width": 12},
        "static": {"edge_update": "static"},
        "vector": {"edge_kind": "vector"},
        "vector-static": {"edge_kind": "vector", "edge_update": "static"},
        "transformer": {
            "mention_text": "transformer",
            "transformer_layers": 2,
            "transformer_heads": 4,
            "transformer_feedforward": 24,
        },
        "no-text-layers": {"mention_text": "none", "entity_text": "none", "layers": 3},
        "one-layer": {"layers": 1},
        "text-only": {"edges": ("tt",)},
        "no-edges": {"edges": ()},
        "no-mention-image": {"edges": ("tt", "ti")},
        "no-entity-image": {"edges": ("tt", "it")},
    }


class TestGhmfc(TrainedContract):
    name = "ghmfc"
    variants: ClassVar[dict[str, Options]] = {
        "paper": {"heads": 4},
        "padded": {"heads": 4, "maximum": "padded"},
        "narrow": {"heads": 2, "width": 12},
        "text": {"attention": "text"},
        "text-padded": {"attention": "text", "maximum": "padded"},
        "text-span": {"attention": "text", "pooling": "span"},
        "linear": {"mention": "linear", "width": 12},
        "transformer": {
            "mention": "transformer",
            "transformer_layers": 2,
            "transformer_heads": 4,
            "transformer_feedforward": 24,
        },
        "transformer-span": {
            "mention": "transformer",
            "pooling": "span",
            "transformer_layers": 1,
            "transformer_heads": 4,
            "transformer_feedforward": 24,
        },
        "no-mention-layer": {"mention": "none"},
        "no-entity-layer": {"heads": 4, "entity_text": "none"},
    }


class TestMelhi(TrainedContract):
    name = "melhi"
    # The made-up sentences fit no picture by 0.3 before training, so that W_p would not learn.
    variants: ClassVar[dict[str, Options]] = {
        "every-picture": {"text_threshold": -1.0, "image_threshold": -1.0},
        "some-pictures": {"text_threshold": 0.0, "image_threshold": 0.6},
        "narrow": {"text_threshold": 0.0, "width": 12},
    }


class TestText(TrainedContract):
    name = "text"
    variants: ClassVar[dict[str, Options]] = {"default": {}, "narrow": {"width": 12}}


class TestImage(TrainedContract):
    name = "image"
    variants: ClassVar[dict[str, Options]] = {"default": {}, "narrow": {"width": 12}}


class TestJmel(TrainedContract):
    name = "jmel"
    variants: ClassVar[dict[str, Options]] = {"default": {}, "narrow": {"width": 12}}


class TestHiecoatt(TrainedContract):
    name = "hiecoatt"
    variants: ClassVar[dict[str, Options]] = {
        "alternating": {},
        "parallel": {"attention": "parallel"},
        "narrow": {"width": 12},
    }


class TestBert(UntrainedContract):
    name = "bert"
    variants: ClassVar[dict[str, Options]] = {
        f"{mention}-{entity}": {"mention": mention, "entity": entity}
        for mention in ("span", "cls")
        for entity in ("text", "cls")
    }


class TestClip(UntrainedContract):
    name = "clip"
    variants: ClassVar[dict[str, Options]] = {
        pair: {"pair": pair} for pair in ("image-text", "text-image", "sum")
    }


class TestCandidates(UntrainedContract):
    name = "candidates"
    variants: ClassVar[dict[str, Options]] = {"default": {}}
    # The order of retrieval is all that it knows.
    ranks_knowledge_bases = False
    test_scores_follow_their_candidates_when_these_are_reordered = None
    test_scores_in_blocks_are_those_of_all_candidates_at_once = None

    def test_a_knowledge_base_has_no_order_of_retrieval(self) -> None:
        whole = every_entity_for_every_mention(random_batch())
        with pytest.raises(ConfigError, match="not retrieved") as raised:
            next(self.model({}).score_in_blocks(lambda: blocks_of(whole, 4)))
        assert "--model bert" in str(raised.value)


def test_every_registered_model_has_a_contract_test() -> None:
    tested = {
        contract.name: contract
        for kind in (TrainedContract, UntrainedContract)
        for contract in kind.__subclasses__()
    }
    assert tested.keys() == MODELS.keys(), (
        "give each model of linker.models.MODELS a contract class"
    )
    for name, contract in tested.items():
        assert issubclass(contract, TrainedContract) == MODELS[name][0].learns, name


def test_an_unknown_model_is_refused_with_the_choices_and_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        model_class("Drim")
    assert caught.value.what == (
        "there is no model 'Drim'; the models are bert, candidates, clip, drin, ghmfc, hiecoatt, "
        "image, jmel, melhi, text"
    )
    assert caught.value.hint == "did you mean 'drin'?"
    with pytest.raises(ConfigError, match="choose one of these"):
        model_class("zzzzzz")


def test_the_shape_check_of_these_tests_notices_a_wrong_shape(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_shapes(monkeypatch, linker.models.layers)
    with pytest.raises(Exception, match="queries"):
        linker.models.layers.cosine(torch.zeros(2, 3), torch.zeros(2, 3, 4))
