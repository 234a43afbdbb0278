"""MIMIC's layout: what is read from a good folder, and what is said about a bad one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurestore.candidates import TitleIndex
from featurestore.errors import SourceError
from featurestore.schema import NO_ROW
from featurestore.sources.layouts import layout_of
from featurestore.sources.mimic import RawMimic, is_mimic

ENTITIES = [
    {"id": 2, "qid": "Q30", "entity_name": "Jordan%20%28river%29", "attr": "", "image_list": []},
    {
        "id": 0,
        "qid": "Q10",
        "entity_name": "Michael%20Jordan",
        "attr": "Sex: male. Sport: basketball.",
        "image_list": ["Q10_gone.jpg", "Q10_1.JPEG", "Q10_2.png"],
    },
    {
        "id": 1,
        "qid": "Q20",
        "entity_name": "Jordan",
        "attr": None,
        "desc": "country",
        "image_list": [],
    },
]
TRAIN = [
    {"mentions": "Jordan", "sentence": "Jordan met Jordan.", "imgPath": "", "answer": "Q10"},
    {"mentions": "JORDAN", "sentence": "He left Jordan.", "imgPath": "a/7.x.png", "answer": "Q20"},
    {
        "mentions": "Michael%20J",
        "sentence": "Then Michael J came.",
        "imgPath": "a/7.x.png",
        "answer": "Q10",
    },
]
DEV = [{"mentions": "Jordan", "sentence": "To Jordan!", "imgPath": "b.svg", "answer": "nil"}]
TEST = [
    {"mentions": "Xyz", "sentence": "By Xyz.", "imgPath": "gone.jpg", "answer": "Q99"},
    {"mentions": "Jordan", "sentence": "Of Jordan.", "answer": "Q20"},
]


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small folder, free to be damaged."""
    folder = tmp_path / "WikiMEL"
    write(folder / "kb_entity.json", ENTITIES)
    write(folder / "qid2id.json", {str(e["qid"]): e["id"] for e in ENTITIES})
    for word, items in (("train", TRAIN), ("dev", DEV), ("test", TEST)):
        write(folder / f"WIKIMEL_{word}.json", items)
    for name in ("kb_image/Q10_1.jpg", "kb_image/Q10_2.png", "mention_image/7.jpg"):
        write(folder / name, "")
    return folder


def change(path: Path, edit: Callable[[Any], object]) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    edit(value)
    write(path, value)


def titles(raw: RawMimic, row: int) -> list[str]:
    return [raw.entities.titles[r] for r in raw.mentions.candidates[row] if r != NO_ROW]


class TestEntities:
    def test_they_stand_in_the_order_of_their_numbers(self, root: Path) -> None:
        entities = RawMimic.open(root).entities
        assert entities.ids == ["Q10", "Q20", "Q30"]
        assert entities.titles == ["Michael Jordan", "Jordan", "Jordan (river)"]

    def test_the_text_is_made_as_that_of_raw_wikimel(self, root: Path) -> None:
        assert RawMimic.open(root).entities.texts == [
            "Michael Jordan. Sex: male; Sport: basketball;",
            "Jordan. country",  # attr before desc before none
            "Jordan (river)",
        ]

    def test_pictures_are_those_of_the_list_that_are_there(self, root: Path) -> None:
        assert list(RawMimic.open(root).entities.image_choices) == [
            ("kb_image/Q10_1.jpg", "kb_image/Q10_2.png"),
            (),
            (),
        ]

    def test_qids_come_from_either_file(self, root: Path) -> None:
        (root / "qid2id.json").unlink()
        assert RawMimic.open(root).entities.ids == ["Q10", "Q20", "Q30"]
        write(root / "qid2id.json", {"Q10": 0, "Q20": 1, "Q30": 2, "Q40": 3})
        change(root / "kb_entity.json", lambda items: [item.pop("qid") for item in items])
        raw = RawMimic.open(root)
        assert raw.entities.ids == ["Q10", "Q20", "Q30"]
        assert "QIDs of qid2id.json without entity: 1 (Q40)" in raw.notes


