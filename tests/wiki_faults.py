"""What a crawl does when servers misbehave: ``python -m tests.wiki_faults`` writes the table of the docs.

Each case is a wiki on loopback of five entities; the fault befalls the API calls, or the lead picture of
the first entity, whose page has a second picture. The other four must end with their pictures, always.
"""

from __future__ import annotations

import io
import sqlite3
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from featurestore.construct.crawl import crawl
from featurestore.construct.crawl_manifest import CrawlManifest
from featurestore.construct.crawl_options import CrawlOptions
from featurestore.construct.wiki_errors import WikiError
from featurestore.construct.wiki_manners import Patience
from tests.wiki_server import File, Page, WikiServer, png

#: Waits of hundredths of seconds, so that a case takes no longer than its own ``Retry-After``.
HURRIED = Patience(
    attempts=4, first=0.01, longest=0.02, jitter=0.0, lag=0.02, answer=1.0, whole=1.5, picture=0.8
)

ENTITIES = 5


@dataclass(frozen=True)
class Case:
    """One fault and what must come of it.

    ``api``: what the first API calls meet. ``fault``, ``times``, ``body``: of the lead picture.
    ``outcome``: of the first entity. ``pictures``: requests for its lead picture. ``more_calls``: API
    calls beyond those of a crawl that nothing befalls.
    """

    name: str
    outcome: str = "lead picture"
    api: tuple[str, ...] = ()
    fault: str = ""
    times: int = 1 << 30
    body: Callable[[], bytes] = bytes
    pictures: int = 1
    more_calls: int = 0


def jpeg(side: int = 64) -> bytes:
    file = io.BytesIO()
    Image.radial_gradient("L").resize((side, side)).convert("RGB").save(file, "JPEG")
    return file.getvalue()


def cut_jpeg() -> bytes:
    return jpeg()[:-300]


def gif() -> bytes:
    frames = [Image.new("P", (80, 60), colour) for colour in (0, 1, 2)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def webp() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (80, 60), "teal").save(file, "WEBP")
    return file.getvalue()


def svg() -> bytes:
    return b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'


