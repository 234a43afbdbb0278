"""MEL-HI against its formulas computed naively: its gate, its contexts, and the work it must not do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import pad_packed_sequence
from torch.utils.flop_counter import FlopCounterMode

from featurestore.errors import ConfigError
from linker.batch import Batch
from linker.models.melhi import Melhi, MelhiConfig, context_steps
from tests.model_batches import changed, random_batch, select_mentions
from tests.naive_equality import assert_equals_naive
from tests.naive_melhi import Variant, naive_melhi
from tests.naive_parts import Sizes


def model_of(**options: Any) -> Melhi:
    """The same weights every time."""
    torch.manual_seed(4)
    config = MelhiConfig.model_validate(options)
    return Melhi(config=config, text_width=16, image_width=20).eval()


def scores_of(batch: Batch, **options: Any) -> Tensor:
    with torch.no_grad():
        return model_of(**options)(batch)


#: Thresholds that keep every picture of the made-up batches.
OPEN = {"text_threshold": -1.0, "image_threshold": -1.0}

variants = st.builds(
    Variant,
    text_threshold=st.sampled_from([-1.0, 0.0, 0.2]),
    image_threshold=st.sampled_from([0.3, 0.6, 0.8, 0.9]),
    tokens=st.booleans(),
)
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


@settings(max_examples=40, deadline=None)
@given(variant=variants, sizes=sizes, seed=st.integers(0, 2**16))
def test_melhi_of_any_thresholds_and_size_is_the_naive_one(
    variant: Variant, sizes: Sizes, seed: int
) -> None:
    naive = naive_melhi(sizes=sizes, variant=variant, seed=seed)
    assert_equals_naive(
        "melhi",
        naive,
        text_threshold=variant.text_threshold,
        image_threshold=variant.image_threshold,
    )


# the gate ------------------------------------------------------------------------------------


def test_a_picture_that_is_not_kept_changes_nothing() -> None:
    batch = random_batch()
    other = changed(
        batch, lambda n, t: t.flip(-1) + 1 if n in ("mention_image_mean", "entity_image") else t
    )
    closed = {**OPEN, "text_threshold": 1.0}
    assert torch.equal(scores_of(batch, **closed), scores_of(other, **closed))
    assert not torch.allclose(scores_of(batch, **OPEN), scores_of(other, **OPEN), atol=1e-3)


@pytest.mark.parametrize("option", ["text_threshold", "image_threshold"])
def test_each_mention_keeps_or_drops_its_own_picture(option: str) -> None:
    batch = random_batch(mentions=12)
    kept, dropped = scores_of(batch, **OPEN), scores_of(batch, **{**OPEN, option: 1.0})
    threshold = {"text_threshold": 0.0, "image_threshold": 0.84}[option]
    some = scores_of(batch, **{**OPEN, option: threshold})
    as_kept, as_dropped = ((some - each).abs().amax(dim=1) < 1e-6 for each in (kept, dropped))
    assert torch.equal(as_kept, ~as_dropped)
    assert as_kept.any()
    assert as_dropped.any()


def test_one_candidate_with_a_similar_picture_is_enough_to_keep_a_picture() -> None:
    """Under protocol paper the gold slot may be that candidate: this is where the answer leaks."""
    batch = random_batch()
    images = torch.rand(11, 20, generator=torch.Generator().manual_seed(2))
    images[10] = batch.need("mention_image_mean")[3]  # the very picture
    without = replace(batch, entity_image=images, candidates=batch.candidates.clamp_max(9))
    slots = without.candidates.clone()
    slots[3, -1] = 10
    options = {**OPEN, "image_threshold": 0.999}
    closed = scores_of(without, **{**OPEN, "text_threshold": 1.0})
    assert torch.equal(scores_of(without, **options), closed)
    one = scores_of(replace(without, candidates=slots), **options)
    assert torch.equal(one[:3], closed[:3])
    assert not torch.allclose(one[3, :-1], closed[3, :-1], atol=1e-4)


# the contexts --------------------------------------------------------------------------------


def test_a_stretch_of_tokens_holds_them_and_what_stands_beside() -> None:
    tokens = torch.arange(1.0, 13.0).view(2, 3, 2)
    beside = torch.tensor([[-1.0], [-2.0]])
    first, length = torch.tensor([1, 0, 2, 9]), torch.tensor([2, 3, 0, -4])
    packed = context_steps(tokens, beside, first=first, length=length)
    steps, lengths = pad_packed_sequence(packed, batch_first=True)
    assert lengths.tolist() == [2, 3, 1, 1]
    assert steps[0].tolist() == [[3, 4, -1], [5, 6, -1], [0, 0, 0]]
    assert steps[1].tolist() == [[7, 8, -2], [9, 10, -2], [11, 12, -2]]
    assert not steps[2:].any(), "an empty stretch is one step of zeros"
    assert len(packed.data) == 7, "and padding is not computed"


def with_span(batch: Batch, start: int, end: int) -> Batch:
    return replace(
        batch,
        mention_token_start=torch.full((len(batch),), start),
        mention_token_end=torch.full((len(batch),), end),
    )


def test_the_mention_itself_is_in_neither_context() -> None:
    batch = with_span(random_batch(), 2, 5)  # tokens 3 and 4 and 5
    tokens = batch.need("mention_text_tokens").clone()
    tokens[:, 3:6] = tokens[:, [4, 5, 3]]  # the same mean
    swapped = replace(batch, mention_text_tokens=tokens)
    torch.testing.assert_close(scores_of(swapped), scores_of(batch), rtol=0, atol=1e-6)
    tokens[:, 1:3] = tokens[:, [2, 1]]  # the context has an order
    assert not torch.allclose(scores_of(swapped), scores_of(batch), atol=1e-4)


@pytest.mark.parametrize(
    ("start", "end"), [(0, 3), (0, 8), (3, 12), (0, 20)], ids=["left", "long", "right", "both"]
)
def test_an_empty_side_is_the_state_after_one_zero_vector(start: int, end: int) -> None:
    batch = with_span(random_batch(mentions=1), start, end)
    count = int(batch.need("mention_token_count"))
    model = model_of(**OPEN)
    image = torch.zeros(1, 16)
    states = model._contexts(batch, image).view(2, 48)
    alone = model.context(torch.zeros(1, 1, 48))[0][0, 0]
    for state, empty in zip(states, (start == 0, end + 1 >= count), strict=True):
        assert torch.allclose(state, alone, atol=1e-6) == empty


def test_a_mention_that_truncation_cut_off_has_the_whole_sentence_on_its_left() -> None:
    batch = random_batch()
    count = batch.need("mention_token_count")
    cut_off = with_span(batch, 60, 62)
    just = replace(batch, mention_token_start=count - 1, mention_token_end=count + 3)
    assert scores_of(cut_off).isfinite().all()
    torch.testing.assert_close(scores_of(cut_off), scores_of(just))


def test_contexts_of_very_different_lengths_do_not_touch_each_other() -> None:
    batch = random_batch(mentions=4, tokens=40)
    starts = torch.tensor([0, 1, 20, 33])
    batch = replace(batch, mention_token_start=starts, mention_token_end=starts + 1)
    together = scores_of(batch, **OPEN)
    for row in range(4):
        alone = scores_of(select_mentions(batch, torch.tensor([row])), **OPEN)
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-6)


# widths and work -----------------------------------------------------------------------------


def test_a_store_without_pictures_is_refused() -> None:
    with pytest.raises(ConfigError, match="melhi reads pictures") as caught:
        Melhi(config=MelhiConfig(), text_width=16, image_width=None)
    assert "--image-encoder" in caught.value.hint


def test_entity_layers_run_once_a_distinct_entity_and_the_lstm_over_no_padding() -> None:
    mentions, candidates, entities, text, image = 8, 30, 12, 32, 48
    batch = random_batch(
        mentions=mentions,
        candidates=candidates,
        entities=entities,
        text_width=text,
        image_width=image,
    )
    model = Melhi(config=MelhiConfig(), text_width=text, image_width=image)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(batch)
    count, start = batch.need("mention_token_count"), batch.need("mention_token_start")
    left, right = start, count - batch.need("mention_token_end") - 1
    steps = int(left.clamp_min(1).sum() + right.clamp_min(1).sum())
    tokens = batch.need("mention_text_tokens").shape[1]
    entity_side = entities * (image * text + 2 * text * text)
    mention_side = mentions * (image * text + 6 * text * text + tokens * text)
    lstm = steps * 2 * (3 * text) * (12 * text)
    similarities = mentions * candidates * (image + text) + mentions * text
    assert counter.get_total_flops() <= 2 * (entity_side + mention_side + lstm + similarities)
