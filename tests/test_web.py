"""The browser's server: every page, what it lists, and what strangers and hostile stores can do to it."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode

import numpy as np
import pytest

import featurestore
from cli.web import app
from cli.web.guard import HEADERS
from cli.web.static_files import TYPES
from cli.web.urls import row_url
from featurestore.errors import StoreError
from featurestore.schema import IMAGE_STATUS
from featurestore.thumbnails import thumbnail
from tests.tiny_store import SIZES, TinyStore, write_tiny_store
from tests.web_for_tests import Reply, Server, serving

if TYPE_CHECKING:
    from tests.runs_for_tests import QuickRun

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


def test_head_is_answered_without_a_body_and_other_methods_are_refused(server: Server) -> None:
    assert server.ask("/mentions", method="HEAD").status == 200
    assert server.ask("/mentions", method="HEAD").body == b""
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        reply = server.ask("/mentions", method=method)
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")


def test_only_names_of_this_machine_with_the_right_port_are_answered(server: Server) -> None:
    port = server.port
    for name in ("localhost", "LOCALHOST", "127.0.0.1", "[::1]"):
        assert server.ask("/", hosts=[f"{name}:{port}"]).status == 200
    strangers: list[list[str]] = [
        [f"evil.example:{port}"], ["localhost"], [f"localhost:{port + 1}"], [f"localhost.evil:{port}"],
        [f"evil.example@localhost:{port}"], [f"127.0.0.1.nip.io:{port}"], [""],
        [f"localhost:{port}", "evil.example"],
    ]  # fmt: skip
    for hosts in strangers:
        reply = server.ask("/mentions", hosts=hosts)
        assert reply.status == 400
        assert b"sentence" not in reply.body
        assert b"Here stands" not in reply.body


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/..%2f..%2fetc%2fpasswd",
        "/static/..%2f..%2f..%2fsetup.cfg", "/static/style.css/../../app.py", "/static//etc/passwd",
        "//etc/passwd",
        "/static/..%5capp.py", "/static/style.css%00", "/static/", "/image/mentions/..%2f0.jpg",
        "/image/mentions/-1.jpg", "/image/mentions/999999.jpg", "/image/../0.jpg", "/image/secrets/0.jpg",
        "/image/mentions/0.png", "/image/mentions/99999999999999999999999.jpg",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_what_is_served(server: Server, path: str) -> None:
    reply = server.ask(path)
    assert reply.status == 404
    assert "There is no such page" in reply.page.words
    assert "root:" not in reply.text


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
    assert all(0 <= x <= 1000 and 0 <= y <= 640 for x, y, *_ in points)
    assert server.ask("/map").text.count("h0") == len(points)


# hostile stores ---------------------------------------------------------------------------------

SCRIPT = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'&lt;"
HOSTILE = [
    SCRIPT,
    "abc\u202egpj.exe\u2066",
    "x" * 10_000,
    "\x00\x1b[31m\r\nSet-Cookie: a=b",
    "&amp;<!--",
    "日本\ud7ffé\u200d",
]
IDS = [
    "..", ".", "a/b/../c", "/", "//evil.example", "?q=1#f", "%2F%2e", "é \u202e", SCRIPT, "\\..\\x", "5",
    "y" * 5000, "日" * 900, "a\nb",
]  # fmt: skip


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    def texts(count: int) -> list[str]:
        return [HOSTILE[i % len(HOSTILE)] for i in range(count)]

    change: dict[str, Any] = {
        f"{table}/{name}": texts(20)
        for table, names in {
            "entities": ("title", "description", "text", "image_path"),
            "mentions": ("sentence", "mention", "topic", "entity_type", "image_path"),
        }.items()
        for name in names
    }
    change["mentions/char_start"] = np.tile([-5, 0, 9_990, 2**31 - 1], 5).astype(np.int32)
    change["mentions/char_end"] = np.tile([3, -1, 10_001, 2**31 - 1], 5).astype(np.int32)
    change["mentions/object_boxes"] = np.full((20, 3, 4), np.nan, np.float32)
    change["mentions/sim_image_text"] = np.full((20, 5), np.inf, np.float32)
    for table in ("entities", "mentions"):
        change[f"{table}/id"] = IDS + [f"{table}{i}" for i in range(20 - len(IDS))]
    path = tmp_path_factory.mktemp("hostile") / "s.h5"
    write_tiny_store(path, entities=20, mentions=(10, 5, 5), change=change)
    with serving(path) as running:
        yield running


def assert_harmless(reply: Reply) -> None:
    """Only our own scripts and pictures, no address that leaves, nothing that turns the page."""
    for name, attributes in reply.page.elements:
        for key in ("href", "src", "action", "formaction"):
            if key in attributes:
                assert (
                    re.match(r"[/#?](?![/\\])|$", str(attributes[key]))[0] or attributes[key] == "/"
                )
        assert not [key for key in attributes if key.startswith("on")]
        if name == "script":
            assert str(attributes["src"]).startswith("/static/")
    for character in "\u202e\u2066\x00\x1b":
        assert character not in reply.text.replace("%E2%80%AE", "")


@pytest.mark.parametrize("table", ["entities", "mentions"])
@pytest.mark.parametrize("place", range(len(IDS)))
def test_every_id_has_an_address_and_is_shown_as_text(
    hostile: Server, table: str, place: int
) -> None:
    address = row_url(table, place, IDS[place])
    resolved = re.sub(r"/(\.|%2e){1,2}(?=/|$|\?)", "/", address, flags=re.I)
    assert resolved == address  # browsers leave it as it is
    assert len(address) < 2100
    reply = hostile.ask(address)
    assert reply.status == 200
    assert f"row {place}" in reply.page.words
    assert_harmless(reply)
    if IDS[place] == SCRIPT:
        assert SCRIPT in reply.page.words


@pytest.mark.parametrize(
    "path", ["/", "/mentions", "/entities", "/map", "/mentions?topic=%26amp%3B%3C!--"]
)
def test_hostile_texts_are_shown_and_not_obeyed(hostile: Server, path: str) -> None:
    reply = hostile.ask(path)
    assert reply.status == 200
    assert_harmless(reply)
    if path == "/entities":
        assert SCRIPT in reply.page.words
        assert "abc\\u202egpj.exe\\u2066" in reply.page.words
        assert "x" * 10_000 not in reply.text
    assert "set-cookie" not in reply.headers


def test_a_long_text_is_cut_in_lists_and_whole_on_its_page(hostile: Server) -> None:
    assert "x" * 10_000 in hostile.ask("/entity?row=2").page.words
    assert len(hostile.ask("/entities").body) < 60_000


def test_what_is_asked_for_comes_back_as_text(hostile: Server) -> None:
    for path in ("/mentions?q=", "/entities?q=", "/mention/", "/entity/", "/compare?a="):
        given = SCRIPT + "\u202e"
        reply = hostile.ask(path + urlencode({"": given})[1:])
        assert reply.status in (200, 400, 404)
        assert "<script>alert" not in reply.text
        assert_no_scripts_but_ours(reply)


def assert_no_scripts_but_ours(reply: Reply) -> None:
    scripts = [attributes for name, attributes in reply.page.elements if name == "script"]
    assert all(str(script["src"]).startswith("/static/") for script in scripts)
    assert not [name for name, attributes in reply.page.elements if "onerror" in attributes]


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


# runs -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judged(quick: QuickRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A store with a run of drin, and a copy of the run with other ranks."""
    other = tmp_path_factory.mktemp("runs") / "other"
    shutil.copytree(quick.folder, other)
    file = other / "ranks" / "test.csv"
    head, *lines = file.read_text().splitlines()
    changed = [
        re.sub(r",1,1,1,1$", ",1,3,3,3", line) if i % 3 else line for i, line in enumerate(lines)
    ]
    file.write_text("\n".join([head, *changed]) + "\n")
    with serving(quick.store, [quick.folder, other]) as running:
        yield running


