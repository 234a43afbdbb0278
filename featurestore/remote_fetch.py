"""Copy a remote store to this machine: in pieces, several at a time, continued where it was cut off.

    fetched = fetch("https://example.org/wikimel.h5", "wikimel.h5")

Beside the target stand, until it is whole, ``.NAME.part`` (the file, with holes) and
``.NAME.part.done``: a line of JSON that says of what, then a line for each piece that is there. The
store is known by the header in its first page, which digests everything else; so a server may give it
another name and the fetch goes on, and what was begun of another state of the file is thrown away.
Nothing stands at the target before every byte was compared with its checksum.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from featurestore import remote_transfer
from featurestore.disk import free_bytes, sync_path, write_errors
from featurestore.errors import ConfigError, StoreError, WriteError
from featurestore.header import parse_header
from featurestore.lock import Held, Lock
from featurestore.place import StoreUrl, place_of
from featurestore.progress import Progress, Silent, Stage
from featurestore.remote_check import Span, damage
from featurestore.remote_map import PAGE
from featurestore.remote_part import Part, write_at
from featurestore.remote_source import Changed, Head, Transient
from featurestore.remote_transfer import Patience, Transfer, cut
from featurestore.target import check_target

_MEGABYTE = 1_000_000

_GO_ON = "what was fetched is kept: make room, then run the command again"
_SOUND = "see who may write there and that the disk is sound, then run the command again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A store that was copied.

    ``bytes``: its size; ``transferred``: bytes that came over the line, ``resumed``: that were there
    already, ``repaired``: that had come damaged and were fetched again. ``compared``: that were compared
    with checksums; 0 where the store has none. ``retries``: requests that had to be sent again.
    """

    url: str
    path: str
    bytes: int
    transferred: int
    resumed: int
    repaired: int
    compared: int
    requests: int
    retries: int
    seconds: float


def default_target(url: StoreUrl) -> Path:
    """A file of the URL's last name in the current folder.

    Raises:
        WriteError: it has none.
    """
    if url.name in ("", ".", ".."):
        raise WriteError("the URL names no file", where=str(url), hint="name the copy with -o FILE")
    return Path(url.name)


def fetch(
    url: str | os.PathLike[str],
    target: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
    patience: Patience | None = None,
    progress: Progress | None = None,
) -> Fetched:
    """Copy a store, and compare every byte of the copy with its checksum.

    Args:
        target: where to; by default the URL's last name in the current folder.
        overwrite: replace the target.

    Raises:
        StoreError: no store there, it changed on the way, or is damaged where it is.
        WriteError: the target exists, somebody else fetches it, or the disk is full.
        ConfigError: no URL.
    """
    place, progress = place_of(url), progress or Silent()
    if not isinstance(place, StoreUrl):
        raise ConfigError("this is no URL", where=str(place), hint="copy a file of this machine")
    to = default_target(place) if target is None else Path(target)
    check_target(to, overwrite=overwrite)
    started = time.perf_counter()
    with _locked(to):
        transfer = Transfer(place, patience=patience)
        try:
            made = _Fetch(transfer, to, progress)
            made.run()
        finally:
            transfer.close()
        os.replace(made.part.path, to)
        sync_path(to.absolute().parent)
        made.part.journal.unlink(missing_ok=True)
    traffic = transfer.traffic
    return Fetched(
        url=str(place),
        path=str(to),
        bytes=to.stat().st_size,
        transferred=traffic.bytes,
        resumed=made.resumed,
        repaired=made.repaired,
        compared=made.compared,
        requests=traffic.requests,
        retries=traffic.retries,
        seconds=time.perf_counter() - started,
    )


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    try:
        with write_errors(target, when_full=_GO_ON, otherwise=_SOUND):
            lock = Lock(target.with_name(f".{target.name}.lock"))
    except Held as error:
        raise WriteError(
            f"another process writes this file: {error.holder}",
            where=str(target),
            hint=error.stale_hint,
        ) from error
    try:
        yield
    finally:
        lock.release()


class _Fetch:
    """One copy on its way."""

    def __init__(self, transfer: Transfer, target: Path, progress: Progress) -> None:
        self.part = Part(target)
        self.resumed = self.repaired = self.compared = 0
        self._transfer, self._target, self._progress = transfer, target, progress
        self._url = transfer.url
        self._patience = transfer.patience

    def run(self) -> None:
        """Until the part is the whole store, compared and on disk."""
        head = self._transfer.head(PAGE)
        self._refuse_others(head)
        with write_errors(self._target, when_full=_GO_ON, otherwise=_SOUND):
            self._get(head)
            self._verify(head)
            sync_path(self.part.path)

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
        free = free_bytes(self._target.absolute().parent)
        there = self.part.path.stat().st_blocks * 512 if self.part.path.exists() else 0
        if size > free + there:
            raise WriteError(
                f"the store has {size / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free",
                where=str(self._target),
                hint="make room, or name a file on another disk with -o",
            )

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
            self._progress.stage("fetch", size // _MEGABYTE, "MB") as stage,
        ):
            counted = _Megabytes(stage)
            counted.add(self.resumed)

            def put_down(start: int, data: bytes) -> None:
                write_at(file.fileno(), start, data)
                journal.write(f"{start // remote_transfer.MOST}\n")
                journal.flush()
                self.part.done.add(start // remote_transfer.MOST)
                counted.add(len(data))

            self._read(head, left, put_down)

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
        now = self._transfer.head(PAGE)
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
            self._progress.stage("fetch", size // _MEGABYTE, "MB") as stage,
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
