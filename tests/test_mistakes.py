"""What a run got wrong: counted once, grouped by why, the surest first, and shown."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featurestore
from cli.main import main
from cli.render_mistakes import mistakes_view
from featurestore.candidates import bare_name
from featurestore.schema import IMAGE_STATUS
from linker.mistakes import REASONS, Mistake, Mistakes, mistakes
from linker.run_folder import RunFolder
from tests.recorded_for_tests import recorded_run
from tests.runs_for_tests import QuickRun
from tests.snapshots import check_snapshot
from tests.terminal import shown
from tests.test_inspect import HOSTILE, WITHOUT_TORCH
from tests.tiny_store import SIZES, TinyStore, write_tiny_store

K, N = SIZES["K"], 12
OK, MISSING, UNKNOWN = (IMAGE_STATUS.index(word) for word in ("ok", "missing", "unknown"))


@dataclass(frozen=True)
class Case:
    """A store of twelve test mentions, the run on it, and the scores of its candidates."""

    tiny: TinyStore
    run: RunFolder
    scores: np.ndarray

    def found(self, **options: Any) -> Mistakes:
        with featurestore.open(self.tiny.path) as store:
            return mistakes(store, self.run.path, **options)


def columns() -> dict[str, Any]:
    """Every mention has gold 0 and candidates 0 … 3, pictures and a whole span, to begin with."""
    return {
        "mentions/candidates": np.tile(np.arange(K, dtype=np.int32), (N, 1)),
        "mentions/gold": np.zeros(N, np.int32),
        "mentions/answer": np.zeros(N, np.int32),
        "mentions/image_status": np.full(N, OK, np.uint8),
        "entities/image_status": np.full(8, OK, np.uint8),
        "mentions/token_start": np.zeros(N, np.int32),
        "mentions/token_end": np.ones(N, np.int32),
        "entities/title": [f"Title {row}" for row in range(8)],
    }


def make_case(folder: Path, change: dict[str, Any], scores: np.ndarray, **options: Any) -> Case:
    values = columns() | change
    summary = options.pop("summary", {})
    tiny = write_tiny_store(folder / "s.h5", mentions=(0, 0, N), change=values, **options)
    # long enough sentences: a span of one token is whole
    return Case(tiny, recorded_run(folder / "run", tiny.path, {"test": scores}, **summary), scores)


def right() -> np.ndarray:
    """Scores under which every gold at place 0 is first."""
    return np.tile(np.array([0.9, 0.5, 0.3, 0.1], np.float32), (N, 1))


WRONG = [0.2, 0.5, 0.3, 0.1]  # the gold is third


def long_sentences() -> dict[str, Any]:
    """Token columns under which no mention is cut off, with texts of that length."""
    rng = np.random.default_rng(5)
    texts = [rng.standard_normal((9, SIZES["D"])).astype(np.float32) for _ in range(N)]
    return {
        "mentions/token_count": np.full(N, 9, np.int32),
        "mentions/text_tokens": texts,
        "mentions/text_cls": np.stack([text[0] for text in texts]),
    }


def one_each(folder: Path) -> Case:
    """A mistake for each reason that four candidates allow, and mentions that are right."""
    change, scores = columns() | long_sentences(), right()
    change["entities/title"][2] = "title_0 (city)"
    change["mentions/gold"][1] = -1
    change["mentions/gold"][2] = 5
    change["mentions/answer"][1:3] = K
    scores[3] = [0.2, 0.3, 0.8, 0.1]  # takes the namesake, row 2
    change["mentions/image_status"][[2, 4]] = MISSING
    scores[4] = WRONG
    change["mentions/gold"][5], change["mentions/answer"][5] = 3, 3
    change["entities/image_status"][3] = MISSING
    change["mentions/token_end"][6] = 8
    scores[6] = WRONG
    scores[7] = [0.1, 0.4, 0.3, 0.2]
    scores[8] = [0.4, 0.4, 0.3, 0.2]  # a tie: rank 1.5
    return make_case(folder, change, scores)


# reasons ------------------------------------------------------------------------------------------


def test_each_mistake_counts_once_under_its_first_reason(tmp_path: Path) -> None:
    found = one_each(tmp_path).found()
    primary = {m.row: (group.reason, m) for group in found.groups for m in group.mistakes}
    assert {row: reason for row, (reason, _) in primary.items()} == {
        1: "gold_unknown",
        2: "gold_not_retrieved",
        3: "same_title",
        4: "mention_picture",
        5: "gold_picture",
        6: "span_cut",
        7: "rank_2_5",
        8: "rank_2_5",
    }
    assert (found.mentions, found.wrong) == (N, 8)
    assert all(mistake.reasons[0] == reason for reason, mistake in primary.values())
    assert primary[2][1].reasons == ("gold_not_retrieved", "mention_picture")
    assert primary[4][1].reasons == ("mention_picture", "rank_2_5")
    assert [group.reason for group in found.groups] == [
        reason for reason in REASONS if reason in {r for r, _ in primary.values()}
    ]
    holds = Counter(reason for _, mistake in primary.values() for reason in mistake.reasons)
    assert {group.reason: group.holds for group in found.groups} == {
        reason: holds[reason] for reason in {r for r, _ in primary.values()}
    }


def test_a_lack_that_nearly_all_share_is_no_reason(tmp_path: Path) -> None:
    change, scores = columns() | long_sentences(), right()
    change["mentions/image_status"][:] = MISSING
    scores[2:5] = WRONG
    case = make_case(tmp_path, change, scores)
    found = case.found()
    counts = {group.reason: (group.count, group.holds) for group in found.groups}
    assert counts == {"mention_picture": (0, 3), "rank_2_5": (3, 3)}
    (own,) = [group for group in found.groups if group.mistakes]
    assert all(m.reasons == ("rank_2_5", "mention_picture") for m in own.mistakes)
    assert "sets none apart" in shown(mistakes_view(found), width=100)


def test_a_mistake_says_what_was_taken_and_how_sure_the_run_is(tmp_path: Path) -> None:
    case = one_each(tmp_path)
    by_row = {m.row: m for group in case.found().groups for m in group.mistakes}
    third = by_row[7]
    assert (third.mention, third.sentence) == ("m7-0", "Here stands name7, and é.")
    assert third.span == (12, 17)
    assert (third.rank, third.margin) == (4.0, pytest.approx(0.3))
    assert (third.gold.id, third.gold.title) == ("Q100", "Title 0")
    assert third.gold.score == pytest.approx(0.1)
    assert third.taken is not None
    assert (third.taken.id, third.taken.title) == ("Q101", "Title 1")
    assert third.taken.score == pytest.approx(0.4)
    assert (by_row[8].rank, by_row[8].margin) == (1.5, 0.0)
    unknown = by_row[1]
    assert (unknown.gold.row, unknown.gold.id, unknown.rank) == (None, None, None)
    assert unknown.margin == pytest.approx(0.4)  # between the best two
    assert by_row[2].gold.id == "Q105"
    assert by_row[2].gold.score is None


@pytest.mark.parametrize(
    ("ties", "wrong"), [("optimistic", 7), ("expected", 8), ("pessimistic", 8)]
)
def test_ties_are_judged_as_the_figures_of_the_run_are(
    tmp_path: Path, ties: str, wrong: int
) -> None:
    case = one_each(tmp_path)
    summary = case.run.read_summary() | {"tie_rule": ties}
    case.run.write_summary(summary)
    assert (case.found().tie_rule, case.found().wrong) == (ties, wrong)


def wide(folder: Path, ranks: list[int]) -> Case:
    """Mentions with 25 candidates whose golds have these ranks."""
    entities, width = 30, 25
    sizes = dict(SIZES)
    scores = np.tile(np.linspace(1, 0, width, dtype=np.float32), (len(ranks), 1))
    answer = np.array(ranks, np.int32) - 1
    change = {
        "mentions/candidates": np.tile(np.arange(width, dtype=np.int32), (len(ranks), 1)),
        "mentions/gold": answer,
        "mentions/answer": answer,
        "mentions/sim_image_text": np.zeros((len(ranks), width + 1), np.float32),
        "mentions/sim_text_image": np.zeros((len(ranks), width + 1), np.float32),
        "entities/image_status": np.full(entities, OK, np.uint8),
        "mentions/image_status": np.full(len(ranks), OK, np.uint8),
    }
    SIZES.update({"K": width, "C": width + 1})
    try:
        tiny = write_tiny_store(
            folder / "s.h5", entities=entities, mentions=(0, 0, len(ranks)), change=change,
            without={"mentions/token_count", "mentions/text_tokens"},
        )  # fmt: skip
    finally:
        SIZES.update(sizes)
    return Case(tiny, recorded_run(folder / "run", tiny.path, {"test": scores}), scores)


def test_how_near_the_gold_came_is_said_in_three_bands(tmp_path: Path) -> None:
    found = wide(tmp_path, [1, 2, 5, 6, 20, 21, 25]).found()
    bands = {group.reason: [m.rank for m in group.mistakes] for group in found.groups}
    assert bands == {"rank_2_5": [5, 2], "rank_6_20": [20, 6], "rank_beyond": [25, 21]}


def test_a_gold_without_a_score_is_beyond_every_rank(tmp_path: Path) -> None:
    scores = right()
    scores[4, 0] = np.nan
    scores[5] = np.nan
    found = make_case(tmp_path, long_sentences(), scores).found()
    (group,) = found.groups
    assert group.reason == "rank_beyond"
    assert [(m.row, m.rank, m.margin) for m in group.mistakes] == [(4, None, None), (5, None, None)]
    assert group.mistakes[1].taken is None
    assert "without a score" in shown(mistakes_view(found), width=80)


def test_an_empty_place_can_be_taken(tmp_path: Path) -> None:
    change, scores = columns() | long_sentences(), right()
    change["mentions/candidates"][3, 2] = -1
    scores[3] = [0.2, 0.1, 0.8, 0.1]
    found = make_case(tmp_path, change, scores).found()
    ((mistake,),) = [group.mistakes for group in found.groups]
    assert mistake.taken is not None
    assert (mistake.taken.row, mistake.taken.id) == (None, None)
    assert "(empty place)" in shown(mistakes_view(found), width=80)


@pytest.mark.parametrize(
    ("start", "end", "count", "cut"),
    [(0, 1, 9, False), (0, 7, 9, False), (0, 8, 9, True), (3, 3, 9, True), (0, 1, 2, True)],
)
def test_a_span_is_cut_off_where_a_token_of_it_is_not_read(
    tmp_path: Path, start: int, end: int, count: int, cut: bool
) -> None:
    change, scores = columns() | long_sentences(), right()
    scores[0] = WRONG
    change["mentions/token_start"][0], change["mentions/token_end"][0] = start, end
    change["mentions/token_count"][0] = count
    change["mentions/text_tokens"][0] = change["mentions/text_tokens"][0][:count]
    found = make_case(tmp_path, change, scores).found()
    assert found.groups[0].reason == ("span_cut" if cut else "rank_2_5")


def test_a_picture_of_which_nobody_knows_is_not_missing(tmp_path: Path) -> None:
    scores = right()
    scores[0] = WRONG
    change = long_sentences() | {
        "mentions/image_status": np.full(N, UNKNOWN, np.uint8),
        "entities/image_status": np.full(8, UNKNOWN, np.uint8),
    }
    assert [g.reason for g in make_case(tmp_path, change, scores).found().groups] == ["rank_2_5"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Paris", "paris_(Texas)", True),
        ("Paris (Texas)", "Paris (France)", True),
        ("(500)", "(500)", True),
        ("(500)", "(600)", False),
        ("Paris", "Parish", False),
    ],
)
def test_namesakes_have_titles_that_differ_in_their_bracket(
    one: str, other: str, same: bool
) -> None:
    assert (bare_name(one) == bare_name(other)) is same


def test_entities_without_a_title_are_no_namesakes(tmp_path: Path) -> None:
    scores = right()
    scores[0] = WRONG
    change = long_sentences() | {"entities/title": [""] * 8}
    assert [g.reason for g in make_case(tmp_path, change, scores).found().groups] == ["rank_2_5"]


def test_what_the_store_cannot_tell_is_said(quick: QuickRun) -> None:
    with featurestore.open(quick.store) as store:
        found = mistakes(store, quick.folder)
    assert set(found.not_known) == {"same_title", "mention_picture", "gold_picture"}
    text = shown(mistakes_view(found), width=120)
    assert (
        "not known here: no picture of the mention (the store has no mentions/image_status)" in text
    )
    assert sum(group.count for group in found.groups) == found.wrong
    assert found.wrong == round(40 * (1 - quick.summary["test"]["hits@1"]))


# order and limits ---------------------------------------------------------------------------------


def test_the_surest_mistakes_come_first_and_all_are_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    case = make_case(tmp_path, long_sentences(), rng.random((N, K)).astype(np.float32))
    whole, short = case.found(limit=N), case.found(limit=2)
    for group, cut in zip(whole.groups, short.groups, strict=True):
        margins = [m.margin for m in group.mistakes]
        assert margins == sorted(margins, reverse=True)
        assert cut.mistakes == group.mistakes[:2]
        assert (cut.count, cut.holds) == (len(group.mistakes), group.holds)
    wanted = {
        row: max(own[1:]) - own[0] for row, own in enumerate(case.scores) if own.argmax() != 0
    }
    found = {m.row: m.margin for group in whole.groups for m in group.mistakes}
    assert found == pytest.approx(wanted)
    assert all(not group.mistakes for group in case.found(limit=0).groups)


def test_blocks_do_not_change_what_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = one_each(tmp_path)
    whole = case.found()
    monkeypatch.setattr("linker.mistakes._BLOCK", 3)
    monkeypatch.setattr("linker.verdicts._BLOCK", 5)
    assert case.found() == whole


def test_a_run_without_mistakes_has_no_groups(tmp_path: Path) -> None:
    found = make_case(tmp_path, long_sentences(), right()).found()
    assert (found.wrong, found.groups) == (0, ())
    assert "0 of 12 mentions wrong in test (0.0 %)" in shown(mistakes_view(found), width=80)


def test_splits_are_looked_at_apart(tiny: TinyStore, tmp_path: Path) -> None:
    scores = {"valid": np.zeros((2, K), np.float32), "test": np.ones((3, K), np.float32)}
    run = recorded_run(tmp_path / "run", tiny.path, scores)
    with featurestore.open(tiny.path) as store:
        found = mistakes(store, run.path, split="valid")
    assert (found.mentions, found.wrong) == (2, 2)
    assert {m.row for group in found.groups for m in group.mistakes} == {5, 6}


# the command --------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 120])
def test_the_view(tmp_path: Path, width: int) -> None:
    found = replace(one_each(tmp_path).found(limit=1), run="runs/drin")
    check_snapshot(f"mistakes-{width}", shown(mistakes_view(found), width=width))


def test_texts_of_the_store_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    scores = right()
    scores[0] = WRONG
    change = long_sentences() | {
        "mentions/sentence": [HOSTILE] * N,
        "mentions/id": [f"{HOSTILE}{i}" for i in range(N)],
        "entities/title": [f"{HOSTILE}{i}" for i in range(8)],
    }
    found = make_case(tmp_path, change, scores).found()
    text = shown(mistakes_view(replace(found, run=HOSTILE, model=HOSTILE)), width=300)
    for character in "\x1b\x07\x9b\u202e":
        assert character not in text
    assert "[bold]x[/bold]" in text


def test_of_a_long_sentence_the_part_around_the_mention_is_shown(tmp_path: Path) -> None:
    scores = right()
    scores[0] = WRONG
    sentence = "before " * 1000 + "NAME" + " behind" * 1000
    change = long_sentences() | {
        "mentions/sentence": [sentence] * N,
        "mentions/char_start": np.full(N, 7000, np.int32),
        "mentions/char_end": np.full(N, 7004, np.int32),
    }
    case = make_case(tmp_path, change, scores)
    text = shown(mistakes_view(case.found()), width=300)
    assert "before ⟦NAME⟧ behind" in text
    assert "…" in text
    assert len(text) < 2000
    nowhere = [
        replace(group, mistakes=tuple(replace(m, span=None) for m in group.mistakes))
        for group in case.found().groups
    ]
    text = shown(mistakes_view(replace(case.found(), groups=tuple(nowhere))), width=300)
    assert "before before" in text
    assert "NAME" not in text


def test_the_command_works_where_torch_is_not_installed(tmp_path: Path) -> None:
    case = one_each(tmp_path)
    arguments = ["inspect", str(case.tiny.path), "--errors", str(case.run.path), "--top", "1"]
    command = [sys.executable, "-c", WITHOUT_TORCH, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "8 of 12 mentions wrong in test (66.7 %)" in done.stdout
    assert "\x1b" not in done.stdout


def test_json_is_all_that_was_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = one_each(tmp_path)
    arguments = ["inspect", str(case.tiny.path), "--errors", str(case.run.path), "--json"]
    assert main(arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    found = case.found(limit=3)
    assert printed["wrong"] == 8
    assert [group["reason"] for group in printed["groups"]] == [g.reason for g in found.groups]
    first: Mistake = found.groups[0].mistakes[0]
    assert printed["groups"][0]["mistakes"][0]["mention"] == first.mention
    assert printed["groups"][0]["mistakes"][0]["rank"] is None


def test_an_old_run_says_how_to_get_its_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = one_each(tmp_path)
    case.run.scores("test").unlink()
    assert main(["inspect", str(case.tiny.path), "--errors", str(case.run.path)]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"drin-fs evaluate {case.run.path} --split test --record" in captured.err
