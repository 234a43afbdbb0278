"""The browser's server: every page, what it lists, and what strangers and hostile stores can do to it."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import numpy as np
import pytest

from cli.web import app
from cli.web.guard import HEADERS
from cli.web.static_files import TYPES
from featurestore.errors import StoreError
from featurestore.schema import IMAGE_STATUS
from featurestore.thumbnails import thumbnail
from tests.tiny_store import SIZES, TinyStore, write_tiny_store
from tests.web_for_tests import Server, serving

if TYPE_CHECKING:
    pass

#: Rows of the store that is paged through: three pages, the last one not full.
MENTIONS = (80, 20, 27)


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> TinyStore:
    """A store of some pages of mentions, with topics."""
    rng = np.random.default_rng(1)
    topics = rng.choice(["sports", "a & b", ""], sum(MENTIONS)).tolist()
    path = tmp_path_factory.mktemp("listed") / "s.h5"
    return write_tiny_store(path, entities=60, mentions=MENTIONS, change={"mentions/topic": topics})


@pytest.fixture(scope="module")
def server(listed: TinyStore) -> Iterator[Server]:
    with serving(listed.path) as running:
        yield running


PAGES = ("/", "/mentions", "/mention/m3-0", "/entities", "/entity/Q103", "/map", "/mention?row=3")


@pytest.mark.parametrize("path", [*PAGES, "/map.json", "/static/style.css", "/compare", "/none"])
def test_every_answer_is_guarded_and_none_holds_inline_code(server: Server, path: str) -> None:
    reply = server.ask(path)
    assert reply.status == {"/compare": 400, "/none": 404}.get(path, 200)
    assert {name: reply.headers[name] for name in HEADERS} == HEADERS
    assert "server" not in reply.headers
    policy = reply.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for name, attributes in reply.page.elements:
        assert name not in ("style", "iframe", "object", "base")
        assert not [key for key in attributes if key == "style" or key.startswith("on")]
        if name == "script":
            assert str(attributes["src"]).startswith("/static/")


def test_static_files_are_a_fixed_list_that_is_shipped(server: Server) -> None:
    folder = Path(app.__file__).parent / "static"
    assert {path.name for path in folder.iterdir()} == set(TYPES)
    shipped = (folder.parents[2] / "setup.cfg").read_text()
    for name, kind in TYPES.items():
        assert f"static/*{Path(name).suffix}" in shipped
        reply = server.ask(f"/static/{name}")
        assert reply.body == (folder / name).read_bytes()
        assert reply.headers["content-type"] == kind


# lists ------------------------------------------------------------------------------------------


def rows_of(server: Server, path: str, query: dict[str, str]) -> list[int]:
    """The rows that a list names on all its pages."""
    found: list[int] = []
    for page in itertools.count(1):
        reply = server.ask(f"{path}?{urlencode(query | {'page': str(page)})}")
        assert reply.status == 200
        results = reply.text.split('id="results"')[1]
        lines = re.findall(
            r'<a[^>]*class="main" href="/mention/m(\d+)-0|<p class="main"><a href="/entity/Q(\d+)"',
            results,
        )
        here = [int(mention or int(entity) - 100) for mention, entity in lines]
        assert len(here) == results.count("<li><")
        found += here
        if 'rel="next"' not in results:
            return found
    raise AssertionError


def naive_rows(listed: TinyStore, query: dict[str, str]) -> list[int]:
    values, kept = listed.values, []
    for row in range(sum(MENTIONS)):
        status = IMAGE_STATUS[values["mentions/image_status"][row]]
        retrieved = values["mentions/answer"][row] < SIZES["K"]
        allowed = [
            query.get("split", "") in ("", next(n for n, r in listed.splits.items() if row in r)),
            query.get("picture", "") in ("", {"ok": "yes", "unknown": "?"}.get(status, "no")),
            query.get("gold", "") in ("", "yes" if retrieved else "no"),
            query.get("topic", "") in ("", values["mentions/topic"][row]),
        ]
        kept += [row] if all(allowed) else []
    return kept


def test_filters_give_what_a_plain_loop_gives(server: Server, listed: TinyStore) -> None:
    choices = {
        "split": ["", "train", "test"],
        "picture": ["", "yes", "no"],
        "gold": ["", "yes", "no"],
        "topic": ["", "a & b"],
    }
    sizes = set()
    for values in itertools.product(*choices.values()):
        query = dict(zip(choices, values, strict=True))
        rows = rows_of(server, "/mentions", query)
        assert rows == naive_rows(listed, query)
        sizes.add(len(rows))
    assert len(sizes) > 10


def test_pages_hold_every_entity_once(server: Server, listed: TinyStore) -> None:
    assert rows_of(server, "/entities", {}) == list(range(60))
    codes = listed.values["entities/image_status"]
    assert rows_of(server, "/entities", {"picture": "yes"}) == np.flatnonzero(codes == 0).tolist()


def test_a_page_behind_the_last_is_the_last(server: Server) -> None:
    assert server.ask("/mentions?page=99").page.links("/mention/") == (
        server.ask("/mentions?page=3").page.links("/mention/")
    )


@pytest.mark.parametrize(
    "query",
    ["page=x", "page=-1", "page=1e3", "page=99999999999", "picture=maybe", "gold=1", "split=secret",
     "topic=unheard", "wrong=none", "q=%CC%81"],
)  # fmt: skip
def test_a_wrong_parameter_is_said_and_not_a_traceback(server: Server, query: str) -> None:
    reply = server.ask(f"/mentions?{query}")
    assert reply.status == 400
    assert "This cannot be shown" in reply.page.words
    assert "Traceback" not in reply.text


def test_a_search_is_combined_with_filters_and_finds_nothing_gently(server: Server) -> None:
    every = rows_of(server, "/mentions", {"q": "name1"})
    assert every[0] == 1  # the whole name comes first
    assert set(every) == {row for row in range(sum(MENTIONS)) if str(row).startswith("1")}
    only = rows_of(server, "/mentions", {"q": "name1", "split": "valid"})
    assert only == []
    assert rows_of(server, "/mentions", {"q": "name1", "split": "test"}) == (
        [row for row in every if row >= 100]
    )
    assert "No mention is like this." in server.ask("/mentions?q=zzz").page.words
    assert server.ask("/entities?q=Title+%E2%84%96+7").page.links("/entity/") == ["/entity/Q107"]


def test_a_mention_of_a_list_leads_to_those_beside_it(server: Server) -> None:
    query = "split=test&gold=no"
    rows = rows_of(server, "/mentions", {"split": "test", "gold": "no"})
    page = server.ask(f"/mention/m{rows[1]}-0?{query}").page
    ways = {a["rel"]: a["href"] for name, a in page.elements if name == "a" and a.get("rel")}
    assert ways == {
        "up": f"/mentions?{query}",
        "prev": f"/mention/m{rows[0]}-0?{query}",
        "next": f"/mention/m{rows[2]}-0?{query}",
    }
    alone = server.ask(f"/mention/m0-0?{query}").page  # no mention of that list
    assert [a["href"] for _, a in alone.elements if a.get("rel") == "next"] == ["/mention/m1-0"]


# rows -------------------------------------------------------------------------------------------


def test_a_mention_shows_its_candidates_in_order_and_the_gold(server: Server) -> None:
    store = server.site.store
    for row in range(6):
        mention = store.mentions[row]
        page = server.ask(f"/mention/m{row}-0").page
        table = (
            server.ask(f"/mention/m{row}-0")
            .text.split('class="candidates"')[1]
            .split("</table>")[0]
        )
        ids = re.findall(r'href="/entity/(Q\d+)"', table)
        expected = store.entities.ids(mention["candidates"])
        if mention["answer"] == SIZES["K"]:
            expected = [*expected, store.entities.ids([mention["gold"]])[0]]
        assert ids == expected
        assert table.count("★ gold") == 1
        gold_line = table.split('class="gold"')[1].split("</tr>")[0]
        assert f'href="/entity/{store.entities.ids([mention["gold"]])[0]}"' in gold_line
        assert mention["sentence"] in page.words


def test_an_entity_counts_its_mentions(server: Server, listed: TinyStore) -> None:
    golds, lists = listed.values["mentions/gold"], listed.values["mentions/candidates"]
    row = int(np.bincount(golds).argmax())
    words = server.ask(f"/entity/Q{100 + row}").page.words
    others = int(((lists == row).any(axis=1) & (golds != row)).sum())
    assert f"Mentions of it{(golds == row).sum()}" in words
    assert f"Candidate of other mentions{others}" in words


def test_nearest_entities_are_found_beside_the_page(server: Server) -> None:
    from featurestore.neighbours import neighbours

    reply = server.until("/entity/Q103", gone="data-pending")
    section = reply.text.split('id="neighbours"')[1].split("</section>")[0]
    near = neighbours(server.site.store, "entities", 3)
    assert re.findall(r'href="/entity/(Q\d+)"', section) == [other.id for other in near]


@pytest.mark.parametrize(
    ("path", "near"), [("/mention/m3-1", "/mention/m3-0"), ("/entity/Q1003", "/entity/Q103")]
)
def test_an_unknown_id_names_the_nearest_ones(server: Server, path: str, near: str) -> None:
    reply = server.ask(path)
    assert reply.status == 404
    assert near in reply.page.links("/")


@pytest.mark.parametrize(
    "path", ["/mention?row=9999", "/mention?row=x", "/mention", "/entity?row=-1"]
)
def test_a_row_that_is_none_is_not_found(server: Server, path: str) -> None:
    assert server.ask(path).status == 404


def test_the_map_places_each_row_once(server: Server) -> None:
    points = json.loads(server.ask("/map.json").body)["points"]
    assert len(points) == sum(MENTIONS) + 60
    assert len({point[4] for point in points}) == len(points)
    assert all(0 <= x <= 1000 and 0 <= y <= 520 for x, y, *_ in points)
    assert server.ask("/map").text.count("h0") == len(points)


# pictures ---------------------------------------------------------------------------------------


def test_thumbnails_are_those_of_the_store_and_their_lack_is_said(server: Server) -> None:
    seen = 0
    for name in ("mentions", "entities"):
        table = server.site.store.table(name)
        for row in range(20):
            data = thumbnail(table, row)
            reply = server.ask(f"/image/{name}/{row}.jpg")
            assert reply.status == (404 if data is None else 200)
            if data is not None:
                assert reply.body == data
                assert reply.headers["content-type"] == "image/jpeg"
                assert "immutable" in reply.headers["cache-control"]
                seen += 1
    assert seen > 3


def test_a_store_without_thumbnails_says_so(tmp_path: Path) -> None:
    lacking = {
        f"{t}/{n}" for t in ("mentions", "entities") for n in ("thumbnail", "thumbnail_size")
    }
    tiny = write_tiny_store(tmp_path / "s.h5", without=lacking)
    with serving(tiny.path) as running:
        reply = running.ask("/mentions")
        assert "not stored" in reply.page.words
        assert "<img" not in reply.text
        assert running.ask("/image/mentions/0.jpg").status == 404


def test_pages_of_the_smallest_store(tmp_path: Path) -> None:
    needed = {"id", "sentence", "candidates", "gold", "answer"}
    from featurestore.schema import FIELDS

    without = {field.path for field in FIELDS if field.name not in needed}
    tiny = write_tiny_store(tmp_path / "s.h5", without=without)
    with serving(tiny.path) as running:
        for path in ("/", "/mentions", "/mention/m1-0", "/entities", "/entity/Q101"):
            assert running.ask(path).status == 200
        reply = running.ask("/map")
        assert reply.status == 400
        assert "--clip" in reply.page.words


def test_a_store_without_rows(tmp_path: Path) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5", entities=1, mentions=(0, 0, 0))
    with serving(tiny.path) as running:
        for path in ("/", "/mentions", "/entities", "/entity/Q100", "/map"):
            assert running.ask(path).status == 200


# what went wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [StoreError("torn", where="s.h5::/x", hint="copy it"), ZeroDivisionError("secret")]
)
def test_a_failure_is_a_page_without_a_traceback(
    server: Server, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(server.site, "summary", fail)
    reply = server.ask("/")
    assert reply.status == 500
    assert "Something is wrong" in reply.page.words
    assert ("copy it" in reply.text) == isinstance(error, StoreError)
    assert "secret" not in reply.text
    assert "Traceback" not in reply.text
    assert {name: reply.headers[name] for name in HEADERS} == HEADERS
