"""Fetch a picture and a brief for every entity of a list from a wiki, and go on after any interruption.

The main thread asks the API, one request at a time, and is the only one that writes the manifest; a few
threads fetch pictures meanwhile. All that is to be done next is read from the manifest, so that a crawl
that was killed and one that was never begun are the same to it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2

from featurestore.construct import crawl_check, crawl_output
from featurestore.construct.crawl_input import add_details, add_entities, read_entities
from featurestore.construct.crawl_layout import LAYOUTS, Layout
from featurestore.construct.crawl_manifest import ENTITY_STATES, FINISHED, CrawlManifest
from featurestore.construct.crawl_options import CrawlOptions
from featurestore.construct.crawl_stages import Stages
from featurestore.construct.crawl_status import CrawlStatus, status_of
from featurestore.construct.picture_fetch import (
    Fetched,
    Fetcher,
    Wanted,
    found_on_disk,
    link_or_copy,
)
from featurestore.construct.wiki_api import WikiApi, open_client
from featurestore.construct.wiki_errors import RESUME, WikiError
from featurestore.construct.wiki_line import Line
from featurestore.construct.wiki_manners import MOST_BYTES_A_SECOND, Host, Patience
from featurestore.disk import write_errors
from featurestore.errors import WriteError
from featurestore.lock import Held, Lock
from featurestore.progress import Progress, Silent, Stage

#: Entities that wait for a picture before the API is asked for more (chosen here: four batches).
_MOST_READY = 200

#: Pictures in a row that fail for now before the run ends: the server is down, not the pictures.
_MOST_FAILURES = 20


def crawl(
    entities: Path,
    folder: Path,
    *,
    options: CrawlOptions,
    details: Path | None = None,
    limit: int | None = None,
    retry: bool = False,
    patience: Patience | None = None,
    progress: Progress | None = None,
) -> CrawlStatus:
    """Fetch pictures and briefs to ``folder``, and write the raw layout's files.

    Args:
        entities: a list, see :func:`featurestore.construct.crawl_input.read_entities`.
        details: what ``build titles --details`` wrote: P18 names and titles.
        limit: read only so many lines of ``entities``.
        retry: begin again what failed before.

    Returns:
        where the crawl stands; its ``left`` is 0.

    Raises:
        ConfigError: no contact, or an option that differs from what the crawl was begun with.
        SourceError: a list, or the manifest, cannot be read.
        WikiError: a server cannot be reached or refuses; what was fetched is kept.
        WriteError: the folder cannot be written, or another process crawls into it.
    """
    agent = options.check()
    progress = progress or Silent()
    layout = LAYOUTS[options.layout]
    with write_errors(folder / "manifest", when_full=RESUME):
        (folder / layout.pictures).mkdir(parents=True, exist_ok=True)
        with _locked(folder), closing(CrawlManifest(folder)) as manifest:
            _prepare(manifest, folder, layout, options, entities)
            if (
                again := 0
                if manifest.created
                else crawl_check.check_files(manifest, folder, layout)
            ):
                progress.note(f"{again} pictures are gone from disk or damaged: fetched again")
            if repeated := add_entities(manifest, read_entities(entities), limit=limit):
                progress.note(f"lines that name an entity again, not used: {repeated}")
            if details is not None:
                progress.note(f"entities with details: {add_details(manifest, details)}")
            if retry:
                progress.note(f"begun again: {crawl_check.retry_failed(manifest)}")
            crawler = _Crawl(manifest, folder, layout, options, patience or Patience(), progress)
            crawler.run(agent)
            crawl_output.write_layout(manifest, folder, layout, read=entities)
            return status_of(manifest)


def _prepare(
    manifest: CrawlManifest, folder: Path, layout: Layout, options: CrawlOptions, entities: Path
) -> None:
    if manifest.created:
        try:
            crawl_check.check_new(folder, layout, entities)
        except WriteError:
            manifest.path.unlink()
            raise
    manifest.keep_settings(options.lasting())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        lock = Lock(folder / ".manifest.lock")
    except Held as error:
        raise WriteError(
            f"another crawl writes here: {error.holder}", where=str(folder), hint=error.stale_hint
        ) from error
    try:
        yield
    finally:
        lock.release()


class _Crawl:
    """One run."""

    def __init__(
        self,
        manifest: CrawlManifest,
        folder: Path,
        layout: Layout,
        options: CrawlOptions,
        patience: Patience,
        progress: Progress,
    ) -> None:
        self._manifest, self._folder, self._layout = manifest, folder, layout
        self._options, self._patience, self._progress = options, patience, progress
        self._run = manifest.begin_run()
        self._in_flight: dict[int, sqlite3.Row] = {}  # picture → the entity that it is fetched for
        self._failures = 0
        self._found = not manifest.created  # files of a run that was killed may lie about
        self._stage: Stage = Silent()

    def run(self, agent: str) -> None:
        """Until no entity has work left."""
        options = self._options
        unfinished = [state for state in ENTITY_STATES if state not in FINISHED]
        with (
            ExitStack() as clients,
            self._progress.stage("entities", self._manifest.count(unfinished), "entities") as stage,
        ):
            asking, *fetching = (
                Line(clients.enter_context(self._client(agent))) for _ in range(1 + options.threads)
            )
            self._stage = stage
            host = self._host("api")
            self._wiki = WikiApi(options.wiki_api, line=asking, host=host, patience=self._patience)
            self._items = WikiApi(
                options.wikidata_api, line=asking, host=host, patience=self._patience
            )
            self._stages = Stages(
                self._manifest, wiki=self._wiki, items=self._items,
                asks_items=options.asks_items, layout=self._layout,
                width=options.width, non_free=options.non_free, site=options.site,
                language=options.language, finished=self._finished,
            )  # fmt: skip
            self._fetcher = Fetcher(
                fetching, host=self._host("pictures"), patience=self._patience,
                most_bytes=options.most_bytes,
            )  # fmt: skip
            try:
                self._loop()
            finally:
                self._fetcher.close()
        self._manifest.end_run(self._run)

    def _client(self, agent: str) -> httpx2.Client:
        return open_client(agent, insecure=self._options.insecure, patience=self._patience)

    def _host(self, what: str) -> Host:
        tell = self._progress.note
        return Host(
            bytes_a_second=MOST_BYTES_A_SECOND,
            tell=lambda text: tell(f"the {what} server {text}"),
        )

    def _finished(self) -> None:
        self._manifest.add_to_run(self._run, finished=1)
        self._stage.advance(1)

    def _loop(self) -> None:
        while True:
            for result in self._fetcher.results(wait=False):
                self._keep(result)
            self._begin_fetching()
            crowded = self._manifest.count(("ready",)) >= _MOST_READY
            if not crowded and self._ask():
                continue
            if not self._fetcher.running and not crowded:
                return
            for result in self._fetcher.results(wait=True):
                self._keep(result)

    def _ask(self) -> bool:
        before = self._wiki.calls + self._items.calls
        asked = self._stages.step()
        if calls := self._wiki.calls + self._items.calls - before:
            self._manifest.add_to_run(self._run, calls=calls)
        return asked

    # pictures ----------------------------------------------------------------------------------------

    def _begin_fetching(self) -> None:
        """Hand pictures to the threads: one each, and one each in reserve."""
        most = 2 * self._options.threads
        going_on = True
        while going_on and self._fetcher.running < most:
            going_on = False
            for entity in self._manifest.waiting("ready", most + len(self._in_flight)):
                if self._fetcher.running >= most:
                    return
                going_on |= self._settle(entity)

    def _settle(self, entity: sqlite3.Row) -> bool:
        """Fetch the best picture of an entity, or end it; False = its picture is on the way."""
        for choice in self._manifest.choices(entity["number"]):
            if choice["unfit"] or choice["state"] == "refused":
                continue
            if choice["number"] in self._in_flight:
                return False
            if choice["state"] == "known":
                self._fetch(entity, choice)
                return True
            with self._manifest.transaction():
                if choice["state"] == "done":
                    self._give(entity, choice)
                else:
                    self._stages.end(entity, "failed", choice["reason"])
            return True
        with self._manifest.transaction():
            self._stages.without_picture(entity)
        return True

    def _fetch(self, entity: sqlite3.Row, picture: sqlite3.Row) -> None:
        stem = self._layout.stem(self._folder, entity, picture)
        wanted = Wanted(picture["number"], picture["thumb_url"], stem)
        self._in_flight[picture["number"]] = entity
        if self._found and (found := found_on_disk(wanted)) is not None:
            self._keep(found)
        else:
            self._fetcher.add(wanted)

    def _keep(self, result: Fetched) -> None:
        """Record what became of a picture."""
        entity = self._in_flight.pop(result.number)
        if result.error is not None:
            raise result.error
        values: dict[str, Any] = {"state": result.state, "reason": result.reason}
        if result.path is not None:
            values |= {
                "file": result.path.relative_to(self._folder).as_posix(),
                "format": result.format,
                "bytes": result.bytes,
                "sha256": result.sha256,
            }
        with self._manifest.transaction():
            self._manifest.update("picture", result.number, values)
            self._manifest.db.execute(
                "UPDATE picture SET requests = requests + ? WHERE number = ?",
                (result.requests, result.number),
            )
            if result.path is not None:
                self._manifest.add_to_run(self._run, pictures=1, bytes_=result.bytes)
        self._settle(entity)
        self._failures = self._failures + 1 if result.state == "failed" else 0
        if self._failures >= _MOST_FAILURES:
            raise WikiError(
                f"{self._failures} pictures in a row failed ({result.reason})",
                where=self._options.wiki_api,
                hint=f"{RESUME} (with --retry-failed for these)",
            )

    def _give(self, entity: sqlite3.Row, picture: sqlite3.Row) -> None:
        """An entity gets a picture that is on disk: its own file where the layout has one for each."""
        source = self._folder / picture["file"]
        stem = self._layout.stem(self._folder, entity, picture)
        target = stem.with_name(stem.name + source.suffix)
        if target != source:
            link_or_copy(source, target)
        self._manifest.update(
            "entity",
            entity["number"],
            {
                "picture": picture["number"],
                "file": target.relative_to(self._folder).as_posix(),
            },
        )
        self._stages.end(entity, "done")
