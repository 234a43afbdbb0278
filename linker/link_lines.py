"""Mentions in JSON lines, answers in JSON lines, in the same order; neither file is held in memory."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, BinaryIO, TextIO

from featurestore.disk import sync_path, write_errors
from featurestore.errors import SourceError, WriteError
from featurestore.progress import Progress, Silent
from featurestore.target import check_target, remove_leftovers
from linker.link import Linker
from linker.link_mentions import MentionError, MentionInput, mention_from_json


@dataclass(frozen=True, kw_only=True)
class LinkSummary:
    """What was linked.

    ``pictures``: word on a mention's picture (:class:`linker.link.Linked`) → mentions.
    ``without_candidates``: mentions that no title is like. ``notes``: on all answers.
    """

    mentions: int
    pictures: dict[str, int]
    without_candidates: int
    notes: list[str]
    seconds: float


def link_lines(
    linker: Linker,
    source: Path,
    write: Callable[[dict[str, Any]], object],
    *,
    top: int = 5,
    progress: Progress | None = None,
) -> LinkSummary:
    """Link every line of a file and hand over the answers of each, in order.

    Args:
        source: one object a line, see :func:`linker.link_mentions.mention_from_json`; relative
            pictures are below its folder.
        write: receives what :meth:`linker.link.Linked.as_dict` gives.
        top: answers of each mention, at most.

    Raises:
        SourceError: the file cannot be read.
        MentionError: a line that describes no mention; names file and line.
        UnknownId: a given candidate is no entity; names file and line.
    """
    pictures: Counter[str] = Counter()
    without = 0
    started = perf_counter()
    with (
        _reading(source) as file,
        (progress or Silent()).stage("link", _count(source), "mentions") as stage,
    ):
        for linked in linker.stream(read_mentions(file, source), top=top):
            write(linked.as_dict())
            pictures[linked.picture] += 1
            without += not linked.candidates
            stage.advance(1)
    return LinkSummary(
        mentions=pictures.total(),
        pictures=dict(pictures.most_common()),
        without_candidates=without,
        notes=linker.notes,
        seconds=round(perf_counter() - started, 3),
    )


def read_mentions(lines: Iterable[bytes], source: Path) -> Iterator[MentionInput]:
    """The mentions of lines that come from ``source``; blank lines are passed over.

    Raises:
        MentionError: a line that describes no mention.
    """
    for number, line in enumerate(lines, start=1):
        where = f"{source}:{number}"
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")  # some editors begin a file with this mark
        if not line.strip():
            continue
        try:
            value = json.loads(line.decode())
        except (ValueError, RecursionError) as error:
            raise MentionError(
                f"not a line of JSON: {error}",
                where=where,
                hint='a line holds one object: {"sentence": "… [[mention]] …", "image": "photo.jpg"}',
            ) from error
        yield mention_from_json(value, folder=source.parent, where=where)


@contextmanager
def new_file(target: Path, *, overwrite: bool = False) -> Iterator[TextIO]:
    """A text file that stands at ``target`` when the ``with`` block ends well, and not before.

    Raises:
        WriteError: the target exists or cannot be made, or the disk is full.
    """
    check_target(target, overwrite=overwrite)
    remove_leftovers(target)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    with write_errors(target, when_full="free some space, or name a file on another disk"):
        file = _created(part)
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, target)
            sync_path(target.parent)
        finally:
            part.unlink(missing_ok=True)


def _created(path: Path) -> TextIO:
    try:
        return path.open("w", encoding="utf-8", newline="\n")
    except OSError as error:
        raise WriteError(
            f"cannot create the file ({error.strerror})",
            where=str(path.parent),
            hint="choose a folder that you may write to, and a name that is not too long",
        ) from error


@contextmanager
def _reading(source: Path) -> Iterator[BinaryIO]:
    try:
        file = source.open("rb")
    except OSError as error:
        raise SourceError(
            f"the mentions cannot be read: {error.strerror}",
            where=str(source),
            hint='give a file with one object a line: {"sentence": "… [[mention]] …"}',
        ) from error
    with file:
        yield file


def _count(source: Path) -> int:
    """Lines of a file, for the progress bar; 0 where reading them would use them up."""
    if not source.is_file():
        return 0
    with source.open("rb") as file:
        return sum(1 for line in file if line.strip())
