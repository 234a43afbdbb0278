"""JMEL and HieCoAtt against their formulas computed naively, and what the untrained models score."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from featurestore.errors import ConfigError
from linker.models import model_class
from linker.models.hiecoatt import Hiecoatt, HiecoattConfig, Phrases
from linker.models.jmel import Jmel, JmelConfig
from tests.model_batches import IMAGE_WIDTH, TEXT_WIDTH, random_batch
from tests.naive_equality import assert_equals_naive
from tests.naive_hiecoatt import naive_hiecoatt
from tests.naive_jmel import naive_jmel
from tests.naive_parts import Sizes

sizes = st.builds(
    Sizes,
    B=st.integers(1, 4),
    C=st.integers(2, 5),
    D=st.integers(2, 6),
    V=st.integers(2, 9),
    H=st.integers(2, 9),
    R=st.integers(1, 3),
    T=st.integers(5, 9),
    S=st.integers(4, 7),
)


@settings(max_examples=40)
@given(sizes=sizes, tokens=st.booleans(), seed=st.integers(0, 2**16))
def test_jmel_of_any_size_is_the_naive_one(sizes: Sizes, tokens: bool, seed: int) -> None:
    assert_equals_naive("jmel", naive_jmel(sizes=sizes, tokens=tokens, seed=seed))


@settings(max_examples=40)
@given(
    sizes=sizes,
    attention=st.sampled_from(["alternating", "parallel"]),
    tokens=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_hiecoatt_of_any_attention_and_size_is_the_naive_one(
    sizes: Sizes, attention: str, tokens: bool, seed: int
) -> None:
    naive = naive_hiecoatt(sizes=sizes, attention=attention, tokens=tokens, seed=seed)
    assert_equals_naive("hiecoatt", naive)


def test_a_phrase_starts_at_its_token_and_ends_with_the_sentence() -> None:
    phrases = Phrases(width=1)
    with torch.no_grad():
        for window in phrases.windows:
            window.weight.fill_(1.0)
        words = torch.tensor([[[0.1], [-0.3], [0.4], [0.0]]])
        found = phrases(words).atanh().flatten()
    torch.testing.assert_close(found, torch.tensor([0.2, 0.1, 0.4, 0.0]))


def test_dropout_of_hiecoatt_is_before_each_fusion_and_for_training_only() -> None:
    torch.manual_seed(0)
    model = Hiecoatt(config=HiecoattConfig(), text_width=TEXT_WIDTH, image_width=IMAGE_WIDTH)
    batch = random_batch()
    dropped: list[int] = []
    model.dropout.register_forward_hook(lambda _, inputs, __: dropped.append(inputs[0].shape[1]))
    model(batch)
    assert dropped == [TEXT_WIDTH, 2 * TEXT_WIDTH, 2 * TEXT_WIDTH]
    assert not torch.equal(model(batch), model(batch))
    assert torch.equal(model.eval()(batch), model(batch))


@pytest.mark.parametrize("name", ["image", "jmel", "hiecoatt"])
def test_a_store_without_pictures_is_refused(name: str) -> None:
    network, config = model_class(name)
    with pytest.raises(ConfigError, match=f"{name} reads pictures") as caught:
        network(config=config(), text_width=16, image_width=None)
    assert "--image-encoder" in caught.value.hint


def test_entity_layers_of_jmel_run_once_a_distinct_entity() -> None:
    mentions, candidates, entities, text, image = 8, 30, 12, 32, 48
    batch = random_batch(
        mentions=mentions,
        candidates=candidates,
        entities=entities,
        text_width=text,
        image_width=image,
    )
    model = Jmel(config=JmelConfig(), text_width=text, image_width=image)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(batch)
    layers = (mentions + entities) * text * (text + image + 2 * text)
    assert counter.get_total_flops() == 2 * (layers + mentions * candidates * text)
