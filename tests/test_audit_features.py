"""Checks of features, the knowledge base and pictures: each finds what it looks for, and only that."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from featurestore.audit.features import RECORDS
from featurestore.schema import PADDING
from tests.audit_for_tests import K, found_by, found_in, one
from tests.hdf5_edits import edited
from tests.tiny_store import SIZES, TinyStore, tiny_values, write_tiny_store

# features ---------------------------------------------------------------------------------------


def test_a_row_that_is_not_finite_is_an_error(tiny: TinyStore, tmp_path: Path) -> None:
    assert found_by("not-finite", tiny.path) == []
    bad = write_tiny_store(tmp_path / "s.h5", compression="none")
    with edited(bad.path) as file:
        file["mentions/text_span"][3, 1] = np.nan
        file["entities/clip_image"][5, 0] = np.inf
        file["entities/clip_image"][7] = -np.inf
        file["mentions/image_regions"][9, 2, 2] = np.nan
        file["mentions/sim_text_image"][0, 4] = np.nan
    findings = found_by("not-finite", bad.path)
    assert {f.severity for f in findings} == {"error"}
    assert one(findings, "mentions/text_span").examples == ("m3-0",)
    assert one(findings, "entities/clip_image").examples == ("Q105", "Q107")
    assert one(findings, "entities/clip_image").count == 2
    assert one(findings, "mentions/image_regions").rows == (("mentions", 9),)
    assert one(findings, "mentions/sim_text_image").of == 10
    assert len(findings) == 4


def test_of_many_records_a_sample_is_looked_at_and_that_is_said(tmp_path: Path) -> None:
    many = RECORDS + 200
    tiny = write_tiny_store(tmp_path / "s.h5", entities=many, mentions=(1, 1, 1))
    with edited(tiny.path) as file:
        file["entities/text_tokens"][:, 0, 0] = np.nan
    found = one(found_by("not-finite", tiny.path), "entities/text_tokens")
    assert (found.count, found.of) == (RECORDS, RECORDS)
    assert f"looked at 1,000 of {many:,} rows, seed 0" in found.what


def test_zero_rows_are_told_from_those_that_have_a_reason(tmp_path: Path) -> None:
    values = tiny_values(entities=8, mentions=10)
    pooled, status = values["entities/image_pooled"], np.zeros(8, np.uint8)
    pooled[[2, 4, 6]] = 0
    status[4] = 1
    ids = [f"Q{row}" for row in range(7)] + [PADDING]
    means, counts = values["entities/text_mean"], values["entities/token_count"]
    means[[1, 7]] = 0
    counts[1], counts[7] = 2, SIZES["S"]
    tokens = [np.ones((count, SIZES["D"]), np.float32) for count in counts]
    change = {
        "entities/image_pooled": pooled,
        "entities/image_status": status,
        "entities/id": ids,
        "entities/text_mean": means,
        "entities/token_count": counts,
        "entities/text_tokens": tokens,
    }
    findings = found_in("zero-rows", tmp_path, change=change)
    pictures = one(findings, "image_pooled")
    assert (pictures.severity, pictures.count, pictures.of) == ("warning", 2, 8)
    assert pictures.examples == ("Q2", "Q6")
    assert "1 more are padding, default pictures or empty" in pictures.what
    text = one(findings, "text_mean")
    assert (text.severity, text.count, text.examples) == ("note", 2, ("Q1", PADDING))
    assert len(findings) == 2


def test_objects_that_no_detector_found_explain_zeros(tmp_path: Path) -> None:
    values = tiny_values(entities=8, mentions=10)
    objects, scores = values["mentions/objects"], values["mentions/object_scores"]
    objects[[1, 2]] = 0
    scores[1] = 0
    change = {
        "mentions/objects": objects,
        "mentions/object_scores": scores,
        "mentions/image_status": np.zeros(10, np.uint8),
    }
    (found,) = found_in("zero-rows", tmp_path, change=change)
    assert (found.count, found.examples) == (1, ("m2-0",))


def test_entities_of_identical_features_are_found(tiny: TinyStore, tmp_path: Path) -> None:
    assert found_by("identical-features", tiny.path) == []
    values = tiny_values(entities=8, mentions=10)
    means, pooled = values["entities/text_mean"], values["entities/image_pooled"]
    means[[5, 7]] = means[1]
    pooled[3] = pooled[2]
    pooled[5] = pooled[4]
    status = np.zeros(8, np.uint8)
    status[4:6] = 1  # the default picture: no surprise
    change = {
        "entities/text_mean": means,
        "entities/image_pooled": pooled,
        "entities/image_status": status,
    }
    findings = found_in("identical-features", tmp_path, change=change)
    text, picture = one(findings, "text_mean"), one(findings, "image_pooled")
    assert (text.severity, text.count, text.examples) == ("warning", 3, ("Q101 = Q105 = Q107",))
    assert (picture.severity, picture.count, picture.of) == ("note", 2, 6)
    assert picture.examples == ("Q102 = Q103",)


# knowledge base ---------------------------------------------------------------------------------


def test_missing_descriptions_are_counted_for_entities_and_golds(tmp_path: Path) -> None:
    descriptions = ["", "", *["text"] * 6]
    ids = ["Q0", PADDING, *(f"Q{row}" for row in range(2, 8))]
    gold = np.array([0, 2, 2, 2, 2, 3, 3, 0, 0, 3], np.int32)
    change = {
        "entities/description": descriptions,
        "entities/id": ids,
        "mentions/gold": gold,
        "mentions/answer": np.full(10, K, np.int32),
    }
    findings = found_in("missing-descriptions", tmp_path, change=change)
    entities = one(findings, "entities")
    assert (entities.count, entities.of, entities.examples) == (1, 7, ("Q0",))
    assert entities.severity == "warning"
    assert (one(findings, "train").count, one(findings, "train").of) == (1, 5)
    assert (one(findings, "test").count, one(findings, "test").of) == (2, 3)
    assert len(findings) == 3


def test_of_a_large_group_only_the_first_are_named(tmp_path: Path) -> None:
    change = {"entities/title": [*["Ada"] * 7, "z"], "entities/description": ["x"] * 8}
    same = one(found_in("duplicate-entities", tmp_path, change=change), "title and description")
    assert same.examples == ("Q100 = Q101 = Q102 = … (7 in all)",)
    assert same.rows == (("entities", 0), ("entities", 1), ("entities", 2))


def test_a_few_missing_descriptions_are_a_note(tmp_path: Path) -> None:
    change = {"entities/description": ["", *["text"] * 10]}
    (found,) = [
        f
        for f in found_in("missing-descriptions", tmp_path, entities=11, change=change)
        if "entities" in f.what
    ]
    assert found.severity == "note"


def test_duplicate_entities(tiny: TinyStore, tmp_path: Path) -> None:
    assert found_by("duplicate-entities", tiny.path) == []
    titles = ["Ada", "Ada", "ADA ", "New_York (city)", "new york  city", "x", "y", "z"]
    descriptions = ["a", "a", "b", "c", "d", "e", "f", "g"]
    change = {"entities/title": titles, "entities/description": descriptions}
    findings = found_in("duplicate-entities", tmp_path, change=change)
    same, alike = one(findings, "title and description"), one(findings, "but for case")
    assert (same.severity, same.count, same.examples) == ("warning", 2, ("Q100 = Q101",))
    assert (alike.severity, alike.count) == ("note", 5)
    assert alike.examples == ("Q100 = Q101 = Q102", "Q103 = Q104")


# pictures ---------------------------------------------------------------------------------------


def test_missing_pictures_are_counted_for_each_table_and_split(tmp_path: Path) -> None:
    entities, mentions = np.zeros(8, np.uint8), np.zeros(10, np.uint8)
    entities[[1, 2, 3]] = 1, 2, 3
    mentions[[0, 5, 6]] = 1, 1, 4
    change = {"entities/image_status": entities, "mentions/image_status": mentions}
    findings = found_in("missing-pictures", tmp_path, change=change)
    whole = one(findings, "entities")
    assert (whole.severity, whole.count, whole.of) == ("warning", 3, 8)
    assert "1 missing, 1 broken, 1 too small" in whole.what
    assert one(findings, "train").examples == ("m0-0",)
    assert one(findings, "valid").count == 1  # one more is unknown
    assert len(findings) == 3


def test_where_no_picture_is_known_of_nothing_is_claimed(tmp_path: Path) -> None:
    change = {"entities/image_status": np.full(8, 4, np.uint8)}
    findings = found_in("missing-pictures", tmp_path, change=change)
    found = one(findings, "which entities have a picture")
    assert (found.skipped, found.severity, found.count) == (True, "note", 0)


def test_pictures_of_test_with_the_file_name_of_an_entitys(tiny: TinyStore, tmp_path: Path) -> None:
    paths = [f"m/{row}.jpg" for row in range(10)]
    paths[0] = paths[6] = "m/Same.JPG"  # train may
    paths[8] = ""
    change = {
        "entities/image_path": ["e/a.jpg", "deep/e/Same.JPG", "", *(f"e/{c}.png" for c in "cdefg")],
        "mentions/image_path": paths,
        "mentions/gold": np.ones(10, np.int32),
        "mentions/answer": np.full(10, K, np.int32),
        "mentions/candidates": np.full((10, K), 7, np.int32),
    }
    (found,) = found_in("picture-files", tmp_path, change=change)
    assert (found.severity, found.count, found.of) == ("warning", 1, 2)
    assert found.examples == ("m6-0 ~ Q101",)
    assert "mentions of valid" in found.what
    assert "for 1 of them the entity is the gold" in found.what