def ranks_of(server: Server, name: str) -> dict[str, float]:
    run = next(run for run in server.site.runs if run.name == name)
    lines = (run.recorded.path / "ranks" / "test.csv").read_text().splitlines()[1:]
    return {line.split(",")[0]: float(line.split(",")[3] or "inf") for line in lines}


def ids_on(reply: Reply) -> list[str]:
    found = re.findall(r'class="main" href="/mention/([^"?]*)', reply.text)
    return [unquote(key) for key in found]


def test_what_a_run_got_wrong_is_listed(judged: Server) -> None:
    wrong = [key for key, rank in ranks_of(judged, "drin").items() if rank > 1]
    assert 0 < len(wrong) < 40
    assert ids_on(judged.ask("/mentions?wrong=drin&split=test")) == wrong


def test_two_runs_are_compared_as_a_plain_loop_does(judged: Server) -> None:
    first, second = ranks_of(judged, "drin"), ranks_of(judged, "other")
    kinds = {
        "": [key for key in first if (first[key] == 1) != (second[key] == 1)],
        "a": [key for key in first if first[key] == 1 < second[key]],
        "b": [key for key in first if second[key] == 1 < first[key]],
        "both": [key for key in first if first[key] == 1 == second[key]],
        "neither": [key for key in first if first[key] > 1 < second[key]],
    }
    assert len(kinds["a"]) > 5
    for show, keys in kinds.items():
        reply = judged.ask(f"/compare?a=drin&b=other&split=test&show={show}")
        assert ids_on(reply) == keys
    for kind in ("both", "a", "b", "neither"):
        assert re.search(rf'show={kind}#list"[^>]*>{len(kinds[kind])}<', reply.text)
    assert judged.ask("/compare?a=drin&b=nobody").status == 400
    assert judged.ask("/compare?show=some").status == 400


