"""Lines of a dump: the title is found wherever JSON has it, and nowhere else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.construct.entity_details import Details
from featurestore.construct.entity_lines import EXAMPLES, Found, LineReader, Reading


def read(*lines: bytes, end: bytes = b"\n", **reading: Any) -> Found:
    found = Found()
    LineReader(Reading(**reading)).read(end.join(lines), 0, found)
    return found


def table(found: Found) -> list[str]:
    return [line.decode() for _, _, line, _ in found.rows]


def item(qid: str = "Q31", title: Any = "Belgium", **more: Any) -> dict[str, Any]:
    links = {"enwiki": {"site": "enwiki", "title": title, "badges": []}}
    return {"type": "item", "id": qid, "labels": {}, **more, "sitelinks": links, "lastrevid": 7}


def dumped(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


# where a title stands -------------------------------------------------------------------------------


def test_lines_of_an_array_and_of_json_lines_give_the_same() -> None:
    one, two = dumped(item("Q1", "One")), dumped(item("Q2", "Two"))
    expected = ["Q1\tOne\n", "Q2\tTwo\n"]
    array = [b"[", one + b",", two, b"]"]
    tight = [b"[" + one + b",", two + b"]"]
    odd = [b"\xef\xbb\xbf[", one + b",\r", b"  " + two + b" ", b"]"]
    for lines in ([one, two], array, tight, odd, [one, b"," + two]):
        found = read(*lines)
        assert table(found) == expected
        assert (found.entities, found.broken) == (2, {})


@pytest.mark.parametrize(
    "site", [b'"enwiki"', rb'"\u0065nwiki"', rb'"enwi\u006Bi"', rb'"en\u0077iki"']
)
@pytest.mark.parametrize("key", [b'"sitelinks"', rb'"site\u006cinks"'])
def test_an_escaped_key_is_a_key(site: bytes, key: bytes) -> None:
    line = dumped(item()).replace(b'"enwiki":{', site + b":{").replace(b'"sitelinks"', key)
    assert table(read(line)) == ["Q31\tBelgium\n"]


@pytest.mark.parametrize(
    "more",
    [
        {"claims": {"sitelinks": {"enwiki": {"title": "Wrong"}}}},
        {"labels": {"en": {"value": 'x,"sitelinks":{"enwiki":{"title":"Wrong"}}}'}}},
        {"labels": {"en": {"value": '"enwiki"'}}},
        {"claims": [{"a": 1, "sitelinks": {}}]},
    ],
)
def test_what_looks_like_sitelinks_is_none(more: dict[str, Any]) -> None:
    entity = item(**more)
    assert table(read(dumped(entity))) == ["Q31\tBelgium\n"]
    del entity["sitelinks"]
    found = read(dumped(entity), dumped({**entity, "sitelinks": []}))
    assert table(found) == []
    assert found.skipped == {"without a title": 2}


def test_sitelinks_before_claims_that_hold_their_own() -> None:
    entity = item()
    entity["claims"] = {"x": 1, "sitelinks": {"enwiki": {"title": "Wrong"}}}
    assert table(read(dumped(entity))) == ["Q31\tBelgium\n"]


def test_titles_of_another_language() -> None:
    entity = item()
    entity["sitelinks"]["zh_min_nanwiki"] = {"title": "Pí-lī-sî"}
    assert table(read(dumped(entity), language="zh-min-nan")) == ["Q31\tPí-lī-sî\n"]


def test_what_is_no_item_is_counted_by_kind() -> None:
    lines = [dumped({"type": "property", "id": "P31", "labels": {}, "sitelinks": {}}),
             dumped({"type": "property", "id": "P18", "labels": {}}),
             dumped({"type": "lexeme", "id": "L1", "lemmas": {}}),
             dumped(item("P5")), dumped({"type": "item", "id": "Q5", "sitelinks": {}})]  # fmt: skip
    for check_all in (False, True):
        found = read(*lines, check_all=check_all)
        assert found.skipped == {"properties": 3, "lexemes": 1, "without a title": 1}
        assert (found.rows, found.broken, found.entities) == ([], {}, 5)


# what cannot be used --------------------------------------------------------------------------------

BROKEN = {
    "not a JSON object in one line": [dumped(item())[:-9], b'"enwiki"', b"{", b"null", b"[[1]]"],
    "not JSON": [b'{"id":"Q1","sitelinks":{"enwiki":{"title":NaN}}}', b'{"enwiki":}',
                 rb'{"id":"Q1","sitelinks":{"enwiki":{"title":"\ud800"}}}'],
    "not UTF-8": [b'{"id":"Q1","sitelinks":{"enwiki":{"title":"\xff"}}}'],
    "no id": [b'{"sitelinks":{"enwiki":{"title":"x"}}}', b'{"id":7,"enwiki":1,"\\u0065nwiki":""}',
              b'{"id":"Q01","sitelinks":{"enwiki":{"title":"x"}}}'],
    "a title that a table cannot hold": [dumped(item(title=t)) for t in ("a\tb", "a\nb", "", 7, "\x7f")],
    "a QID beyond those of Wikibase": [dumped(item("Q2147483648"))],
}  # fmt: skip


@pytest.mark.parametrize("reason", BROKEN)
def test_a_broken_line_is_counted_and_shown(reason: str) -> None:
    good = dumped(item())
    found = read(good, *BROKEN[reason], good)
    assert found.broken == {reason: len(BROKEN[reason])}
    assert found.entities == 2 + len(BROKEN[reason])
    assert [row[0] for row in found.rows] == [31, 31]
    assert found.examples[0].reason == reason
    assert len(found.examples) == min(EXAMPLES, len(BROKEN[reason]))
    assert found.examples[0].offset == len(good) + 1


def test_only_check_all_sees_what_is_not_read() -> None:
    line = dumped(item()).replace(b'"labels":{}', b'"labels":{,}')
    assert read(line).broken == {}
    assert read(line, check_all=True).broken == {"not JSON": 1}
    assert read(line, details=True).broken == {"not JSON": 1}


# the property ---------------------------------------------------------------------------------------

TRICKY = st.sampled_from(
    ["enwiki", "sitelinks", "id", "title", '"enwiki"', ',"sitelinks":{', "\\", '\\"', "}", "é", "type",
     '{"type":"item","id":"Q5",', "u0065nwiki", "\\u0065nwiki", "x"]
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(TRICKY, st.integers(0, 9), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(TRICKY, inner, max_size=3)
    ),
    max_leaves=8,
)
LINKS = st.dictionaries(
    st.sampled_from(["enwiki", "dewiki", "sitelinks"]),
    st.fixed_dictionaries({"title": st.sampled_from(["A", "B", 'C,"sitelinks":{}'])}) | VALUES,
)
ENTITIES = st.fixed_dictionaries(
    {},
    optional={
        "type": st.just("item"),
        "id": st.sampled_from(["Q1", "Q77"]),
        "claims": VALUES,
        "sitelinks": LINKS | VALUES,
        "enwiki": VALUES,
        "title": VALUES,
    },
)


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """An entity with its keys in any order, and letters of its strings perhaps escaped."""
    entity = draw(ENTITIES)
    if draw(st.booleans()):
        entity = {key: entity[key] for key in draw(st.permutations(list(entity)))}
    text = json.dumps(entity, ensure_ascii=draw(st.booleans()), separators=draw(
        st.sampled_from([(",", ":"), (", ", ": ")])))  # fmt: skip
    letters = draw(st.sets(st.sampled_from("enwkistl")))
    if draw(st.booleans()):
        text = "".join(
            f"\\u{ord(letter):04x}" if letter in letters and text[max(place - 1, 0)] not in "\\u0"
            else letter for place, letter in enumerate(text)
        )  # fmt: skip
    return text.encode()


@given(lines())
def test_every_title_that_json_has_is_found_and_no_other(line: bytes) -> None:
    try:
        entity = json.loads(line)
    except ValueError:
        return  # an escape was put where none belongs
    links = entity.get("sitelinks")
    link = links.get("enwiki") if isinstance(links, dict) else None
    title = link.get("title") if isinstance(link, dict) else None
    expected = []
    if isinstance(title, str) and title and isinstance(entity.get("id"), str):
        expected = [f"{entity['id']}\t{title}\n"]
    for options in ({}, {"details": True}, {"check_all": True}):
        assert table(read(line, **options)) == expected


# details --------------------------------------------------------------------------------------------


def statement(value: Any, rank: str = "normal") -> dict[str, Any]:
    return {"mainsnak": {"datavalue": {"value": value}}, "rank": rank}


def test_details_are_the_best_statements_in_the_language() -> None:
    entity = item(
        labels={"en": {"value": "Belgium"}, "de": {"value": "Belgien"}},
        descriptions={"de": {"value": "Land"}},
        aliases={"en": [{"value": "Kingdom of Belgium"}, {"value": "BE"}, 7]},
        claims={
            "P18": [statement("old.jpg", "deprecated"), statement("a.jpg"), statement("b.jpg")],
            "P31": [statement({"id": "Q6256"}), statement({"id": "Q3624078"}, "preferred"), 3,
                    {"mainsnak": {"snaktype": "novalue"}, "rank": "preferred"}],
        },
    )  # fmt: skip
    found = read(dumped(entity), details=True)
    assert json.loads(found.rows[0][3]) == {
        "qid": "Q31", "title": "Belgium", "label": "Belgium", "description": "",
        "aliases": ["Kingdom of Belgium", "BE"], "image": "a.jpg", "instance_of": ["Q3624078"],
    }  # fmt: skip


@given(st.dictionaries(st.sampled_from(["labels", "aliases", "claims", "descriptions"]), VALUES))
def test_details_of_any_form_are_no_reason_to_fail(entity: dict[str, Any]) -> None:
    told = Details.of(entity, "Q1", "One", "enwiki")
    assert json.loads(told.as_json_line())["title"] == "One"
