"""``--text online``: the features are those of ingest, the encoder learns only where it is told to."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import featurestore
from featurestore import Store
from featurestore.options import IngestOptions
from featurestore.schema import NO_ROW
from linker import online_table
from linker.batch import Batch
from linker.config_text import read_config
from linker.data import BatchReader
from linker.fields import TEXT_MADE, stored_paths
from linker.job import Job, prepare_job
from linker.online import OnlineText, settle_online
from linker.online_network import OnlineNetwork, TextFeatures, inner_positions, pool
from tests.golden_for_tests import ENCODERS, EXACT, PREPROCESSED, RAW, TEXT_ONLY

#: Cuts some sentences and most descriptions, so that T and S matter.
SHORT = replace(TEXT_ONLY, mention_tokens=6, entity_tokens=9)

ONLINE: dict[str, Any] = {"text": {"source": "online"}}
FINETUNED: dict[str, Any] = {"text": {"source": "online", "finetune": True, "lr": 1e-3}}


@pytest.fixture(scope="module")
def paths(store_of: Callable[[Path, IngestOptions], Path]) -> dict[str, Path]:
    """Stores by name: both datasets, and WikiMEL cut short and without padding."""
    made = {
        "wikimel": (RAW / "wikimel", EXACT),
        "wikidiverse": (RAW / "wikidiverse", EXACT),
        "short": (RAW / "wikimel", SHORT),
        "dropped": (RAW / "wikimel", replace(SHORT, padding="drop")),
        "preprocessed": (PREPROCESSED / "wikidiverse", EXACT),
    }
    return {name: store_of(source, options) for name, (source, options) in made.items()}


@pytest.fixture
def store(paths: dict[str, Path]) -> Iterator[Store]:
    with featurestore.open(paths["wikimel"]) as opened:
        yield opened


def made_batch(
    store: Store,
    rows: np.ndarray,
    *,
    names: frozenset[str] = TEXT_MADE,
    **values: Any,
) -> Batch:
    """A batch whose text fields a frozen encoder makes."""
    online = settle_online(store, read_config({**ONLINE, **values}))
    reader = BatchReader(store=store, paths={}, protocol="strict", texts=online.reader(names))
    features = features_of(online, names).eval()
    features.tabulate(online.reader(names), reader.entities_of(range(len(store.mentions))))
    return features(reader[rows])


def features_of(online: OnlineText, names: frozenset[str], **changed: Any) -> TextFeatures:
    section = online.section.model_copy(update=changed)
    network = replace(online, section=section).network(torch.nn.Identity(), names)  # type: ignore[arg-type]
    return network.text


def stored_batch(store: Store, rows: np.ndarray, *, pooling: Any = "auto") -> Batch:
    """Its rows of entities without those of zeros behind the last: an encoder makes none."""
    paths = stored_paths(store, TEXT_MADE, pooling=pooling, reader="the test")
    batch = BatchReader(store=store, paths=paths, protocol="strict")[rows]
    distinct = int(batch.candidates.max()) + 1
    cut = {name: getattr(batch, name)[:distinct] for name in TEXT_MADE if name.startswith("entity")}
    return replace(batch, **cut)


def assert_equal_features(made: Batch, stored: Batch) -> None:
    for field in fields(Batch):
        expected, found = getattr(stored, field.name), getattr(made, field.name)
        if isinstance(expected, Tensor):
            assert found.shape == expected.shape, field.name
            assert found.dtype == expected.dtype, field.name
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5, msg=field.name)


class TestFeatures:
    """Frozen, they are what ingest stored."""

    @pytest.mark.parametrize(
        ("name", "pooling"),
        [
            *(("wikimel", how) for how in ("auto", "mean", "max")),
            *(("short", how) for how in ("auto", "max")),
            ("dropped", "auto"),
            ("wikidiverse", "auto"),
            ("wikidiverse", "pooled"),
        ],
    )
    def test_every_text_field_equals_the_stored_one(
        self, paths: dict[str, Path], name: str, pooling: str
    ) -> None:
        with featurestore.open(paths[name]) as store:
            rows = np.array([3, 0, 7, 7, len(store.mentions) - 1])
            made = made_batch(store, rows, entity_pooling=pooling, text=ONLINE["text"])
            assert_equal_features(made, stored_batch(store, rows, pooling=pooling))

    def test_the_recorded_texts_of_a_preprocessed_dataset_give_its_features(
        self, paths: dict[str, Path]
    ) -> None:
        with featurestore.open(paths["preprocessed"]) as store:
            assert not store.has("mentions/char_start")
            text = {**ONLINE["text"], "encoder": str(ENCODERS / "bert")}
            rows = np.arange(len(store.mentions))
            made = made_batch(store, rows, text=text)
            stored = stored_batch(store, rows)
            for field in sorted(TEXT_MADE):
                torch.testing.assert_close(
                    getattr(made, field), getattr(stored, field), rtol=0, atol=1e-4
                )

    def test_a_mention_that_was_cut_off_is_its_cls(self, paths: dict[str, Path]) -> None:
        with featurestore.open(paths["short"]) as store:
            cut = np.flatnonzero(store.mentions.view("span_empty"))
            assert len(cut)
            made = made_batch(store, cut)
            assert torch.equal(made.need("mention_text_span"), made.need("mention_text_cls"))

    @pytest.mark.parametrize("size", [1, 64, 100_000])
    def test_they_do_not_depend_on_what_goes_through_the_encoder_together(
        self, store: Store, size: int
    ) -> None:
        rows = np.arange(6)
        text = {**ONLINE["text"], "batch_tokens": size}
        assert_equal_features(made_batch(store, rows, text=text), stored_batch(store, rows))

    def test_only_what_a_model_asks_for_is_made(self, store: Store) -> None:
        made = made_batch(store, np.arange(4), names=frozenset({"entity_text"}))
        assert made.entity_text is not None
        assert all(getattr(made, name) is None for name in TEXT_MADE - {"entity_text"})

    def test_fewer_tokens_give_other_features(self, store: Store) -> None:
        rows = np.arange(4)
        cut = made_batch(store, rows, text={**ONLINE["text"], "max_tokens": 6})
        assert cut.need("mention_token_count").max() == 6
        assert not torch.allclose(
            cut.need("entity_text"), stored_batch(store, rows).need("entity_text"), atol=1e-3
        )

    @pytest.mark.parametrize("training", [False, True])
    def test_an_entity_that_is_none_has_no_features(self, store: Store, training: bool) -> None:
        online = settle_online(store, read_config(FINETUNED))
        rows = np.arange(2)
        reader = online.reader(TEXT_MADE, with_entities=training)
        texts, _ = reader.read(rows, np.array([NO_ROW, 4, 1]))
        batch = replace(stored_batch(store, rows), texts=texts)
        features = features_of(online, TEXT_MADE).eval()
        if not training:
            features.tabulate(reader, np.array([1, 4]))
        made = features(batch).need("entity_text")
        stored = torch.from_numpy(store.entities.gather("text_mean", [4, 1]))
        assert made[0].abs().max() == 0
        torch.testing.assert_close(made[1:], stored, rtol=0, atol=1e-5)

    def test_the_reader_pickles(self, store: Store) -> None:
        reader = settle_online(store, read_config(ONLINE)).reader(TEXT_MADE)
        copy = pickle.loads(pickle.dumps(reader))
        one, two = (each.read(np.arange(3), np.arange(4))[0] for each in (reader, copy))
        assert one.mentions
        for part, same in zip(one.mentions, two.mentions, strict=True):
            assert torch.equal(part.tokens, same.tokens)

    def test_a_batch_moves_and_widens_with_its_texts(self, store: Store) -> None:
        reader = BatchReader(
            store=store,
            paths={},
            protocol="strict",
            texts=settle_online(store, read_config(FINETUNED)).reader(
                TEXT_MADE, with_entities=True
            ),
        )
        batch = reader[np.arange(3)]
        moved = batch.to("meta").float()
        assert moved.texts is not None
        assert {part.tokens.device.type for part in moved.texts.mentions} == {"meta"}
        assert {part.lengths.dtype for part in moved.texts.entities} == {torch.int64}


class TestEntityText:
    @pytest.mark.parametrize(("entity", "field"), [("name", "title"), ("brief", "description")])
    def test_the_chosen_field_is_read(self, store: Store, entity: str, field: str) -> None:
        online = settle_online(store, read_config({"text": {"source": "online", "entity": entity}}))
        rows = np.array([4, 1])
        assert online.reader(TEXT_MADE).entity_texts(rows) == store.entities.gather(field, rows)
        made = made_batch(store, np.arange(4), text={"source": "online", "entity": entity})
        attr = made_batch(store, np.arange(4))
        assert not torch.allclose(made.need("entity_text"), attr.need("entity_text"), atol=1e-3)
        torch.testing.assert_close(made.mention_text_span, attr.mention_text_span)

    def test_a_title_stands_in_for_a_description_and_is_counted(
        self, paths: dict[str, Path]
    ) -> None:
        with featurestore.open(paths["wikidiverse"]) as store:
            texts = list(store.entities.texts("description"))
            bare = [row for row, text in enumerate(texts) if not text]
            assert 0 < len(bare) < len(texts)
            online = settle_online(
                store, read_config({"text": {"source": "online", "entity": "brief"}})
            )
            assert online.notes == (
                f"{len(bare)} of {len(texts)} entities have no description: "
                "their title is read instead",
            )
            found = online.reader(TEXT_MADE).entity_texts(np.array(bare))
            assert found == store.entities.gather("title", bare)


class TestPooling:
    def test_the_mean_leaves_out_cls_and_sep(self) -> None:
        states = torch.arange(8.0).view(2, 4, 1)
        inner = inner_positions(torch.tensor([4, 2]), 4)
        assert pool(states, inner, "mean").flatten().tolist() == [1.5, 4.0]
        assert pool(states, inner, "max").flatten().tolist() == [2.0, 4.0]


class TestFineTuning:
    def gradients(self, store: Store, **section: Any) -> dict[str, Tensor]:
        """Gradient of the encoder's weights of one loss, dropout included."""
        config = read_config({"text": {**FINETUNED["text"], "batch_tokens": 200, **section}})
        job = prepare_job(store, config)
        torch.manual_seed(0)
        network = job.module().network.train()
        torch.manual_seed(1)
        batch = job.loader("train", shuffled=True).reader[np.arange(5)]
        (network(batch.float()) ** 2).sum().backward()
        assert isinstance(network.text, TextFeatures)
        return {
            name: weight.grad
            for name, weight in network.text.encoder.named_parameters()
            if weight.grad is not None
        }

    def test_gradients_reach_every_weight_that_can_learn(self, store: Store) -> None:
        found = self.gradients(store)
        assert all(torch.isfinite(gradient).all() for gradient in found.values())
        silent = {name for name, gradient in found.items() if not gradient.abs().max() > 0}
        assert silent <= {name for name in found if name.endswith("key.bias")}  # softmax drops it
        online = settle_online(store, read_config(FINETUNED))
        encoder = features_of(online, TEXT_MADE).encoder
        learning = {name for name, weight in encoder.named_parameters() if weight.requires_grad}
        assert set(found) == learning
        assert {name for name, _ in encoder.named_parameters()} - learning == {
            "pooler.dense.weight",
            "pooler.dense.bias",
        }

    def test_checkpointing_changes_no_gradient(self, store: Store) -> None:
        kept, again = (self.gradients(store, checkpointing=each) for each in (False, True))
        assert kept.keys() == again.keys()
        for name, gradient in kept.items():
            torch.testing.assert_close(again[name], gradient, rtol=0, atol=1e-7)

    def test_a_frozen_encoder_has_no_gradient_no_dropout_and_no_place_in_the_state(
        self, store: Store
    ) -> None:
        network = prepare_job(store, read_config(ONLINE)).module().network.train()
        assert not any(weight.requires_grad for weight in network.text.parameters())
        assert not network.text.encoder.training
        assert network.network.training
        state = network.state_dict()
        assert state
        assert not any(name.startswith("text.") for name in state)
        before = {k: v.clone() for k, v in network.text.encoder.state_dict().items()}
        network.load_state_dict(state)
        for name, value in network.text.encoder.state_dict().items():
            assert torch.equal(value, before[name])

    def test_a_state_that_lacks_the_network_is_still_refused(self, store: Store) -> None:
        network = prepare_job(store, read_config(ONLINE)).module().network
        state = dict(network.state_dict())
        name = next(iter(state))
        del state[name]
        with pytest.raises(RuntimeError, match=f'Missing key.*"{name}"'):
            network.load_state_dict(state)

    def test_the_encoder_has_a_learning_rate_of_its_own(self, store: Store) -> None:
        optimizer = prepare_job(store, read_config(FINETUNED)).module().configure_optimizers()
        assert [group["lr"] for group in optimizer.param_groups] == [1e-3, 1e-3]
        text = {**FINETUNED["text"], "lr": 2e-5}
        job = prepare_job(store, read_config({"text": text, "lr": 0.01}))
        groups = job.module().configure_optimizers().param_groups
        assert [group["lr"] for group in groups] == [0.01, 2e-5]


