"""The sample can be learnt from: text tells a part of the golds, pictures and text tell most.

The nearest candidate by raw features stands in for a trained model: no weights, no training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer, CLIPModel

from featurestore.encoders.tiny import write_tiny_encoders
from featurestore.errors import ConfigError
from featurestore.sources import sample_words
from featurestore.sources.sample import SampleSummary, write_sample
from featurestore.sources.sample_world import SPLITS
from featurestore.sources.wikimel import RawWikimel

#: How often the gold is nearest among those retrieved, by text, and how much pictures add to it.
TEXT, GAIN = (0.5, 0.75), 0.15


def cosine(one: np.ndarray, many: np.ndarray) -> np.ndarray:
    """(n, K) cosines of (n, D) and (n, K, D)."""
    dot = (one[:, None] * many).sum(-1)
    return dot / np.linalg.norm(one, axis=-1)[:, None] / np.linalg.norm(many, axis=-1)


def hits(scores: np.ndarray, answer: np.ndarray) -> float:
    """hits@1 among the mentions whose gold was retrieved."""
    found = answer < scores.shape[1]
    return float((scores.argmax(1) == answer)[found].mean())


def spans(tokens: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(n, D) mean of each mention's tokens, [start+1, end+1)."""
    rows = zip(tokens, starts, ends, strict=True)
    return np.stack([row[start + 1 : end + 1].mean(0) for row, start, end in rows])


# preprocessed -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", ["wikimel", "wikidiverse"])
def test_pictures_add_clearly_to_text_in_the_arrays(tmp_path: Path, dataset: Any) -> None:
    summary = write_sample(
        tmp_path, dataset=dataset, layout="preprocessed", text_width=192, image_width=256, regions=9
    )
    by_text, by_both, by_clip = [], [], []
    answers = []
    for split in SPLITS:
        arrays = {path.stem: np.load(path) for path in tmp_path.glob(f"*_{split}.npy")}
        n = summary.mentions[split]
        span = spans(
            arrays[f"mention-text-feature_{split}"],
            arrays[f"start-pos_{split}"],
            arrays[f"end-pos_{split}"],
        )
        texts, pictures = entity_features(tmp_path, dataset, split)
        text = cosine(span, texts.reshape(n, 11, -1)[:, :10])
        mean = arrays[f"mention-image-feature_{split}"].mean(1)
        picture = cosine(mean, pictures.reshape(n, 11, -1)[:, :10])
        by_text.append(text)
        by_both.append(text + picture)
        by_clip.append(text + arrays[f"similarity-miet_{split}"][:, :10] / 100)
        answers.append(arrays[f"answer_{split}"])
    answer = np.concatenate(answers)
    reached = hits(np.concatenate(by_text), answer)
    assert TEXT[0] < reached < TEXT[1]
    assert hits(np.concatenate(by_both), answer) > reached + GAIN
    assert hits(np.concatenate(by_clip), answer) > reached + GAIN


