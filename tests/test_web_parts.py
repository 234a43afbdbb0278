"""Elements that escape by construction, and answers that are waited for only a moment."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.console import clean
from cli.web.html import h, join
from cli.web.later import Later
from cli.web.parts import around, beginning
from cli.web.static_files import static_bytes
from cli.web.urls import row_url
from tests.web_for_tests import parsed

Value = TypeVar("Value")


@given(st.text(), st.text(), st.text())
def test_a_text_never_becomes_an_element(first: str, second: str, attribute: str) -> None:
    element = h("p.note", {"title": attribute}, first, [h("b", second)], None, 7)
    page = parsed(element.text)
    assert [name for name, _ in page.elements] == ["p", "b"]
    assert set(page.elements[0][1]) == {"class", "title"}
    assert page.words == clean(first) + clean(second) + "7"


@given(st.text())
def test_an_attribute_is_given_back_as_it_was(value: str) -> None:
    ((_, attributes),) = parsed(
        h("input", {"value": value, "checked": True, "hidden": None}).text
    ).elements
    assert attributes == {"value": value, "checked": None}


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "data:,x",
        "",
        "mention/1",
    ],
)
def test_an_address_that_leaves_is_refused(address: str) -> None:
    for name in ("href", "src", "action", "formaction"):
        with pytest.raises(ValueError, match="no address of this site"):
            h("a", {name: address})


@given(st.text(), st.sampled_from(["mentions", "entities"]))
def test_every_row_has_an_address_of_this_site(key: str, table: str) -> None:
    try:
        key.encode()
    except UnicodeEncodeError:
        return
    address = row_url(table, 3, key, "split=test")
    assert h("a", {"href": address}).text
    assert address.isascii()
    assert address.endswith("split=test")


@given(st.text(max_size=600), st.integers(0, 600), st.integers(0, 600))
def test_a_cut_sentence_marks_what_the_whole_one_marks(text: str, start: int, length: int) -> None:
    end = start + length
    page = parsed(around(text, (start, end)).text)
    assert [name for name, _ in page.elements] == ["bdi", "mark"]
    whole = parsed(join(around(text, (start, end), length=10_000)).text)
    assert clean(text[start:end][:200]) in whole.words
    assert len(page.words) <= 12 * 230


def test_a_beginning_ends_with_a_mark_where_it_was_cut() -> None:
    assert beginning("abc", 3) == "abc"
    assert beginning("abcd ef", 6) == "abcd…"


def awaited(later: Later[Value], key: Hashable, compute: Callable[[], Value]) -> Value:
    while (found := later.get(key, compute)) is None:
        pass
    return found


def test_an_answer_that_takes_long_is_asked_for_again() -> None:
    go, calls = threading.Event(), []

    def slow() -> str:
        calls.append(1)
        go.wait(30)
        return "there"

    with ThreadPoolExecutor(1) as worker:
        later: Later[str] = Later(worker)
        assert later.get("a", slow) is None
        assert later.get("a", slow) is None
        go.set()
        assert awaited(later, "a", slow) == "there"
    assert len(calls) == 1


def test_an_error_is_raised_and_the_answer_computed_anew() -> None:
    answers = iter([ValueError("no"), "yes"])

    def compute() -> str:
        answer = next(answers)
        if isinstance(answer, ValueError):
            raise answer
        return answer

    with ThreadPoolExecutor(1) as worker:
        later: Later[str] = Later(worker)
        with pytest.raises(ValueError, match="no"):
            awaited(later, 1, compute)
        found = awaited(later, 1, compute)
    assert found == "yes"


def test_only_the_last_answers_are_kept() -> None:
    with ThreadPoolExecutor(1) as worker:
        later: Later[int] = Later(worker)
        calls: list[int] = []

        def answer(key: int) -> int:
            calls.append(key)
            return key

        for key in [0, *range(100), 99, 0]:
            assert awaited(later, key, partial(answer, key)) == key
    assert calls == [*range(100), 0]


# colours ----------------------------------------------------------------------------------------

STYLE = static_bytes("style.css").decode()

#: What is read → on what it stands.
TEXTS = [
    ("ink", "ground"), ("ink", "card"), ("ink", "tint"), ("soft", "ground"), ("soft", "card"),
    ("soft", "faint"), ("accent", "ground"), ("accent", "card"), ("accent", "tint"),
    ("wrong", "wrong-tint"), ("ground", "accent"),
]  # fmt: skip

#: What is looked at → on what it stands.
DRAWINGS = [("dot-entity", "card"), ("accent", "card"), ("wrong", "card"),
            *((f"s{place}", "ground") for place in range(5))]  # fmt: skip


def contrast(first: str, second: str) -> float:
    """The contrast of two colours ``#rrggbb`` as WCAG 2 defines it: from 1 to 21."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_and_drawings_stand_out(scheme: str) -> None:
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.S)[:2]
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", light if scheme == "light" else dark))
    low = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in TEXTS}
    assert {pair: value for pair, value in low.items() if value < 4.5} == {}
    low = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in DRAWINGS}
    assert {pair: value for pair, value in low.items() if value < 3} == {}
