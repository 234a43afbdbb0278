"""The parts of ``build images`` that ask nobody: waiting, contacts, names, and which picture is best."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.construct import picture_choice as rule
from featurestore.construct.crawl_input import file_name, is_qid
from featurestore.construct.html_text import LONGEST, text_of_html
from featurestore.construct.wiki_facts import FileFacts
from featurestore.construct.wiki_manners import retry_after, user_agent
from featurestore.construct.wiki_pages import batches, is_legal


def facts(
    name: str = "A.jpg", width: int = 800, height: int = 600, kind: str = "BITMAP"
) -> FileFacts:
    return FileFacts(asked=name, mime="image/jpeg", media_type=kind, width=width, height=height)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None), ("", None), ("7", 7.0), (" 120 ", 120.0), ("soon", None), ("-3", None),
        ("Thu, 01 Jan 2026 00:01:30 GMT", 90.0), ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0),
        ("1e9", None),
    ],
)  # fmt: skip
def test_retry_after_is_a_number_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, now=datetime(2026, 1, 1, tzinfo=UTC)) == seconds


@pytest.mark.parametrize(
    "contact", ["ada@lovelace.dev", "https://lovelace.dev/me", "mailto:a@b.io"]
)
def test_a_mail_or_web_address_is_a_contact(contact: str) -> None:
    assert user_agent(contact) == f"drin-fs/0.1.0 ({contact})"


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('<a href="x">Ada</a> &amp; <b>Bea</b>', "Ada & Bea"),
        ("plain  text", "plain text"),
        ("<style>p{}</style>Ada<br>Bea", "Ada Bea"),
        ("<script>alert(1)</script>", ""),
        ("a < b", "a < b"),
    ],
)
def test_only_the_words_of_html_are_kept(html: str, text: str) -> None:
    assert text_of_html(html) == text


@given(st.text())
def test_any_html_becomes_one_short_line(html: str) -> None:
    text = text_of_html(html)
    assert len(text) <= LONGEST
    assert "\n" not in text


@given(st.lists(st.text(min_size=1, max_size=80), max_size=120))
def test_batches_hold_every_title_once_and_fit(titles: list[str]) -> None:
    found = list(batches(titles))
    assert [title for batch in found for title in batch] == titles
    assert all(1 <= len(batch) <= 50 for batch in found)


@pytest.mark.parametrize("title", ["", " _ ", "a|b", "a#b", "a<b", "a\nb", "ж" * 200])
def test_titles_that_no_page_has_are_not_asked_for(title: str) -> None:
    assert not is_legal(title)


@pytest.mark.parametrize(
    ("name", "spelt"), [("File:a_b.jpg", "A b.jpg"), ("image: x.png", "X.png"), ("é.png", "É.png")]
)
def test_names_are_spelt_as_the_wiki_does(name: str, spelt: str) -> None:
    assert file_name(name) == spelt


def test_what_is_a_qid() -> None:
    assert [is_qid(text) for text in ("Q1", "Q0", "q1", "Q12x", "Q٣")] == [True] + [False] * 4


@pytest.mark.parametrize(
    ("name", "is_lead", "reason"),
    [
        ("Ada.jpg", False, ""), ("Ada.pdf", True, "not a picture"), ("Ada", True, "not a picture"),
        ("Mapplethorpe.jpg", False, ""), ("World map 1900.jpg", True, "map"),
        ("Commons-logo.svg", True, "icon"), ("Acme logo.svg", True, "logo"),
        ("Acme logo.png", True, ""), ("Acme logo.png", False, "logo"),
        ("Flag of France.svg", True, ""), ("Flag of France.svg", False, "flag"),
        ("Coat of arms of Ulm.png", False, "arms"), ("Men at arms.jpg", False, ""),
        ("Bicycle.svg", True, ""), ("Bicycle.svg", False, "drawing"),
    ],
)  # fmt: skip
def test_names_tell_what_is_no_picture_of_the_thing(name: str, is_lead: bool, reason: str) -> None:
    assert rule.refused_by_name(name, is_lead=is_lead) == reason


def test_a_lead_may_be_oblong_but_not_tiny() -> None:
    def refused(picture: FileFacts, is_lead: bool) -> str:
        return rule.refused_by_facts(picture, is_lead=is_lead, non_free=False)

    strip = facts(width=2000, height=300)
    assert (refused(strip, True), refused(strip, False)) == ("", "too oblong")
    small = facts(width=300, height=99)
    assert (refused(small, True), refused(small, False)) == ("", "too small")
    assert refused(facts(width=300, height=49), True) == "too small"
    assert refused(facts(kind="VIDEO"), True) == "not a picture"


def test_larger_squarer_and_named_after_the_page_is_better() -> None:
    best = sorted(
        [
            facts("House.jpg", 400, 300), facts("House.jpg", 1600, 1200),
            facts("House.jpg", 2400, 800), facts("Lovelace.jpg", 800, 600),
        ],
        key=lambda each: -rule.score(each, "Ada Lovelace"),
    )  # fmt: skip
    assert [(each.asked, each.width) for each in best] == [
        ("Lovelace.jpg", 800), ("House.jpg", 1600), ("House.jpg", 2400), ("House.jpg", 400)
    ]  # fmt: skip


def test_files_named_after_the_page_are_asked_about_first() -> None:
    names = [f"Other {n}.jpg" for n in range(30)] + ["Lovelace 1843.jpg", "Lovelace 1843.jpg"]
    chosen = rule.worth_asking(names, "Ada Lovelace")
    assert chosen[0] == "Lovelace 1843.jpg"
    assert len(chosen) == rule.MOST_LOOKED_AT
