"""Raw WikiMEL: what is read from a good folder, and what is said about a bad one."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.errors import SourceError
from featurestore.schema import NO_ROW
from featurestore.sources.wikimel import SPLITS, RawWikimel, is_raw_wikimel
from featurestore.sources.wikimel_entities import entity_text

GOLDEN = Path(__file__).parent / "golden" / "pipeline"
RAW, RECORDED = GOLDEN / "raw" / "wikimel", GOLDEN / "preprocessed" / "wikimel"

CANDIDATES = Path("candidates", "top100", "candidates-answer.tsv")
TITLES = Path("entities", "qid-entity.tsv")
TRAIN = Path("mentions", "WIKIMEL_train.json")


@pytest.fixture(scope="module")
def golden() -> RawWikimel:
    return RawWikimel.open(RAW)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The golden folder, free to be damaged."""
    return Path(shutil.copytree(RAW, tmp_path / "wikimel"))


def recorded(name: str) -> np.ndarray:
    """A recorded array of all splits, in the order of the mention table."""
    return np.concatenate([np.load(RECORDED / f"{name}_{split}.npy") for split in SPLITS])


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")


def edit_lines(path: Path, change: Callable[[list[str]], object]) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    change(lines)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


class TestGolden:
    def test_entities_stand_in_the_recorded_rows(self, golden: RawWikimel) -> None:
        rows = json.loads((RECORDED / "qid2idx.json").read_text())
        assert {qid: row for row, qid in enumerate(golden.entities.ids)} == rows

    def test_sentences_are_the_recorded_ones(self, golden: RawWikimel) -> None:
        assert golden.mentions.sentences == recorded("mention-text-raw").tolist()

    def test_candidates_and_gold_are_the_recorded_ids(self, golden: RawWikimel) -> None:
        slots = np.column_stack([golden.mentions.candidates, golden.mentions.gold])
        ids = [golden.entities.ids[row] for row in slots.reshape(-1)]
        assert ids == recorded("entity-name-raw").tolist()

    def test_answers_are_the_recorded_ones(self, golden: RawWikimel) -> None:
        np.testing.assert_array_equal(golden.mentions.answer, recorded("answer"))
        assert 12 in golden.mentions.answer  # K: a gold that was not retrieved

    def test_splits_are_row_ranges_in_file_order(self, golden: RawWikimel) -> None:
        assert golden.mentions.splits == {
            "train": range(0, 14),
            "valid": range(14, 19),
            "test": range(19, 23),
        }

    def test_mention_outside_its_sentence_is_dropped_and_named(self, golden: RawWikimel) -> None:
        assert golden.dropped == {"train": [], "valid": [], "test": ["3013-1"]}
        assert "test: mentions not in their sentence: 1 (3013-1)" in golden.notes

    def test_span_is_the_first_occurrence(self, golden: RawWikimel) -> None:
        mentions = golden.mentions
        for row, (sentence, mention) in enumerate(
            zip(mentions.sentences, mentions.mentions, strict=True)
        ):
            start, end = mentions.char_start[row], mentions.char_end[row]
            assert sentence[start:end] == mention
            assert mention not in sentence[: end - 1]

    def test_pictures_are_found_under_every_suffix(self, golden: RawWikimel) -> None:
        entity_paths = dict(zip(golden.entities.ids, golden.entities.image_paths, strict=True))
        assert entity_paths["Q248"] == "entities/cleaned-images/Q248.JPG"
        assert entity_paths["Q470"] == "entities/cleaned-images/Q470.PNG"
        assert entity_paths["Q174"] == ""
        mention_paths = dict(zip(golden.mentions.ids, golden.mentions.image_paths, strict=True))
        assert mention_paths["3007-1"] == "mentions/KVQAimgs/3007.JPEG"
        assert mention_paths["3004-1"] == ""

    def test_only_full_stops_of_the_description_are_replaced(self, golden: RawWikimel) -> None:
        row = golden.entities.ids.index("Q803")
        assert golden.entities.texts[row] == (
            "St. Petersburg, Florida. "
            "St; Petersburg is a city in Florida, United States, on Tampa Bay;"
        )


