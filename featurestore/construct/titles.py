"""Titles of a Wikidata dump: one pass in little memory, which goes on where it was interrupted."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from featurestore.construct.dump_pieces import Dump
from featurestore.construct.dump_tasks import Task, tasks
from featurestore.construct.entity_lines import Broken, Found, Reading
from featurestore.construct.line_pool import done
from featurestore.construct.seen import Seen
from featurestore.construct.title_work import TitleWork
from featurestore.errors import ConfigError, SourceError
from featurestore.progress import Progress, Silent, Stage
from featurestore.target import check_target

#: Seconds between two checkpoints (chosen here: what an interruption may cost).
CHECKPOINT_SECONDS = 10.0

_MB = 1_000_000

_LANGUAGE = re.compile("[a-z][a-z0-9_-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class TitlesBuilt:
    """What :func:`build_titles` made."""

    target: str
    details: str  # "" = none were asked for
    titles: int
    entities: int  # lines of the dump that were read, broken ones included
    skipped: dict[str, int]  # properties, items without a title, …
    broken: dict[str, int]  # reason → lines
    examples: tuple[Broken, ...]  # the first of each reason
    read_bytes: int  # of the dump's file, by this run
    json_bytes: int  # decompressed, by this run
    resumed_at: int  # decompressed bytes before what this run read; 0 = it began the dump
    seconds: float
    reader: str  # what decompressed it
    jobs: int


def build_titles(
    dump: str,
    target: Path,
    *,
    details: Path | None = None,
    language: str = "en",
    limit: int = 0,
    check_all: bool = False,
    jobs: int = 1,
    overwrite: bool = False,
    restart: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    progress: Progress | None = None,
) -> TitlesBuilt:
    """Write ``QID TAB title`` for each item of a dump that has a Wikipedia page.

    Args:
        dump: the JSON dump, an entity a line, plain or as gzip, bzip2 or zstd; "-" = standard input.
        target: the table; complete when it stands there.
        details: also write label, description, aliases, picture and kinds of each item here, as JSON
            lines (:class:`featurestore.construct.entity_details.Details`).
        language: of the Wikipedia, and of label, description and aliases.
        limit: end after so many titles; 0 = none.
        check_all: parse every line whole, so that no broken one is overlooked.
        jobs: processes that read lines, and threads that decompress.
        overwrite: replace files that stand there.
        restart: give up what an interrupted run finished.
        checkpoint_seconds: after how long what was written counts as finished.

    Raises:
        SourceError: no such dump, it is damaged, or holds no title.
        WriteError: a target exists, cannot be written, or was begun otherwise.
        ConfigError: no such language, the two targets are one file, or nothing that is installed
            decompresses the dump.
    """
    progress = progress or Silent()
    if details is not None and details.absolute() == target.absolute():
        raise ConfigError(
            "titles and details are the same file",
            where=str(target),
            hint="give --details a file of its own",
        )
    if not _LANGUAGE.fullmatch(language):
        raise ConfigError(
            f"{language!r} is no code of a language", hint="--language takes en, de, zh-min-nan, …"
        )
    reading = Reading(language=language, details=details is not None, check_all=check_all)
    source = Dump(dump, threads=jobs)
    try:
        identity = source.identity() | {
            "language": language, "details": details is not None, "limit": limit,
            "check all": check_all,
        }  # fmt: skip
        targets = {"titles": target} | ({"details": details} if details is not None else {})
        with _at_work(targets, identity, overwrite, restart, progress) as work:
            run = _Run(source, work, reading, limit, jobs, checkpoint_seconds, progress)
            if not work.state.finished:
                run.read()
            work.publish()
        return run.result(target, details)
    finally:
        source.close()


@contextmanager
def _at_work(
    targets: dict[str, Path],
    identity: dict[str, object],
    overwrite: bool,
    restart: bool,
    progress: Progress,
) -> Iterator[TitleWork]:
    """The work on the targets; what is kept of it when the block fails is told."""
    for path in targets.values():
        check_target(path, overwrite=True, makes_folder=True)
    work = TitleWork(targets, identity, restart=restart)
    kept = ""
    try:
        if not work.state.finished:  # otherwise one of them may be there already
            for path in targets.values():
                check_target(path, overwrite=overwrite, makes_folder=True)
        yield work
    finally:
        kept = work.close()
        if kept:
            progress.note(kept)


class _Run:
    """One pass, or what is left of it."""

    def __init__(
        self,
        source: Dump,
        work: TitleWork,
        reading: Reading,
        limit: int,
        jobs: int,
        checkpoint_seconds: float,
        progress: Progress,
    ) -> None:
        self._source, self._work, self._reading = source, work, reading
        self._limit, self._jobs, self._progress = limit, jobs, progress
        self._every = checkpoint_seconds
        self._begun = time.monotonic()
        self._resumed = work.state.mark.offset
        self._read_before = work.state.mark.place.compressed
        if source.form == "bzip2":
            self._read_before //= 8
        self._read = 0
        self._shown = 0

    def read(self) -> None:
        """Read the dump to its end, or to the limit."""
        work, state = self._work, self._work.state
        work.open()
        seen = work.seen()
        if self._resumed:
            self._progress.note(
                f"goes on behind {self._resumed / _MB:,.0f} MB of JSON, {state.titles:,} titles"
            )
        self._progress.note(f"reads {self._source.name}: {self._source.reader}")
        saved = time.monotonic()
        total = self._source.size // _MB
        cut = tasks(self._source, state.mark)
        with (
            self._progress.stage("titles", total, "MB") as stage,
            closing(done(cut, self._reading, jobs=self._jobs)) as results,
        ):
            for task, found in results:
                self._keep(found, seen)
                state.mark = task.end
                self._show(stage, task)
                if self._limit and state.titles >= self._limit:
                    break
                if time.monotonic() - saved >= self._every:
                    work.checkpoint()
                    saved = time.monotonic()
        self._check_not_empty()
        state.finished = True
        work.checkpoint()

    def _keep(self, found: Found, seen: Seen) -> None:
        """Write what is new of a task."""
        state = self._work.state
        state.count(found)
        titles, details = [], []
        for number, offset, line, told in found.rows:
            if self._limit and state.titles >= self._limit:
                break
            if not seen.add(number):
                shown = line.decode().strip().replace("\t", " ")
                state.breaks(Broken("an item that came before", offset, shown))
                continue
            state.titles += 1
            titles.append(line)
            details.append(told)
        self._work.write("titles", titles)
        if self._reading.details:
            self._work.write("details", details)

    def _show(self, stage: Stage, task: Task) -> None:
        self._read = task.read
        stage.advance(task.read // _MB - self._shown)
        self._shown = task.read // _MB
        seconds = time.monotonic() - self._begun
        rate = (task.end.offset - self._resumed) / _MB / seconds if seconds else 0.0
        stage.say(f"{self._work.state.titles:,} titles, {rate:,.0f} MB/s of JSON")

    def _check_not_empty(self) -> None:
        state = self._work.state
        if state.titles:
            return
        self._work.discard()
        name = self._source.name
        if state.entities == sum(state.broken.values()):
            first = f"; the first line is {state.examples[0].text!r}" if state.examples else ""
            raise SourceError(
                f"the dump has no entity in any of {state.entities:,} lines{first}",
                where=name,
                hint="expected Wikidata's JSON dump: one entity a line",
            )
        raise SourceError(
            f"none of {state.entities:,} entities has a title on {self._reading.site}",
            where=name,
            hint="see that --language names a Wikipedia, as in en, de, zh-min-nan",
        )

    def result(self, target: Path, details: Path | None) -> TitlesBuilt:
        state = self._work.state
        return TitlesBuilt(
            target=str(target),
            details=str(details) if details else "",
            titles=state.titles,
            entities=state.entities,
            skipped=dict(sorted(state.skipped.items())),
            broken=dict(sorted(state.broken.items())),
            examples=tuple(state.examples),
            read_bytes=max(self._read - self._read_before, 0),
            json_bytes=state.mark.offset - self._resumed,
            resumed_at=self._resumed,
            seconds=time.monotonic() - self._begun,
            reader=self._source.reader,
            jobs=self._jobs,
        )
