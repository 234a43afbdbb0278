"""Problems planted into the raw WikiMEL sample, one or more of each kind that an audit looks for.

What an audit finds by name (``featurestore.audit``), and what is done for it:

======================  =======================================================================
duplicate-entities      an entity has another's title and description, and so its features
(identical-features)    (found with a text encoder); one has another's title in capitals
shared-mentions         a mention of test is one of train: same sentence, mention and gold
repeated-mentions       a mention of test stands there twice
cut-spans               128 tokens end before a mention of test, and within another one
title-leak              mentions of valid are the title of their gold,
shared-sentences        in sentences that all stand in train too,
candidate-recall        have their gold among the candidates without exception,
gold-place              and always first
candidate-recall        of every third mention of test, the gold is taken from the candidates
candidate-lists         a list of train holds an entity twice, another only the gold
golds                   a gold of train is in no table
picture-files           a picture of test has the file name of an entity's
similar-pictures        a picture of test is an entity's; another one is, made smaller
======================  =======================================================================

Missing pictures and descriptions the sample has anyway. NaN and rows of zeros cannot be planted in a
source. The mention whose picture has an entity's name has an id that reads so, such as ``Q1000-0``.
"""

from __future__ import annotations

import json
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from featurestore.sources import sample_words
from featurestore.sources.sample_files import write_json, write_lines
from featurestore.sources.sample_names import qid
from featurestore.sources.sample_world import SPLITS

_TITLES = Path("entities", "qid-entity.tsv")
_ABSTRACTS = Path("entities", "qid2abs.json")
_ENTITY_PICTURES = Path("entities", "cleaned-images")
_MENTION_PICTURES = Path("mentions", "KVQAimgs")
_CANDIDATES = Path("candidates", "top100", "candidates-answer.tsv")

#: Tokens of a sentence that ingest keeps by default, [CLS] and [SEP] left out.
_ROOM = 126

#: Words of one piece each, before a mention that is to be cut off.
_FILLER = "house "

_NO_ENTITY = "Q999999999"


def plant_problems(root: Path) -> dict[str, int]:
    """Change the sample below ``root``; what was planted, ``check: what``, and how often."""
    sample = _Sample(root)
    planted = sample.spoil_entities()
    planted |= sample.spoil_valid()
    planted |= sample.spoil_train_and_test()
    planted |= sample.spoil_pictures()
    sample.write()
    return planted