def entity_features(root: Path, dataset: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Text (n·11, D) and picture (n·11, V) features of every slot of a split."""
    if dataset == "wikidiverse":
        texts = np.load(root / f"entity-attr-feature_{split}.npy")
        return texts, np.load(root / f"entity-image-feature_{split}.npy")
    tokens, mask = (np.load(root / f"entity-attr-{part}.npy") for part in ("feature", "mask"))
    texts = np.stack([row[1 : n - 1].mean(0) for row, n in zip(tokens, mask.sum(1), strict=True)])
    names = np.load(root / f"entity-name-raw_{split}.npy")
    rows = np.array([(int(name[1:]) - 100) // 37 for name in names])
    return texts[rows], np.load(root / "entity-image-feature_all.npy")[rows]


# raw, through the encoders ----------------------------------------------------------------------


@dataclass
class Encoded:
    """A raw sample and what its own encoders make of it."""

    raw: RawWikimel
    span: np.ndarray  # (n, D)
    entity_text: np.ndarray  # (N, D)
    image: np.ndarray  # (n, V)
    entity_image: np.ndarray  # (N, V)
    clip_image: np.ndarray  # (n, P)
    clip_entity_text: np.ndarray  # (N, P)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleSummary:
    return write_sample(tmp_path_factory.mktemp("signal") / "raw", mentions=300, entities=100)


@pytest.fixture(scope="module")
def encoded(sample: SampleSummary) -> Encoded:
    """The sample's texts and pictures as the library's ordinary classes encode them."""
    raw = RawWikimel.open(Path(sample.root))
    tokens, _ = bert(sample, raw.mentions.sentences)
    starts = np.array(
        [
            len(sample_words.tokenize(sentence[:start]))
            for sentence, start in zip(raw.mentions.sentences, raw.mentions.char_start, strict=True)
        ]
    )
    ends = starts + [len(sample_words.tokenize(mention)) for mention in raw.mentions.mentions]
    entity_tokens, entity_counts = bert(sample, raw.entities.texts)
    pictures = [picture(raw.root, path) for path in raw.mentions.image_paths]
    entity_pictures = [picture(raw.root, path) for path in raw.entities.image_paths]
    clip = CLIPModel.from_pretrained(sample.encoders["clip"]).eval()
    words = AutoTokenizer.from_pretrained(sample.encoders["clip"])
    with torch.inference_mode():
        pixels = processed(sample.encoders["clip"], pictures)
        clip_image = clip.get_image_features(pixel_values=pixels).pooler_output
        ids = words(
            raw.entities.texts, padding=True, truncation=True, max_length=77, return_tensors="pt"
        )
        clip_text = clip.get_text_features(**ids).pooler_output
    return Encoded(
        raw=raw,
        span=spans(tokens, starts, ends),
        entity_text=np.stack(
            [row[1 : n - 1].mean(0) for row, n in zip(entity_tokens, entity_counts, strict=True)]
        ),
        image=resnet(sample, pictures),
        entity_image=resnet(sample, entity_pictures),
        clip_image=clip_image.numpy(),
        clip_entity_text=clip_text.numpy(),
    )


def bert(sample: SampleSummary, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Token features (n, T, D) and token counts (n,)."""
    tokenizer = AutoTokenizer.from_pretrained(sample.encoders["bert"])
    model = AutoModel.from_pretrained(sample.encoders["bert"]).eval()
    batch = tokenizer(list(texts), padding=True, return_tensors="pt")
    with torch.inference_mode():
        tokens = model(**batch).last_hidden_state
    return tokens.numpy(), batch["attention_mask"].sum(1).numpy()


def picture(root: Path, path: str) -> Image.Image:
    """The picture at ``path`` as 224×224 RGB; grey where there is none that can be used."""
    try:
        with Image.open(root / path) as opened:
            if min(opened.size) >= 50:
                return opened.convert("RGB").resize((224, 224))
    except OSError:
        pass
    return Image.new("RGB", (224, 224), "grey")


def processed(folder: str, pictures: Sequence[Image.Image]) -> torch.Tensor:
    processor = AutoImageProcessor.from_pretrained(folder)
    return processor(list(pictures), return_tensors="pt")["pixel_values"]


def resnet(sample: SampleSummary, pictures: Sequence[Image.Image]) -> np.ndarray:
    """(n, V) mean over the regions."""
    model = AutoModel.from_pretrained(sample.encoders["resnet"]).eval()
    found = []
    with torch.inference_mode():
        for start in range(0, len(pictures), 50):
            pixels = processed(sample.encoders["resnet"], pictures[start : start + 50])
            found.append(model(pixels).last_hidden_state.mean((2, 3)))
    return torch.cat(found).numpy()


def test_text_alone_tells_a_part(encoded: Encoded) -> None:
    mentions = encoded.raw.mentions
    by_text = cosine(encoded.span, encoded.entity_text[mentions.candidates])
    assert TEXT[0] < hits(by_text, mentions.answer) < TEXT[1]


def test_the_mentions_picture_is_most_like_the_golds(encoded: Encoded) -> None:
    mentions = encoded.raw.mentions
    by_picture = cosine(encoded.image, encoded.entity_image[mentions.candidates])
    assert hits(by_picture, mentions.answer) > 0.65
    assert by_picture.std() > 0.1  # a network without contrast gives 1 for every two pictures


def test_clip_brings_pictures_near_the_texts_that_name_their_colours(encoded: Encoded) -> None:
    mentions = encoded.raw.mentions
    by_clip = cosine(encoded.clip_image, encoded.clip_entity_text[mentions.candidates])
    assert hits(by_clip, mentions.answer) > 0.5


def test_pictures_add_clearly_to_text_through_the_encoders(encoded: Encoded) -> None:
    mentions = encoded.raw.mentions
    text = cosine(encoded.span, encoded.entity_text[mentions.candidates])
    pictures = cosine(encoded.image, encoded.entity_image[mentions.candidates])
    clip = cosine(encoded.clip_image, encoded.clip_entity_text[mentions.candidates])
    alone = hits(text, mentions.answer)
    assert hits(text + pictures, mentions.answer) > alone + GAIN
    assert hits(text + clip, mentions.answer) > alone + GAIN


# the encoders -----------------------------------------------------------------------------------


def test_widths_and_regions_are_those_asked_for(tmp_path: Path) -> None:
    folders = write_tiny_encoders(tmp_path, seed=3, words=["word"], text_width=24, image_width=40)
    bert_model = AutoModel.from_pretrained(folders["bert"])
    resnet_model = AutoModel.from_pretrained(folders["resnet"])
    with torch.inference_mode():
        seen = resnet_model(torch.zeros(1, 3, 224, 224))
    assert bert_model.config.hidden_size == 24
    assert bert_model.config.max_position_embeddings == 512
    assert seen.last_hidden_state.shape == (1, 40, 7, 7)
    assert seen.pooler_output.shape == (1, 40, 1, 1)
    for folder in folders.values():
        assert sum(path.stat().st_size for path in folder.iterdir()) < 1_000_000


def test_the_tokenizers_know_the_samples_words(sample: SampleSummary) -> None:
    raw = RawWikimel.open(Path(sample.root))
    bert_words = AutoTokenizer.from_pretrained(sample.encoders["bert"])
    pieces = list(sample_words.piece_ids())
    for text in [*raw.mentions.sentences, *raw.entities.texts, "Kaloren_(river/2): ô, é"]:
        own = [pieces[number] for number in sample_words.tokenize(text)]
        assert bert_words.tokenize(text) == own
    clip_words = AutoTokenizer.from_pretrained(sample.encoders["clip"])
    for word in (*sample_words.COLOURS, *sample_words.SHAPES, *sample_words.NEUTRAL):
        assert clip_words.tokenize(word) == [f"{word}</w>"]


def test_writing_encoders_leaves_the_callers_random_numbers_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    write_tiny_encoders(tmp_path, seed=0, words=["word"])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_widths_and_colours_that_cannot_be_made_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="text_width is 30"):
        write_tiny_encoders(tmp_path / "a", seed=0, words=[], text_width=30)
    assert not (tmp_path / "a").exists()
    many = {f"colour{number}": (number, 0, 0) for number in range(33)}
    with pytest.raises(ConfigError, match="33 colours"):
        write_tiny_encoders(tmp_path / "b", seed=0, words=[], colours=many)
