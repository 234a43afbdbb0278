"""``build images``: pages and pictures of a wiki on loopback become a raw layout."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from cli.render_crawl import crawl_views
from featurestore.construct.crawl import crawl
from featurestore.construct.crawl_manifest import CrawlManifest
from featurestore.construct.crawl_options import CrawlOptions
from featurestore.construct.crawl_status import CrawlStatus, StateCount, crawl_status
from featurestore.construct.wiki_errors import WikiError
from featurestore.errors import ConfigError, SourceError, WriteError
from featurestore.lock import Lock
from featurestore.options import IngestOptions
from featurestore.sources.layouts import layout_of, open_raw
from featurestore.sources.wikimel_entities import read_titles
from tests.snapshots import check_snapshot
from tests.terminal import shown
from tests.wiki_faults import HURRIED
from tests.wiki_server import File, Page, WikiServer


@pytest.fixture
def wiki() -> Iterator[WikiServer]:
    with WikiServer() as running:
        yield running


class Crawls:
    """Crawls of one wiki into one folder."""

    def __init__(self, wiki: WikiServer, folder: Path) -> None:
        self.wiki, self.root = wiki, folder
        self.folder = folder / "out"
        self.options = CrawlOptions(
            contact="tests@example.org", api=wiki.api, items_api=wiki.api, insecure=True
        )

    def __call__(self, text: str, **more: Any) -> CrawlStatus:
        entities = self.root / "entities.tsv"
        entities.write_text(text, encoding="utf-8")
        options = more.pop("options", self.options)
        return crawl(entities, self.folder, options=options, patience=HURRIED, **more)

    def entities(self) -> list[sqlite3.Row]:
        with closing(CrawlManifest(self.folder, read_only=True)) as manifest:
            return manifest.db.execute("SELECT * FROM entity ORDER BY number").fetchall()

    def outcomes(self) -> dict[str, str]:
        """Key → the file of its picture, or why there is none."""
        return {row["key"]: row["file"] or row["reason"] for row in self.entities()}

    def json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))


@pytest.fixture
def crawls(wiki: WikiServer, tmp_path: Path) -> Crawls:
    return Crawls(wiki, tmp_path)


def with_picture(wiki: WikiServer, title: str, qid: str = "", **more: Any) -> None:
    """A page with a lead picture."""
    wiki.add(
        Page(title=title, qid=qid, extract=f"{title} is.\nThere.", lead=f"{title}.jpg", **more)
    )
    wiki.add_file(File(name=f"{title}.jpg"))


# manners ----------------------------------------------------------------------------------------


def test_requests_are_as_the_etiquette_asks(wiki: WikiServer, crawls: Crawls) -> None:
    for number in range(130):
        with_picture(wiki, f"Thing {number}", f"Q{number + 1}")
    crawls("".join(f"Q{n + 1}\n" for n in range(130)))
    assert wiki.agents == {"drin-fs/0.1.0 (tests@example.org)"}
    assert wiki.most_api_calls_at_once == 1
    assert wiki.most_pictures_at_once <= 2
    assert {call.parameters["maxlag"] for call in wiki.calls} == {"5"}
    sizes = [
        len((c.parameters.get("titles") or c.parameters["ids"]).split("|")) for c in wiki.calls
    ]
    assert max(sizes) == 50
    widths = {c.parameters["iiurlwidth"] for c in wiki.calls if "iiurlwidth" in c.parameters}
    assert widths == {"330"}
    assert all("/330px-" in path for path in wiki.requests)
    assert set(wiki.requests.values()) == {1}


def test_long_titles_make_smaller_batches(wiki: WikiServer, crawls: Crawls) -> None:
    titles = [f"{number:02}" + "ж" * 120 for number in range(50)]  # 720 bytes each, encoded
    wiki.add(*(Page(title=title, qid=f"Q{n + 1}") for n, title in enumerate(titles)))
    crawls("".join(f"Q{n + 1}\t{title}\n" for n, title in enumerate(titles)))
    assert set(crawls.outcomes().values()) == {"no picture on the page"}
    assert max(len(call.address) for call in wiki.calls) < 8000


@pytest.mark.parametrize("contact", ["", "me", "me@", "http://", "a b@c.de", "x@y.de)\r\nX: y"])
def test_nothing_is_asked_without_a_contact(contact: str, wiki: WikiServer, crawls: Crawls) -> None:
    with pytest.raises(ConfigError) as caught:
        crawls("Q1\n", options=replace(crawls.options, contact=contact))
    assert caught.value.where == "--contact"
    assert not wiki.calls
    assert not crawls.folder.exists()


def test_a_contact_of_an_example_domain_reaches_nobody(crawls: Crawls) -> None:
    with pytest.raises(ConfigError, match=r"example\.org is a domain for examples"):
        crawls("Q1\n", options=CrawlOptions(contact="me@example.org"))


def test_http_is_refused_unless_allowed(crawls: Crawls) -> None:
    with pytest.raises(WikiError, match="is not an https address"):
        crawls("Q1\n", options=replace(crawls.options, insecure=False))


def test_other_widths_than_those_that_are_made_are_refused(crawls: Crawls) -> None:
    with pytest.raises(ConfigError, match="224 is no width that thumbnails are made in"):
        crawls("Q1\n", options=replace(crawls.options, width=224))


# pages ------------------------------------------------------------------------------------------


def test_titles_lead_to_pages_or_to_the_reason_why_not(wiki: WikiServer, crawls: Crawls) -> None:
    with_picture(wiki, "Ada Lovelace", "Q1")
    with_picture(wiki, "AC/DC & friends? 100% «é» 東京 \N{MUSICAL SYMBOL G CLEF}+=", "Q2")
    with_picture(wiki, "Zo\u00eb", "Q3")
    with_picture(wiki, "List of things", "Q90")
    wiki.add(
        Page(title="Ada", redirect="Countess"), Page(title="Countess", redirect="Ada Lovelace"),
        Page(title="Mercury", qid="Q4", disambiguation=True),
        Page(title="Thing", redirect="List of things"),
        Page(title="Loop", redirect="Pool"), Page(title="Pool", redirect="Loop"),
    )  # fmt: skip
    odd = "AC/DC & friends? 100% «é» 東京 \N{MUSICAL SYMBOL G CLEF}+="
    asked = {
        "Q1": "ada", "Q2": odd, "Q3": "Zoe\u0308", "Q4": "Mercury", "Q5": "Nowhere", "Q6": "a|b",
        "Q7": "<b>", "Q8": "de:Berlin", "Q9": "Thing", "Q10": "Loop", "Q11": "x" * 300,
    }  # fmt: skip
    status = crawls("".join(f"{qid}\t{title}\n" for qid, title in asked.items()))
    picture = "entities/cleaned-images/{}.png".format
    assert crawls.outcomes() == {
        "Q1": picture("Q1"), "Q2": picture("Q2"), "Q3": picture("Q3"), "Q4": "disambiguation page",
        "Q5": "no such page", "Q6": "invalid title", "Q7": "invalid title",
        "Q8": "title of another wiki", "Q9": "redirects to another entity", "Q10": "redirect loop",
        "Q11": "invalid title",
    }  # fmt: skip
    ada = crawls.entities()[0]
    assert (ada["normalised"], ada["redirected"]) == ("Ada", "Ada Lovelace")
    assert ada["page_title"] == "Ada Lovelace"
    assert (status.redirected, status.normalised) == (3, 2)
    assert "ada\tAda Lovelace\n" in (crawls.folder / "redirects.tsv").read_text()
    assert crawls.json("entities/qid2brief.json")["Q3"] == "Zo\u00eb is. There."


def test_continuations_are_followed_to_their_end(tmp_path: Path) -> None:
    with WikiServer(images_per_answer=7) as wiki:
        crawls = Crawls(wiki, tmp_path)
        for number in range(45):
            files = [f"Thing {number} {letter}.jpg" for letter in "abcd"]
            wiki.add(
                Page(title=f"Thing {number}", qid=f"Q{number + 1}", extract="Yes.", files=files)
            )
            wiki.add_file(*(File(name=name) for name in files[:-1]))
            wiki.add_file(File(name=files[-1], width=2000, height=2000))
        crawls("".join(f"Q{n + 1}\n" for n in range(45)))
        assert len(crawls.json("entities/qid2brief.json")) == 45
        chosen = sorted(path.split("px-")[1] for path in wiki.requests)
    assert chosen == sorted(
        f"Thing_{number}_d.jpg" for number in range(45)
    )  # the largest, listed last


def test_a_batch_that_the_api_refuses_costs_only_the_title_that_is_to_blame(
    wiki: WikiServer, crawls: Crawls
) -> None:
    for number in range(20):
        with_picture(wiki, f"Thing {number}", f"Q{number + 1}")
    wiki.poison = "Thing 13"
    crawls("".join(f"Q{n + 1}\tThing {n}\n" for n in range(20)))
    failed = [row for row in crawls.entities() if row["state"] != "done"]
    assert [(row["key"], row["reason"]) for row in failed] == [("Q14", "api: invalidsomething")]
    wiki.poison = ""
    assert crawls("Q14\tThing 13\n", retry=True).files == 20


def test_items_without_an_article_keep_label_and_description(
    wiki: WikiServer, crawls: Crawls
) -> None:
    wiki.items["Q5"] = {
        "id": "Q5", "labels": {"en": {"value": "A stone"}}, "descriptions": {"en": {"value": "hard"}},
    }  # fmt: skip
    crawls("Q5\nQ6\n")
    assert crawls.outcomes() == {"Q5": "no article", "Q6": "no such item"}
    assert read_titles(crawls.folder / "entities" / "qid-entity.tsv") == {"Q5": "A stone"}
    assert crawls.json("entities/qid2brief.json") == {"Q5": "hard"}


# pictures ---------------------------------------------------------------------------------------


def test_the_picture_that_wikidata_names_comes_first(wiki: WikiServer, crawls: Crawls) -> None:
    with_picture(wiki, "Ada", "Q1")
    wiki.add_file(File(name="Ada portrait.jpg"))
    details = crawls.root / "details.jsonl"
    details.write_text(
        json.dumps({"qid": "Q1", "title": "Ada", "image": "ada_portrait.jpg"}) + "\n"
    )
    crawls("Q1\n", details=details)
    assert list(wiki.requests) == [wiki.thumb("Ada portrait.jpg")]
    assert not [call for call in wiki.calls if call.parameters["action"] == "wbgetentities"]


def test_wikidata_is_asked_for_its_pictures_where_no_details_are_given(
    wiki: WikiServer, crawls: Crawls
) -> None:
    for number in range(4):
        with_picture(wiki, f"Thing {number}", f"Q{number + 1}", image=f"best_of {number}.jpg")
        wiki.add_file(File(name=f"Best of {number}.jpg"))
    details = crawls.root / "details.jsonl"
    details.write_text('{"qid": "Q4", "title": "Thing 3", "image": ""}\n')
    crawls("Q1\nQ2\tThing 1\nThing 2\nQ4\n", details=details)
    own = [wiki.thumb(f"Best of {number}.jpg") for number in range(3)]
    assert set(wiki.requests) == {*own, wiki.thumb("Thing 3.jpg")}
    asked = [call.parameters["ids"] for call in wiki.calls if "ids" in call.parameters]
    assert asked == [
        "Q1",
        "Q2|Q3",
    ]  # the title of Q1 came with its picture, Q3 is known by its page


def test_a_wiki_of_ones_own_is_not_taken_to_have_the_items_of_wikidata(
    wiki: WikiServer, crawls: Crawls
) -> None:
    with_picture(wiki, "Ada", "Q1", image="Ada of Wikidata.jpg")
    crawls("Q1\tAda\n", options=replace(crawls.options, items_api=""))
    assert list(wiki.requests) == [wiki.thumb("Ada.jpg")]


def test_what_the_api_could_not_tell_of_an_item_or_a_picture_is_asked_again(
    wiki: WikiServer, crawls: Crawls
) -> None:
    for number in range(4):
        with_picture(wiki, f"Thing {number}", f"Q{number + 1}")
    wiki.pages["Thing 2"].lead = "Thing 1.jpg"
    lines = "".join(f"Q{n + 1}\tThing {n}\n" for n in range(4))
    wiki.poison = "File:Thing 1.jpg"
    assert [each.count for each in crawls(lines).entities if each.state == "failed"] == [2]
    assert crawls.outcomes()["Q2"] == crawls.outcomes()["Q3"] == "api: invalidsomething"
    before = len(wiki.calls)
    assert crawls(lines).files == 2  # without --retry-failed nobody is asked
    assert len(wiki.calls) == before
    wiki.poison = ""
    assert crawls(lines, retry=True).files == 3
    assert {row["state"] for row in crawls.entities()} == {"done"}
    assert set(wiki.requests.values()) == {1}
    asked = [call.parameters.get("titles", "") for call in wiki.calls[before:]]
    assert not any("Thing 0" in titles or "Thing 3" in titles for titles in asked)


def test_a_batch_of_items_that_is_refused_fails_one_item_for_now(
    wiki: WikiServer, crawls: Crawls
) -> None:
    for number in range(3):
        with_picture(wiki, f"Thing {number}", f"Q{number + 1}", image=f"Best {number}.jpg")
        wiki.add_file(File(name=f"Best {number}.jpg"))
    wiki.poison = "Q2"
    lines = "Q1\tThing 0\nQ2\tThing 1\nQ3\tThing 2\n"
    assert crawls(lines).files == 2
    assert crawls.outcomes()["Q2"] == "api: invalidsomething"
    wiki.poison = ""
    assert crawls(lines, retry=True).files == 3
    assert set(wiki.requests) == {wiki.thumb(f"Best {number}.jpg") for number in range(3)}


def test_a_manifest_of_the_version_before_goes_on(wiki: WikiServer, crawls: Crawls) -> None:
    with_picture(wiki, "Ada", "Q1")
    with_picture(wiki, "Bea", "Q2")
    crawls("Q1\tAda\n")
    with closing(sqlite3.connect(crawls.folder / "manifest.sqlite")) as db:
        db.execute("ALTER TABLE entity DROP COLUMN item_known")
        db.execute("PRAGMA user_version = 1")
    assert crawl_status(crawls.folder).files == 1
    assert crawls("Q1\tAda\nQ2\tBea\n").files == 2
    assert set(wiki.requests.values()) == {1}


def test_icons_maps_drawings_sounds_and_strips_are_passed_over(
    wiki: WikiServer, crawls: Crawls
) -> None:
    bad = [
        File(name="Ada locator map.png"), File(name="Crystal icon.png"), File(name="Ada.svg"),
        File(name="Ada flag.jpg"), File(name="Ada.ogg", mime="application/ogg", media_type="AUDIO"),
        File(name="Ada film.webm", mime="video/webm", media_type="VIDEO"), File(name="Logo Ada.png"),
        File(name="Ada banner.jpg", width=3000, height=400), File(name="Ada tiny.jpg", width=90),
        File(name="Ada poster.jpg", non_free=True), File(name="Ada signature.png"),
    ]  # fmt: skip
    names = [file.name for file in bad]
    wiki.add_file(*bad, File(name="At home.jpg", width=400, height=300))
    wiki.add(Page(title="Ada", qid="Q1", lead="Ada locator map.png", files=[*names, "At home.jpg"]))
    wiki.add(Page(title="Bea", qid="Q2", lead="Ada poster.jpg", files=names))
    crawls("Q1\nQ2\n")
    assert list(wiki.requests) == [wiki.thumb("At home.jpg")]
    assert crawls.outcomes()["Q2"] == "no picture fits"


def test_non_free_pictures_are_taken_where_that_is_asked_for(
    wiki: WikiServer, crawls: Crawls
) -> None:
    wiki.add_file(File(name="Poster.jpg", non_free=True))
    wiki.add(Page(title="Film", qid="Q1", lead="Poster.jpg"))
    assert crawls("Q1\n", options=replace(crawls.options, non_free=True)).files == 1


def test_a_picture_of_two_entities_is_fetched_once(wiki: WikiServer, crawls: Crawls) -> None:
    with_picture(wiki, "Ada", "Q1")
    wiki.add(Page(title="Bea", qid="Q2", lead="Ada.jpg"))
    crawls("Q1\nQ2\n")
    assert list(wiki.requests.values()) == [1]
    files = [crawls.folder / "entities" / "cleaned-images" / f"Q{n}.png" for n in (1, 2)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_author_licence_and_source_are_kept(wiki: WikiServer, crawls: Crawls) -> None:
    with_picture(wiki, "Ada", "Q1")
    crawls("Q1\n")
    head, line = (crawls.folder / "attribution.tsv").read_text().splitlines()
    said = dict(zip(head.split("\t"), line.split("\t"), strict=True))
    assert said["file"] == "entities/cleaned-images/Q1.png"
    assert said["author"] == "Ada & friends"
    assert said["license"] == "CC BY-SA 4.0"
    assert said["source"] == f"{wiki.base}/wiki/File:Ada.jpg"
    assert said["changes"] == "scaled by the wiki"


def test_many_failures_in_a_row_end_the_run(wiki: WikiServer, crawls: Crawls) -> None:
    for number in range(40):
        with_picture(wiki, f"Thing {number}", f"Q{number + 1}")
        wiki.files[f"Thing {number}.jpg"].fault = "500"
    lines = "".join(f"Q{n + 1}\tThing {n}\n" for n in range(40))
    with pytest.raises(WikiError, match=r"20 pictures in a row failed \(http 500\)"):
        crawls(lines)
    for file in wiki.files.values():
        file.fault = ""
    assert crawls(lines, retry=True).files == 40


# going on ---------------------------------------------------------------------------------------


def test_only_failures_are_fetched_again(wiki: WikiServer, crawls: Crawls) -> None:
    for number in range(6):
        with_picture(wiki, f"Thing {number}", f"Q{number + 1}")
    wiki.files["Thing 2.jpg"].fault = "cut"
    wiki.files["Thing 4.jpg"].fault = "404"
    lines = "".join(f"Q{n + 1}\tThing {n}\n" for n in range(6))
    crawls(lines)
    assert crawls.outcomes()["Q3"] == "connection"
    before = wiki.requests.copy()
    crawls(lines)  # nothing to do
    assert wiki.requests == before
    wiki.files["Thing 2.jpg"].fault = ""
    crawls(lines, retry=True)
    assert wiki.requests - before == {wiki.thumb("Thing 2.jpg"): 1}


def test_a_file_that_is_lost_or_changed_is_fetched_again(wiki: WikiServer, crawls: Crawls) -> None:
    for number in range(4):
        with_picture(wiki, f"Thing {number}", f"Q{number + 1}")
    lines = "".join(f"Q{n + 1}\tThing {n}\n" for n in range(4))
    crawls(lines)
    folder = crawls.folder / "entities" / "cleaned-images"
    good = (folder / "Q2.png").read_bytes()
    (folder / "Q1.png").unlink()
    (folder / "Q2.png").write_bytes(good[:100])
    (folder / ".Q3.part").write_bytes(b"begun")
    crawls(lines)
    assert [wiki.requests[wiki.thumb(f"Thing {n}.jpg")] for n in range(4)] == [2, 2, 1, 1]
    assert (folder / "Q2.png").read_bytes() == good
    assert len(list(folder.iterdir())) == 4


def test_a_limit_is_raised_by_a_later_run(wiki: WikiServer, crawls: Crawls) -> None:
    for number in range(4):
        with_picture(wiki, f"Thing {number}", f"Q{number + 1}")
    lines = "".join(f"Q{n + 1}\tThing {n}\n" for n in range(4))
    assert crawls(lines, limit=1).total == 1
    assert crawls(lines).files == 4
    assert set(wiki.requests.values()) == {1}


def test_options_of_one_crawl_stay_the_same(wiki: WikiServer, crawls: Crawls) -> None:
    crawls("Q1\n")
    with pytest.raises(ConfigError, match="the crawl was begun with width 330, not 500"):
        crawls("Q1\n", options=replace(crawls.options, width=500))


def test_files_of_others_are_left_alone(crawls: Crawls) -> None:
    folder = crawls.folder / "entities" / "cleaned-images"
    folder.mkdir(parents=True)
    (folder / "Q1.jpg").write_bytes(b"mine")
    with pytest.raises(WriteError, match="there is no manifest of where they are from"):
        crawls("Q1\n")
    (folder / "Q1.jpg").unlink()
    (crawls.folder / "entities" / "qid-entity.tsv").write_text("Q9\tNine\n")
    with pytest.raises(WriteError, match="is not the list that is read"):
        crawls("Q1\n")


def test_the_list_that_is_read_is_not_replaced(wiki: WikiServer, crawls: Crawls) -> None:
    with_picture(wiki, "Ada", "Q1")
    entities = crawls.folder / "entities" / "qid-entity.tsv"
    entities.parent.mkdir(parents=True)
    entities.write_text("Q1\tAda\nQ2\tBea\n")
    crawl(entities, crawls.folder, options=crawls.options, patience=HURRIED, limit=1)
    assert entities.read_text() == "Q1\tAda\nQ2\tBea\n"


def test_two_crawls_do_not_write_to_one_folder(crawls: Crawls) -> None:
    crawls.folder.mkdir()
    lock = Lock(crawls.folder / ".manifest.lock")
    with pytest.raises(WriteError, match="another crawl writes here"):
        crawls("Q1\n")
    lock.release()


@pytest.mark.parametrize("damage", ["no database at all", "another version"])
def test_a_manifest_that_cannot_be_read_is_refused(damage: str, crawls: Crawls) -> None:
    crawls("Q1\n")
    path = crawls.folder / "manifest.sqlite"
    if damage == "another version":
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA user_version = 9")
    else:
        path.write_bytes(b"no database at all" * 100)
    with pytest.raises(SourceError, match="manifest"):
        crawls("Q1\n")


# layouts ----------------------------------------------------------------------------------------


def test_ingest_takes_the_wikimel_folder(wiki: WikiServer, crawls: Crawls) -> None:
    for number in range(3):
        with_picture(wiki, f"Thing {number}", f"Q{number + 1}")
    crawls(
        "Thing 0\nThing 1\nThing 2\nthing_0\n", limit=4
    )  # titles alone: the pages know their items
    assert crawls.outcomes()["thing 0"] == "same entity as another title"
    folder = crawls.folder
    (folder / "mentions").mkdir()
    (folder / "candidates" / "top100").mkdir()
    for split in ("train", "valid", "test"):
        item = {"sentence": "Thing 1 is.", "mentions": "Thing 1", "answer": "Q2"}
        (folder / "mentions" / f"WIKIMEL_{split}.json").write_text(json.dumps({f"{split}-1": item}))
    lists = "".join(f"{split}-1\tQ1\tQ2\tQ3\n" for split in ("train", "valid", "test"))
    (folder / "candidates" / "top100" / "candidates-answer.tsv").write_text(lists)
    assert layout_of(folder) == ("wikimel", "raw")
    entities = open_raw(folder, IngestOptions()).entities
    assert entities.ids == ["Q1", "Q2", "Q3"]
    assert entities.descriptions[0] == "Thing 0 is. There."
    assert entities.image_paths[0] == "entities/cleaned-images/Q1.png"


def test_ingest_takes_the_wikidiverse_folder(wiki: WikiServer, crawls: Crawls) -> None:
    for number in range(3):
        with_picture(wiki, f"Thing {number}", f"Q{number + 1}")
    options = replace(crawls.options, layout="wikidiverse")
    crawls("Thing 0\nThing 1\nThing 2\nNowhere\n", options=options)
    item = [
        "Thing 1 is.",
        "",
        "Thing 1",
        "x",
        [],
        [],
        "u/Thing 1",
        ["u/Thing 0", "u/Nowhere"],
        "t",
        0,
        7,
    ]
    (crawls.folder / "candidates").mkdir()
    for split in ("train", "valid", "test"):
        path = crawls.folder / "candidates" / f"{split}_w_10cands.json"
        path.write_text(json.dumps([[*item[:4], "", "", *item[6:]]]))
    assert layout_of(crawls.folder) == ("wikidiverse", "raw")
    entities = open_raw(crawls.folder, IngestOptions()).entities
    known = dict(zip(entities.titles, entities.image_paths, strict=True))
    assert known["Thing 0"].startswith("images/")
    assert known["Nowhere"] == ""
    assert "Thing 1: Thing 1 is. There." in entities.texts


# command ----------------------------------------------------------------------------------------


def test_the_command_crawls_and_shows_where_it_stands(
    wiki: WikiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_picture(wiki, "Ada", "Q1")
    (tmp_path / "list").write_text("Q1\tAda\nQ2\tBea\n")
    arguments = ["build", "images", str(tmp_path / "list"), "-o", str(tmp_path / "out")]
    asked = ["--api", wiki.api, "--wikidata-api", wiki.api, "--insecure-http", "--json"]
    assert main([*arguments, *asked]) == 2
    assert "no contact is given" in capsys.readouterr().err
    assert main([*arguments, *asked, "--contact", "https://example.org/me"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["total"], done["left"], done["files"]) == (2, 0, 1)
    assert main(["build", "images", "-o", str(tmp_path / "out"), "--status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == done
    assert main(["build", "images", "-o", str(tmp_path / "out")]) == 2
    assert main(["build", "images", "-o", str(tmp_path / "none"), "--status"]) == 3
    assert "manifest.sqlite is missing" in capsys.readouterr().err


def test_time_left_is_told_by_the_pace_of_the_last_run(wiki: WikiServer, crawls: Crawls) -> None:
    crawls("Q1\n")
    with closing(CrawlManifest(crawls.folder)) as manifest, manifest.transaction():
        manifest.db.execute("UPDATE run SET started = 100, updated = 110, finished = 20")
        manifest.db.executemany(
            "INSERT INTO entity (key, state) VALUES (?, 'named')",
            [(f"Q{n}",) for n in range(2, 42)],
        )
    status = crawl_status(crawls.folder)
    assert (status.left, status.seconds_left) == (40, 20.0)


@pytest.mark.parametrize("width", [80, 120])
def test_the_status_view(width: int) -> None:
    status = CrawlStatus(
        folder="own\x1b[31m", total=18_880, left=5_000,
        entities=(
            StateCount("bare", "no picture on the page", 1_200), StateCount("bare", "no such page", 80),
            StateCount("done", "", 12_580), StateCount("failed", "http 503", 20),
            StateCount("named", "", 5_000),
        ),
        pictures=(StateCount("done", "", 12_400), StateCount("refused", "too small", 44)),
        files=12_400, bytes=310_000_000, briefs=13_700, redirected=400, normalised=12, runs=2,
        calls=1_390, requests=12_460, seconds=5_200.0, seconds_left=1_870.0,
    )  # fmt: skip
    views = "".join(shown(view, width=width) for view in crawl_views(status))
    check_snapshot(f"crawl-{width}", views)
