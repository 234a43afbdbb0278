"""Which titles a mention finds, in which order; every rule against a naive reading of it."""

from __future__ import annotations

import math
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import featurestore.candidates
from featurestore.candidates import TitleIndex
from featurestore.schema import NO_ROW

TITLES = [
    "Barack Obama",  # 0
    "Michelle Obama",  # 1
    "Paris (Texas)",  # 2
    "Paris",  # 3
    "Paris Hilton",  # 4
    "Antoine Griezmann",  # 5
    "Thomas_Müller",  # 6
    "!!!",  # 7
    "Obama",  # 8
]


def found(mention: str, titles: list[str] = TITLES, k: int = 5) -> list[str]:
    rows = TitleIndex.build(titles).top([mention], k)[0]
    return [titles[row] for row in rows if row != NO_ROW]


def test_a_part_of_a_name_finds_the_title() -> None:
    assert found("Griezmann") == ["Antoine Griezmann"]
    assert found("Griezman")[0] == "Antoine Griezmann"


def test_the_equal_title_comes_first_then_the_equal_one_but_for_its_bracket() -> None:
    assert found("Paris")[:3] == ["Paris", "Paris (Texas)", "Paris Hilton"]
    assert found("Paris (Texas)")[0] == "Paris (Texas)"


def test_a_title_of_other_grams_is_no_candidate() -> None:
    assert found("Xyz") == []
    assert found("") == []
    assert "Paris" not in found("Obama")


@pytest.mark.parametrize(
    ("mention", "title"),
    [
        ("barack OBAMA", "Barack Obama"),
        ("Barack_Obama", "Barack Obama"),
        ("  Barack  Obama ", "Barack Obama"),
        ("Thomas Mu\u0308ller", "Thomas_Müller"),
        ("Ｔhomas Müller", "Thomas_Müller"),
        ("!!!", "!!!"),  # no letter: equal all the same
    ],
)
def test_case_underscores_blanks_and_unicode_form_do_not_count(mention: str, title: str) -> None:
    assert found(mention, k=1) == [title]


def test_ties_go_to_the_shorter_title_then_to_the_first_row() -> None:
    titles = ["Ann, Lee", "Ann. Lee.", "Ann Lee!", "Ann Lee!"]
    assert TitleIndex.build(titles).top(["Ann"], 4).tolist() == [[0, 2, 3, 1]]
    assert TitleIndex.build(titles).top(["Ann"], 2).tolist() == [[0, 2]]  # a tie at the cut


def test_rows_are_int32_and_short_lists_are_filled_up() -> None:
    rows = TitleIndex.build(TITLES).top(["Griezmann", "Xyz"], 3)
    assert rows.dtype == np.int32
    assert rows.tolist() == [[5, NO_ROW, NO_ROW], [NO_ROW] * 3]


def test_an_index_of_nothing_finds_nothing() -> None:
    empty = TitleIndex.build([])
    assert len(empty) == 0
    assert empty.top(["Paris"], 2).tolist() == [[NO_ROW, NO_ROW]]
    assert TitleIndex.build(["", "!!!"]).top(["", "Paris"], 1).tolist() == [[0], [NO_ROW]]
    assert TitleIndex.build(TITLES).top([], 3).shape == (0, 3)


def test_the_commonest_grams_are_left_out_when_a_mention_has_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    titles = [f"Anna {name}" for name in ("Bell", "Cook", "Dunn")] + ["Bella Zorn"]
    assert len(found("Anna Bell", titles, k=4)) == 4
    monkeypatch.setattr(featurestore.candidates, "POSTINGS", 4)
    assert found("Anna Bell", titles, k=4) == ["Anna Bell", "Bella Zorn"]
    monkeypatch.setattr(featurestore.candidates, "POSTINGS", 0)  # the rarest gram is always read
    assert found("Anna", titles, k=4) == ["Anna Bell", "Anna Cook", "Anna Dunn"]


# against a naive reading ------------------------------------------------------------------------


def naive_spelling(name: str) -> str:
    folded = unicodedata.normalize("NFKC", name).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).replace("_", " ").split())


def naive_name(title: str) -> str:
    spelling = naive_spelling(title)
    if spelling.endswith(")") and "(" in spelling:
        inside = spelling[spelling.rindex("(") + 1 : -1]
        if ")" not in inside:
            return spelling[: spelling.rindex("(")].rstrip() or spelling
    return spelling


def naive_grams(name: str) -> set[str]:
    words = "".join(c if c.isalnum() else " " for c in name).split()
    padded = [f" {word} " for word in words]
    return set(padded) | {p[i : i + 3] for p in padded for i in range(len(p) - 2)}


def naive_scores(titles: list[str], mention: str) -> list[float]:
    """The cosine of each title with the mention, 2 and 4 more where they are equal."""
    held = [naive_grams(naive_name(title)) for title in titles]
    spelling = naive_spelling(mention)

    def weight(gram: str) -> float:
        return math.log(1 + len(titles) / sum(gram in grams for grams in held))

    asked = {gram for gram in naive_grams(spelling) if any(gram in grams for grams in held)}
    asked_norm = math.sqrt(sum(weight(gram) ** 2 for gram in asked))
    scores = []
    for title, grams in zip(titles, held, strict=True):
        norm = math.sqrt(sum(weight(gram) ** 2 for gram in grams))
        both = sum(weight(gram) ** 2 for gram in grams & asked)
        score = both / (norm * asked_norm) if both else 0.0
        score += 2 * (naive_name(title) == spelling) + 4 * (naive_spelling(title) == spelling)
        scores.append(score)
    return scores


names = st.lists(
    st.sampled_from(["Ann", "Anna", "lee", "LEE", "Bo", "é", "(x)", "_", "-"]), max_size=4
)
titles = st.one_of(names.map(" ".join), names.map("".join), st.text("ab (_)ßİ", max_size=6))


@given(st.lists(titles, max_size=8), titles, st.integers(1, 9))
def test_every_score_is_that_of_a_naive_reading(known: list[str], mention: str, k: int) -> None:
    rows = [row for row in TitleIndex.build(known).top([mention], k)[0].tolist() if row != NO_ROW]
    scores = naive_scores(known, mention)
    best = sorted((score for score in scores if score), reverse=True)[:k]
    assert len(set(rows)) == len(rows)
    assert [scores[row] for row in rows] == pytest.approx(best, rel=1e-6)


@given(st.lists(titles, min_size=1, max_size=8), st.lists(titles, max_size=4))
def test_mentions_do_not_influence_each_other(known: list[str], mentions: list[str]) -> None:
    index = TitleIndex.build(known)
    alone = [index.top([mention], 3)[0].tolist() for mention in mentions]
    assert index.top(mentions, 3).tolist() == alone
