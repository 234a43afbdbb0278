"""GHMFC against its formulas computed naively, its maximum over sentences, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

import featurestore
from featurestore import Store
from featurestore.errors import ConfigError
from linker.batch import Batch
from linker.config_text import read_config
from linker.data import BatchReader
from linker.matching import match_model
from linker.models.ghmfc import Ghmfc, GhmfcConfig
from tests.model_batches import random_batch, select_mentions
from tests.naive_equality import assert_equals_naive
from tests.naive_ghmfc import Variant, naive_ghmfc
from tests.naive_parts import Sizes
from tests.tiny_store import TinyStore, write_tiny_store

#: Every encoder of a mention that takes a maximum over its sentence.
MAXIMA: list[dict[str, Any]] = [
    {},
    {"attention": "text"},
    {"mention": "transformer", "transformer_layers": 1, "transformer_feedforward": 8},
]
MAXIMUM_NAMES = ["bi", "text", "transformer"]


def model_of(**options: Any) -> Ghmfc:
    """The same weights every time, without dropout."""
    torch.manual_seed(4)
    heads = {"heads": 4, "transformer_heads": 4}
    config = GhmfcConfig.model_validate({**heads, **options})
    return Ghmfc(config=config, text_width=16, image_width=20).eval()


def scores_of(batch: Batch, **options: Any) -> Tensor:
    with torch.no_grad():
        return model_of(**options)(batch)


# the formulas --------------------------------------------------------------------------------

variants = st.builds(
    Variant,
    mention=st.sampled_from(["multimodal", "linear", "transformer", "none"]),
    attention=st.sampled_from(["bi", "text"]),
    pooling=st.sampled_from(["max", "span"]),
    maximum=st.sampled_from(["tokens", "padded"]),
    entity_text=st.sampled_from(["linear", "none"]),
    tokens=st.booleans(),
    entity_maximum=st.booleans(),
)
sizes = st.builds(
    Sizes,
    B=st.integers(1, 3),
    C=st.integers(2, 5),
    D=st.sampled_from([8, 12]),
    V=st.sampled_from([4, 12]),
    H=st.sampled_from([6, 10]),
    R=st.integers(1, 3),
    T=st.integers(5, 9),
    S=st.integers(4, 7),
    feedforward=st.integers(1, 9),
    transformer_layers=st.integers(1, 2),
)


def possible(variant: Variant) -> bool:
    """Whether GHMFC has such a variant, see the test of what is refused."""
    gated = (variant.mention, variant.attention) == ("multimodal", "bi")
    learns = variant.mention != "none" or variant.entity_text != "none"
    return learns and not (gated and variant.pooling == "span")


@settings(max_examples=40, deadline=None)
@given(variant=variants.filter(possible), sizes=sizes, seed=st.integers(0, 2**16))
def test_ghmfc_of_any_variant_and_size_is_the_naive_one(
    variant: Variant, sizes: Sizes, seed: int
) -> None:
    gated = (variant.mention, variant.attention) == ("multimodal", "bi")
    if variant.entity_text == "none" or not (gated or variant.mention == "linear"):
        sizes = Sizes(**{**vars(sizes), "H": sizes.D})
    naive = naive_ghmfc(sizes=sizes, variant=variant, seed=seed)
    name = "ghmfc-maxpool" if variant.entity_maximum else "ghmfc"
    assert_equals_naive(name, naive, maximum=variant.maximum, pooling=variant.pooling)


@pytest.mark.parametrize("maximum", ["tokens", "padded"])
@pytest.mark.parametrize("encoder", ["bi", "text", "transformer"])
def test_each_maximum_is_the_naive_one(encoder: str, maximum: str) -> None:
    mention = "transformer" if encoder == "transformer" else "multimodal"
    attention = "text" if encoder == "text" else "bi"
    variant = Variant(mention=mention, attention=attention, maximum=maximum)
    naive = naive_ghmfc(sizes=Sizes(T=20), variant=variant, seed=1)
    other = {"tokens": "padded", "padded": "tokens"}[maximum]
    assert_equals_naive("ghmfc", naive, maximum=maximum)
    with pytest.raises(AssertionError):
        assert_equals_naive("ghmfc", naive, maximum=other)


# the maximum over a sentence -----------------------------------------------------------------


@pytest.mark.parametrize("options", MAXIMA, ids=MAXIMUM_NAMES)
def test_by_default_padding_takes_no_part_in_the_maximum(options: dict[str, Any]) -> None:
    batch = random_batch()
    tokens, count = batch.need("mention_text_padded"), batch.need("mention_token_count")
    assert (count < tokens.shape[1]).all()
    together = scores_of(replace(batch, mention_text_tokens=tokens), **options)
    for row, length in enumerate(count.tolist()):
        alone = select_mentions(batch, torch.tensor([row]))
        cut = replace(alone, mention_text_tokens=tokens[[row], :length])
        assert cut.need("mention_text_tokens").shape[1] == length
        torch.testing.assert_close(scores_of(cut, **options)[0], together[row], rtol=0, atol=1e-6)


@pytest.mark.parametrize("options", MAXIMA, ids=MAXIMUM_NAMES)
def test_a_padded_maximum_sees_the_stored_padding_and_not_the_batch(
    options: dict[str, Any],
) -> None:
    batch = random_batch()
    options = {**options, "maximum": "padded"}
    expected = scores_of(batch, **options)
    assert torch.equal(scores_of(replace(batch, mention_text_tokens=None), **options), expected)
    padded = batch.need("mention_text_padded").clone()
    padded[:, -1] += 3.0
    assert not torch.allclose(
        scores_of(replace(batch, mention_text_padded=padded), **options), expected, atol=1e-3
    )
    for row in range(len(batch)):
        alone = scores_of(select_mentions(batch, torch.tensor([row])), **options)
        torch.testing.assert_close(alone[0], expected[row], rtol=0, atol=1e-6)


@pytest.mark.parametrize("options", MAXIMA, ids=MAXIMUM_NAMES)
def test_any_number_of_zero_rows_pads_a_sentence_alike(options: dict[str, Any]) -> None:
    batch = random_batch()
    zeros = torch.zeros(len(batch), 4, 16)
    tokens = batch.need("mention_text_tokens")  # zero after the count
    few = replace(batch, mention_text_padded=torch.cat([tokens, zeros[:, :1]], dim=1))
    many = replace(batch, mention_text_padded=torch.cat([tokens, zeros], dim=1))
    options = {**options, "maximum": "padded"}
    torch.testing.assert_close(
        scores_of(many, **options), scores_of(few, **options), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("options", MAXIMA, ids=MAXIMUM_NAMES)
@pytest.mark.parametrize("maximum", ["tokens", "padded"])
def test_scores_are_the_same_with_and_without_gradients(
    maximum: str, options: dict[str, Any]
) -> None:
    batch = random_batch()
    model = model_of(**options, maximum=maximum)
    with torch.no_grad():
        fast = model(batch)
    torch.testing.assert_close(fast, model(batch).detach(), rtol=0, atol=1e-6)


def padded_sentences(path: Path, padding: float) -> TinyStore:
    """A store whose sentences have ``padding`` stored beyond their tokens."""
    plain = write_tiny_store(path)
    padded = np.full((10, 9, 6), padding, np.float32)
    for row, text in enumerate(plain.values["mentions/text_tokens"]):
        padded[row, : len(text)] = text
    path.unlink()
    return write_tiny_store(path, change={"mentions/text_tokens": padded})


def batches(store: Store, rows: list[int], **options: Any) -> tuple[Batch, Ghmfc]:
    """A batch with what the model needs of a store, and the model."""
    options = {"name": "ghmfc", "heads": 2, **options}
    match = match_model(read_config({"model": options}).model, store, pooling="auto")
    torch.manual_seed(3)
    model = match.build().eval()
    assert isinstance(model, Ghmfc)
    reader = BatchReader(store=store, paths=match.paths, protocol="strict")
    return reader[np.array(rows)].float(), model


def test_the_padding_of_a_store_is_read_only_where_it_is_asked_for(tmp_path: Path) -> None:
    tiny = padded_sentences(tmp_path / "padded.h5", 2.5)
    counts = tiny.values["mentions/token_count"]
    rows = np.argsort(counts)[:3].tolist()
    assert counts[rows].max() < 9, "so that a batch is shorter than the store's 9 positions"
    with featurestore.open(tiny.path) as store:
        plain, _ = batches(store, rows)
        assert plain.mention_text_padded is None
        assert plain.need("mention_text_tokens").shape[1] == counts[rows].max()
        padded, model = batches(store, rows, maximum="padded")
        assert padded.mention_text_tokens is None
        tokens = padded.need("mention_text_padded")
        assert tokens.shape == (3, 9, 6)
        assert (tokens[:, -1] == 2.5).all()
        together = model(padded)
        for place, row in enumerate(rows):
            alone, _ = batches(store, [row], maximum="padded")
            torch.testing.assert_close(model(alone)[0], together[place], rtol=0, atol=1e-6)


# options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "option", "message", "hint"),
    [
        ({"heads": 5}, "heads", "5 heads do not divide the text width 16", "model.heads=4"),
        ({"heads": 16}, "heads", "16 heads do not divide the image width 20", "model.heads=4"),
        (
            {"attention": "text", "heads": 20},
            "heads",
            "20 heads do not divide the text width 16",
            "model.heads=16",
        ),
        (
            {"mention": "transformer", "transformer_heads": 6},
            "transformer_heads",
            "6 heads do not divide the text width 16",
            "model.transformer_heads=4",
        ),
        *(
            ({**options, "width": 8}, "width", "as wide as the text, 16, and not 8", "leave")
            for options in ({"attention": "text"}, {"mention": "none"}, {"entity_text": "none"})
        ),
    ],
)
def test_options_that_cannot_work_at_a_width_are_refused(
    options: dict[str, Any], option: str, message: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        model_of(**options)
    assert caught.value.where == f"model.{option}"
    assert hint in caught.value.hint


def test_text_attention_works_with_heads_that_do_not_divide_the_picture() -> None:
    assert scores_of(random_batch(), attention="text", heads=8).isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "span"}, r"model\.attention=bi takes maxima"),
        (
            {"mention": "none", "entity_text": "none"},
            r"model\.mention=none and model\.entity_text=none leave nothing to learn",
        ),
    ],
)
def test_choices_that_contradict_each_other_are_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        GhmfcConfig.model_validate(options)
    with pytest.raises(ConfigError, match=message):
        read_config({"model": {"name": "ghmfc", **options}})


def test_attention_to_pictures_is_refused_where_the_store_has_none() -> None:
    with pytest.raises(ConfigError, match="mention=multimodal reads pictures") as caught:
        Ghmfc(config=GhmfcConfig(), text_width=16, image_width=None)
    assert "model.mention=linear" in caught.value.hint
    Ghmfc(config=GhmfcConfig(mention="linear"), text_width=16, image_width=None)


@pytest.mark.parametrize("options", [{"attention": "text"}, MAXIMA[2]], ids=["text", "transformer"])
def test_a_mention_that_truncation_cut_off_is_read_as_cls(options: dict[str, Any]) -> None:
    batch = random_batch()
    far = replace(
        batch,
        mention_token_start=batch.need("mention_token_start") + 50,
        mention_token_end=batch.need("mention_token_end") + 50,
    )
    at_cls = replace(
        batch,
        mention_token_start=torch.full((5,), -1),
        mention_token_end=torch.zeros(5, dtype=torch.long),
    )
    options = {**options, "pooling": "span"}
    torch.testing.assert_close(scores_of(far, **options), scores_of(at_cls, **options))
