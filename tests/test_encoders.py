"""The encoders reproduce what the reference scripts recorded, whatever the batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import ViTConfig, ViTImageProcessor, ViTModel

from featurestore.encoders.clip import ClipEncoder, pair_logits
from featurestore.encoders.images import ImageEncoder, read_pictures, to_frame
from featurestore.encoders.objects import encode_objects
from featurestore.encoders.text import TextEncoder
from featurestore.schema import NO_ROW
from featurestore.sources.wikimel import SPLITS, RawWikimel

GOLDEN = Path(__file__).parent / "golden"
ENCODERS = GOLDEN / "encoders"
RAW = GOLDEN / "pipeline" / "raw" / "wikimel"
RECORDED = GOLDEN / "pipeline" / "preprocessed"
BOXES = GOLDEN / "pipeline" / "boxes" / "wikimel"

#: Bound on features. Logits are 100·cos: the same bound relative to their scale would be 1e-2.
TOLERANCE = 1e-4


def recorded(name: str, dataset: str = "wikimel") -> np.ndarray:
    """A recorded array of all splits, in the order of the mention table."""
    folder = BOXES if "box" in name else RECORDED / dataset
    return np.concatenate([np.load(folder / f"{name}_{split}.npy") for split in SPLITS])


def entity_array(name: str) -> np.ndarray:
    return np.load((BOXES if "box" in name else RECORDED / "wikimel") / f"{name}.npy")


def assert_reproduces(actual: np.ndarray, expected: np.ndarray) -> None:
    assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
    assert expected.std() > 0.05  # far above the tolerance: agreement means something
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE)


def pictures_of(paths: list[str]) -> list[Image.Image]:
    files = [RAW / path if path else None for path in paths]
    return [picture for batch in read_pictures(files) for picture in batch.pictures]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """The models are tiny: more threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def raw() -> RawWikimel:
    return RawWikimel.open(RAW)


@pytest.fixture(scope="module")
def text() -> TextEncoder:
    return TextEncoder.load(str(ENCODERS / "bert"), device="cpu")


@pytest.fixture(scope="module")
def images() -> ImageEncoder:
    return ImageEncoder.load(str(ENCODERS / "resnet"), device="cpu")


@pytest.fixture(scope="module")
def clip() -> ClipEncoder:
    return ClipEncoder.load(str(ENCODERS / "clip"), device="cpu")