class TestOptionalParts:
    def test_brief_stands_in_for_a_missing_abstract(self, copy: Path) -> None:
        edit_json(copy / "entities" / "qid2abs.json", lambda known: known.pop("Q100"))
        entities = RawWikimel.open(copy).entities
        assert entities.descriptions[0].endswith(
            "its capital is Tbilisi"
        )  # no full stop: the brief
        assert entities.descriptions[1].endswith("Its capital is Atlanta.")

    def test_without_descriptions_the_text_is_the_title(self, copy: Path) -> None:
        for name in ("qid2abs.json", "qid2brief.json"):
            (copy / "entities" / name).unlink()
        raw = RawWikimel.open(copy)
        assert raw.entities.texts == raw.entities.titles
        assert "entities/qid2abs.json is absent" in raw.notes
        assert any(note.startswith("entities without description: 24 (Q100") for note in raw.notes)

    def test_without_pictures_every_path_is_empty(self, copy: Path) -> None:
        shutil.rmtree(copy / "entities" / "cleaned-images")
        raw = RawWikimel.open(copy)
        assert set(raw.entities.image_paths) == {""}
        assert "entities/cleaned-images is absent or empty" in raw.notes

    def test_gold_outside_the_knowledge_base_has_no_row(self, copy: Path) -> None:
        edit_json(copy / TRAIN, lambda mentions: mentions["3020-2"].update(answer="Q1"))
        raw = RawWikimel.open(copy)
        assert raw.mentions.gold[0] == NO_ROW
        assert raw.mentions.answer[0] == 12
        assert "golds outside the knowledge base: 1 (3020-2)" in raw.notes

    def test_candidate_lists_may_stand_in_any_order(self, copy: Path, golden: RawWikimel) -> None:
        edit_lines(copy / CANDIDATES, lambda lines: lines.reverse())
        np.testing.assert_array_equal(
            RawWikimel.open(copy).mentions.candidates, golden.mentions.candidates
        )

    @pytest.mark.parametrize("limit", [1, 3, 100])
    def test_limit_keeps_first_mentions_and_their_entities(
        self, golden: RawWikimel, limit: int
    ) -> None:
        some = RawWikimel.open(RAW, limit=limit)
        rows = [row for own in golden.mentions.splits.values() for row in own[:limit]]
        assert some.mentions.ids == [golden.mentions.ids[row] for row in rows]
        for mine, full in zip(
            some.mentions.candidates, golden.mentions.candidates[rows], strict=True
        ):
            assert [some.entities.ids[r] for r in mine] == [golden.entities.ids[r] for r in full]
        for mine, full in zip(some.mentions.gold, golden.mentions.gold[rows], strict=True):
            assert some.entities.ids[mine] == golden.entities.ids[full]
        used = {*golden.mentions.candidates[rows].flat, *golden.mentions.gold[rows]}
        assert some.entities.ids == [golden.entities.ids[row] for row in sorted(used)]
        np.testing.assert_array_equal(some.mentions.answer, golden.mentions.answer[rows])


def test_is_recognised_by_its_files(tmp_path: Path) -> None:
    assert is_raw_wikimel(RAW)
    assert not is_raw_wikimel(RECORDED)
    assert not is_raw_wikimel(tmp_path / "absent")


def test_text_of_an_entity_without_description_is_its_title() -> None:
    assert entity_text("AC/DC", "") == "AC/DC"
    assert entity_text("A. B.", "C. D.") == "A. B.. C; D;"


