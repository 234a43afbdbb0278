"""Fetch picture files: a few at a time, none larger than allowed, each decoded before it counts."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue

import httpx2

from featurestore.construct.wiki_api import attempts, check_status
from featurestore.construct.wiki_errors import Transient, WikiError
from featurestore.construct.wiki_line import Line
from featurestore.construct.wiki_manners import Host, Patience
from featurestore.encoders.opening import open_with_format
from featurestore.sources.pictures import STATUS_CODE

#: Format of Pillow → suffix of the file. Others are written again as PNG: ``ingest`` tries no other
#: suffixes than these.
SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "TIFF": ".tif"}

#: What the names of unfinished files end with.
PART = ".part"

#: Seconds that the end of a thread is waited for (chosen here: it ends at once where it reads).
_END = 1.0

_OK, _TOO_SMALL = STATUS_CODE["ok"], STATUS_CODE["too small"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A picture to fetch to ``stem`` plus the suffix of what it is found to be."""

    number: int
    url: str
    stem: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What became of one picture.

    ``state``: done, refused (it can never be used) or failed (it may succeed later), with ``reason``;
    ``path`` is the file of a picture that is done. ``error`` ends the run.
    """

    number: int
    state: str
    reason: str = ""
    path: Path | None = None
    format: str = ""
    bytes: int = 0
    sha256: str = ""
    requests: int = 0
    error: WikiError | None = None


class _Refused(Exception):
    """The picture can never be used; the argument says why."""


class _Forbidden(Exception):
    """The server refuses us, not the picture: another day, or from elsewhere, it may not."""


class _Undecodable(Transient):
    """The bytes are no picture: an error page, or cut short without anybody saying so."""


class Fetcher:
    """Threads that fetch pictures; results come in the order in which they are ready.

    The threads are daemons: a process that is killed leaves a ``.part`` file of each.

    Args:
        lines: one for each picture that is fetched at a time.
        most_bytes: of one picture; a larger one is not read to its end.
    """

    def __init__(
        self,
        lines: Sequence[Line],
        *,
        host: Host,
        patience: Patience,
        most_bytes: int,
    ) -> None:
        self.running = 0
        self._lines, self._host, self._patience = lines, host, patience
        self._most_bytes = most_bytes
        self._wanted: SimpleQueue[Wanted | None] = SimpleQueue()
        self._done: SimpleQueue[Fetched | BaseException] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, args=(line,), name=f"fetch-{n}", daemon=True)
            for n, line in enumerate(lines)
        ]
        for thread in self._threads:
            thread.start()

    def add(self, wanted: Wanted) -> None:
        """Fetch it soon."""
        self.running += 1
        self._wanted.put(wanted)

    def results(self, *, wait: bool) -> Iterator[Fetched]:
        """What is ready; at least one where it waits."""
        while self.running:
            try:
                result = self._done.get(block=wait)
            except Empty:
                return
            wait = False
            self.running -= 1
            if isinstance(result, BaseException):
                raise result
            yield result

    def close(self) -> None:
        """Begin nothing more, of what waits neither, and end what is on its way."""
        with suppress(Empty):
            while True:
                self._wanted.get_nowait()
        for _ in self._threads:
            self._wanted.put(None)
        for line in self._lines:
            line.cut()
        for thread in self._threads:  # one that waits to try again finds its client closed
            thread.join(_END)

    def _work(self, line: Line) -> None:
        while (wanted := self._wanted.get()) is not None:
            try:
                self._done.put(self._fetch(wanted, line))
            except BaseException as error:  # raised where the results are taken
                self._done.put(error)

    def _fetch(self, wanted: Wanted, line: Line) -> Fetched:
        requests = 0
        try:
            for attempt in attempts(self._patience):
                with attempt:
                    requests += 1
                    return self._once(wanted, requests, line)
        except _Refused as error:
            return self._failure(wanted, "refused", str(error), requests)
        except _Forbidden as error:
            return self._failure(wanted, "failed", str(error), requests)
        except Transient as error:
            return self._failure(wanted, "failed", error.reason, requests)
        except WikiError as error:
            return Fetched(number=wanted.number, state="failed", reason="server", error=error)
        raise AssertionError("stamina returns or raises")

    def _failure(self, wanted: Wanted, state: str, reason: str, requests: int) -> Fetched:
        part_of(wanted.stem).unlink(missing_ok=True)
        return Fetched(number=wanted.number, state=state, reason=reason, requests=requests)

    def _once(self, wanted: Wanted, requests: int, line: Line) -> Fetched:
        self._host.wait()
        part = part_of(wanted.stem)
        try:
            self._download(wanted.url, part, line)
            return keep(part, wanted, requests=requests)
        except _Undecodable as error:
            if requests > 1:  # once more: error pages and cut connections look the same
                raise _Refused(error.reason) from error
            raise
        except Transient as error:
            if error.after:
                self._host.pause(error.after)
            else:
                self._host.failed(error.reason, requests, self._patience)
            raise

    def _download(self, url: str, part: Path, line: Line) -> None:
        headers = {"Accept": "image/*", "Accept-Encoding": "identity"}
        try:
            with line.get(
                url, headers=headers, follow_redirects=True, seconds=self._patience.picture
            ) as response:
                check_status(response, patience=self._patience)
                if response.status_code in (401, 403):
                    raise _Forbidden(f"http {response.status_code}")
                if response.status_code != 200:
                    raise _Refused(f"http {response.status_code}")
                announced = response.headers.get("Content-Length", "")
                self._check_size(int(announced) if announced.isdecimal() else 0)
                with part.open("wb") as file:
                    for piece in response.iter_raw():
                        self._check_size(file.tell() + len(piece))
                        file.write(piece)
                        self._host.spend(len(piece))
        except (httpx2.TooManyRedirects, httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
            raise _Refused("bad address") from error

    def _check_size(self, size: int) -> None:
        if size > self._most_bytes:
            raise _Refused("too many bytes")


def part_of(stem: Path) -> Path:
    """Where a file is while it comes."""
    return stem.with_name(f".{stem.name}{PART}")


def keep(part: Path, wanted: Wanted, *, requests: int) -> Fetched:
    """Decode a complete file; a usable one gets its final name, which only such files have.

    Its bytes stay as they came, except for formats that ``ingest`` does not look for (GIF, WebP, BMP):
    of these the first frame is written as PNG.

    Raises:
        Transient: it is no picture, or a broken one.
        _Refused: it is too small.
    """
    picture, status, name = open_with_format(part)
    if status == _TOO_SMALL:
        raise _Refused("too small")
    if picture is None or status != _OK:
        raise _Undecodable(_what_it_is(part))
    if name not in SUFFIXES:
        picture.save(part, "PNG")
    path = wanted.stem.with_name(wanted.stem.name + SUFFIXES.get(name, ".png"))
    os.replace(part, path)
    return replace(_kept(wanted, path, name), requests=requests)


def found_on_disk(wanted: Wanted) -> Fetched | None:
    """A picture that an interrupted run fetched and did not record; None = there is none."""
    for suffix in dict.fromkeys(SUFFIXES.values()):
        path = wanted.stem.with_name(wanted.stem.name + suffix)
        if path.is_file():
            picture, _, name = open_with_format(path)
            if picture is None:
                path.unlink()
                return None
            return _kept(wanted, path, name)
    return None


def _kept(wanted: Wanted, path: Path, name: str) -> Fetched:
    """A picture that stands in its place."""
    data = path.read_bytes()
    return Fetched(
        number=wanted.number,
        state="done",
        path=path,
        format=name,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _what_it_is(part: Path) -> str:
    with part.open("rb") as file:
        head = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "empty"
    if head.startswith((b"<svg", b"<?xml")):
        return "svg"
    return "web page" if head.startswith((b"<!doctype", b"<html", b"<")) else "not decodable"


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or where the file system cannot, a copy."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        part = part_of(target)
        shutil.copyfile(source, part)
        os.replace(part, target)