def test_candidates_have_scores_and_edges_and_can_be_ordered_by_a_run(judged: Server) -> None:
    from linker.explain import edge_weights
    from linker.verdicts import judge_mention

    store, run = judged.site.store, judged.site.runs[0]
    row = store.mentions.split("test").start
    key = store.mentions.ids([row])[0]
    reply = judged.until(f"/mention/{key}?by=drin", gone="data-pending")
    verdict = judge_mention(store, run.recorded.path, row)
    table = reply.text.split('class="candidates"')[1].split("</table>")[0]
    lists = store.mentions[row]["candidates"]
    expected = store.entities.ids(lists[verdict.order])
    assert re.findall(r'href="/entity/(Q\d+)"', table)[: len(expected)] == expected
    best = float(verdict.scores[verdict.order[0]])
    assert f'<b>1</b> <span class="bar-number">{best:.3f}</span>' in table
    weights = edge_weights(run.recorded.path, store, row)
    first = weights.weights[0, verdict.order[0]]
    cell = table.split('td class="layers"')[1].split("</td>")[0]
    shown = re.findall(
        r'<abbr title="[^"]*">(\w+)</abbr><span class="layer"><span class="bar-number">([^<]*)',
        cell,
    )
    assert shown == [
        (name, f"{value:.2f}") for name, value in zip(weights.edges, first, strict=True)
    ]


def test_the_map_marks_what_a_run_got_wrong(judged: Server) -> None:
    points = json.loads(judged.ask("/map.json?run=drin").body)["points"]
    wrong = {unquote(point[4]) for point in points if point[2] == "wrong"}
    run = judged.site.runs[0]
    rows = np.flatnonzero(run.wrong)
    assert wrong == {f"/mention/{key}" for key in judged.site.store.mentions.ids(rows)}
    assert judged.ask("/map?run=nobody").status == 400


def test_a_run_of_another_store_is_refused(quick: QuickRun, listed: TinyStore) -> None:
    from cli.web.runs import open_runs
    from featurestore.errors import ConfigError
    from linker.run_folder import RunError

    with featurestore.open(listed.path) as store, pytest.raises(RunError, match="not the store"):
        open_runs(store, [quick.folder])
    with featurestore.open(quick.store) as store, pytest.raises(ConfigError, match="twice"):
        open_runs(store, [quick.folder, quick.folder / ".." / quick.folder.name])
