"""A web server on this machine that sends ranges of files, counts them, and fails as it is told."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from benchmarks.loopback import QuietHandler, served


class RangeServer:
    """Serves the bytes of ``content`` under any path, and those of ``shards`` under theirs.

    ``shards``: path relative to the folder of ``url`` → content; others of a ``….shards`` are absent.
    ``paths``: what was asked for, decoded. ``faulty``: what faults and spoiled bytes are for: paths that
    end so.
    ``faults``: what the next requests meet, one each: ``500``, ``429``, ``cut`` (half the answer, then
    nothing) or ``wrong`` (a byte changed). ``served``: (start, stop) of every range that was sent whole.
    ``delay``: seconds before every answer. ``ranges``: whether it knows them. ``tag``: its ETag, empty =
    none. ``swap``: after so many requests, (content, tag) to serve instead.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.tag = '"one"'
        self.ranges = True
        self.delay = 0.0
        self.shards: dict[str, bytes] = {}
        self.paths: list[str] = []
        self.faulty = ""
        self.faults: deque[str] = deque()
        self.spoiled: dict[int, int] = {}  # byte of the file → times it is still sent wrong
        self.served: list[tuple[int, int]] = []
        self.requests = 0
        self.swap: tuple[int, bytes, str] | None = None
        self.url = ""
        self.headers: dict[str, str] = {}  # of the last request
        self.gate: threading.Event | None = None  # answers behind the first ``free`` wait for it
        self.free = 0
        self._lock = threading.Lock()

    @property
    def sent(self) -> int:
        """Bytes that were sent."""
        return sum(stop - start for start, stop in self.served)

    def reset(self) -> None:
        """Count from here on."""
        self.requests, self.served, self.paths = 0, [], []

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        with self._lock:
            self.requests += 1
            self.headers = dict(to.headers.items())
            number = self.requests
            if self.swap is not None and number > self.swap[0]:
                _, self.content, self.tag = self.swap
                self.swap = None
            path = unquote(urlsplit(to.path).path)
            self.paths.append(path)
            fault = self.faults.popleft() if self.faults and path.endswith(self.faulty) else ""
            content, tag = self.content, self.tag
            if ".shards/" in path:
                shard = self.shards.get(path.removeprefix("/data/"))
                content, fault = (b"", "404") if shard is None else (shard, fault)
        if self.gate is not None and number > self.free:
            self.gate.wait(20)
        time.sleep(self.delay)
        if fault.isdigit():
            to.send_response(int(fault))
            to.send_header("Content-Length", "0")
            to.end_headers()
            return
        asked = to.headers.get("Range")
        if asked and self.ranges and to.headers.get("If-Range", tag) == tag:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last) + 1, len(content))
            if start >= len(content):
                to.send_response(416)
                to.send_header("Content-Length", "0")
                to.end_headers()
                return
            to.send_response(206)
            to.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        else:
            start, stop = 0, len(content)
            to.send_response(200)
        if tag:
            to.send_header("ETag", tag)
        to.send_header("Content-Length", str(stop - start))
        to.end_headers()
        to.wfile.write(self._body(content, start, stop, fault, path))
        if fault == "cut":
            to.wfile.flush()
            to.close_connection = True
            return
        with self._lock:
            self.served.append((start, stop))

    def _body(self, content: bytes, start: int, stop: int, fault: str, path: str) -> bytes:
        body = content[start:stop]
        if fault == "cut":
            return body[: len(body) // 2]
        changed = bytearray(body)
        with self._lock:
            for place, times in self.spoiled.items():
                if start <= place < stop and times and path.endswith(self.faulty):
                    changed[place - start] ^= 1
                    self.spoiled[place] = times - 1
        return bytes(changed)


@contextmanager
def serving(content: bytes | Path) -> Iterator[RangeServer]:
    """The server of a file, or of a store with its shards, up until the block ends."""
    told = RangeServer(content if isinstance(content, bytes) else content.read_bytes())
    name = "tiny.h5" if isinstance(content, bytes) else content.name
    if isinstance(content, Path):
        folder = content.with_name(f"{content.name}.shards")
        told.shards = {f"{folder.name}/{one.name}": one.read_bytes() for one in folder.glob("*")}

    class Handler(QuietHandler):
        timeout = 10

        def do_GET(self) -> None:
            told.answer(self)

    with served(Handler, poll=0.02) as address:
        told.url = f"{address}/data/{quote(name)}"
        yield told
