"""Titles out of URLs, and which titles count as the same."""

from __future__ import annotations

import hashlib
import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.sources.titles import last_segment, matching, normalised, picture_stem, title_of

WIKI = "https://en.wikipedia.org/wiki/"


@pytest.mark.parametrize(
    ("url", "title"),
    [
        (WIKI + "Amazon_%28company%29", "Amazon_(company)"),
        (WIKI + "S%C3%A3o_Paulo", "São_Paulo"),
        (WIKI + "AC%2FDC", "AC/DC"),
        (WIKI + "AC/DC", "DC"),  # as in the released arrays
        ("h" + WIKI + "Jordan", "Jordan"),
        (WIKI + "Jordan]", "Jordan]"),
        (WIKI, ""),
        ("NIL", "NIL"),
        ("", ""),
        (WIKI + "%FF", "\ufffd"),  # no UTF-8 behind the encoding
    ],
)
def test_title_is_the_decoded_last_path_segment(url: str, title: str) -> None:
    assert title_of(url) == title


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_an_encoded_title_is_read_back(title: str) -> None:
    assert title_of(WIKI + quote(title, safe="")) == title


def test_picture_name_is_made_of_the_segment_as_it_stands() -> None:
    url = "https://upload.wikimedia.org/wikipedia/commons/a/ab/Amazon_%28company%29_0.svg"
    assert last_segment(url) == "Amazon_%28company%29_0.svg"
    assert picture_stem(url) == hashlib.md5(b"Amazon_%28company%29_0.svg").hexdigest()
    assert picture_stem(url) == "ac28271bbfff2e63881bd753b856b1c5"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Amazon River", "Amazon_River"),
        ("Amazon__River_", "Amazon_River"),
        ("jordan", "Jordan"),
        ("éire", "Éire"),
        ("Amazon_%28company%29", "Amazon_(company)"),
        ("Amazon_%2528company%2529", "Amazon_(company)"),
        ("Co\u0301rdoba", "C\u00f3rdoba"),
        ("co%CC%81rdoba,%20Spain", "C\u00f3rdoba,_Spain"),
    ],
)
def test_spellings_of_one_page_are_equal_when_normalised(one: str, other: str) -> None:
    assert normalised(one) == normalised(other) == other
    assert matching("normalised")(one) == other
    assert matching("exact")(one) != matching("exact")(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Jordan", "Jordan]"), ("Jordan", "JORDAN"), ("Java", "Javá"), ("NIL", ""), ("100%", "100")],
)
def test_different_pages_stay_different_when_normalised(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.text("ab %_1258éßŉ\u0301"))
def test_normalising_twice_is_normalising_once(title: str) -> None:
    once = normalised(title)
    assert normalised(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert " " not in once
    assert not once.startswith("_")
    assert not once.endswith("_")
