"""Copy one remote file to this machine: in pieces, several at a time, continued where it was cut off.

Beside the target stand, until it is whole, ``.NAME.part`` (the file, with holes) and
``.NAME.part.done``: a line of JSON that says of what, then a line for each piece that is there. The
file is known by the header in its first page, which digests everything else; so a server may give it
another name and the copy goes on, and what was begun of another state of the file is thrown away.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from featurestore import remote_transfer
from featurestore.catalog import Catalog
from featurestore.catalog_json import decode_catalog
from featurestore.disk import free_bytes, sync_path, write_errors
from featurestore.errors import StoreError, WriteError
from featurestore.header import FIRST_PAGE, parse_header, read_catalog_bytes
from featurestore.opening import read_catalog
from featurestore.progress import Progress, Stage
from featurestore.remote_check import Span, damage
from featurestore.remote_part import Part, write_at
from featurestore.remote_source import Changed, Head, Transient
from featurestore.remote_transfer import Transfer, cut

_MEGABYTE = 1_000_000

#: What to do where the disk is full, or fails.
GO_ON = "what was fetched is kept: make room, then run the command again"
SOUND = "see who may write there and that the disk is sound, then run the command again"


def refuse_without_room(target: Path, needed: int, there: int) -> None:
    """Refuse what does not fit on the disk of a target.

    Args:
        needed, there: bytes of all that is to stand there, and that its unfinished files have already.

    Raises:
        WriteError: it does not.
    """
    free = free_bytes(target.absolute().parent)
    if needed > free + there:
        raise WriteError(
            f"the store has {needed / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free",
            where=str(target),
            hint="make room, or name a file on another disk with -o",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """What else a copy is asked: ``head`` of the file when it is found, before any of it comes;
    ``catalog`` as soon as that is here, and once more when all was compared. Either may refuse.
    """

    head: Callable[[Head], None]
    catalog: Callable[[Catalog], None]


class Copy:
    """One file on its way.

    Args:
        name: of the stage that is shown.
    """

    def __init__(
        self, transfer: Transfer, target: Path, progress: Progress, *, name: str, checks: Checks
    ) -> None:
        self.part = Part(target)
        self.traffic = transfer.traffic
        self.size = self.resumed = self.repaired = self.compared = 0
        self._transfer, self._target, self._progress = transfer, target, progress
        self._name, self._checks = name, checks
        self._url = transfer.url
        self._patience = transfer.patience

    def run(self) -> None:
        """Until the part is the whole file, compared and on disk.

        Raises:
            StoreError: no store, it changed on the way, or is damaged where it is; or what checks raise.
            WriteError: the disk is full or fails.
        """
        head = self._transfer.head(FIRST_PAGE)
        self._refuse_others(head)
        with write_errors(self._target, when_full=GO_ON, otherwise=SOUND):
            self._get(head)
            self._verify(head)
            sync_path(self.part.path)
        self.size = self.part.path.stat().st_size
        self._checks.catalog(read_catalog(self.part.path))

    def publish(self) -> None:
        """Put the copy at its place."""
        os.replace(self.part.path, self._target)
        sync_path(self._target.absolute().parent)
        self.part.journal.unlink(missing_ok=True)

    def _get(self, head: Head) -> None:
        if head.ranges and head.size is not None:
            self._in_pieces(head, head.size)
        else:
            self._at_once(head)

    def _refuse_others(self, head: Head) -> None:
        """Refuse what is no store before gigabytes of it come.

        Raises:
            StoreError: it is none.
        """
        size = head.size if head.size is not None else 0
        known = head.data.startswith(b"\x89HDF")
        if not known:
            raise StoreError(
                "not a drin-fs store", where=str(self._url), hint="see that the URL is right"
            )
        if size:
            parse_header(head.data, size, self._url)
        self._checks.head(head)
        self.size = size
        refuse_without_room(self._target, size, self.part.allocated)

    def _in_pieces(self, head: Head, size: int) -> None:
        if self.part.resume(head) == "changed":
            self._progress.note("the file is another one than when this fetch began: starting over")
        pieces = cut(0, size)
        left = [span for number, span in enumerate(pieces) if number not in self.part.done]
        self.resumed = size - sum(stop - start for start, stop in left)
        if self.resumed:
            self._progress.note(f"{self.resumed / 1e9:.2f} GB of {size / 1e9:.2f} are here already")
        with (
            self.part.path.open("r+b", buffering=0) as file,
            self.part.journal.open("a") as journal,
            self._progress.stage(self._name, size // _MEGABYTE, "MB") as stage,
        ):
            counted = _Megabytes(stage)
            counted.add(self.resumed)

            def put_down(start: int, data: bytes) -> None:
                write_at(file.fileno(), start, data)
                journal.write(f"{start // remote_transfer.MOST}\n")
                journal.flush()
                self.part.done.add(start // remote_transfer.MOST)
                counted.add(len(data))

            begins = self._catalog_begins(head, size)
            self._read(head, [span for span in left if span[1] > begins], put_down)
            self._look_at_catalog(head, size)
            self._read(head, [span for span in left if span[1] <= begins], put_down)

    def _catalog_begins(self, head: Head, size: int) -> int:
        """Where the catalog begins, which comes first: it says what else is needed."""
        header = parse_header(head.data, size, self._url)
        return size if header is None else header.catalog_start

    def _look_at_catalog(self, head: Head, size: int) -> None:
        header = parse_header(head.data, size, self._url)
        if header is None:
            return
        try:
            with self.part.path.open("rb") as file:
                data = read_catalog_bytes(file, header, self._url)
        except StoreError:  # damaged on its way, and fetched again when all is compared
            return
        self._checks.catalog(decode_catalog(data, self._url, size))

    def _read(self, head: Head, spans: list[Span], put_down: Callable[[int, bytes], None]) -> None:
        """Fetch ranges of one and the same file, whatever the server calls it meanwhile."""
        there: set[int] = set()

        def note(start: int, data: bytes) -> None:
            put_down(start, data)
            there.add(start)

        try:
            self._transfer.read(spans, note, version=head.version)
        except Changed:
            self._refuse_changed(head)
            left = [span for span in spans if span[0] not in there]
            try:
                self._transfer.read(left, put_down)
            except Changed:
                self._refuse_changed(head)
                raise StoreError(
                    "the server does not give the file to its end", where=str(self._url)
                ) from None

    def _refuse_changed(self, head: Head) -> None:
        """Throw everything away if the file is not what it was when we began.

        Raises:
            StoreError: it is not.
        """
        now = self._transfer.head(FIRST_PAGE)
        if (now.data, now.size) == (head.data, head.size):
            return
        self.part.discard()
        raise StoreError(
            "the file was changed while it was fetched",
            where=str(self._url),
            hint="run the command again: it will start over",
        )

    def _at_once(self, head: Head) -> None:
        """From a server that sends only the whole file."""
        self._progress.note(
            "this server sends only whole files: a fetch that is cut off starts over"
        )
        self.part.discard()
        for tries in range(self._patience.attempts):
            try:
                self._stream(head)
                return
            except Transient as error:
                failure = error
                time.sleep(min(self._patience.first * 2**tries, self._patience.longest))
        raise StoreError(
            f"the file did not come whole in {self._patience.attempts} attempts ({failure.reason})",
            where=str(self._url),
            hint="try again later, or ask for a server that sends parts",
        )

    def _stream(self, head: Head) -> None:
        """One attempt.

        Raises:
            Transient: it ended early.
        """
        size = head.size or 0
        with (
            self.part.path.open("wb") as file,
            self._progress.stage(self._name, size // _MEGABYTE, "MB") as stage,
        ):
            counted = _Megabytes(stage)

            def put_down(data: bytes) -> None:
                file.write(data)
                counted.add(len(data))

            self._transfer.stream(put_down)
        if size and self.part.path.stat().st_size != size:
            raise Transient(f"{self.part.path.stat().st_size} bytes came instead of {size}")

    def _verify(self, head: Head) -> None:
        """Compare everything; what is damaged is fetched once more.

        Raises:
            StoreError: it comes damaged again: so it is where it comes from.
        """
        again: set[Span] = set()
        while True:
            spans, self.compared = damage(self.part.path, head.data, self._progress)
            if not spans:
                break
            self._refuse_changed(head)
            if again.intersection(spans):
                self.part.discard()
                raise StoreError(
                    f"damaged where it comes from: {len(spans)} places came twice with other bytes "
                    "than were written",
                    where=str(self._url),
                    hint="tell whoever keeps it, and have them run drin-fs verify --full",
                )
            again.update(spans)
            size = sum(stop - start for start, stop in spans)
            self.repaired += size
            self._progress.note(f"{size:,} bytes came damaged: fetching them again")
            self._get_again(head, spans)
        if not self.compared:
            self._progress.note("the store has no checksums: its bytes were not compared")

    def _get_again(self, head: Head, spans: list[Span]) -> None:
        if not head.ranges:
            self._at_once(head)
            return
        with self.part.path.open("r+b", buffering=0) as file:
            ranges = [part for start, stop in spans for part in cut(start, stop)]
            self._read(head, ranges, partial(write_at, file.fileno()))


class _Megabytes:
    """Tells a stage of whole megabytes."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._left = 0

    def add(self, size: int) -> None:
        whole, self._left = divmod(self._left + size, _MEGABYTE)
        if whole:
            self._stage.advance(whole)