@pytest.mark.parametrize(
    "model",
    [
        {"name": "text"},
        {"name": "drin", "edges": ["tt", "ti", "it"]},
        {
            "name": "drin",
            "mention_text": "transformer",
            "transformer_layers": 1,
            "transformer_heads": 2,
        },
        {"name": "drin", "mention_text": "none", "edges": ["tt"]},
        {"name": "ghmfc", "heads": 2},
        {"name": "ghmfc", "heads": 2, "maximum": "padded"},
        {"name": "melhi"},
    ],
    ids=lambda model: " ".join(str(value) for value in model.values()),
)
@pytest.mark.parametrize("dataset", ["wikimel", "wikidiverse"])
def test_every_model_scores_the_same_with_frozen_online_features(
    paths: dict[str, Path], dataset: str, model: dict[str, Any]
) -> None:
    with featurestore.open(paths[dataset]) as store:

        def scores(**values: Any) -> Tensor:
            job: Job = prepare_job(store, read_config({"model": model, **values}))
            torch.manual_seed(3)
            network = job.module().network.eval()
            loader = job.loader("train")
            if isinstance(network, OnlineNetwork):
                assert loader.reader.texts is not None
                entities = loader.reader.entities_of(range(4))
                network.text.tabulate(loader.reader.texts, entities)
            with torch.no_grad():
                return network(loader.reader[np.arange(4)].float())

        torch.testing.assert_close(scores(**ONLINE), scores(), rtol=0, atol=1e-5)


