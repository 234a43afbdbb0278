"""The entities that mentions can mean, cut out of all titles: ``drin-fs build entities``.

    build_entities(Path("own/mentions"), Path("candidates-answer.tsv"), Path("titles.tsv"),
                   Path("own/entities/qid-entity.tsv"))

Every entity of ``qid-entity.tsv`` is crawled, encoded and stored; of a whole Wikidata dump these are ten
million, of which the mentions can mean some thousands: those in their candidate lists, and the golds.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from featurestore.construct.mention_texts import read_golds
from featurestore.construct.seen import Ids
from featurestore.construct.title_table import existing
from featurestore.disk import sync_path, write_errors
from featurestore.errors import ConfigError, SourceError
from featurestore.progress import Progress, Silent
from featurestore.sources.notes import first_of
from featurestore.sources.textfiles import numbered_lines
from featurestore.target import check_target, make_folder, remove_leftovers

_FULL = "make room, then run the same command again"

#: What to do about a line that is none of these files'.
_ABOUT_TITLES = "give the table that drin-fs build titles wrote: QID, tab, title; a line an entity"
_ABOUT_DETAILS = "give --details what drin-fs build titles --details wrote"

#: Bytes between two words about the progress, and ids that are named (chosen here).
_STEP, _NAMED = 1_000_000, 5

#: What ``build titles --details`` writes first in a line; lines in another spelling are parsed.
_DETAILS = re.compile(rb'\{"qid":"([^"\\]+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class EntitiesCut:
    """What was kept.

    ``entities``: written, of ``titles`` lines. ``candidates`` and ``golds``: distinct ones.
    ``golds_missing``: golds without a title, of which ``examples`` are the first. ``details``: the file
    that was cut too, with ``details_kept`` lines; "" = none.
    """

    output: str
    entities: int
    titles: int
    candidates: int
    golds: int
    golds_missing: int
    examples: tuple[str, ...]
    details: str
    details_kept: int


def build_entities(
    mentions: Path,
    candidates: Path,
    titles: Path,
    output: Path,
    *,
    details: Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> EntitiesCut:
    """Write the titles of all candidates and golds, in the order of ``titles``.

    Files are streamed; memory holds a bit for each QID. An interrupted run leaves nothing.

    Args:
        mentions: see :mod:`featurestore.construct.mention_texts`; their golds are kept.
        candidates: mention id TAB QID TAB QID … a line.
        titles: QID TAB title a line.
        details: of ``build titles``; its lines about these entities are written under the same name to
            the folder of ``output``.
        overwrite: replace files that stand there.

    Raises:
        SourceError: a file is missing or malformed, or has no title of a candidate.
        ConfigError: a file would replace the one that it is cut out of.
        WriteError: an output exists, or cannot be written.
    """
    beside = output.parent / details.name if details is not None else None
    _check(titles, output, "titles", overwrite)
    if details is not None and beside is not None:
        _check(details, beside, "details", overwrite)
    listed, golds = _candidates(existing(candidates, "candidates")), Ids()
    for gold in read_golds(mentions):
        golds.add(gold)
    show = progress or Silent()
    with _Parts() as parts:
        table = _TitleCut(listed, golds)
        read = parts.cut(titles, output, table, show, hint=_ABOUT_TITLES)
        _check_candidates(candidates, titles, listed, table)
        kept = 0
        if details is not None and beside is not None:
            of_details = _DetailCut(table.kept)
            parts.cut(details, beside, of_details, show, hint=_ABOUT_DETAILS)
            kept = of_details.count
        missing = _missing(mentions, table.kept)
        parts.publish()
    return EntitiesCut(
        output=str(output),
        entities=table.kept.count,
        titles=read,
        candidates=listed.count,
        golds=golds.count,
        golds_missing=len(missing),
        examples=tuple(missing[:_NAMED]),
        details=str(beside) if beside is not None else "",
        details_kept=kept,
    )


def _check(source: Path, target: Path, what: str, overwrite: bool) -> None:
    existing(source, what)
    if target.exists() and target.samefile(source):
        raise ConfigError(
            f"the {what} would be replaced by what is cut out of them",
            where=str(target),
            hint="write to another folder",
        )
    check_target(target, overwrite=overwrite, makes_folder=True)


def _candidates(path: Path) -> Ids:
    listed = Ids()
    for number, line in numbered_lines(path):
        mention, *qids = line.split("\t")
        if not (mention and qids and all(qids)):
            raise SourceError(
                f"expected mention id TAB QID TAB QID …, found {line[:80]!r}",
                where=f"{path}, line {number}",
                hint="give the list that drin-fs build candidates wrote",
            )
        for qid in qids:
            listed.add(qid)
    return listed


def _check_candidates(candidates: Path, titles: Path, listed: Ids, table: _TitleCut) -> None:
    """Candidates without a title cannot be stored: the titles are not those that they were found in."""
    if table.candidates == listed.count:
        return
    for number, line in numbered_lines(candidates):
        strangers = [qid for qid in line.split("\t")[1:] if qid not in table.kept]
        if strangers:
            raise SourceError(
                f"{listed.count - table.candidates:,} candidates have no title in {titles}: "
                + first_of(strangers),
                where=f"{candidates}, line {number}",
                hint="give the titles that drin-fs build candidates read",
            )


def _missing(mentions: Path, kept: Ids) -> list[str]:
    return list(dict.fromkeys(gold for gold in read_golds(mentions) if gold not in kept))


# cutting ----------------------------------------------------------------------------------------


class _TitleCut:
    """Which lines of the titles are kept; ``kept``: their QIDs, ``candidates`` of them listed ones."""

    def __init__(self, listed: Ids, golds: Ids) -> None:
        self.kept = Ids()
        self.candidates = 0
        self._listed, self._golds = listed, golds

    def __call__(self, line: bytes) -> bool:
        name, tab, title = line.partition(b"\t")
        qid = name.decode()
        if not (tab and qid and title):
            raise ValueError(
                f"expected QID TAB title, found {line[:80].decode(errors='replace')!r}"
            )
        is_listed = qid in self._listed
        if not is_listed and qid not in self._golds:
            return False
        title.decode()
        self.candidates += is_listed
        if not self.kept.add(qid):
            raise ValueError(f"entity {qid!r} stands twice")
        return True


class _DetailCut:
    """Which lines of the details are kept, ``count`` of them."""

    def __init__(self, kept: Ids) -> None:
        self.count = 0
        self._kept = kept

    def __call__(self, line: bytes) -> bool:
        found = _DETAILS.match(line)
        item = None if found else json.loads(line)
        qid = found[1].decode() if found else item.get("qid") if isinstance(item, dict) else None
        if not isinstance(qid, str):
            raise ValueError("expected a JSON object with a qid")
        is_kept = qid in self._kept
        self.count += is_kept
        return is_kept


class _Parts:
    """Files that are written beside their places, and take them together."""

    def __init__(self) -> None:
        self._made: list[tuple[Path, Path]] = []

    def cut(
        self,
        source: Path,
        target: Path,
        keeps: Callable[[bytes], bool],
        progress: Progress,
        *,
        hint: str,
    ) -> int:
        """Write the lines that are kept; how many there were. ``hint``: about a malformed line."""
        make_folder(target.parent)
        remove_leftovers(target)
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        self._made.append((part, target))
        total, done, shown, number = source.stat().st_size, 0, 0, 0
        with (
            write_errors(target, when_full=_FULL),
            progress.stage(source.name, total, "bytes") as stage,
            source.open("rb") as lines,
            part.open("wb") as file,
        ):
            for number, line in enumerate(lines, start=1):
                done += len(line)
                if done - shown >= _STEP:
                    stage.advance(done - shown)
                    shown = done
                try:
                    if (text := line.rstrip(b"\r\n")) and keeps(text):
                        file.write(text + b"\n")
                except (ValueError, RecursionError) as error:  # JSON and UTF-8 errors are such
                    raise SourceError(
                        str(error), where=f"{source}, line {number}", hint=hint
                    ) from error
            stage.advance(done - shown)
        return number

    def publish(self) -> None:
        """The table last: where it stands, all is there."""
        for part, target in reversed(self._made):
            with write_errors(target, when_full=_FULL):
                sync_path(part)
                os.replace(part, target)
                sync_path(target.parent)

    def __enter__(self) -> _Parts:
        return self

    def __exit__(self, *_: object) -> None:
        for part, _target in self._made:
            with suppress(OSError):
                part.unlink()
