"""The raw sample: every file of both layouts, and the troubles that the summary counts."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

from featurestore.sources import sample_words
from featurestore.sources.sample import SampleSummary, write_sample
from featurestore.sources.sample_world import SPLITS
from featurestore.sources.wikimel import RawWikimel
from tests.sample_for_tests import SMALL, load, read, state_of, tree


@pytest.fixture(scope="module")
def wikimel(tmp_path_factory: pytest.TempPathFactory) -> SampleSummary:
    return write_sample(tmp_path_factory.mktemp("sample") / "wikimel", **SMALL)


@pytest.fixture(scope="module")
def wikidiverse(tmp_path_factory: pytest.TempPathFactory) -> SampleSummary:
    folder = tmp_path_factory.mktemp("sample") / "wikidiverse"
    return write_sample(folder, dataset="wikidiverse", **SMALL)


# raw WikiMEL ------------------------------------------------------------------------------------


def test_raw_wikimel_has_every_file(wikimel: SampleSummary) -> None:
    root = Path(wikimel.root)
    pictures = {path.relative_to(root).as_posix() for path in root.glob("*/*/*.*g")}
    boxes = {f"mention-object-{kind}_{split}" for kind in ("box", "score") for split in SPLITS}
    boxes |= {"entity-object-box_all", "entity-object-score_all"}
    text = {
        "candidates/qid2ne.json", "candidates/ne2qid.json",
        "candidates/top100/candidates-answer.tsv",
        "entities/qid2abs.json", "entities/qid2brief.json", "entities/qid-entity.tsv",
        *(f"mentions/WIKIMEL_{split}.json" for split in SPLITS),
        *(f"boxes/{name}.npy" for name in boxes),
    }  # fmt: skip
    encoders = {name for name in tree(root) if name.startswith("encoders/")}
    assert {name.split("/")[1] for name in encoders} == {"bert", "resnet", "clip"}
    assert set(tree(root)) == text | pictures | encoders
    assert {Path(name).parent.name for name in pictures} == {"KVQAimgs", "cleaned-images"}


def test_raw_wikimel_is_read_with_the_troubles_that_were_planted(wikimel: SampleSummary) -> None:
    raw = RawWikimel.open(Path(wikimel.root))
    dropped = sum(len(ids) for ids in raw.dropped.values())
    assert dropped == wikimel.troubles["mentions not in their sentence"] == 1
    assert len(raw.mentions) == 80 - dropped
    assert raw.mentions.candidates.shape == (80 - dropped, wikimel.candidates)
    assert (raw.mentions.gold >= 0).all()
    missed = (raw.mentions.answer == wikimel.candidates).sum()
    assert 0 <= wikimel.troubles["golds not among the candidates"] - missed <= dropped
    assert raw.entities.descriptions.count("") == wikimel.troubles["entities without description"]
    assert raw.entities.image_paths.count("") == wikimel.troubles["entity pictures missing"]


def test_one_wikimel_mention_stands_beyond_128_tokens(wikimel: SampleSummary) -> None:
    mentions = RawWikimel.open(Path(wikimel.root)).mentions
    before = [
        len(sample_words.tokenize(sentence[:start]))
        for sentence, start in zip(mentions.sentences, mentions.char_start, strict=True)
    ]
    assert sum(count > 128 for count in before) == wikimel.troubles["mentions beyond 128 tokens"]
    assert sorted(before)[-2] < 32


def test_recorded_boxes_fit_the_mentions_that_are_kept(wikimel: SampleSummary) -> None:
    raw = RawWikimel.open(Path(wikimel.root))
    for split, rows in raw.mentions.splits.items():
        boxes = load(wikimel, f"boxes/mention-object-box_{split}")
        scores = load(wikimel, f"boxes/mention-object-score_{split}")
        assert boxes.shape == (len(rows), 3, 4)
        assert (boxes[..., 2:] > boxes[..., :2]).all()
        assert 0 <= boxes.min() <= boxes.max() <= 224
        assert (np.diff(scores, axis=1) <= 0).all()
        for row, best in zip(rows, scores[:, 0], strict=True):
            path = raw.mentions.image_paths[row]
            usable = bool(path) and state_of(Path(wikimel.root, path)) == "ok"
            assert (best > 0) == usable


def test_the_summary_counts_the_pictures_that_cannot_be_used(wikimel: SampleSummary) -> None:
    for kind, folder in (("mention", "mentions/KVQAimgs"), ("entity", "entities/cleaned-images")):
        states = [state_of(path) for path in Path(wikimel.root, folder).iterdir()]
        for state in ("broken", "too small"):
            assert states.count(state) == wikimel.troubles[f"{kind} pictures {state}"] == 1
        assert wikimel.troubles[f"{kind} pictures missing"] >= 1
    suffixes = {path.suffix for path in Path(wikimel.root).rglob("*/cleaned-images/*")}
    assert suffixes == {".jpg", ".png"}


def test_some_mentions_share_a_picture(wikimel: SampleSummary) -> None:
    ids = [mention for split in SPLITS for mention in read_mentions(wikimel, split)]
    assert len({mention.split("-")[0] for mention in ids}) < len(set(ids)) == 80


def read_mentions(summary: SampleSummary, split: str) -> Any:
    return read(summary.root, f"mentions/WIKIMEL_{split}.json")


# raw WikiDiverse --------------------------------------------------------------------------------


def items_of(summary: SampleSummary) -> list[list[Any]]:
    return [
        item
        for split in SPLITS
        for item in read(summary.root, f"candidates/{split}_w_10cands.json")
    ]


def digest(url: str) -> str:
    return hashlib.md5(url.rsplit("/", 1)[-1].encode(), usedforsecurity=False).hexdigest()


def test_raw_wikidiverse_has_every_file(wikidiverse: SampleSummary) -> None:
    names = {name for name in tree(Path(wikidiverse.root)) if not name.startswith("encoders/")}
    images = {name for name in names if name.startswith("images/")}
    assert names - images == {
        *(f"candidates/{split}_w_10cands.json" for split in SPLITS),
        *(f"entities/entity2brief_{split}.json" for split in SPLITS),
        *(f"mentions/{split}.json" for split in SPLITS),
        "entities/wikipedia_entity2imgs.tsv",
        "entities/wikipedia_entity2desc_filtered.tsv",
    }
    assert len(images) > 100


def test_wikidiverse_items_are_laid_out_as_in_the_release(wikidiverse: SampleSummary) -> None:
    items = items_of(wikidiverse)
    assert len(items) == 80
    for item in items:
        sentence, url, mention, kind, left, right, gold, candidates, topic, start, end = item
        assert sentence[start:end] == mention
        assert " ".join([*left, mention]) == sentence[:end]
        assert "".join(right) == sentence[end:].replace(" ", "")
        assert url.startswith("https://upload.wikimedia.org/")
        assert kind in {"Person", "Location", "Organization", "Misc"}
        assert topic
        assert gold == "NIL" or "https://en.wikipedia.org/wiki/" in gold
        assert len(candidates) <= 8
    lengths = [len(item[7]) for item in items]
    short = wikidiverse.troubles["short candidate lists"]
    assert sum(length < 8 for length in lengths) == short == 8
    assert lengths.count(0) == 1
    bare = read(wikidiverse.root, "mentions/valid.json")
    full = read(wikidiverse.root, "candidates/valid_w_10cands.json")
    assert bare == [[*item[:7], *item[8:]] for item in full]


def test_wikidiverse_gold_urls_are_as_dirty_as_said(wikidiverse: SampleSummary) -> None:
    golds = [item[6] for item in items_of(wikidiverse)]
    wiki = "https://en.wikipedia.org/wiki/"
    found = {
        "NIL": golds.count("NIL"),
        "hhttps": sum(gold.startswith("hhttps") for gold in golds),
        "bracket": sum(gold.endswith("]") for gold in golds),
        "lower": sum(gold.removeprefix(wiki)[0].islower() for gold in golds if wiki in gold),
        "spaces": sum("%20" in gold for gold in golds),
    }
    found["lower"] -= found["hhttps"]
    assert found == {name: wikidiverse.troubles[f"gold URLs, {name}"] for name in found}
    assert set(found.values()) == {1}


def test_wikidiverse_titles_hold_slashes_accents_and_encoded_marks(
    wikidiverse: SampleSummary,
) -> None:
    urls = {url for item in items_of(wikidiverse) for url in item[7]}
    titles = {unquote(url.rsplit("/", 1)[-1]) for url in urls}
    assert any("%2F" in url for url in urls)
    assert "2)" in titles  # what is left of a title whose slash is not encoded
    assert any(not title.isascii() for title in titles)
    assert all(("%28" in url) or url.endswith("2%29") for url in urls)
    briefs = {
        name
        for split in SPLITS
        for name in read(wikidiverse.root, f"entities/entity2brief_{split}.json")
    }
    assert len(titles - briefs) == 2  # that one, and the entity without a brief


def test_wikidiverse_pictures_lie_under_the_digest_of_their_url(
    wikidiverse: SampleSummary,
) -> None:
    images = Path(wikidiverse.root, "images")
    files = {path.stem: path for path in images.iterdir()}
    lines = Path(wikidiverse.root, "entities/wikipedia_entity2imgs.tsv").read_text("utf-8")
    header, *rows = lines.splitlines()
    assert header == "entity@@@@images"
    listed = [row.split("@@@@")[1].split("[AND]") for row in rows]
    urls = {item[1] for item in items_of(wikidiverse)} | {url for row in listed for url in row}
    found = {url: files[digest(url)] for url in urls if digest(url) in files}
    assert len(found) == len(files)
    drawings = [url for url in found if url.endswith(".svg")]
    assert drawings
    assert {found[url].suffix for url in drawings} == {".png"}
    several = [[state_of(found[url]) for url in row] for row in listed if len(row) > 1]
    assert several == [["too small", "ok"]]
