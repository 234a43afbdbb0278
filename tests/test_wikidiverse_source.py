"""Raw WikiDiverse: what is read from a good folder, and what is said about a bad one."""

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
from featurestore.options import TitleMatch
from featurestore.schema import SPLITS
from featurestore.sources.pages import PADDING, entity_text
from featurestore.sources.titles import normalised, picture_stem
from featurestore.sources.wikidiverse import RawWikidiverse, is_raw_wikidiverse

GOLDEN = Path(__file__).parent / "golden" / "pipeline"
RAW, RECORDED = GOLDEN / "raw" / "wikidiverse", GOLDEN / "preprocessed" / "wikidiverse"
WIKI = "https://en.wikipedia.org/wiki/"

TRAIN = Path("candidates", "train_w_10cands.json")
BRIEFS = Path("entities", "entity2brief_train.json")
PICTURES = Path("entities", "wikipedia_entity2imgs.tsv")
DESCRIPTIONS = Path("entities", "wikipedia_entity2desc_filtered.tsv")


@pytest.fixture(scope="module")
def golden() -> RawWikidiverse:
    return RawWikidiverse.open(RAW)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The golden folder, free to be damaged."""
    return Path(shutil.copytree(RAW, tmp_path / "wikidiverse"))


def recorded(name: str) -> np.ndarray:
    """A recorded array of all splits, in the order of the mention table."""
    return np.concatenate([np.load(RECORDED / f"{name}_{split}.npy") for split in SPLITS])


def edit_json(path: Path, change: Callable[[Any], object]) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")


def edit_items(root: Path, change: Callable[[list[list[Any]]], object]) -> None:
    edit_json(root / TRAIN, change)


def edit_lines(path: Path, change: Callable[[list[str]], object]) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    change(lines)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def row_of(raw: RawWikidiverse, title: str) -> int:
    return raw.entities.titles.index(title)


class TestGolden:
    def test_sentences_are_the_recorded_ones(self, golden: RawWikidiverse) -> None:
        assert golden.mentions.sentences == recorded("mention-text-raw").tolist()

    def test_entity_texts_of_all_slots_are_the_recorded_ones(self, golden: RawWikidiverse) -> None:
        texts = [golden.entities.texts[row] for row in golden.mentions.slots.reshape(-1)]
        assert texts == recorded("entity-attr-raw").tolist()

    def test_answers_are_the_recorded_ones(self, golden: RawWikidiverse) -> None:
        np.testing.assert_array_equal(golden.mentions.answer, recorded("answer"))
        assert 10 in golden.mentions.answer  # K: a gold that was not retrieved

    def test_pages_stand_in_the_order_of_first_reference(self, golden: RawWikidiverse) -> None:
        _, first = np.unique(golden.mentions.slots.reshape(-1), return_index=True)
        assert (np.diff(first) > 0).all()
        assert len(set(golden.entities.ids)) == len(golden.entities) == 25

    def test_short_lists_are_filled_with_the_padding(self, golden: RawWikidiverse) -> None:
        padding = row_of(golden, PADDING)
        assert golden.entities.texts[padding] == ""
        assert golden.entities.image_choices[padding] == []
        lengths = (golden.mentions.candidates != padding).sum(axis=1)
        assert sorted(set(lengths.tolist())) == [8, 9, 10]
        assert any(note.startswith("candidate lists shorter than 10") for note in golden.notes)

    def test_a_bare_slash_splits_a_title(self, golden: RawWikidiverse) -> None:
        row = row_of(golden, "DC")
        assert golden.entities.texts[row] == "DC"
        assert golden.entities.image_paths[row] == ""
        assert "AC/DC" not in golden.entities.titles

    def test_a_drawing_is_found_as_png(self, golden: RawWikidiverse) -> None:
        row = row_of(golden, "Amazon_(company)")
        assert (
            golden.entities.image_paths[row] == f"images/{'ac28271bbfff2e63881bd753b856b1c5'}.png"
        )

    def test_all_downloaded_pictures_of_a_page_are_named_in_order(
        self, golden: RawWikidiverse
    ) -> None:
        assert golden.entities.image_choices[row_of(golden, "Jordan_River")] == [
            f"images/{picture_stem(name)}.jpg"
            for name in ("Jordan_River_0.jpg", "Jordan_River_1.jpg")
        ]

    def test_spans_topics_and_types_are_those_given(self, golden: RawWikidiverse) -> None:
        items = [
            item
            for split in SPLITS
            for item in json.loads((RAW / "candidates" / f"{split}_w_10cands.json").read_text())
        ]
        mentions = golden.mentions
        assert mentions.mentions == [item[2] for item in items]
        assert mentions.entity_types == [item[3] for item in items]
        assert mentions.topics == [item[8] for item in items]
        assert mentions.char_start.tolist() == [item[9] for item in items]
        assert mentions.char_end.tolist() == [item[10] for item in items]

    def test_descriptions_are_kept_beside_the_texts(self, golden: RawWikidiverse) -> None:
        descriptions = golden.entities.descriptions
        assert descriptions[row_of(golden, "Jordan")].startswith("Jordan is a country")
        assert descriptions[row_of(golden, "DC")] == ""
        assert "entities without description: 1 of 24" in golden.notes

    def test_counts_of_golds_are_kept(self, golden: RawWikidiverse) -> None:
        assert golden.counts["golds found by exact titles"] == 22
        assert golden.counts["golds found by normalised titles"] == 22
        assert golden.counts["golds that are NIL"] == 0
        assert golden.notes[-1] == (
            "golds among their candidates: 22 of 24 by exact titles, 22 by normalised ones (+0); "
            "exact titles are used"
        )

    def test_splits_are_row_ranges_in_file_order(self, golden: RawWikidiverse) -> None:
        ranges = {"train": range(0, 14), "valid": range(14, 19), "test": range(19, 24)}
        assert golden.mentions.splits == ranges
        assert golden.mentions.ids[14] == "valid-0"
        assert golden.dropped == {"train": [], "valid": [], "test": []}


class TestText:
    def test_brief_follows_the_title_up_to_512_characters(self) -> None:
        assert entity_text("A", "b") == "A: b"
        assert entity_text("A", "é" * 600) == "A: " + "é" * 509

    def test_without_brief_it_is_the_title(self) -> None:
        assert entity_text("AC/DC", "") == "AC/DC"
        assert entity_text("", "") == ""


class TestTitles:
    def first_gold(self, root: Path, url: str) -> tuple[RawWikidiverse, RawWikidiverse]:
        """Exact and normalised readings, where the first mention has this gold URL."""
        edit_items(root, lambda items: items[0].__setitem__(6, url))
        return RawWikidiverse.open(root), RawWikidiverse.open(root, title_match="normalised")

    @pytest.mark.parametrize("segment", ["crane_(bird)", "Crane (bird)", "Crane_%2528bird%2529"])
    def test_a_gold_spelt_differently_is_found_by_normalised_titles_only(
        self, copy: Path, segment: str
    ) -> None:
        exact, normal = self.first_gold(copy, WIKI + segment)
        assert (exact.mentions.answer[0], normal.mentions.answer[0]) == (10, 7)
        for raw, rule in ((exact, "exact"), (normal, "normalised")):
            assert raw.counts["golds found by exact titles"] == 21
            assert raw.counts["golds found by normalised titles"] == 22
            assert raw.notes[-1] == (
                "golds among their candidates: 21 of 24 by exact titles, 22 by normalised ones (+1); "
                f"{rule} titles are used"
            )
        # the exact reading keeps a page of its own, of which nothing is known but its title
        own = exact.mentions.gold[0]
        assert exact.entities.texts[own] == exact.entities.titles[own]
        assert normal.mentions.gold[0] == normal.mentions.candidates[0, 7]
        assert "Crane_(bird)" in normal.entities.titles
        assert len(exact.entities) == len(normal.entities) + 1

    def test_a_candidates_spelling_is_taken_even_where_a_gold_comes_first(self, copy: Path) -> None:
        edit_items(copy, lambda items: items[0].__setitem__(6, WIKI + "mercury_(planet)"))
        raw = RawWikidiverse.open(copy, title_match="normalised")
        assert raw.entities.titles[raw.mentions.gold[0]] == "Mercury_(planet)"

    @pytest.mark.parametrize("url", ["h" + WIKI + "Crane_%28bird%29", "Crane_(bird)"])
    def test_what_stands_before_the_title_does_not_matter(self, copy: Path, url: str) -> None:
        exact, _ = self.first_gold(copy, url)
        assert exact.mentions.answer[0] == 7

    def test_a_trailing_bracket_is_part_of_the_title(self, copy: Path) -> None:
        exact, normal = self.first_gold(copy, WIKI + "Crane_%28bird%29]")
        assert exact.mentions.answer[0] == normal.mentions.answer[0] == 10
        assert exact.entities.texts[exact.mentions.gold[0]] == "Crane_(bird)]"

    @pytest.mark.parametrize("url", ["NIL", "nil", ""])
    def test_a_nil_gold_is_counted_and_never_found(self, copy: Path, url: str) -> None:
        edit_items(copy, lambda items: items[0][7].__setitem__(0, WIKI + url))
        for raw in self.first_gold(copy, url):
            assert raw.counts["golds that are NIL"] == 1
            assert raw.mentions.answer[0] == 10
            assert raw.entities.texts[raw.mentions.gold[0]] in (url, "Nil")

    def test_briefs_and_pictures_are_found_by_the_same_rule(self, copy: Path) -> None:
        for split in SPLITS:
            edit_json(
                copy / "entities" / f"entity2brief_{split}.json",
                lambda briefs: briefs.update({"jordan": briefs.pop("Jordan")}),
            )
        edit_lines(
            copy / PICTURES, lambda ls: ls.__setitem__(6, ls[6].replace("Jordan@", "jordan@"))
        )
        exact, normal = (RawWikidiverse.open(copy, title_match=rule) for rule in _RULES)
        assert exact.entities.texts[row_of(exact, "Jordan")] == "Jordan"
        assert exact.entities.image_paths[row_of(exact, "Jordan")] == ""
        assert normal.entities.texts[row_of(normal, "Jordan")].startswith("Jordan: Jordan is")
        assert normal.entities.image_paths[row_of(normal, "Jordan")].endswith(".png")


_RULES: tuple[TitleMatch, TitleMatch] = ("exact", "normalised")


class TestOddities:
    def test_an_empty_candidate_list_is_all_padding(self, copy: Path) -> None:
        edit_items(copy, lambda items: items[2].__setitem__(7, []))
        raw = RawWikidiverse.open(copy)
        assert set(raw.mentions.candidates[2]) == {row_of(raw, PADDING)}
        assert raw.mentions.answer[2] == 10
        assert "empty candidate lists: 1 (train-2)" in raw.notes

    def test_spelt_out_padding_is_the_padding(self, copy: Path) -> None:
        edit_items(copy, lambda items: items[0][7].append(PADDING))
        raw = RawWikidiverse.open(copy)
        assert raw.mentions.candidates[0, 8] == row_of(raw, PADDING)
        assert any("names no page" in note and "1 (train-0)" in note for note in raw.notes)

    def test_a_mention_elsewhere_than_given_is_counted_and_kept(self, copy: Path) -> None:
        edit_items(copy, lambda items: items[0].__setitem__(9, 3))
        raw = RawWikidiverse.open(copy)
        assert raw.mentions.char_start[0] == 3
        assert any("kept as given: 1 (train-0)" in note for note in raw.notes)

    def test_without_optional_files_titles_remain(self, copy: Path) -> None:
        shutil.rmtree(copy / "entities")
        shutil.rmtree(copy / "images")
        shutil.rmtree(copy / "mentions")
        raw = RawWikidiverse.open(copy)
        titles = [title if title != PADDING else "" for title in raw.entities.titles]
        assert raw.entities.texts == titles
        assert set(raw.entities.image_paths) == set(raw.mentions.image_paths) == {""}
        for name in (BRIEFS, PICTURES, DESCRIPTIONS):
            assert f"{name.as_posix()} is absent" in raw.notes
        assert "images is absent or empty" in raw.notes
        assert [path.name for path in raw.text_files] == [f"{s}_w_10cands.json" for s in SPLITS]

    def test_a_brief_that_another_split_knows_is_used_and_counted(self, copy: Path) -> None:
        edit_json(copy / BRIEFS, lambda briefs: briefs.pop("Jordan"))
        raw = RawWikidiverse.open(copy)
        assert raw.entities.texts[row_of(raw, "Jordan")].startswith("Jordan: Jordan is")
        note = "entities whose brief one split has and another lacks, used in both: 1"
        assert note in raw.notes

    def test_of_briefs_that_differ_the_first_split_wins(self, copy: Path) -> None:
        edit_json(copy / BRIEFS, lambda briefs: briefs.update(Jordan="a kingdom"))
        raw = RawWikidiverse.open(copy)
        assert raw.entities.texts[row_of(raw, "Jordan")] == "Jordan: a kingdom"
        assert "entities with another brief in a later split, not used: 1" in raw.notes

    @pytest.mark.parametrize("brief", ["", None])
    def test_an_empty_brief_is_none(self, copy: Path, brief: str | None) -> None:
        for split in SPLITS:
            path = copy / "entities" / f"entity2brief_{split}.json"
            edit_json(path, lambda briefs: briefs.update(Jordan=brief))
        raw = RawWikidiverse.open(copy)
        assert raw.entities.texts[row_of(raw, "Jordan")] == "Jordan"

    def test_pictures_listed_twice_are_joined_and_other_lines_noted(self, copy: Path) -> None:
        line = f"Jordan@@@@https://x/Jordan_0.png[AND]{WIKI}Java_0.jpg[AND]https://x/none.jpg"
        edit_lines(copy / PICTURES, lambda lines: lines.extend([line, "Jordan", "Java@@@@"]))
        raw = RawWikidiverse.open(copy)
        assert raw.entities.image_choices[row_of(raw, "Jordan")] == [
            f"images/{picture_stem('Jordan_0.png')}.png",
            f"images/{picture_stem('Java_0.jpg')}.jpg",
        ]
        assert f"{PICTURES.as_posix()}: lines without @@@@, not used: 1 (line 26)" in raw.notes
        assert "listed entity pictures that were not downloaded: 2" in raw.notes

    def test_the_header_of_the_picture_list_is_no_page(self, copy: Path) -> None:
        edit_items(copy, lambda items: items[0].__setitem__(6, WIKI + "entity"))
        before = RawWikidiverse.open(RAW).notes[0]
        assert RawWikidiverse.open(copy).notes[0] == before  # no picture missing for it

    @pytest.mark.parametrize("limit", [1, 3, 100])
    def test_limit_keeps_first_mentions_and_their_pages(
        self, golden: RawWikidiverse, limit: int
    ) -> None:
        some = RawWikidiverse.open(RAW, limit=limit)
        rows = [row for own in golden.mentions.splits.values() for row in own[:limit]]
        assert some.mentions.ids == [golden.mentions.ids[row] for row in rows]
        for mine, full in zip(some.mentions.slots, golden.mentions.slots[rows], strict=True):
            assert [some.entities.ids[r] for r in mine] == [golden.entities.ids[r] for r in full]
        assert set(some.mentions.slots.flat) == set(range(len(some.entities)))
        np.testing.assert_array_equal(some.mentions.answer, golden.mentions.answer[rows])


def test_is_recognised_by_its_files(tmp_path: Path) -> None:
    assert is_raw_wikidiverse(RAW)
    assert not is_raw_wikidiverse(RECORDED)
    assert not is_raw_wikidiverse(GOLDEN / "raw" / "wikimel")
    assert not is_raw_wikidiverse(tmp_path / "absent")


def _set(place: int, value: object) -> Callable[[Path], None]:
    """Damage: another value at ``place`` of the third item."""
    return lambda root: edit_items(root, lambda items: items[2].__setitem__(place, value))


DAMAGE: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "no candidate file": (
        lambda root: (root / TRAIN).unlink(),
        ["candidates/train_w_10cands.json", "is missing"],
    ),
    "JSON cut off": (
        lambda root: (root / TRAIN).write_text('[["a",\n', encoding="utf-8"),
        ["malformed JSON", "train_w_10cands.json, line 2"],
    ),
    "not a list": (
        lambda root: (root / TRAIN).write_text("{}"),
        ["expected a JSON list, found an object", "train_w_10cands.json"],
    ),
    "item is an object": (
        lambda root: edit_items(root, lambda items: items.__setitem__(2, {})),
        ["expected a list, found an object", "train_w_10cands.json, item 2"],
    ),
    "items without candidates": (
        lambda root: shutil.copy(root / "mentions" / "train.json", root / TRAIN),
        ["expected 11 values, found 10", "train_w_10cands.json, item 0", "not those of mentions/"],
    ),
    "sentence is null": (
        _set(0, None),
        ["value 0 (sentence) must be a string, found null", "train_w_10cands.json, item 2"],
    ),
    "gold is a list": (_set(6, []), ["value 6 (gold URL) must be a string, found a list", "item 2"]),
    "candidates are a string": (
        _set(7, "x"),
        ["value 7 (candidate URLs) must be a list, found a string", "item 2"],
    ),
    "candidate is a number": (_set(7, ["x", 1]), ["candidate 1 must be a string", "item 2"]),
    "too many candidates": (_set(7, ["x"] * 11), ["11 candidates, at most 10", "item 2"]),
    "start is a string": (_set(9, "4"), ["value 9 (start) must be a whole number", "item 2"]),
    "end is a boolean": (_set(10, True), ["value 10 (end) must be a whole number", "item 2"]),
    "negative start": (_set(9, -1), ["the mention spans characters -1 to 11", "item 2"]),
    "end far off": (_set(10, 2**31), ["spans characters 4 to 2147483648", "item 2"]),
    "end before start": (_set(10, 2), ["the mention spans characters 4 to 2", "item 2"]),
    "brief is a number": (
        lambda root: edit_json(root / BRIEFS, lambda briefs: briefs.update(Jordan=5)),
        ["a brief must be a string, found a number", "entity2brief_train.json, entity 'Jordan'"],
    ),
    "briefs are a list": (
        lambda root: (root / BRIEFS).write_text("[]"),
        ["expected a JSON object, found a list", "entity2brief_train.json"],
    ),
    "pictures not UTF-8": (
        lambda root: (root / PICTURES).write_bytes(b"x@@@@\xff\n"),
        ["not UTF-8", "wikipedia_entity2imgs.tsv"],
    ),
    "no mention at all": (
        lambda root: [(root / "candidates" / f"{s}_w_10cands.json").write_text("[]") for s in SPLITS],
        ["the candidate files hold no mention"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_reported_with_its_place(copy: Path, name: str) -> None:
    damage, expected = DAMAGE[name]
    damage(copy)
    with pytest.raises(SourceError) as caught:
        RawWikidiverse.open(copy)
    for part in expected:
        assert part in str(caught.value)


TITLES = st.sampled_from(
    ["", "_", "A", "a", "B_c", "B c", "NIL", "Nil", PADDING, "é", "%C3%A9", "E\u0301"]
)
LISTS = st.lists(st.tuples(TITLES, st.lists(TITLES, max_size=10)), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(LISTS, st.sampled_from(_RULES))
def test_slots_and_answers_follow_the_titles(
    mentions: list[tuple[str, list[str]]], rule: TitleMatch
) -> None:
    """Whatever the lists hold; naive reading of the rules beside ours."""
    same: Callable[[str], str] = normalised if rule == "normalised" else str
    with tempfile.TemporaryDirectory() as folder:
        raw = RawWikidiverse.open(_write_dataset(Path(folder), mentions), title_match=rule)
    assert len(set(raw.entities.ids)) == len(raw.entities)
    for row, (gold, candidates) in enumerate(mentions):
        # the URL decodes once, so the encoded é is é by either rule
        read = [
            "" if title == PADDING else title.replace("%C3%A9", "é")
            for title in [*candidates, gold]
        ]
        keys = [same(title) for title in read]
        nil = read[-1] in ("", "_", "NIL", "Nil")
        expected = keys.index(keys[-1]) if keys[-1] in keys[:-1] and not nil else 10
        assert raw.mentions.answer[row] == expected
        shown = [raw.entities.titles[entity] for entity in raw.mentions.slots[row]]
        padded = [*keys[:-1], *[""] * (10 - len(candidates)), keys[-1]]
        assert [same(title) if title != PADDING else "" for title in shown] == padded


def _write_dataset(root: Path, train: list[tuple[str, list[str]]]) -> Path:
    """Gold and candidate titles of each mention of the train split; no other files."""
    (root / "candidates").mkdir()
    for split in SPLITS:
        items = [
            ["a b", "", "a", "Misc", [], ["b"], WIKI + gold, [WIKI + t for t in titles], "x", 0, 1]
            for gold, titles in (train if split == "train" else [])
        ]
        (root / "candidates" / f"{split}_w_10cands.json").write_text(json.dumps(items))
    return root
