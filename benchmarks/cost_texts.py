"""Texts, titles, pictures and a raw dataset that have the lengths of WikiMEL's and mean nothing."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

#: Word pieces of WikiMEL's texts without [CLS] and [SEP] (drin-fs inspect): sentences have 13 on average,
#: 4 to 31 in nine of ten; texts of entities 37, 21 to 61.
SENTENCE_WORDS, ENTITY_WORDS = 13, 37

#: Side lengths of a picture (chosen here: what Wikimedia serves as a preview of 800 pixels).
PICTURE = (800, 600)

_SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]


def made_up_words(count: int) -> list[str]:
    """Distinct words of three or four syllables."""
    random = np.random.default_rng(0)
    found: dict[str, None] = {}
    while len(found) < count:
        parts = random.choice(_SYLLABLES, int(random.integers(3, 5)))
        found["".join(parts.tolist())] = None
    return list(found)


def sentences(words: Sequence[str], count: int, *, seed: int = 0) -> list[str]:
    """Texts as long as sentences of mentions."""
    random = np.random.default_rng(seed)
    lengths = np.clip(random.gamma(2.2, SENTENCE_WORDS / 2.2, count).round(), 2, 126)
    return _texts(words, lengths, random)


def entity_texts(words: Sequence[str], count: int, *, seed: int = 0) -> list[str]:
    """Texts as long as titles with descriptions."""
    random = np.random.default_rng(seed)
    lengths = np.clip(random.normal(ENTITY_WORDS, 12, count).round(), 5, 62)
    return _texts(words, lengths, random)


def titles(words: Sequence[str], count: int, *, seed: int = 0) -> list[str]:
    """Two words each; some words stand in many titles, most in few."""
    random = np.random.default_rng(seed)
    ranks = (len(words) ** random.random((count, 2))).astype(np.int64) - 1
    return [f"{words[a].title()} {words[b].title()}" for a, b in ranks.tolist()]


def _texts(words: Sequence[str], lengths: np.ndarray, random: np.random.Generator) -> list[str]:
    return [
        " ".join(words[place] for place in random.integers(0, len(words), int(length)).tolist())
        for length in lengths
    ]


def write_pictures(folder: Path, count: int) -> list[Path]:
    """JPEG files of large shapes and fine grain, about 150 KB each."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    paths = []
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8))
        smooth = np.asarray(coarse.resize(PICTURE, Image.Resampling.BICUBIC), np.int16)
        grain = random.normal(0, 8, smooth.shape)
        data = io.BytesIO()
        Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).save(
            data, "JPEG", quality=85
        )
        paths.append(folder / f"{number}.jpg")
        paths[-1].write_bytes(data.getvalue())
    return paths


def write_raw(folder: Path, *, entities: int, mentions: int, candidates: int) -> Path:
    """Raw WikiMEL without pictures: titles, descriptions, mentions and candidate lists."""
    words = made_up_words(2_000)
    for name in ("candidates/top100", "entities", "mentions"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    names, about = titles(words, entities), entity_texts(words, entities)
    table = "".join(f"Q{row}\t{name}\n" for row, name in enumerate(names))
    (folder / "entities/qid-entity.tsv").write_text(table)
    described = {f"Q{row}": text for row, text in enumerate(about)}
    (folder / "entities/qid2abs.json").write_text(json.dumps(described))
    (folder / "entities/qid2brief.json").write_text(json.dumps({}))
    random, items = np.random.default_rng(0), {}
    for row, sentence in enumerate(sentences(words, mentions)):
        gold = f"Q{random.integers(entities)}"
        items[f"{row}-0"] = {
            "sentence": sentence, "mentions": sentence.split()[0], "answer": gold
        }  # fmt: skip
    for split in ("train", "valid", "test"):
        own = {key: item for key, item in items.items() if (split == "train")}
        (folder / f"mentions/WIKIMEL_{split}.json").write_text(json.dumps(own))
    with (folder / "candidates/top100/candidates-answer.tsv").open("w") as file:
        for key in items:
            rows = random.integers(0, entities, candidates).tolist()
            file.write("\t".join([key, *(f"Q{row}" for row in rows)]) + "\n")
    return folder
