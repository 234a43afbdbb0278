"""Nobody waits without end in a crawl, nor without a word: what ends a wait, and what is told of it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from featurestore.construct import picture_fetch, wiki_manners
from featurestore.construct.crawl import crawl
from featurestore.construct.picture_fetch import Fetcher, Wanted
from featurestore.construct.wiki_api import WikiApi, open_client
from featurestore.construct.wiki_errors import WikiError
from featurestore.construct.wiki_line import Line
from featurestore.construct.wiki_manners import Host, Patience
from tests.runs_for_tests import Recording
from tests.wiki_faults import ENTITIES, HURRIED, Case, options, world


def crawled(case: Case, folder: Path, progress: Recording, **changes: Any) -> None:
    """A crawl of a small wiki that a fault befalls."""
    entities = folder / "list.tsv"
    entities.write_text("".join(f"Q{n + 1}\tThing {n}\n" for n in range(ENTITIES)))
    with world(case) as wiki:
        asked = replace(options(wiki), **changes)
        crawl(entities, folder / "out", options=asked, patience=HURRIED, progress=progress)


def unknown_names(monkeypatch: pytest.MonkeyPatch, *, known: Callable[[str], bool]) -> list[str]:
    """Let names that are not known have no address; the names that were looked up."""
    looked_up: list[str] = []
    find = socket.getaddrinfo

    def found(host: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        looked_up.append(name)
        if known(name):
            return find(host, *arguments, **options)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", found)
    return looked_up


def test_a_misspelt_name_of_a_server_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = unknown_names(monkeypatch, known=lambda name: name == "127.0.0.1")
    with pytest.raises(WikiError) as caught:
        crawled(
            Case("none"), tmp_path, Recording(),
            api="https://en.wikipedai.org/w/api.php", contact="tests@drin-fs.dev",
        )  # fmt: skip
    assert caught.value.what == "no server has the name 'en.wikipedai.org'"
    assert "check --language, --api and --wikidata-api" in caught.value.hint
    assert names.count("en.wikipedai.org") == 1


def test_a_name_that_was_found_before_is_looked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with world(Case("none")) as wiki, open_client("tests", insecure=True, patience=HURRIED) as one:
        told: list[str] = []
        host = Host(bytes_a_second=1e9, tell=told.append)
        api = WikiApi(wiki.api, line=Line(one), host=host, patience=HURRIED)
        asked = {"action": "query", "prop": "images", "titles": "Thing 1", "imlimit": "max"}
        answer = api.call(asked)
        wiki.api_faults.append("cut")  # so that it must connect again
        lookups = iter(range(9))
        names = unknown_names(monkeypatch, known=lambda name: next(lookups) >= 2)
        assert api.call(asked) == answer
    assert len(names) == 3
    assert told == ["does not answer (no such server): attempt 2 of 4"]


def test_what_does_not_answer_is_told_from_the_second_attempt_on(tmp_path: Path) -> None:
    progress = Recording()
    crawled(Case("500", api=("500",) * 3), tmp_path, progress)
    told = [line for line in progress.lines if "does not answer" in line]
    assert told == ["the api server does not answer (http 500): attempt 2 of 4"]
    progress = Recording()
    once = tmp_path / "once"
    once.mkdir()
    crawled(Case("500", api=("500",)), once, progress)
    assert not any("does not answer" in line for line in progress.lines)


def test_it_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(wiki_manners.time, "monotonic", lambda: now)
    lines: list[str] = []
    host = Host(bytes_a_second=1e6, tell=lines.append)
    for attempt in range(1, 9):
        host.failed("timeout", attempt, Patience())
        now += 16
    assert lines == [
        f"does not answer (timeout): attempt {attempt} of 8" for attempt in (2, 4, 6, 8)
    ]


@pytest.mark.parametrize("part", ["open_with_format", "part_of"])
def test_an_error_in_one_thread_ends_the_crawl_and_leaves_none_waiting(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A misspelt name in the code, say."""

    def broken(*_: object) -> None:
        raise NameError("name 'opne' is not defined")

    monkeypatch.setattr(picture_fetch, part, broken)
    with pytest.raises(NameError, match="opne"):
        crawled(Case("none"), tmp_path, Recording())


def test_a_fetcher_that_is_closed_ends_what_is_on_its_way_and_begins_nothing(
    tmp_path: Path,
) -> None:
    endless = replace(HURRIED, answer=600.0, picture=600.0)
    case = Case("hang", fault="drip 0.05 40")
    with world(case) as wiki, open_client("tests", insecure=True, patience=endless) as client:
        host = Host(bytes_a_second=1e9)
        fetcher = Fetcher([Line(client)], host=host, patience=endless, most_bytes=1 << 20)
        for number in range(ENTITIES):
            address = wiki.base + wiki.thumb(f"Lead {number}.jpg", 330)
            fetcher.add(Wanted(number, address, tmp_path / f"{number}"))
        while not wiki.requests:
            time.sleep(0.001)
        fetcher.close()
        assert not any(thread.is_alive() for thread in fetcher._threads)
        assert set(wiki.requests) == {wiki.thumb("Lead 0.jpg", 330)}