class TestText:
    def test_sentences_with_padding_are_the_recorded_ones(
        self, text: TextEncoder, raw: RawWikimel
    ) -> None:
        (batch,) = text.encode(raw.mentions.sentences, keep=32, padding=True)
        assert_reproduces(np.stack(batch.split()), recorded("mention-text-feature"))
        np.testing.assert_array_equal(batch.counts, recorded("mention-text-mask").sum(axis=1))

    def test_entity_texts_with_padding_are_the_recorded_ones(
        self, text: TextEncoder, raw: RawWikimel
    ) -> None:
        (batch,) = text.encode(raw.entities.texts, keep=20, padding=True)
        assert_reproduces(np.stack(batch.split()), entity_array("entity-attr-feature"))
        np.testing.assert_array_equal(batch.counts, entity_array("entity-attr-mask").sum(axis=1))

    def test_without_padding_only_real_tokens_are_handed_out(
        self, text: TextEncoder, raw: RawWikimel
    ) -> None:
        (batch,) = text.encode(raw.mentions.sentences, keep=32)
        mask = recorded("mention-text-mask").astype(bool)
        assert_reproduces(batch.tokens, recorded("mention-text-feature")[mask])
        np.testing.assert_array_equal(batch.rows, batch.counts)

    def test_pooler_output_is_the_recorded_one(self, text: TextEncoder) -> None:
        texts = recorded("entity-attr-raw", "wikidiverse").tolist()
        (batch,) = text.encode(texts, keep=1)
        assert batch.pooled is not None
        assert_reproduces(batch.pooled, recorded("entity-attr-feature", "wikidiverse"))

    def test_mention_spans_are_the_recorded_ones(self, text: TextEncoder, raw: RawWikimel) -> None:
        mentions = raw.mentions
        start, end = text.mention_spans(
            mentions.sentences, mentions.char_start.tolist(), mentions.mentions
        )
        np.testing.assert_array_equal(start, recorded("start-pos"))
        np.testing.assert_array_equal(end, recorded("end-pos"))

    @settings(max_examples=12, deadline=None)
    @given(
        texts=st.lists(st.text(alphabet="ab é.Z", max_size=90), min_size=1, max_size=6),
        keep=st.integers(1, 70),
        padding=st.booleans(),
        window=st.integers(1, 7),
        batch_tokens=st.integers(1, 300),
    )
    def test_a_text_does_not_depend_on_its_neighbours(
        self,
        text: TextEncoder,
        texts: list[str],
        keep: int,
        padding: bool,
        window: int,
        batch_tokens: int,
    ) -> None:
        """Any window and batch gives the features of each text alone, in the order given."""
        together = list(
            text.encode(texts, keep=keep, padding=padding, window=window, batch_tokens=batch_tokens)
        )
        assert [batch.first for batch in together] == list(range(0, len(texts), window))
        features = [each for batch in together for each in batch.split()]
        for own, feature in zip(texts, features, strict=True):
            (alone,) = text.encode([own], keep=keep, padding=padding)
            assert len(feature) == (min(keep, 64) if padding else alone.counts[0])
            np.testing.assert_allclose(feature, alone.tokens, rtol=0, atol=1e-5)

    @settings(max_examples=25, deadline=None)
    @given(
        st.lists(st.tuples(st.text("ab é.", max_size=9), st.text("cd ü-", max_size=9)), max_size=5)
    )
    def test_spans_count_word_pieces_of_the_parts_alone(
        self, text: TextEncoder, parts: list[tuple[str, str]]
    ) -> None:
        tokenizer = text.tokenizer._tokenizer
        start, end = text.mention_spans(
            [before + mention for before, mention in parts],
            [len(before) for before, _ in parts],
            [mention for _, mention in parts],
        )
        assert start.tolist() == [len(tokenizer.tokenize(before)) for before, _ in parts]
        assert (end - start).tolist() == [len(tokenizer.tokenize(mention)) for _, mention in parts]

    def test_no_text_gives_no_batch(self, text: TextEncoder) -> None:
        assert list(text.encode([], keep=8)) == []
        assert text.mention_spans([], [], [])[0].shape == (0,)

    def test_keep_must_leave_a_token(self, text: TextEncoder) -> None:
        with pytest.raises(ValueError, match="at least 1"):
            list(text.encode(["a"], keep=0))

    def test_attention_stops_at_max_tokens(self) -> None:
        short = TextEncoder.load(str(ENCODERS / "bert"), device="cpu", max_tokens=5)
        (batch,) = short.encode(["a b c d e f g"], keep=32)
        assert batch.counts.tolist() == [5]
        assert short.info.options["max_tokens"] == 5


class TestImages:
    def test_regions_of_mentions_are_the_recorded_ones(
        self, images: ImageEncoder, raw: RawWikimel
    ) -> None:
        regions = images.encode(pictures_of(raw.mentions.image_paths)).regions
        assert_reproduces(regions, recorded("mention-image-feature"))
        assert (images.regions, images.width) == regions.shape[1:]

    def test_pooled_output_of_entities_is_the_recorded_one(
        self, images: ImageEncoder, raw: RawWikimel
    ) -> None:
        pooled = images.encode_pooled(pictures_of(raw.entities.image_paths))
        assert_reproduces(pooled[:, None], entity_array("entity-image-feature_all"))

    def test_absent_broken_and_small_pictures_share_the_recorded_default(
        self, raw: RawWikimel
    ) -> None:
        feature = entity_array("entity-image-feature_all")
        absent, broken, small, own = (
            raw.entities.ids.index(q) for q in ("Q174", "Q322", "Q396", "Q100")
        )
        assert (feature[absent] == feature[broken]).all()
        assert (feature[absent] == feature[small]).all()
        assert np.abs(feature[absent] - feature[own]).max() > 0.01

    def test_objects_of_recorded_boxes_are_the_recorded_ones(
        self, images: ImageEncoder, raw: RawWikimel
    ) -> None:
        boxes = recorded("mention-object-box").astype(np.float32)
        objects = encode_objects(images, pictures_of(raw.mentions.image_paths), boxes)
        assert_reproduces(objects, recorded("mention-object-feature"))
        boxes = entity_array("entity-object-box_all").astype(np.float32)
        objects = encode_objects(images, pictures_of(raw.entities.image_paths), boxes)
        assert_reproduces(objects, entity_array("entity-object-feature_all"))

    def test_a_picture_does_not_depend_on_its_batch(
        self, images: ImageEncoder, raw: RawWikimel
    ) -> None:
        pictures = pictures_of(raw.entities.image_paths)
        small = ImageEncoder(
            model=images._model,
            processor=images._processor,
            runtime=images._runtime,
            info=images.info,
            batch_size=5,
        )
        np.testing.assert_allclose(
            small.encode(pictures).regions, images.encode(pictures).regions, rtol=0, atol=1e-5
        )

    def test_regions_of_a_transformer_are_its_patches(self, tmp_path: Path) -> None:
        torch.manual_seed(0)
        config = ViTConfig(
            hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
            image_size=224, patch_size=32,
        )  # fmt: skip
        model = ViTModel(config).eval()
        model.save_pretrained(tmp_path)
        processor = ViTImageProcessor()
        processor.save_pretrained(tmp_path)
        picture = Image.linear_gradient("L").convert("RGB")
        with torch.inference_mode():
            pixels = processor(images=[to_frame(picture)], return_tensors="pt")["pixel_values"]
            expected = model(pixels)
        features = ImageEncoder.load(str(tmp_path), device="cpu").encode([picture])
        np.testing.assert_allclose(features.regions, expected.last_hidden_state[:, 1:], atol=1e-5)
        np.testing.assert_allclose(features.pooled, expected.pooler_output, atol=1e-5)


