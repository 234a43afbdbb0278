"""A real server at a free port of this machine, and plain requests to it."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import uvicorn

import featurestore
from cli.web.runs import open_runs
from cli.web.serve import HOST, configuration, listening
from cli.web.site import Site


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def page(self) -> Parsed:
        return parsed(self.text)


class Parsed(HTMLParser):
    """``words``: the text a reader sees. ``elements``: (name, attributes) in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.words = ""
        self.elements: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def links(self, start: str) -> list[str]:
        """Addresses that begin so, in the order of the page."""
        found = [attributes.get("href") or "" for name, attributes in self.elements if name == "a"]
        return [address for address in found if address.startswith(start)]


def parsed(text: str) -> Parsed:
    page = Parsed()
    page.feed(text)
    page.close()
    return page


@dataclass(frozen=True)
class Server:
    site: Site
    port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def ask(self, path: str, method: str = "GET", hosts: Sequence[str] | None = None) -> Reply:
        """Ask for a path as it stands: nothing in it is resolved or encoded."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True)
            for host in [f"localhost:{self.port}"] if hosts is None else hosts:
                connection.putheader("Host", host)
            connection.endheaders()
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, headers, answer.read())
        finally:
            connection.close()

    def until(self, path: str, *, gone: str) -> Reply:
        """Ask again until the page no longer says that something is to come."""
        for _ in range(600):
            reply = self.ask(path)
            if gone not in reply.text:
                return reply
            time.sleep(0.1)
        raise AssertionError(f"{path} still says {gone}")


@contextmanager
def serving(store: Path, runs: Sequence[Path] = ()) -> Iterator[Server]:
    """Serve a store in a thread while the block runs."""
    with featurestore.open(store) as opened, listening(0) as listener:
        site = Site(opened, open_runs(opened, runs))
        port = listener.getsockname()[1]
        server = uvicorn.Server(configuration(site, port))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield Server(site, port)
        finally:
            server.should_exit = True
            thread.join(30)
            site.close()
        assert not thread.is_alive()