class TestMentions:
    def test_span_is_the_first_occurrence(self, root: Path) -> None:
        mentions = RawMimic.open(root).mentions
        assert mentions.mentions[:2] == ["Jordan", "Michael J"]
        assert (mentions.char_start[0], mentions.char_end[0]) == (0, 6)
        assert (mentions.char_start[1], mentions.char_end[1]) == (5, 14)

    def test_mention_outside_its_sentence_is_dropped_and_named(self, root: Path) -> None:
        raw = RawMimic.open(root)
        assert raw.dropped == {"train": ["train-1"], "valid": [], "test": []}
        assert "train: mentions not in their sentence: 1 (train-1)" in raw.notes
        assert raw.mentions.splits == {
            "train": range(0, 2),
            "valid": range(2, 3),
            "test": range(3, 5),
        }

    def test_ids_are_the_lists_own_if_all_are_there_and_differ(self, root: Path) -> None:
        assert RawMimic.open(root).mentions.ids[:2] == ["train-0", "train-2"]
        for number, path in enumerate(sorted(root.glob("WIKIMEL_*.json"))):
            change(
                path,
                lambda items, n=number: [i.update(id=f"{n}-{k}") for k, i in enumerate(items)],
            )
        assert RawMimic.open(root).mentions.ids == ["2-0", "2-2", "0-0", "1-0", "1-1"]
        change(root / "WIKIMEL_dev.json", lambda items: items[0].update(id="2-0"))
        assert RawMimic.open(root).mentions.ids[0] == "train-0"

    def test_golds_outside_the_table_are_no_row_and_counted(self, root: Path) -> None:
        raw = RawMimic.open(root, candidates=4)
        assert raw.mentions.gold.tolist() == [0, 0, NO_ROW, NO_ROW, 1]
        assert raw.mentions.answer.tolist() == [2, 0, 4, 4, 0]
        assert "golds that are NIL: 1 (valid-0)" in raw.notes
        assert "golds outside the knowledge base: 1 (test-0)" in raw.notes

    def test_candidates_are_those_of_the_titles(self, root: Path) -> None:
        raw = RawMimic.open(root, candidates=2)
        assert titles(raw, 0) == ["Jordan", "Jordan (river)"]
        assert titles(raw, 3) == []
        expected = TitleIndex.build(raw.entities.titles).top(raw.mentions.mentions, 2)
        np.testing.assert_array_equal(raw.mentions.candidates, expected)
        assert (
            "mentions with fewer than 2 candidates by their titles: 2 (train-2, test-0)"
            in raw.notes
        )

    def test_pictures_are_named_up_to_the_first_full_stop(self, root: Path) -> None:
        assert RawMimic.open(root).mentions.image_paths == ["", "mention_image/7.jpg", "", "", ""]

    def test_a_picture_with_another_suffix_or_its_whole_name_will_do(self, root: Path) -> None:
        (root / "mention_image" / "7.jpg").rename(root / "mention_image" / "7.x.JPEG")
        assert RawMimic.open(root).mentions.image_paths[1] == "mention_image/7.x.JPEG"
        (root / "mention_image").rename(root / "mention_images")
        assert RawMimic.open(root).mentions.image_paths[1] == "mention_images/7.x.JPEG"

    def test_limit_keeps_the_first_usable_and_what_they_refer_to(self, root: Path) -> None:
        raw = RawMimic.open(root, candidates=1, limit=1)
        assert raw.mentions.ids == ["train-0", "valid-0", "test-0"]
        assert raw.entities.ids == ["Q10", "Q20"]  # Q30 is nobody's candidate or gold
        assert raw.mentions.candidates.tolist() == [[1], [1], [NO_ROW]]
        assert raw.mentions.gold.tolist() == [0, NO_ROW, NO_ROW]


class TestRecognition:
    @pytest.mark.parametrize(
        ("prefix", "dataset"),
        [
            ("WIKIMEL_", "wikimel"),
            ("RichpediaMEL_", "richpediamel"),
            ("wiki_diverse_", "wikidiverse"),
            ("", "some-data"),
        ],
    )
    def test_the_prefix_or_the_folder_names_the_dataset(
        self, root: Path, prefix: str, dataset: str
    ) -> None:
        folder = root.rename(root.parent / "some-data")
        for path in folder.glob("WIKIMEL_*.json"):
            path.rename(folder / path.name.replace("WIKIMEL_", prefix))
        name = dataset.replace("-", "")
        assert layout_of(folder) == (name, "mimic")
        assert RawMimic.open(folder).name == name

    @pytest.mark.parametrize("word", ["dev", "valid", "val"])
    def test_the_validation_list_has_one_of_three_names(self, root: Path, word: str) -> None:
        (root / "WIKIMEL_dev.json").rename(root / f"WIKIMEL_{word}.json")
        assert len(RawMimic.open(root).mentions.splits["valid"]) == 1

    def test_a_folder_without_knowledge_base_or_lists_is_another(self, root: Path) -> None:
        assert is_mimic(root)
        (root / "WIKIMEL_train.json").rename(root / "WIKIMEL_train_10.json")
        assert not is_mimic(root)
        assert layout_of(root) is None


