"""What strangers can ask of the browser's server, and hostile stores do to its pages: nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest

from cli.web.urls import row_url
from tests.tiny_store import TinyStore, write_tiny_store
from tests.web_for_tests import Reply, Server, serving


@pytest.fixture(scope="module")
def server(tiny: TinyStore) -> Iterator[Server]:
    with serving(tiny.path) as running:
        yield running


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