class _Sample:
    """The text files of a sample, to be changed; mentions are those that ingest keeps."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._titles = dict(line.split("\t") for line in _lines(root / _TITLES))
        self._abstracts: dict[str, str] = json.loads((root / _ABSTRACTS).read_text("utf-8"))
        self._items: dict[str, dict[str, dict[str, Any]]] = {
            split: json.loads(self._mentions(split).read_text("utf-8")) for split in SPLITS
        }
        lists = (line.split("\t") for line in _lines(root / _CANDIDATES))
        self._lists = {mention: candidates for mention, *candidates in lists}
        self._train, self._valid, test = (
            [i for i in items.values() if i["mentions"] in i["sentence"]]
            for items in self._items.values()
        )
        pictured = [item for item in test if self._has_picture(item)]
        self._test = pictured + [item for item in test if not self._has_picture(item)]

    def _mentions(self, split: str) -> Path:
        return self._root / "mentions" / f"WIKIMEL_{split}.json"

    def _has_picture(self, item: dict[str, Any]) -> bool:
        path = self._root / _MENTION_PICTURES / item["imgPath"]
        return path.is_file() and path.stat().st_size > 1000  # neither broken nor tiny

    def write(self) -> None:
        write_lines(self._root / _TITLES, map("\t".join, self._titles.items()))
        write_json(self._root / _ABSTRACTS, self._abstracts)
        for split, items in self._items.items():
            write_json(self._mentions(split), items)
        lists = ("\t".join([mention, *candidates]) for mention, candidates in self._lists.items())
        write_lines(self._root / _CANDIDATES, lists)

    def spoil_entities(self) -> dict[str, int]:
        first, twin, third, shouting = (qid(entity) for entity in (2, 3, 4, 8))
        self._titles[twin] = self._titles[first]
        self._abstracts[twin] = self._abstracts[first]
        self._titles[shouting] = self._titles[third].upper().replace(" ", "_")
        return {
            "duplicate-entities: entities with the title and description of another": 1,
            "duplicate-entities: entities with the title of another in capitals": 1,
        }

    def spoil_valid(self) -> dict[str, int]:
        """Every mention of valid becomes one of train, under the title of its gold."""
        for item, other in zip(self._valid, self._train, strict=False):
            title, name = self._titles[other["answer"]], other["mentions"]
            said = title if name in title else f"{title}, {name}"  # one title is in capitals
            other["sentence"] = other["sentence"].replace(name, said, 1)
            item |= {key: other[key] for key in ("sentence", "answer", "entities")}
            item["mentions"] = title
            others = [c for c in self._lists[other["id"]] if c != other["answer"]]
            self._lists[item["id"]] = [other["answer"], *others][: len(self._lists[other["id"]])]
        count = len(self._valid)
        return {
            "title-leak: mentions of valid that are the title of their gold": count,
            "shared-sentences: mentions of valid in sentences of train": count,
            "candidate-recall: mentions of valid, all with the gold among the candidates": count,
            "gold-place: mentions of valid, all with the gold first": count,
        }

    def spoil_train_and_test(self) -> dict[str, int]:
        rest = self._train[len(self._valid) :]
        stray, twice, alone, shared = islice(rest, 4)
        stray["answer"] = _NO_ENTITY
        self._lists[twice["id"]][-1] = self._lists[twice["id"]][0]
        self._lists[alone["id"]] = [alone["answer"]] * len(self._lists[alone["id"]])
        self._copy(shared, self._test[3])
        self._copy(self._test[4], self._test[5])
        for item, room in ((self._test[6], _ROOM), (self._test[7], _ROOM - 1)):
            before = item["sentence"].partition(item["mentions"])[0]
            fill = room - len(sample_words.tokenize(before))
            item["sentence"] = _FILLER * fill + item["sentence"]
        missed = self._test[8::3]
        for item in missed:
            absent = next(q for q in self._titles if q not in self._lists[item["id"]])
            candidates = self._lists[item["id"]]
            self._lists[item["id"]] = [absent if c == item["answer"] else c for c in candidates]
        return {
            "golds: golds of train in no table": 1,
            "candidate-lists: lists of train that hold an entity twice": 1,
            "candidate-lists: lists of train that hold the gold only": 1,
            "shared-mentions: mentions of train that stand in test": 1,
            "repeated-mentions: mentions of test that stand there twice": 1,
            "cut-spans: mentions of test cut off wholly": 1,
            "cut-spans: mentions of test cut off in part": 1,
            "candidate-recall: mentions of test without gold among the candidates": len(missed),
        }

    def _copy(self, item: dict[str, Any], to: dict[str, Any]) -> None:
        """Say the same again, under another id and picture."""
        to |= {key: item[key] for key in ("sentence", "mentions", "answer", "entities")}
        self._lists[to["id"]] = list(self._lists[item["id"]])

    def spoil_pictures(self) -> dict[str, int]:
        """The first three mentions of test, each under an entity's picture."""
        pictures = sorted((self._root / _ENTITY_PICTURES).glob("*.jpg"))
        entities = islice((p for p in pictures if p.stat().st_size > 1000), 3)
        named, copied, smaller = zip(entities, self._test, strict=False)
        picture, item = named
        shutil.copyfile(picture, self._root / _MENTION_PICTURES / picture.name)
        self._rename(item, picture)
        picture, item = copied
        shutil.copyfile(picture, self._root / _MENTION_PICTURES / item["imgPath"])
        picture, item = smaller
        with Image.open(picture) as opened:
            small = opened.resize((opened.width * 7 // 8, opened.height * 7 // 8))
            small.save(self._root / _MENTION_PICTURES / item["imgPath"], "JPEG", quality=70)
        return {
            "picture-files: pictures of test with the file name of an entity's": 1,
            "similar-pictures: pictures of test that are an entity's": 1,
            "similar-pictures: pictures of test that are an entity's, made smaller": 1,
        }

    def _rename(self, item: dict[str, Any], picture: Path) -> None:
        """Give a mention of test the id that leads to a picture file."""
        old, new = item["id"], f"{picture.stem}-0"
        item |= {"id": new, "imgPath": picture.name}
        items = self._items["test"].items()
        self._items["test"] = {(new if key == old else key): value for key, value in items}
        self._lists = {(new if key == old else key): value for key, value in self._lists.items()}


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()
