"""A web server on this machine that is as far away as it is told, and counts what it sends."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.loopback import QuietHandler, served

#: Bytes that are sent between two looks at the clock.
_STEP = 256 << 10


class Distant:
    """What was asked of the server. ``url``: of the one file."""

    def __init__(self) -> None:
        self.url = ""
        self.requests = 0
        self.bytes = 0
        self._lock = threading.Lock()

    def count(self, sent: int) -> None:
        with self._lock:
            self.requests += 1
            self.bytes += sent


@contextmanager
def serving(path: Path, *, delay: float, rate: float) -> Iterator[Distant]:
    """Serve a file.

    Args:
        delay: seconds before every answer.
        rate: bytes a second of one connection.
    """
    size = path.stat().st_size

    class Handler(QuietHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            time.sleep(delay)
            start, stop = 0, size
            asked = self.headers.get("Range")
            if asked:
                first, _, last = asked.removeprefix("bytes=").partition("-")
                start, stop = int(first), min(int(last or size - 1) + 1, size)
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", '"one"')
            self.send_header("Content-Length", str(stop - start))
            self.end_headers()
            distant.count(stop - start if body else 0)
            if body:
                self._send(start, stop)

        def _send(self, start: int, stop: int) -> None:
            began = time.perf_counter()
            with path.open("rb", buffering=0) as file:
                for place in range(start, stop, _STEP):
                    data = os.pread(file.fileno(), min(_STEP, stop - place), place)
                    self.wfile.write(data)
                    early = began + (place + len(data) - start) / rate - time.perf_counter()
                    if early > 0:
                        time.sleep(early)

    distant = Distant()
    with served(Handler, poll=0.05) as address:
        distant.url = f"{address}/{path.name}"
        yield distant
