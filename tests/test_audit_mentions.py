"""Checks of mentions and of the protocol: each finds what it looks for, and only that."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import featurestore
from featurestore.audit import audit
from featurestore.schema import NIL, PADDING
from tests.audit_for_tests import K, found_by, found_in, one, protocol, repeating
from tests.hdf5_edits import edited
from tests.tiny_store import SIZES, TinyStore, write_tiny_store

# mentions ---------------------------------------------------------------------------------------


def test_cut_off_and_empty_spans(tmp_path: Path) -> None:
    start, end = np.zeros(10, np.int32), np.ones(10, np.int32)
    count, empty = np.full(10, 9, np.int32), np.zeros(10, np.uint8)
    start[1], end[1] = 6, 7  # the last token before [SEP]: whole
    start[2], end[2] = 6, 8  # the second is [SEP]: in part
    start[3], end[3] = 7, 8  # [SEP] only
    start[8], end[8], empty[8] = 20, 22, 1  # far behind
    start[9], end[9], empty[9] = 4, 4, 1
    texts = [[np.ones(SIZES["D"], np.float32)] * 9] * 10
    char_end = np.full(10, 17, np.int32)
    char_end[4] = 12
    change = {
        "mentions/token_start": start,
        "mentions/token_end": end,
        "mentions/token_count": count,
        "mentions/span_empty": empty,
        "mentions/text_tokens": [np.array(text) for text in texts],
        "mentions/char_end": char_end,
    }
    findings = found_in("cut-spans", tmp_path, change=change)
    assert {f.severity for f in findings} == {"warning"}
    assert one(findings, "in part").examples == ("m2-0",)
    assert one(findings, "no token is left").examples == ("m3-0", "m8-0")
    assert "(1 of train, 1 of test)" in one(findings, "no token is left").what
    assert one(findings, "no token of their own").examples == ("m9-0",)
    assert one(findings, "no character").examples == ("m4-0",)
    assert len(findings) == 4


def test_mentions_that_stand_twice_in_a_split(tmp_path: Path) -> None:
    findings = found_in("repeated-mentions", tmp_path, change=repeating())
    train, test = one(findings, "train"), one(findings, "test")
    assert (train.severity, train.count, train.examples) == ("note", 2, ("m0-0 = m1-0",))
    assert (test.severity, test.count, test.examples) == ("warning", 2, ("m7-0 = m8-0",))
    assert len(findings) == 2


def test_a_name_that_stands_twice_in_a_sentence_is_two_mentions(tmp_path: Path) -> None:
    change = repeating()
    change["mentions/char_start"][[1, 8]] = 1
    assert found_in("repeated-mentions", tmp_path, change=change) == []


def test_triples_that_splits_share_are_counted_once_each(tmp_path: Path) -> None:
    (found,) = found_in("shared-mentions", tmp_path, change=repeating())
    assert (found.severity, found.count, found.of) == ("warning", 1, 6)
    assert "train and valid 1, train and test 1, valid and test 1" in found.what
    assert found.examples == ("m0-0 = m5-0 = m7-0",)
    assert found.rows == (("mentions", 0), ("mentions", 5), ("mentions", 7))


def test_unknown_golds_are_not_taken_for_the_same(tmp_path: Path) -> None:
    change = repeating()
    change["mentions/gold"][:] = -1
    assert found_in("shared-mentions", tmp_path, change=change) == []


def test_splits_that_share_sentences(tiny: TinyStore, tmp_path: Path) -> None:
    assert found_by("shared-sentences", tiny.path) == []
    findings = found_in("shared-sentences", tmp_path, change=repeating())
    valid = one(findings, "all sentences of valid stand in train")
    test = one(findings, "sentences of test stand in train")
    assert (valid.severity, valid.count, valid.of) == ("warning", 1, 1)
    assert (test.severity, test.count, test.of) == ("note", 1, 2)


# protocol ---------------------------------------------------------------------------------------


def test_recall_is_judged_by_split(tmp_path: Path) -> None:
    answer = np.zeros(300, np.int64)
    answer[:9] = K  # 4.5 % of train: a note
    answer[200:206] = K  # 12 % of valid
    answer[250:] = K
    change = protocol(mentions=300, answer=answer)
    findings = found_in("candidate-recall", tmp_path, mentions=(200, 50, 50), change=change)
    by_split = {word: one(findings, word) for word in ("train", "valid", "test")}
    assert [f.severity for f in by_split.values()] == ["note", "warning", "error"]
    assert [f.count for f in by_split.values()] == [9, 6, 50]
    assert by_split["train"].why.endswith("scores above 95.5 %")
    assert by_split["valid"].examples[0] == "m200-0"


def test_lists_that_never_miss_are_suspicious_from_a_hundred_on(tmp_path: Path) -> None:
    change = protocol(mentions=299, answer=np.arange(299) % K)
    findings = found_in("candidate-recall", tmp_path, mentions=(100, 99, 100), change=change)
    assert [f.severity for f in findings] == ["warning", "warning"]
    assert "train" in findings[0].what
    assert "without exception" in findings[0].what
    assert found_by("gold-place", tmp_path / "s.h5") == []


def test_golds_that_always_stand_at_one_place(tmp_path: Path) -> None:
    answer = np.full(210, 2)
    answer[:5] = K
    answer[209] = 1
    change = protocol(mentions=210, answer=answer)
    (found,) = found_in("gold-place", tmp_path, mentions=(105, 0, 105), change=change)
    assert (found.severity, found.count) == ("warning", 100)
    assert f"golds of train stand at place 3 of {K}" in found.what


def test_golds_outside_the_table_and_nil(tmp_path: Path) -> None:
    gold = np.array([-1, 0, 1, 1, 1, 1, 1, 1, 1, 1], np.int32)
    change = {
        "entities/id": [NIL, *(f"Q{row}" for row in range(1, 8))],
        "mentions/gold": gold,
        "mentions/answer": np.full(10, K, np.int32),
        "mentions/candidates": np.full((10, K), 7, np.int32),
    }
    path = write_tiny_store(tmp_path / "s.h5", change=change).path
    findings = found_by("golds", path)
    assert [(f.severity, f.examples) for f in findings] == [
        ("warning", ("m0-0",)),
        ("note", ("m1-0",)),
    ]
    with edited(path) as file:
        file["mentions/gold"][4] = 8
    findings = found_by("golds", path)
    assert (findings[0].severity, findings[0].examples) == ("error", ("m4-0",))
    with featurestore.open(path) as store:
        every = audit(store).findings  # and no other check stumbles over it
    assert "golds" in [f.check for f in every if f.severity == "error"]


def test_odd_candidate_lists(tmp_path: Path) -> None:
    candidates = np.tile(np.arange(1, K + 1, dtype=np.int32), (10, 1))
    candidates[0] = 1, 2, 2, 3
    candidates[1] = 1, 7, 7, 7  # padded
    candidates[2] = 1, -1, -1, -1
    candidates[3] = 1, 1, 1, 1
    candidates[4] = 7
    answer = np.zeros(10, np.int32)
    answer[4] = K
    change = {
        "entities/id": [*(f"Q{row}" for row in range(7)), PADDING],
        "mentions/candidates": candidates,
        "mentions/gold": np.ones(10, np.int32),
        "mentions/answer": answer,
    }
    findings = found_in("candidate-lists", tmp_path, change=change)
    assert one(findings, "more than once").examples == ("m0-0", "m3-0")
    assert one(findings, "no other entity").examples == ("m1-0", "m2-0", "m3-0")
    assert (one(findings, "empty").severity, one(findings, "empty").count) == ("note", 1)


def test_titles_that_give_the_answer_away(tmp_path: Path) -> None:
    names = [f"name{row}" for row in range(10)]
    for row in (0, 1, 2, 5, 6, 9):
        names[row] = "TITLE"
    change = repeating() | {
        "entities/title": ["Title", *["other"] * 7],
        "mentions/mention": names,
        "mentions/gold": np.zeros(10, np.int32),
    }
    findings = found_in("title-leak", tmp_path, change=change)
    assert [(f.severity, f.count, f.of) for f in findings] == [
        ("warning", 3, 5),
        ("warning", 2, 2),
        ("note", 1, 3),
    ]
    assert "all of them" in one(findings, "valid").what
    assert "all of them" not in one(findings, "train").what