def bomb() -> bytes:
    """A small PNG that says it has 30,000 × 30,000 pixels."""
    data = bytearray(png(64, 60, ""))
    data[16:24] = struct.pack(">II", 30_000, 30_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


_OTHER = "second picture"
_ENDS = "run ends; the next one goes on"

API = (
    Case("429, Retry-After: 1", api=("429 1",), more_calls=1),
    Case("503, Retry-After a second from now as a date", api=("503 date",), more_calls=1),
    Case("maxlag in a 200, Retry-After: 1", api=("maxlag 1",), more_calls=1),
    Case("maxlag in a 200, no Retry-After, twice", api=("maxlag", "maxlag"), more_calls=2),
    Case("ratelimited in a 200", api=("ratelimited",), more_calls=1),
    Case("500, three times", api=("500", "500", "500"), more_calls=3),
    Case("an HTML error page with status 200", api=("html",), more_calls=1),
    Case("connection cut half-way", api=("cut",), more_calls=1),
    Case("a byte of the headers now and then", api=("drip 0.1 20",), more_calls=1),
    Case("a byte of the answer now and then", api=("slow 0.1 20",), more_calls=1),
    Case("500 without end", _ENDS, api=("500",) * 4, more_calls=4),
    Case("Retry-After: 86400", _ENDS, api=("503 86400",), more_calls=1),
    Case("403", _ENDS, api=("403",), more_calls=1),
    Case("the API has moved", _ENDS, api=("301 https://wiki.test/api.php",), more_calls=1),
)

PICTURES = (
    Case("429, Retry-After: 1", fault="429 1", times=1, pictures=2),
    Case("503, Retry-After a second from now as a date", fault="503 date", times=1, pictures=2),
    Case("500 twice", fault="500", times=2, pictures=3),
    Case("500 without end", "failed: http 500", fault="500", pictures=4),
    Case("403", "failed: http 403", fault="403"),
    Case("404", _OTHER, fault="404"),
    Case("410", _OTHER, fault="410"),
    Case("connection cut half-way, once", fault="cut", times=1, pictures=2),
    Case("connection always cut", "failed: connection", fault="cut", pictures=4),
    Case("no answer, once", fault="hang 1.2", times=1, pictures=2),
    Case("a byte now and then, once", fault="slow 0.05", times=1, pictures=2),
    Case("a byte of the headers now and then, once", fault="drip 0.1 12", times=1, pictures=2),
    Case("redirect whose page comes so, once", fault="redirect-slow 0.1 12", times=1, pictures=2),
    Case("redirect to the file", fault="redirect", times=1, pictures=1),
    Case("redirect in a circle", _OTHER, fault="redirect /thumb/x/330px-Lead_0.jpg", pictures=6),
    Case("redirect to ftp", _OTHER, fault="redirect ftp://127.0.0.1/x"),
    Case("Content-Type: text/html, but a picture", fault="type"),
    Case("an HTML page as image/jpeg, once", fault="html", times=1, pictures=2),
    Case("an HTML page as image/jpeg, always", _OTHER, fault="html", pictures=2),
    Case("half of it as if whole, once", fault="truncated", times=1, pictures=2),
    Case("a truncated JPEG", _OTHER, body=cut_jpeg, pictures=2),
    Case("nothing", _OTHER, fault="empty", pictures=2),
    Case("svg text instead of its thumbnail", _OTHER, body=svg, pictures=2),
    Case("more than --max-bytes, as announced", _OTHER, fault="announced"),
    Case("more than --max-bytes, not announced", _OTHER, fault="huge"),
    Case("a small file that says it has 900 megapixels", _OTHER, body=bomb, pictures=2),
    Case("40 × 40 pixels", _OTHER, body=lambda: jpeg(40)),
    Case("animated GIF", "lead picture as .png", body=gif),
    Case("WebP", "lead picture as .png", body=webp),
)


@dataclass(frozen=True)
class Outcome:
    """What came of a case."""

    outcome: str
    pictures: int
    more_calls: int
    others: int
    too_early: int


def world(case: Case) -> WikiServer:
    wiki = WikiServer()
    for number in range(ENTITIES):
        lead, other = f"Lead {number}.jpg", f"Other {number}.jpg"
        wiki.add(
            Page(
                title=f"Thing {number}", qid=f"Q{number + 1}", extract="A thing.", lead=lead,
                files=[lead, other],
            )
        )  # fmt: skip
        wiki.add_file(File(name=lead), File(name=other))
    wiki.files["Lead 0.jpg"].fault = case.fault
    wiki.files["Lead 0.jpg"].times = case.times
    wiki.files["Lead 0.jpg"].body = case.body()
    wiki.api_faults.extend(case.api)
    return wiki


def options(wiki: WikiServer) -> CrawlOptions:
    return CrawlOptions(
        contact="tests@example.org", api=wiki.api, items_api=wiki.api, insecure=True,
        most_bytes=1 << 20,
    )  # fmt: skip


def run(case: Case, folder: Path) -> Outcome:
    """Crawl a wiki that a fault befalls."""
    entities = folder / "list.tsv"
    entities.write_text("".join(f"Q{n + 1}\tThing {n}\n" for n in range(ENTITIES)))
    with world(case) as wiki:
        ended = _crawl(wiki, entities, folder / "out")
        if ended:
            assert not _crawl(wiki, entities, folder / "out"), "the next run did not go on"
        first, *others = _entities(folder / "out")
        outcome = _outcome(first, wiki)
        needed = 5 if outcome == _OTHER else 3  # pages, items and files, of other pictures too
        return Outcome(
            outcome=_ENDS if ended and outcome == "lead picture" else outcome,
            pictures=sum(n for path, n in wiki.requests.items() if _is_lead(path)),
            more_calls=len(wiki.calls) - needed,
            others=sum(row["state"] == "done" for row in others),
            too_early=wiki.too_early,
        )


def _crawl(wiki: WikiServer, entities: Path, folder: Path) -> bool:
    """Whether the run ended before its time."""
    try:
        crawl(entities, folder, options=options(wiki), patience=HURRIED)
    except WikiError:
        return True
    return False


def _entities(folder: Path) -> list[sqlite3.Row]:
    with closing(CrawlManifest(folder, read_only=True)) as manifest:
        return manifest.db.execute("SELECT * FROM entity ORDER BY number").fetchall()


def _is_lead(path: str) -> bool:
    return path.startswith("/thumb") and "330px-Lead_0.jpg" in path


def _outcome(row: sqlite3.Row, wiki: WikiServer) -> str:
    if row["state"] != "done":
        return f"{row['state']}: {row['reason']}"
    if any("Other_0" in path for path in wiki.requests):
        return _OTHER
    swapped = wiki.files["Lead 0.jpg"].body[:4] in (b"GIF8", b"RIFF")
    return "lead picture as .png" if swapped and row["file"].endswith(".png") else "lead picture"


def main() -> None:
    """The table in Markdown."""
    for title, cases in (("API", API), ("picture", PICTURES)):
        sys.stdout.write(f"| fault of the {title} | requests | outcome |\n|---|--:|---|\n")
        for case in cases:
            with tempfile.TemporaryDirectory() as folder:
                found = run(case, Path(folder))
            requests = found.more_calls + 1 if title == "API" else found.pictures
            if found.outcome == _ENDS:
                requests = found.more_calls  # the last one is the next run's
            sys.stdout.write(f"| {case.name} | {requests} | {found.outcome} |\n")
        sys.stdout.write("\n")


if __name__ == "__main__":
    main()
