"""A crawl of 5,000 entities that is killed again and again ends complete, and fetches nothing twice."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from featurestore.construct.crawl_manifest import CrawlManifest
from featurestore.construct.crawl_options import CrawlOptions
from featurestore.encoders.opening import open_picture
from tests.wiki_server import File, Page, WikiServer

ENTITIES, KILLS = 5000, 4
THREADS = CrawlOptions(contact="").threads

#: API calls of one batch of pages: 50 titles, 20 intros an answer, and the items of all.
CALLS_OF_A_BATCH = 4


def big_wiki() -> WikiServer:
    """Of ten pages three have a lead picture of their own, four share one of these, one has a picture
    that it does not lead with, one only an icon, one nothing."""
    wiki = WikiServer()
    for number in range(ENTITIES):
        kind, title = number % 10, f"Thing {number}"
        lead = f"Thing {number - max(0, kind - 2)}.jpg" if kind < 7 else ""
        files = {7: [f"Thing {number} at work.jpg"], 8: [f"Thing {number} icon.png"]}.get(kind, [])
        wiki.add(
            Page(title=title, qid=f"Q{number + 1}", extract=title, lead=lead, files=[lead, *files])
        )
        for name in filter(None, [lead, *files]):
            wiki.add_file(File(name=name))
    return wiki


def child(entities: Path, folder: Path, wiki: WikiServer) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.wiki_crawl_child", str(entities), str(folder), wiki.api]
    return subprocess.Popen(command, cwd=Path(__file__).parent.parent)


def test_a_crawl_that_is_killed_and_resumed_fetches_nothing_twice(tmp_path: Path) -> None:
    entities, folder = tmp_path / "qid-entity.tsv", tmp_path / "out"
    entities.write_text("".join(f"Q{n + 1}\tThing {n}\n" for n in range(ENTITIES)))
    chance = random.Random(0)
    with big_wiki() as wiki:
        for kill in range(1, KILLS + 1):
            crawl = child(entities, folder, wiki)
            enough = kill * 350 + chance.randrange(200)
            while sum(wiki.requests.values()) < enough:
                assert crawl.poll() is None, "the crawl ended by itself"
                time.sleep(0.002)
            time.sleep(chance.random() * 0.02)
            crawl.kill()
            crawl.wait()
        assert child(entities, folder, wiki).wait() == 0
        requests, calls = wiki.requests, [call.address for call in wiki.calls]

    with closing(CrawlManifest(folder, read_only=True)) as manifest:
        states = dict(
            manifest.db.execute("SELECT state, count(*) FROM entity GROUP BY state").fetchall()
        )
        pictures = manifest.db.execute("SELECT thumb_url, file FROM picture WHERE state = 'done'")
        fetched = {row["thumb_url"].removeprefix(wiki.base): row["file"] for row in pictures}
    assert states == {"done": ENTITIES * 8 // 10, "bare": ENTITIES * 2 // 10}
    assert len(list((folder / "entities" / "cleaned-images").iterdir())) == ENTITIES * 8 // 10
    assert all(open_picture(folder / file)[0] is not None for file in list(fetched.values())[::50])

    again, repeated = sum(requests.values()) - len(requests), len(calls) - len(set(calls))
    print(
        f"\n{ENTITIES:,} entities, {KILLS} kills: {len(fetched):,} pictures, {again} of them asked for "
        f"again; {len(calls):,} API calls, {repeated} of them made again"
    )
    # a picture is asked for again only if it was on its way at a kill: one for each thread
    assert set(requests) == set(fetched)
    assert max(requests.values()) <= 1 + KILLS
    assert again <= KILLS * THREADS
    # and of the API calls, only those of the batch that was not finished
    assert repeated <= KILLS * CALLS_OF_A_BATCH
    assert wiki.most_api_calls_at_once == 1
    assert wiki.most_pictures_at_once <= THREADS
