"""``drin-fs audit``: each check on a store that has what it looks for, and on one that has not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featurestore
from cli.main import main
from cli.render_audit import audit_view
from featurestore.audit import CHECKS, SEVERITIES, Finding, audit
from featurestore.audit.features import RECORDS
from featurestore.audit.look import Look
from featurestore.progress import Silent
from featurestore.schema import FIELDS, NIL, PADDING
from tests.hdf5_edits import edited
from tests.snapshots import check_snapshot
from tests.terminal import shown
from tests.tiny_store import SIZES, TinyStore, tiny_values, write_tiny_store

K = SIZES["K"]


def found_by(check: str, path: Path) -> list[Finding]:
    with featurestore.open(path) as store:
        return list(CHECKS[check](Look(store, Silent())))


def found_in(check: str, tmp_path: Path, **options: Any) -> list[Finding]:
    """What a check finds in the tiny store, made with these options."""
    return found_by(check, write_tiny_store(tmp_path / "s.h5", **options).path)


def one(findings: list[Finding], word: str) -> Finding:
    """The only finding that says a word."""
    (found,) = [finding for finding in findings if word in finding.what]
    return found


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
    means = values["entities/text_mean"]
    means[7] = 0
    change = {
        "entities/image_pooled": pooled,
        "entities/image_status": status,
        "entities/id": ids,
        "entities/text_mean": means,
    }
    findings = found_in("zero-rows", tmp_path, change=change)
    pictures = one(findings, "image_pooled")
    assert (pictures.severity, pictures.count, pictures.of) == ("warning", 2, 8)
    assert pictures.examples == ("Q2", "Q6")
    assert "1 more are padding, default pictures or empty" in pictures.what
    text = one(findings, "text_mean")
    assert (text.severity, text.count, text.examples) == ("note", 1, (PADDING,))
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


def repeating() -> dict[str, Any]:
    """Mentions 0 and 1 of train are one, 5 (valid), 7 and 8 (test) as well; 6 has another gold."""
    sentences = [f"sentence {row}" for row in range(10)]
    names, gold = [f"n{row}" for row in range(10)], np.zeros(10, np.int32)
    for row in (1, 5, 6, 7, 8):
        sentences[row], names[row] = sentences[0], names[0]
    gold[6] = 1
    return {
        "mentions/sentence": sentences,
        "mentions/mention": names,
        "mentions/gold": gold,
        "mentions/answer": np.full(10, K, np.int32),
        "mentions/candidates": np.full((10, K), 7, np.int32),
        "mentions/char_start": np.zeros(10, np.int32),
        "mentions/char_end": np.full(10, 2, np.int32),
    }


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


# protocol ---------------------------------------------------------------------------------------


def protocol(*, mentions: int, answer: np.ndarray, **columns: np.ndarray) -> dict[str, Any]:
    """Candidates 1 … K for every mention, the gold at ``answer``."""
    candidates = np.tile(np.arange(1, K + 1, dtype=np.int32), (mentions, 1))
    gold = np.where(answer < K, candidates[np.arange(mentions), np.minimum(answer, K - 1)], 0)
    return {
        "mentions/candidates": candidates,
        "mentions/gold": gold.astype(np.int32),
        "mentions/answer": answer.astype(np.int32),
        **{f"mentions/{name}": column for name, column in columns.items()},
    }


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


# the whole --------------------------------------------------------------------------------------


def test_every_check_says_what_it_looks_for_and_runs_without_optional_fields(
    tmp_path: Path,
) -> None:
    without = {field.path for field in FIELDS if field.made_by}
    without |= {"entities/image_status", "mentions/image_status"}
    tiny = write_tiny_store(tmp_path / "s.h5", without=without)
    with featurestore.open(tiny.path) as store:
        found = audit(store)
    assert all((check.__doc__ or "").strip() for check in CHECKS.values())
    assert {f.check for f in found.findings if f.skipped} == {
        "missing-pictures", "missing-descriptions", "duplicate-entities", "cut-spans",
        "picture-files", "similar-pictures", "title-leak",
    }  # fmt: skip
    assert set(found.checks) == set(CHECKS)


def test_a_store_without_rows_has_nothing_to_find(tmp_path: Path) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5", entities=0, mentions=(0, 0, 0))
    with featurestore.open(tiny.path) as store:
        assert [f for f in audit(store).findings if not f.skipped] == []


def test_findings_stand_worst_first_and_are_counted(tmp_path: Path) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5", change=repeating())
    with edited(tiny.path) as file:
        file["mentions/text_span"][3, 1] = np.nan
    with featurestore.open(tiny.path) as store:
        found = audit(store)
    places = [SEVERITIES.index(f.severity) for f in found.findings]
    assert places == sorted(places)
    seen = [f.severity for f in found.findings if not f.skipped]
    assert found.severities == {severity: seen.count(severity) for severity in SEVERITIES}
    assert found.severities["error"] >= 1
    assert all(len(f.examples) <= 5 for f in found.findings)
    assert all(f.what and f.why and f.check in CHECKS for f in found.findings)


def clean_change() -> dict[str, Any]:
    answer = np.arange(10) % K
    counts = np.full(10, SIZES["T"], np.int32)
    return protocol(mentions=10, answer=answer) | {
        "mentions/token_count": counts,
        "mentions/text_tokens": [np.ones((SIZES["T"], SIZES["D"]), np.float32)] * 10,
        "mentions/image_status": np.zeros(10, np.uint8),
        "entities/image_status": np.zeros(8, np.uint8),
        "entities/image_path": [f"entity-{row}.jpg" for row in range(8)],
    }


def test_strict_exits_with_3_on_warnings_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_tiny_store(tmp_path / "good.h5", change=clean_change()).path
    bad = write_tiny_store(tmp_path / "bad.h5", change=repeating()).path
    assert main(["audit", str(good), "--strict", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["severities"]["error"], found["severities"]["warning"]) == (0, 0)
    assert main(["audit", str(bad), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["severities"]["warning"] > 0
    assert main(["audit", str(bad), "--strict"]) == 3
    captured = capsys.readouterr()
    assert "shared-mentions" in captured.out
    assert "error" not in captured.err


def test_no_store_is_a_data_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(tmp_path / "no.h5")]) == 3
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("width", [80, 140])
def test_what_the_terminal_shows(tmp_path: Path, width: int) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5", change=repeating())
    with featurestore.open(tiny.path) as store:
        views = audit_view(audit(store))
    text = "".join(shown(view, width=width) for view in views)
    check_snapshot(f"audit-{width}", text.replace(str(tiny.path), "tiny.h5"))


def test_ids_of_a_store_are_shown_and_not_obeyed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change = repeating() | {"mentions/id": [f"\x1b[31m{row}\u202e" for row in range(10)]}
    tiny = write_tiny_store(tmp_path / "s.h5", change=change)
    assert main(["audit", str(tiny.path)]) == 0
    out = capsys.readouterr().out
    assert "\\x1b[31m0\\u202e" in out
    assert not set("\x1b\u202e") & set(out)


def test_audit_and_diff_work_where_torch_and_pillow_are_not_installed(
    tiny: TinyStore,
) -> None:
    script = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'PIL'): sys.modules[name] = None\n"
        "from cli.main import main\n"
        "sys.exit(main(['audit', sys.argv[1]]) or main(['diff', sys.argv[1], sys.argv[1]]))"
    )
    command = [sys.executable, "-c", script, str(tiny.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "the same" in done.stdout