def item(file: str, number: int, **values: Any) -> Callable[[Path], None]:
    """Damage: an item of a file gets other values; None takes the key away."""

    def damage(root: Path) -> None:
        def edit(items: list[dict[str, Any]]) -> None:
            for key, value in values.items():
                items[number].pop(key, None)
                if value is not None:
                    items[number][key] = value

        change(root / file, edit)

    return damage


KB, LIST = "kb_entity.json", "WIKIMEL_train.json"
DAMAGES: list[tuple[Callable[[Path], object], str, str]] = [
    (item(KB, 1, id=None), "no 'id'", "kb_entity.json, item 1"),
    (item(KB, 1, id="x"), "must be a whole number, found 'x'", "kb_entity.json, item 1"),
    (item(KB, 1, id=True), "must be a whole number, found True", "kb_entity.json, item 1"),
    (item(KB, 1, entity_name=None), "no 'entity_name'", "kb_entity.json, item 1"),
    (item(KB, 1, attr=["x"]), "'attr' must be a string, found a list", "kb_entity.json, item 1"),
    (item(KB, 1, image_list="x"), "'image_list' must be a list", "kb_entity.json, item 1"),
    (item(KB, 1, id=2, qid="Q30"), "id '2' stands twice", "item 0 and "),
    (item(KB, 1, id=7, qid="Q20"), "QID 'Q20' stands twice", "item 1 and "),
    (item(KB, 1, id=7, qid=None), "entity 7 has no QID", "kb_entity.json, item 1"),
    (item(KB, 1, qid="Q11"), "'Q11' here and 'Q10' in qid2id.json", "kb_entity.json, item 1"),
    (item(LIST, 2, sentence=None), "no 'sentence'", "WIKIMEL_train.json, item 2"),
    (item(LIST, 2, mentions=None), "no 'mentions'", "WIKIMEL_train.json, item 2"),
    (item(LIST, 2, answer=None), "no 'answer'", "WIKIMEL_train.json, item 2"),
    (item(LIST, 2, answer=5), "'answer' must be a string", "WIKIMEL_train.json, item 2"),
    (lambda root: write(root / LIST, {}), "a JSON list, found an object", "WIKIMEL_train.json"),
    (lambda root: write(root / LIST, [3]), "an object, found a number", "train.json, item 0"),
    (lambda root: (root / LIST).write_text("[{"), "malformed JSON", "WIKIMEL_train.json, line 1"),
    (
        lambda root: (root / LIST).write_text('[{"sentence": "\\ud83d alone"}]'),
        "half of a character",
        "WIKIMEL_train.json",
    ),
    (lambda root: (root / LIST).write_text("[" * 100_000), "nested too deeply", "train.json"),
    (lambda root: (root / LIST).write_text(f"[{'9' * 5000}]"), "malformed JSON", "train.json"),
    (lambda root: write(root / "kb_entity.json", []), "holds no entity", "kb_entity.json"),
    (
        lambda root: (root / "qid2id.json").write_text('{"Q1": 0, "Q1": 1}'),
        "key 'Q1' stands twice",
        "qid2id.json",
    ),
    (
        lambda root: write(root / "qid2id.json", {"Q10": 0, "Q20": 0}),
        "id 0 stands twice",
        "keys 'Q10' and 'Q20'",
    ),
    (
        lambda root: write(root / "qid2id.json", {"Q10": "0"}),
        "must be a whole number, found '0'",
        "qid2id.json, key 'Q10'",
    ),
    (lambda root: (root / KB).unlink(), "needs kb_entity.json", "WikiMEL"),
    (lambda root: (root / "WIKIMEL_dev.json").unlink(), "0 mention lists for valid", "WikiMEL"),
    (
        lambda root: write(root / "old_test.json", []),
        "2 mention lists for test: WIKIMEL_test.json, old_test.json",
        "WikiMEL",
    ),
]


@pytest.mark.parametrize(("damage", "what", "where"), DAMAGES)
def test_damage_is_named_with_its_place(
    root: Path, damage: Callable[[Path], object], what: str, where: str
) -> None:
    damage(root)
    with pytest.raises(SourceError) as raised:
        RawMimic.open(root)
    assert what in raised.value.what
    assert where in raised.value.where


def test_lists_of_which_no_mention_can_be_used_are_refused(root: Path) -> None:
    for path in root.glob("WIKIMEL_*.json"):
        write(path, [])
    with pytest.raises(SourceError, match="no mention stands in its sentence"):
        RawMimic.open(root)