class TestTable:
    def test_each_entity_is_encoded_once_by_a_frozen_encoder(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(online_table, "BLOCK", 4)
        online = settle_online(store, read_config(ONLINE))
        reader = online.reader(TEXT_MADE)
        read: list[int] = []
        parts = reader.entity_parts
        monkeypatch.setattr(reader, "entity_parts", lambda rows: read.extend(rows) or parts(rows))
        features = features_of(online, TEXT_MADE)
        features.tabulate(reader, np.array([1, 9]))
        assert read == [0, 1, 2, 3, 8, 9, 10, 11]
        features.tabulate(reader, np.array([0, 5, 11, len(store.entities) - 1]))
        assert len(read) == len(set(read))
        assert features.table is not None
        rows = np.array([5, 1, len(store.entities) - 1, 9])
        found = features.table.look_up(torch.from_numpy(rows))
        for name, field in (("entity_text", "text_mean"), ("entity_text_cls", "text_cls")):
            expected = torch.from_numpy(store.entities.gather(field, rows))
            torch.testing.assert_close(found[name], expected, rtol=0, atol=1e-5)

    def test_a_vector_does_not_depend_on_what_else_was_asked_for(self, store: Store) -> None:
        online = settle_online(store, read_config(ONLINE))
        vectors = []
        for asked in (np.array([2]), np.arange(len(store.entities))):
            features = features_of(online, TEXT_MADE)
            features.tabulate(online.reader(TEXT_MADE), asked)
            assert features.table is not None
            vectors.append(features.table.look_up(torch.tensor([2]))["entity_text"])
        assert torch.equal(*vectors)

    def test_a_finetuned_encoder_encodes_anew(self, store: Store) -> None:
        online = settle_online(store, read_config(FINETUNED))
        features = features_of(online, TEXT_MADE)
        rows = torch.tensor([0, 1])
        features.tabulate(online.reader(TEXT_MADE), rows.numpy())
        assert features.table is not None
        before = features.table.look_up(rows)["entity_text"]
        with torch.no_grad():
            for weight in features.encoder.parameters():
                weight.mul_(1.1)
        features.tabulate(online.reader(TEXT_MADE), rows.numpy())
        assert not torch.allclose(before, features.table.look_up(rows)["entity_text"], atol=1e-3)

    def test_training_after_a_pass_that_scored_uses_what_was_encoded(self, store: Store) -> None:
        online = settle_online(store, read_config(ONLINE))
        features = features_of(online, frozenset({"entity_text"}))
        with torch.inference_mode():  # as Lightning validates
            features.tabulate(online.reader(features.rules.names), np.array([0]))
        assert features.table is not None
        vector = features.table.look_up(torch.tensor([0]))["entity_text"]
        weight = torch.ones(vector.shape[1], requires_grad=True)
        (vector @ weight).sum().backward()
        assert torch.equal(weight.grad, vector[0])
