"""A search finds what a naive search of folded texts finds, in the order that is promised."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import featurestore
from cli.main import main
from cli.render_search import search_view
from featurestore import Store, text_blocks
from featurestore import search as module
from featurestore.errors import ConfigError
from featurestore.folding import fold, fold_bytes, fold_with_places
from featurestore.search import SearchResult, search
from tests.snapshots import check_snapshot
from tests.terminal import shown
from tests.tiny_store import TinyStore, write_tiny_store

# folding ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Édel CAFÉ", "edel cafe"), ("e\u0301", "e"), ("Straße", "strasse"), ("ﬁn", "fin"),
        ("Ｐａｒｉｓ", "paris"), ("ΣΊΣΥΦΟΣ", "σισυφοσ"), ("İstanbul", "istanbul"), ("한국", "한국"),
        ("½", "½"), ("Łódź", "łodz"), ("a\nb", "a b"), ("𝐀", "a"), ("Ế", "e"), ("שָׁלוֹם", "שָׁלוֹם"),
    ],
)  # fmt: skip
def test_case_and_accents_do_not_count(text: str, folded: str) -> None:
    assert fold(text) == folded


@given(st.lists(st.text(max_size=8), max_size=8))
def test_bytes_are_folded_as_texts_are(texts: list[str]) -> None:
    encoded = [text.encode("utf-8", "replace") for text in texts]
    data = np.frombuffer(b"".join(encoded), np.uint8)
    offsets = np.cumsum([0, *map(len, encoded)])
    folded, bounds = fold_bytes(data, offsets)
    for place, text in enumerate(encoded):
        got = folded[bounds[place] : bounds[place + 1]].tobytes().decode()
        assert got == fold(text.decode())
    assert bounds[-1] == len(folded)


@given(st.binary(max_size=30))
def test_bytes_that_are_no_text_do_no_harm(data: bytes) -> None:
    folded, bounds = fold_bytes(np.frombuffer(data, np.uint8), np.array([0, len(data)]))
    assert bounds.tolist() == [0, len(folded)]


@given(st.text(max_size=20))
def test_each_folded_character_knows_where_it_comes_from(text: str) -> None:
    folded, places = fold_with_places(text)
    assert folded == fold(text)
    assert len(folded) == len(places)
    assert all(
        character in fold(text[place]) for character, place in zip(folded, places, strict=True)
    )


# the naive search -------------------------------------------------------------------------------


def naive_match(text: str, needle: str) -> int | None:
    """The place in the order of a name: exact, start, word, within."""
    text = fold(text)
    if needle not in text:
        return None
    if text == needle:
        return 0
    if text.startswith(needle):
        return 1
    word = r"[A-Za-z0-9\u0080-\U0010ffff]"
    return 2 if re.search(f"(?<!{word}){re.escape(needle)}(?!{word})", text) else 3


def naive_search(values: dict[str, Any], needle: str) -> list[tuple[int, int, int]]:
    """(place in the order, table, row) of every hit, best first."""
    hits = []
    tables = (("entities", "title", "description"), ("mentions", "mention", "sentence"))
    for number, (table, name, long) in enumerate(tables):
        for row, key in enumerate(values[f"{table}/id"]):
            of_id = naive_match(key, needle)
            places = [
                naive_match(values[f"{table}/{name}"][row], needle),
                None if of_id is None else 0 if of_id == 0 else 3,
                4 if needle in fold(values[f"{table}/{long}"][row]) else None,
            ]
            found = [place for place in places if place is not None]
            if found:
                hits.append((min(found), number, row))
    return sorted(hits)


LETTERS = st.text(alphabet="aAbéÉß .-ñ中\n\u0301ﬁi", max_size=6)


@settings(max_examples=40)
@given(
    titles=st.lists(LETTERS, min_size=8, max_size=8),
    longs=st.lists(LETTERS, min_size=8, max_size=8),
    mentions=st.lists(LETTERS, min_size=10, max_size=10),
    needle=st.text(alphabet="aAbéßñ中fi.", min_size=1, max_size=3),
    block=st.integers(1, 60),
    counted=st.sampled_from([0, 10, 1 << 20]),
    offset=st.integers(0, 6),
)
def test_hits_are_those_of_a_naive_search_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    titles: list[str],
    longs: list[str],
    mentions: list[str],
    needle: str,
    block: int,
    counted: int,
    offset: int,
) -> None:
    change = {
        "entities/title": titles, "entities/description": longs, "mentions/mention": mentions,
        "mentions/sentence": [f"{text} a" for text in mentions],
    }  # fmt: skip
    path = tmp_path_factory.mktemp("search") / "s.h5"
    tiny = write_tiny_store(path, change=change)
    expected = naive_search(tiny.values, fold(needle.strip()))
    with pytest.MonkeyPatch.context() as patch, featurestore.open(path) as store:
        patch.setattr(text_blocks, "BLOCK_BYTES", block)
        patch.setattr(module, "COUNTED_BYTES", counted)
        found = search(store, needle, limit=5, offset=offset)
        every = search(store, needle, limit=18)
    names = ("entities", "mentions")
    wanted = [(names[table], row) for _, table, row in expected]
    assert [(hit.table, hit.row) for hit in found.hits] == wanted[offset : offset + 5]
    assert [(hit.table, hit.row) for hit in every.hits] == wanted
    assert (
        every.total == sum(every.totals.values()) == len(expected) if not every.at_least else True
    )
    assert found.total == len(expected) or (found.at_least and found.total < len(expected))
    words = ("exact", "start", "word", "within", "within")
    for hit, (place, _, _) in zip(every.hits, expected, strict=True):
        assert hit.match == words[place]
        start, end = hit.span
        assert fold(needle.strip()) in fold(hit.text[start:end])
        assert hit.text == tiny.values[f"{hit.table}/{hit.field}"][hit.row]


# paging, tables, memory -------------------------------------------------------------------------


def test_pages_follow_each_other(store: Store) -> None:
    every = search(store, "1", limit=100).hits
    pages = [search(store, "1", limit=3, offset=offset).hits for offset in range(0, 12, 3)]
    assert len(every) > 6
    assert sum(pages, ())[: len(every)] == every
    assert search(store, "1", limit=0).hits == ()
    assert search(store, "1", limit=0).total == len(every)


def test_only_the_tables_asked_for_are_searched(store: Store) -> None:
    found = search(store, "name", tables=["mentions"])
    assert found.totals == {"mentions": 10}
    assert {hit.table for hit in found.hits} == {"mentions"}


def test_further_hits_in_long_texts_are_counted_only_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 1)
    monkeypatch.setattr(module, "COUNTED_BYTES", 50)
    tiny = write_tiny_store(tmp_path / "s.h5", change={"entities/title": ["description"] * 8})
    with featurestore.open(tiny.path) as store:
        full = search(store, "here stands", limit=1)
        assert (full.at_least, len(full.hits)) == (True, 1)
        assert 1 <= full.total < 10
        assert "is in at least" in shown(search_view({"mentions": full}), width=80)
        whole = search(store, "here stands", limit=20)
        assert (whole.at_least, whole.total) == (False, 10)


def test_folded_names_are_kept_within_bounds(
    tiny: TinyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with featurestore.open(tiny.path) as store:
        first = search(store, "title")
        assert search(store, "title") == first
        assert set(module._names[store]) >= {("entities", "title"), ("entities", "id")}
    monkeypatch.setattr(module, "NAME_BYTES", 0)
    with featurestore.open(tiny.path) as store:
        assert search(store, "title") == first
        assert module._names[store] == {}


def test_a_store_without_titles_and_descriptions_is_searched_too(tmp_path: Path) -> None:
    without = {"entities/title", "entities/description", "mentions/mention"}
    tiny = write_tiny_store(tmp_path / "s.h5", without=without)
    with featurestore.open(tiny.path) as store:
        (hit,) = search(store, "q103").hits
        assert (hit.id, hit.title, hit.field, hit.match) == ("Q103", None, "id", "exact")
        assert search(store, "description 3").hits[0].field == "text"


@pytest.mark.parametrize("text", ["", "  \n", "\u0301"])
def test_nothing_to_search_for_is_refused(store: Store, text: str) -> None:
    with pytest.raises(ConfigError, match="nothing to search for"):
        search(store, text)


@pytest.mark.parametrize(
    "asked", [{"limit": -1}, {"offset": -1}, {"tables": []}, {"tables": ["towns"]}]
)
def test_what_cannot_be_given_is_refused(store: Store, asked: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="tables: entities, mentions"):
        search(store, "a", **asked)


# the command ------------------------------------------------------------------------------------


def test_the_command_prints_json(tiny: TinyStore, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["inspect", str(tiny.path), "--search", "TITLE № 3", "--json"]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"entities", "mentions"}
    (hit,) = found["entities"]["hits"]
    assert (hit["id"], hit["match"], hit["span"]) == ("Q103", "start", [0, 9])
    assert found["mentions"]["total"] == 0


def test_the_command_pages(tiny: TinyStore, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["inspect", str(tiny.path), "--search", "name", "--top", "4"]
    assert main(command) == 0
    first = capsys.readouterr().out
    assert "1 … 4 of them, best first; --skip 4 shows further ones" in first
    assert main([*command, "--skip", "8"]) == 0
    last = capsys.readouterr().out
    assert "9 … 10 of them, best first\n" in last
    assert "m8-0" in last
    assert "m8-0" not in first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--search", "a", "--entity", "Q1"], "--entity and --search: give one of them"),
        (["--field", "a", "--mention", "1", "--search", "a"], "--mention, --search and --field"),
        (["--neighbours", "1", "--entity", "1"], "--entity and --neighbours"),
        (["--skip", "1"], "--skip goes with --search"),
    ],
)
def test_views_that_exclude_each_other_are_refused(
    tiny: TinyStore, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["inspect", str(tiny.path), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_text_of_a_store_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    hostile = "\x1b[31m[bold]red\x07"
    change = {"entities/title": [hostile] * 8, "mentions/sentence": [f"Here name, {hostile}"] * 10}
    tiny = write_tiny_store(tmp_path / "s.h5", change=change)
    with featurestore.open(tiny.path) as store:
        found = {"entities": search(store, "red"), "mentions": search(store, "[31m[bold]")}
        text = shown(search_view(found), width=200)
    assert "\x1b" not in text
    assert "\\x1b[31m[bold]red\\x07" in text


@pytest.mark.parametrize("width", [80, 120])
def test_a_search_looks_as_it_did(store: Store, width: int) -> None:
    found: dict[str, SearchResult] = {
        "entities": search(store, "ption 3", tables=["entities"]),
        "mentions": search(store, "name", limit=3, tables=["mentions"]),
    }
    check_snapshot(f"search_{width}", shown(search_view(found), width=width))