def _cut_off(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8")[:200], encoding="utf-8")


def _twice(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"3008-2"', '"3020-2"'), encoding="utf-8")


def _first_fields(lines: list[str], count: int) -> None:
    lines[1] = "\t".join(lines[1].split("\t")[:count])


def _file_for_folder(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("")


DAMAGE: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "no candidate file": (
        lambda root: (root / CANDIDATES).unlink(),
        ["candidates/top100/candidates-answer.tsv", "is missing"],
    ),
    "no mention file": (lambda root: (root / TRAIN).unlink(), ["WIKIMEL_train.json", "is missing"]),
    "JSON cut off": (
        lambda root: _cut_off(root / TRAIN),
        ["malformed JSON", "WIKIMEL_train.json, line 9"],
    ),
    "not an object": (
        lambda root: (root / TRAIN).write_text("[1]"),
        ["expected a JSON object, found a list", "WIKIMEL_train.json"],
    ),
    "not UTF-8": (
        lambda root: (root / TITLES).write_bytes(b"Q1\t\xff\n"),
        ["not UTF-8", "qid-entity"],
    ),
    "mention id twice in a file": (
        lambda root: _twice(root / TRAIN),
        ["'3020-2' stands twice", "WIKIMEL_train.json"],
    ),
    "mention id in two splits": (
        lambda root: shutil.copy(root / TRAIN, root / "mentions" / "WIKIMEL_test.json"),
        ["'3020-2' stands twice", "WIKIMEL_train.json and", "WIKIMEL_test.json"],
    ),
    "mention without sentence": (
        lambda root: edit_json(root / TRAIN, lambda m: m["3019-1"].pop("sentence")),
        ["no 'sentence'", "WIKIMEL_train.json, mention '3019-1'"],
    ),
    "answer is a number": (
        lambda root: edit_json(root / TRAIN, lambda m: m["3019-1"].update(answer=5)),
        ["'answer' must be a string, found a number", "mention '3019-1'"],
    ),
    "mention is a string": (
        lambda root: edit_json(root / TRAIN, lambda m: m.update({"3019-1": "x"})),
        ["expected an object, found a string", "mention '3019-1'"],
    ),
    "description is null": (
        lambda root: edit_json(root / "entities" / "qid2abs.json", lambda d: d.update(Q100=None)),
        ["must be a string, found null", "qid2abs.json, entity 'Q100'"],
    ),
    "entity twice": (
        lambda root: edit_lines(root / TITLES, lambda lines: lines.append(lines[0])),
        ["'Q100' stands twice", "qid-entity.tsv, line 25"],
    ),
    "entity without title": (
        lambda root: edit_lines(root / TITLES, lambda lines: lines.insert(1, "Q5")),
        ["expected QID TAB title, found 'Q5'", "qid-entity.tsv, line 2"],
    ),
    "unknown candidate": (
        lambda root: edit_lines(root / TITLES, lambda lines: lines.remove("Q951\tAC/DC")),
        ["candidate 'Q951' of mention '3008-2'", "candidates-answer.tsv, line 2"],
    ),
    "shorter candidate list": (
        lambda root: edit_lines(root / CANDIDATES, lambda lines: _first_fields(lines, 5)),
        ["'3008-2' has 4 candidates, the first line 12", "candidates-answer.tsv, line 2"],
    ),
    "candidate list twice": (
        lambda root: edit_lines(root / CANDIDATES, lambda lines: lines.append(lines[0])),
        ["'3020-2' has two candidate lists", "lines 1 and 25"],
    ),
    "candidate list absent": (
        lambda root: edit_lines(root / CANDIDATES, lambda lines: lines.pop(0)),
        ["1 mentions have no candidate list: 3020-2", "candidates-answer.tsv"],
    ),
    "empty candidate file": (
        lambda root: (root / CANDIDATES).write_text(""),
        ["23 mentions have no candidate list: 3020-2", "candidates-answer.tsv"],
    ),
    "pictures are a file": (
        lambda root: _file_for_folder(root / "mentions" / "KVQAimgs"),
        ["picture folder cannot be listed", "KVQAimgs"],
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_reported_with_its_place(copy: Path, name: str) -> None:
    damage, expected = DAMAGE[name]
    damage(copy)
    with pytest.raises(SourceError) as caught:
        RawWikimel.open(copy)
    for part in expected:
        assert part in str(caught.value)


def test_a_folder_without_usable_mention_is_an_error(copy: Path) -> None:
    for split in SPLITS:
        (copy / "mentions" / f"WIKIMEL_{split}.json").write_text("{}")
    with pytest.raises(SourceError, match="no mention stands in its sentence"):
        RawWikimel.open(copy)


WORDS = st.text(alphabet="ab .é\u2028", max_size=6)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=8))
def test_each_mention_is_kept_with_its_span_or_dropped(pairs: list[tuple[str, str]]) -> None:
    """Whatever the sentences hold; naive reading of the rule beside ours."""
    items = {
        f"{i}-0": {"sentence": s, "mentions": m, "answer": "Q1"} for i, (s, m) in enumerate(pairs)
    }
    usable = {
        key: v for key, v in items.items() if v["mentions"] and v["mentions"] in v["sentence"]
    }
    with tempfile.TemporaryDirectory() as folder:
        root = _write_dataset(Path(folder), items)
        if not usable:
            with pytest.raises(SourceError):
                RawWikimel.open(root)
            return
        raw = RawWikimel.open(root)
    assert raw.mentions.ids == list(usable)
    assert raw.dropped["train"] == [key for key in items if key not in usable]
    assert raw.mentions.char_start.tolist() == [
        v["sentence"].find(v["mentions"]) for v in usable.values()
    ]
    assert raw.mentions.answer.tolist() == [1] * len(usable)


def _write_dataset(root: Path, train: dict[str, dict[str, str]]) -> Path:
    """Two entities, Q0 and Q1, and a list of both for each mention."""
    for folder in ("candidates/top100", "entities", "mentions"):
        (root / folder).mkdir(parents=True)
    (root / TITLES).write_text("Q0\tzero\nQ1\tone\n")
    (root / CANDIDATES).write_text("".join(f"{key}\tQ0\tQ1\n" for key in train))
    for split in SPLITS:
        content = train if split == "train" else {}
        (root / "mentions" / f"WIKIMEL_{split}.json").write_text(json.dumps(content))
    return root
