"""A small wiki on loopback: the part of the MediaWiki and Wikidata APIs that is used, and picture files.

    with WikiServer() as wiki:
        wiki.add(Page("Ada Lovelace", qid="Q7259", extract="A mathematician.", lead="Ada.jpg"))
        wiki.add_file(File("Ada.jpg"))
        crawl(…, options=CrawlOptions(api=wiki.api, items_api=wiki.api, insecure=True, …))

It counts what is asked of it, never answers two API calls differently for being late, and misbehaves on
request: ``wiki.api_faults`` holds what the next API calls meet, ``File.fault`` what a picture does.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import sys
import threading
import time
import unicodedata
import zlib
from collections import Counter, deque
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

from featurestore.construct.wiki_manners import THUMBNAIL_WIDTHS

_ILLEGAL = re.compile("[#<>\\[\\]{}|\x00-\x1f\x7f]")
_INTERWIKI = ("de:", "fr:")


@dataclass(kw_only=True)
class Page:
    """A page of the wiki; with ``redirect`` it leads to another title."""

    title: str
    qid: str = ""
    extract: str = ""
    lead: str = ""
    files: list[str] = field(default_factory=list)
    image: str = ""  # P18 of its item
    disambiguation: bool = False
    redirect: str = ""


@dataclass(kw_only=True)
class File:
    """A picture file; ``fault`` (see ``_Handler.send_picture``) befalls its first ``times`` requests."""

    name: str
    width: int = 800
    height: int = 600
    mime: str = "image/jpeg"
    media_type: str = "BITMAP"
    body: bytes = b""
    fault: str = ""
    times: int = 1 << 30
    author: str = '<a href="//example.org/ada">Ada &amp; friends</a>'
    license: str = "CC BY-SA 4.0"
    non_free: bool = False


@dataclass(frozen=True)
class Call:
    """One API request."""

    parameters: dict[str, str]
    agent: str
    address: str


def png(width: int, height: int, seed: str) -> bytes:
    """A picture of one colour."""
    colour = hashlib.md5(seed.encode(), usedforsecurity=False).digest()[:3]

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + colour * width) * height, 1)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


class WikiServer:
    """The wiki, running while the block does."""

    def __init__(self, *, images_per_answer: int = 500) -> None:
        self.pages: dict[str, Page] = {}
        self.files: dict[str, File] = {}
        self.items: dict[str, dict[str, Any]] = {}
        self.images_per_answer = images_per_answer
        self.api_faults: deque[str] = deque()
        self.poison = ""  # a title that makes the API refuse the whole batch
        self.calls: list[Call] = []
        self.requests: Counter[str] = Counter()  # of picture files, by address
        self.agents: set[str] = set()
        self.most_api_calls_at_once = 0
        self.most_pictures_at_once = 0
        self.paused: dict[str, float] = {}  # address → when it may be asked for again
        self.too_early = 0
        self._at_once = Counter[str]()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.wiki = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def api(self) -> str:
        return f"{self.base}/w/api.php"

    def add(self, *pages: Page) -> None:
        """Put pages, and the items that they belong to, into the wiki."""
        for page in pages:
            self.pages[page.title] = page
            if page.qid:
                self.items[page.qid] = {
                    "id": page.qid,
                    "sitelinks": {"enwiki": {"site": "enwiki", "title": page.title}},
                    "labels": {"en": {"language": "en", "value": page.title}},
                    "descriptions": {"en": {"language": "en", "value": f"{page.title}, described"}},
                    "claims": _claims(page.image) if page.image else {},
                }

    def add_file(self, *files: File) -> None:
        for file in files:
            self.files[file.name] = file

    def thumb(self, name: str, width: int = 330) -> str:
        """The address of a thumbnail, below ``base``."""
        folder = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
        spelt = quote(name.replace(" ", "_"), safe="")
        return f"/thumb/{folder[0]}/{folder[:2]}/{spelt}/{width}px-{spelt}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def enter(self, kind: str, address: str) -> None:
        with self._lock:
            self._at_once[kind] += 1
            if kind == "api":
                self.most_api_calls_at_once = max(self.most_api_calls_at_once, self._at_once[kind])
            else:
                self.most_pictures_at_once = max(self.most_pictures_at_once, self._at_once[kind])
            if time.monotonic() < self.paused.get(address, 0.0):
                self.too_early += 1

    def leave(self, kind: str) -> None:
        with self._lock:
            self._at_once[kind] -= 1

    # answers -----------------------------------------------------------------------------------------

    def answer(self, asked: dict[str, str]) -> dict[str, Any]:
        if asked["action"] == "wbgetentities":
            ids, asked_for = asked["ids"].split("|"), ("id", *asked["props"].split("|"))
            if self.poison and self.poison in ids:
                return _error("invalidsomething", "this batch cannot be answered")
            return {
                "entities": {
                    qid: {key: item[key] for key in asked_for if key in item}
                    if (item := self.items.get(qid))
                    else {"id": qid, "missing": ""}
                    for qid in ids
                }
            }
        titles = asked["titles"].split("|")
        if len(titles) > 50:
            return _error("toomanyvalues", "Too many values supplied for parameter titles")
        if self.poison and self.poison in titles:
            return _error("invalidsomething", "this batch cannot be answered")
        query: dict[str, Any] = {"normalized": [], "redirects": [], "interwiki": []}
        pages = [self._resolved(title, query, "redirects" in asked) for title in titles]
        query["pages"] = list({page["title"]: page for page in pages if page}.values())
        query = {key: value for key, value in query.items() if value}
        props = asked["prop"].split("|")
        going_on: dict[str, str] = {}
        for prop in props:
            if asked.get("continue") and f"{prop[:2]}continue" not in asked:
                continue  # that one was complete in an earlier answer
            more = getattr(self, f"_add_{prop}")(query.get("pages", []), asked)
            if more:
                going_on[f"{prop[:2]}continue"] = more
        answer: dict[str, Any] = {"query": query}
        if going_on:
            answer["continue"] = {**going_on, "continue": "||" + "|".join(props)}
        else:
            answer["batchcomplete"] = True
        return answer

    def _resolved(self, title: str, query: dict[str, Any], follow: bool) -> dict[str, Any] | None:
        if title.startswith(_INTERWIKI):
            query["interwiki"].append({"title": title, "iw": title[:2]})
            return None
        if _ILLEGAL.search(title) or not title.strip(" _"):
            return {"title": title, "invalid": True, "invalidreason": "illegal character"}
        composed = unicodedata.normalize("NFC", title)
        if composed != title:
            step = {"fromencoded": True, "from": quote(title), "to": composed}
            query["normalized"].append(step)
        title = composed
        spelt = " ".join(title.replace("_", " ").split())
        prefix = "File:" if spelt.startswith("File:") else ""
        bare = spelt.removeprefix(prefix)
        spelt = prefix + bare[:1].upper() + bare[1:]
        if spelt != title:
            query["normalized"].append({"fromencoded": False, "from": title, "to": spelt})
        steps = 0
        while follow and spelt in self.pages and self.pages[spelt].redirect and steps < 5:
            target = self.pages[spelt].redirect
            query["redirects"].append({"from": spelt, "to": target})
            spelt, steps = target, steps + 1
        if prefix:
            known = spelt.removeprefix("File:") in self.files
            return {"ns": 6, "title": spelt, "missing": True, **({"known": True} if known else {})}
        if spelt not in self.pages:
            return {"ns": 0, "title": spelt, "missing": True}
        return {"ns": 0, "title": spelt, "pageid": zlib.crc32(spelt.encode())}

    def _add_extracts(self, pages: list[dict[str, Any]], asked: dict[str, str]) -> str:
        first = int(asked.get("excontinue", 0))
        for page in pages[first : first + 20]:
            if "pageid" in page:
                page["extract"] = self.pages[page["title"]].extract
        return str(first + 20) if first + 20 < len(pages) else ""

    def _add_pageimages(self, pages: list[dict[str, Any]], asked: dict[str, str]) -> str:
        for page in pages:
            lead = self.pages[page["title"]].lead if "pageid" in page else ""
            file = self.files.get(lead.replace("_", " "))
            if lead and (asked["pilicense"] == "any" or file is None or not file.non_free):
                page["pageimage"] = lead.replace(" ", "_")
        return ""

    def _add_pageprops(self, pages: list[dict[str, Any]], asked: dict[str, str]) -> str:
        for page in pages:
            known = self.pages.get(page["title"])
            if known and known.qid:
                page.setdefault("pageprops", {})["wikibase_item"] = known.qid
            if known and known.disambiguation:
                page.setdefault("pageprops", {})["disambiguation"] = ""
        return ""

    def _add_images(self, pages: list[dict[str, Any]], asked: dict[str, str]) -> str:
        first, room = int(asked.get("imcontinue", 0)), self.images_per_answer
        place = 0
        for page in pages:
            for name in sorted(self.pages[page["title"]].files) if "pageid" in page else ():
                if first <= place < first + room:
                    page.setdefault("images", []).append({"ns": 6, "title": f"File:{name}"})
                place += 1
        return str(first + room) if first + room < place else ""

    def _add_imageinfo(self, pages: list[dict[str, Any]], asked: dict[str, str]) -> str:
        width = int(asked["iiurlwidth"])
        for page in pages:
            if file := self.files.get(page["title"].removeprefix("File:")):
                page["imageinfo"] = [self._info(file, width)]
        return ""

    def _info(self, file: File, width: int) -> dict[str, Any]:
        spelt = quote(file.name.replace(" ", "_"), safe="")
        original = f"{self.base}/original/{spelt}"
        said = {"LicenseShortName": file.license, "Artist": file.author}
        said |= {"NonFree": "true"} if file.non_free else {}
        info = {
            "size": 1000, "width": file.width, "height": file.height, "mime": file.mime,
            "mediatype": file.media_type, "url": original,
            "descriptionurl": f"{self.base}/wiki/File:{spelt}",
            "extmetadata": {name: {"value": value, "source": "x"} for name, value in said.items()},
        }  # fmt: skip
        if file.media_type in ("BITMAP", "DRAWING"):
            scaled = file.media_type == "DRAWING" or file.width > width
            info["thumburl"] = self.base + self.thumb(file.name, width) if scaled else original
        return info


def _claims(image: str) -> dict[str, Any]:
    """Two statements about a picture, the better one last, as Wikidata has them."""

    def statement(name: str, rank: str) -> dict[str, Any]:
        value = {"value": name.replace("_", " "), "type": "string"}
        return {"rank": rank, "type": "statement",
                "mainsnak": {"snaktype": "value", "property": "P18", "datavalue": value}}  # fmt: skip

    return {"P18": [statement("An old one.jpg", "normal"), statement(image, "preferred")]}


def _error(code: str, info: str) -> dict[str, Any]:
    return {"error": {"code": code, "info": info}}


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up, or is killed, is no error here."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    @property
    def wiki(self) -> WikiServer:
        return self.server.wiki  # type: ignore[attr-defined, no-any-return]

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.wiki.agents.add(self.headers.get("User-Agent", ""))
        kind = "api" if self.path.startswith("/w/api.php") else "picture"
        self.wiki.enter(kind, self.path)
        try:
            self._api() if kind == "api" else self._picture()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            self.wiki.leave(kind)

    def _send(
        self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def _refuse(self, status: int, after: str) -> None:
        """For now; ``after``: seconds, or "date" for a second from now."""
        wait = 1.0 if after == "date" else float(after)
        value = formatdate(time.time() + wait, usegmt=True) if after == "date" else after
        if after != "date" and wait < 60:  # nobody waits longer: the run ends
            self.wiki.paused[self.path] = time.monotonic() + wait
        self._send(status, b"slow down", "text/plain", {"Retry-After": value})

    # API -------------------------------------------------------------------------------------------

    def _api(self) -> None:
        parameters = {k: v[0] for k, v in parse_qs(urlsplit(self.path).query, True).items()}
        call = Call(parameters, self.headers.get("User-Agent", ""), self.path)
        self.wiki.calls.append(call)
        fault = self.wiki.api_faults.popleft() if self.wiki.api_faults else ""
        name, _, detail = fault.partition(" ")
        if name in ("429", "503") and detail:
            return self._refuse(int(name), detail)
        if name.isdecimal():
            headers = {"Location": detail} if detail else None
            return self._send(int(name), b"no", "text/plain", headers)
        if name == "html":
            return self._send(200, b"<!DOCTYPE html><p>Bad gateway", "text/html")
        if name == "cut":
            return self._cut(json.dumps(self.wiki.answer(parameters)).encode())
        if name in ("maxlag", "ratelimited"):
            error = _error(name, "Waiting for a replica: 7 seconds lagged")
            headers = {"Retry-After": detail} if detail else None
            return self._send(200, json.dumps(error).encode(), "application/json", headers)
        body = json.dumps(self.wiki.answer(parameters)).encode()
        if name in ("drip", "slow"):
            return self._slowly(name, detail, 200, body)
        return self._send(200, body, "application/json; charset=utf-8")

    def _slowly(self, what: str, detail: str, status: int, body: bytes, location: str = "") -> None:
        """Each byte of a header ("drip") or of the body ("slow") after a pause, and then all the rest.

        Args:
            detail: seconds between bytes, and how many come so.
        """
        pause, _, times = detail.partition(" ")
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(body)))
        if location:
            self.send_header("Location", location)
        if what == "drip":
            self.flush_headers()
            self._pieces(b"X-Slow: " + b"x" * int(times), float(pause))
            self.wfile.write(b"\r\n")
        self.end_headers()
        first = int(times) if what == "slow" else 0
        self._pieces(body[:first], float(pause))
        self.wfile.write(body[first:])
        self.wfile.flush()

    def _pieces(self, data: bytes, pause: float) -> None:
        for place in range(len(data)):
            self.wfile.write(data[place : place + 1])
            self.wfile.flush()
            time.sleep(pause)

    def _cut(self, body: bytes) -> None:
        """Announce it all, send half of it, and hang up."""
        self.send_response_only(200)
        self.send_header("Content-Type", "image/jpeg")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        self.close_connection = True

    # pictures ----------------------------------------------------------------------------------------

    def _picture(self) -> None:
        self.wiki.requests[self.path] += 1
        name = unquote(self.path.split("/")[-1])
        width = re.match(r"(\d+)px-", name)
        if width and int(width[1]) not in THUMBNAIL_WIDTHS:
            return self._send(429, b"use a standard width", "text/plain")
        file = self.wiki.files.get(re.sub(r"^\d+px-", "", name).replace("_", " "))
        if file is None:
            return self._send(404, b"no such file", "text/plain")
        fault = file.fault if file.times > 0 else ""
        file.times -= 1
        return self.send_picture(file, fault)

    def send_picture(self, file: File, fault: str) -> None:
        body = file.body or png(64, 60, file.name)
        name, _, detail = fault.partition(" ")
        if name in ("429", "503") and detail:
            return self._refuse(int(name), detail)
        if name.isdecimal():
            return self._send(int(name), b"no", "text/plain")
        if name == "cut":
            return self._cut(body)
        if name == "html":
            return self._send(200, b"<!DOCTYPE html><p>Our servers are tired", "image/jpeg")
        if name == "truncated":  # as if whole: nobody says that something is missing
            return self._send(200, body[: len(body) // 2], "image/png")
        if name == "type":
            return self._send(200, body, "text/html")
        if name == "empty":
            return self._send(200, b"", "image/png")
        if name == "drip":
            return self._slowly("drip", detail, 200, body)
        if name == "redirect-slow":
            moved = self.path.replace("/thumb/", "/moved/")
            return self._slowly("slow", detail, 302, b"moved " * 40, location=moved)
        if name == "huge":  # chunked: its size shows only as it comes
            return self._stream(body + bytes(1 << 20), pieces=64)
        if name == "announced":
            self.send_response_only(200)
            self.send_header("Content-Length", str(10**12))
            self.end_headers()
            self.wfile.flush()
            self.close_connection = True
            return None
        if name == "slow":
            return self._stream(body, pieces=len(body), pause=float(detail))
        if name == "hang":
            time.sleep(float(detail))
            self.close_connection = True
            return None
        if name == "redirect":
            location = detail or self.path.replace("/thumb/", "/moved/")
            return self._send(302, b"", "text/plain", {"Location": location})
        return self._send(200, body, file.mime)

    def _stream(self, body: bytes, *, pieces: int, pause: float = 0.0) -> None:
        self.send_response_only(200)
        self.send_header("Content-Type", "image/png")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        step = -(-len(body) // pieces)
        for first in range(0, len(body), step):
            piece = body[first : first + step]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
            time.sleep(pause)
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()
