"""What is asked of the APIs, batch by batch, and how each answer moves entities on.

::

    new ─(item)→ named ─(page)→ lead ─(files)→ ready ─(fetched)→ done
                                 ↓ none fits      ↓ all refused
                              listing ─(the page's files)→ files → ready | bare

Each method is one batch of requests and one transaction; killed in between, the batch is asked again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from featurestore.construct import picture_choice as rule
from featurestore.construct.crawl_input import file_name
from featurestore.construct.crawl_layout import Layout
from featurestore.construct.crawl_manifest import CrawlManifest
from featurestore.construct.crawl_rows import ending, facts_of, picture_state, said_of
from featurestore.construct.halving import API, answers
from featurestore.construct.wiki_api import WikiApi
from featurestore.construct.wiki_facts import FileFacts, ItemFacts, PageFacts
from featurestore.construct.wiki_manners import BATCH
from featurestore.construct.wiki_pages import (
    ask_files,
    ask_files_of,
    ask_items,
    ask_pages,
    batches,
    is_legal,
)


class Stages:
    """The steps of a crawl that ask an API.

    ``asks_items``: ask for the pictures (P18) of items too, not only for the titles of QIDs.
    ``finished``: is called for every entity that has reached its end.
    """

    def __init__(
        self,
        manifest: CrawlManifest,
        *,
        wiki: WikiApi,
        items: WikiApi,
        asks_items: bool,
        layout: Layout,
        width: int,
        non_free: bool,
        site: str,
        language: str,
        finished: Callable[[], None],
    ) -> None:
        self._manifest, self._wiki, self._items, self._layout = manifest, wiki, items, layout
        self._asks_items = asks_items
        self._width, self._non_free = width, non_free
        self._site, self._language = site, language
        self._finished = finished

    def step(self) -> bool:
        """Ask one batch: the latest step that fills one, else the earliest that has anything.

        Returns:
            whether there was anything to ask.
        """
        manifest = self._manifest
        waiting = (
            (self._resolve, manifest.waiting("new", BATCH)),
            (self._look_up, manifest.waiting("named", BATCH)),
            (self._list, manifest.waiting("listing", BATCH)),
            (self._describe, manifest.unnamed_pictures(BATCH)),
        )
        full = [(ask, rows) for ask, rows in reversed(waiting) if len(rows) == BATCH]
        for ask, rows in (*full, *waiting):
            if rows:
                ask(rows)
                return True
        return False

    def end(self, entity: sqlite3.Row, state: str, reason: str = "") -> None:
        """An entity has reached its end."""
        self._manifest.set_state(entity["number"], state, reason)
        self._finished()

    # items and pages ---------------------------------------------------------------------------------

    def _resolve(self, rows: list[sqlite3.Row]) -> None:
        """QIDs → titles."""
        found = self._about([row["qid"] for row in rows])
        with self._manifest.transaction():
            for row, item in zip(rows, found, strict=True):
                self._manifest.update(
                    "entity", row["number"], {"title": item.title} | said_of(row, item)
                )
                if item.problem:
                    self.end(row, *ending(item.problem))
                else:
                    self._manifest.set_state(row["number"], "named")

    def _look_up(self, rows: list[sqlite3.Row]) -> None:
        """Titles → pages, their first pictures and briefs; as many as fit in one request."""
        illegal = [row for row in rows if not is_legal(row["title"])]
        legal = [row for row in rows if is_legal(row["title"])]
        first = next(batches(row["title"] for row in legal), [])
        legal = legal[: len(first)]
        found = answers(
            [row["title"] for row in legal],
            lambda part: ask_pages(self._wiki, part, non_free=self._non_free),
            lambda title, code: PageFacts(asked=title, problem=code),
        )
        items = self._items_of(legal, found)
        with self._manifest.transaction():
            for row in illegal:
                self.end(row, "bare", "invalid title")
            for row, page in zip(legal, found, strict=True):
                self._keep_page(row, page, items.get(row["qid"] or page.qid))

    def _items_of(self, rows: list[sqlite3.Row], pages: list[PageFacts]) -> dict[str, ItemFacts]:
        """The items of pages of which neither ``--details`` nor Wikidata has told anything yet."""
        unknown = [
            qid
            for row, page in zip(rows, pages, strict=True)
            if (qid := row["qid"] or page.qid) and not row["item_known"] and not page.problem
        ]
        if not self._asks_items:
            return {}
        return {item.asked: item for item in self._about(list(dict.fromkeys(unknown)))}

    def _about(self, qids: list[str]) -> list[ItemFacts]:
        """What Wikidata says of items."""
        return answers(
            qids,
            lambda part: ask_items(self._items, part, site=self._site, language=self._language),
            lambda qid, code: ItemFacts(asked=qid, problem=code),
        )

    def _keep_page(self, row: sqlite3.Row, page: PageFacts, item: ItemFacts | None) -> None:
        said = said_of(row, item) if item else {"image": row["image"]}
        qid = row["qid"] or page.qid
        unknown = item.problem if item and item.problem.startswith(API) else ""
        problem = (
            page.problem or self._other_entity(row, page) or self._unplaceable(row, qid) or unknown
        )
        values = {
            "normalised": page.normalised,
            "redirected": page.redirected,
            "page_title": page.title,
            "page_id": page.page_id,
            "qid": row["qid"] if problem else qid,
            "brief": "" if problem else page.brief,
            **said,
        }
        self._manifest.update("entity", row["number"], values)
        if problem:
            self.end(row, *ending(problem))
            return
        leads = [file_name(name) for name in (said["image"], page.lead) if name]
        leads = [name for name in leads if not rule.refused_by_name(name, is_lead=True)]
        self._manifest.choose(row["number"], leads, is_lead=True)
        self._manifest.set_state(row["number"], "lead" if leads else "listing")
        self.decide(row["number"])

    def _other_entity(self, row: sqlite3.Row, page: PageFacts) -> str:
        """A redirect from a QID's title to the page of another item shows something else."""
        differs = bool(row["qid"] and page.qid and row["qid"] != page.qid)
        return "redirects to another entity" if differs and page.redirected else ""

    def _unplaceable(self, row: sqlite3.Row, qid: str) -> str:
        """Why the layout has no place for it."""
        if not self._layout.by_qid or row["qid"]:
            return ""
        if not qid:
            return "no item"
        query = "SELECT 1 FROM entity WHERE qid = ? AND number <> ?"
        twice = self._manifest.db.execute(query, (qid, row["number"])).fetchone()
        return "same entity as another title" if twice else ""

    # pictures ----------------------------------------------------------------------------------------

    def _list(self, rows: list[sqlite3.Row]) -> None:
        """The other pictures of pages; as many pages as fit in one request."""
        titles = next(batches(dict.fromkeys(row["page_title"] for row in rows)), [])
        rows = [row for row in rows if row["page_title"] in set(titles)]
        found: dict[str, list[str] | str] = {}

        def ask(part: Sequence[str]) -> list[tuple[str, list[str] | str]]:
            return list(ask_files_of(self._wiki, part).items())

        found.update(answers(titles, ask, lambda title, code: (title, code)))
        with self._manifest.transaction():
            for row in rows:
                names = found[row["page_title"]]
                if isinstance(names, str):
                    self.end(row, *ending(names))
                    continue
                chosen = rule.worth_asking([file_name(n) for n in names], row["page_title"])
                self._manifest.choose(row["number"], chosen, is_lead=False)
                self._manifest.update("entity", row["number"], {"listed": 1, "state": "files"})
                self.decide(row["number"])

    def _describe(self, rows: list[sqlite3.Row]) -> None:
        """Size, type, address and licence of picture files; as many as fit in one request."""
        names = next(batches(f"File:{row['name']}" for row in rows), [])
        rows = rows[: len(names)]
        found = answers(
            [row["name"] for row in rows],
            lambda part: ask_files(self._wiki, part, width=self._width),
            lambda name, code: FileFacts(asked=name, problem=code),
        )
        with self._manifest.transaction():
            for row, facts in zip(rows, found, strict=True):
                self._keepfacts_of(row["number"], facts)
            for row in rows:
                for entity in self._manifest.deciding(row["number"]):
                    self.decide(entity["number"])

    def _keepfacts_of(self, number: int, facts: FileFacts) -> None:
        problem = facts.problem
        values = {
            "state": picture_state(problem),
            "reason": problem,
            "mime": facts.mime,
            "media_type": facts.media_type,
            "width": facts.width,
            "height": facts.height,
            "url": facts.url,
            "thumb_url": facts.thumb_url,
            "page_url": facts.page_url,
            "author": facts.author,
            "credit": facts.credit,
            "license": facts.license,
            "license_url": facts.license_url,
            "is_free": facts.is_free,
        }
        self._manifest.update("picture", number, values)

    def decide(self, number: int) -> None:
        """Choose among an entity's pictures, if all are described; inside a transaction."""
        query = "SELECT * FROM entity WHERE number = ?"
        entity = self._manifest.db.execute(query, (number,)).fetchone()
        choices = self._manifest.choices(number)
        waits = any(each["state"] == "named" for each in choices)
        if entity["state"] not in ("lead", "files") or waits:
            return
        fit: list[tuple[float, int]] = []
        for each in choices:
            facts = facts_of(each)
            is_lead = bool(each["is_lead"])
            undescribed = each["state"] == "failed" and not each["thumb_url"]
            unfit = ""
            if not undescribed:
                unfit = rule.refused_by_facts(facts, is_lead=is_lead, non_free=self._non_free)
            value = 0.0 if is_lead else rule.score(facts, entity["page_title"])
            self._manifest.judge(number, each["number"], unfit=unfit, score=value)
            if not unfit and not is_lead:
                fit.append((-value, each["number"]))
        for value, picture in sorted(fit)[rule.MOST_TRIED :]:
            self._manifest.judge(number, picture, unfit="not among the best", score=-value)
        if self._usable(number):
            self._manifest.set_state(number, "ready")
        else:
            self.without_picture(entity)

    def _usable(self, number: int) -> bool:
        return any(
            not each["unfit"] and each["state"] in ("known", "done", "failed")
            for each in self._manifest.choices(number)
        )

    def without_picture(self, entity: sqlite3.Row) -> None:
        """None of an entity's pictures can be used: look at the page's other ones, once."""
        if not entity["listed"]:
            self._manifest.set_state(entity["number"], "listing")
            return
        none = not self._manifest.choices(entity["number"])
        self.end(entity, "bare", "no picture on the page" if none else "no picture fits")