class TestClip:
    def test_similarities_are_the_recorded_ones(self, clip: ClipEncoder, raw: RawWikimel) -> None:
        mentions, entities = raw.mentions, raw.entities
        rows = np.column_stack([mentions.candidates, mentions.gold])
        miet = pair_logits(
            clip.encode_images(pictures_of(mentions.image_paths)),
            clip.encode_texts(entities.texts),
            rows,
            clip.logit_scale,
        )
        assert_reproduces(miet, recorded("similarity-miet"))
        eimt = pair_logits(
            clip.encode_texts(mentions.sentences),
            clip.encode_images(pictures_of(entities.image_paths)),
            rows,
            clip.logit_scale,
        )
        assert_reproduces(eimt, recorded("similarity-eimt"))

    def test_embeddings_have_unit_length(self, clip: ClipEncoder, raw: RawWikimel) -> None:
        for embedding in (
            clip.encode_texts(raw.entities.texts),
            clip.encode_images(pictures_of(raw.entities.image_paths)),
        ):
            assert embedding.shape == (24, clip.width)
            np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-6)

    def test_text_is_cut_at_77_tokens(self, clip: ClipEncoder) -> None:
        long = "river " * 200
        (full,) = clip._tokenizer([long], truncation=False, verbose=False)["input_ids"]
        assert len(full) == 202
        np.testing.assert_allclose(
            clip.encode_texts([long]), clip.encode_texts([long + "bank"]), atol=1e-6
        )

    def test_nothing_in_gives_nothing_out(self, clip: ClipEncoder) -> None:
        assert clip.encode_texts([]).shape == (0, clip.width)

    def test_a_slot_without_entity_has_logit_zero(self) -> None:
        unit = np.eye(2, dtype=np.float32)
        logits = pair_logits(unit, unit, np.array([[0, NO_ROW], [1, 0]]), 100.0)
        assert logits.tolist() == [[100, 0], [100, 0]]


class TestBfloat16:
    """Half precision on request: near the float32 features, and not equal to them."""

    def test_text(self, text: TextEncoder, raw: RawWikimel) -> None:
        low = TextEncoder.load(str(ENCODERS / "bert"), device="cpu", dtype="bfloat16")
        (rough,) = low.encode(raw.entities.texts, keep=20)
        (exact,) = text.encode(raw.entities.texts, keep=20)
        self.assert_close_but_not_equal(rough.tokens, exact.tokens)

    def test_images(self, images: ImageEncoder, raw: RawWikimel) -> None:
        low = ImageEncoder.load(str(ENCODERS / "resnet"), device="cpu", dtype="bfloat16")
        pictures = pictures_of(raw.entities.image_paths)
        self.assert_close_but_not_equal(
            low.encode(pictures).regions, images.encode(pictures).regions
        )

    def test_clip(self, clip: ClipEncoder, raw: RawWikimel) -> None:
        low = ClipEncoder.load(str(ENCODERS / "clip"), device="cpu", dtype="bfloat16")
        rough = low.encode_texts(raw.entities.texts)
        self.assert_close_but_not_equal(rough, clip.encode_texts(raw.entities.texts))
        np.testing.assert_allclose(np.linalg.norm(rough, axis=1), 1, atol=1e-6)

    @staticmethod
    def assert_close_but_not_equal(rough: np.ndarray, exact: np.ndarray) -> None:
        assert rough.dtype == np.float32
        error = np.linalg.norm(rough - exact) / np.linalg.norm(exact)
        assert 0 < error < 0.05
