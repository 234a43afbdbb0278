"""Copy a remote store to this machine, its shards too.

    fetched = fetch("https://example.org/wikimel.h5", "wikimel.h5")

Each file is copied by itself (:mod:`featurestore.remote_copy`), and stands at its place only when every
byte was compared with its checksum; the file that names the shards comes first, and to its place last.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from featurestore.catalog import Catalog
from featurestore.disk import write_errors
from featurestore.errors import ConfigError, StoreAbsent, StoreError, WriteError
from featurestore.lock import Held, Lock
from featurestore.place import StoreUrl, place_of
from featurestore.placing import shards_of
from featurestore.progress import Progress, Silent
from featurestore.remote_copy import GO_ON, SOUND, Checks, Copy, refuse_without_room
from featurestore.remote_part import Part
from featurestore.remote_source import Head
from featurestore.remote_transfer import Patience, Transfer
from featurestore.shards import (
    Shard,
    absent_shard,
    check_remote_shard,
    decode_shards,
    header_digest,
)
from featurestore.target import check_target


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A store that was copied; figures are of all its files.

    ``bytes``: its size; ``transferred``: bytes that came over the line, ``resumed``: that were there
    already, ``repaired``: that had come damaged and were fetched again. ``compared``: that were compared
    with checksums; 0 where the store has none. ``retries``: requests that had to be sent again.
    ``files``: 1 and the shards; ``kept``: shards that stood there already, whole, and were not compared.
    """

    url: str
    path: str
    files: int
    kept: int
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

    The shards that it names come into the folder beside the target that it names.

    Args:
        target: where to; by default the URL's last name in the current folder.
        overwrite: replace the target, and other files where shards belong.

    Raises:
        StoreError: no store there, it changed on the way, is damaged where it is, or a shard is missing
            or another one.
        WriteError: the target exists, somebody else fetches it, or the disk is full.
        ConfigError: no URL.
    """
    place = place_of(url)
    if not isinstance(place, StoreUrl):
        raise ConfigError("this is no URL", where=str(place), hint="copy a file of this machine")
    to = default_target(place) if target is None else Path(target)
    check_target(to, overwrite=overwrite)
    started = time.perf_counter()
    with _locked(to):
        work = _Fetch(place, to, overwrite, patience, progress or Silent())
        work.run()
    copies, kept = work.copies, work.kept
    kept_bytes = sum(shard.bytes for shard in kept)
    return Fetched(
        url=str(place),
        path=str(to),
        files=len(copies) + len(kept),
        kept=len(kept),
        bytes=sum(copy.size for copy in copies) + kept_bytes,
        transferred=sum(copy.traffic.bytes for copy in copies),
        resumed=sum(copy.resumed for copy in copies) + kept_bytes,
        repaired=sum(copy.repaired for copy in copies),
        compared=sum(copy.compared for copy in copies),
        requests=sum(copy.traffic.requests for copy in copies),
        retries=sum(copy.traffic.retries for copy in copies),
        seconds=time.perf_counter() - started,
    )


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    try:
        with write_errors(target, when_full=GO_ON, otherwise=SOUND):
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
    """A store on its way: the file of the URL, and the shards that it names."""

    def __init__(
        self,
        url: StoreUrl,
        target: Path,
        overwrite: bool,
        patience: Patience | None,
        progress: Progress,
    ) -> None:
        self.copies: list[Copy] = []
        self.kept: list[Shard] = []
        self._wanted: list[Shard] | None = None  # until the catalog is here
        self._url, self._target, self._overwrite = url, target, overwrite
        self._patience, self._progress = patience, progress

    def run(self) -> None:
        """Until all files are at their places, the target last."""
        before = shards_of(self._target)
        checks = Checks(head=_anything, catalog=self._look_at_shards)
        main = self._copied(self._url, self._target, "fetch", checks)
        wanted = self._wanted or []
        for number, shard in enumerate(wanted, 1):
            self._fetch_shard(shard, f"shard {number} of {len(wanted)}")
        main.publish()
        here = {shard.file for shard in [*wanted, *self.kept]}
        if left := [file for file in before if file not in here]:
            self._progress.note(
                f"{len(left)} shards of the replaced store stay in {Path(left[0]).parent}: remove "
                "them if no other store names them"
            )

    def _copied(self, url: StoreUrl, target: Path, name: str, checks: Checks) -> Copy:
        transfer = Transfer(url, patience=self._patience)
        try:
            copy = Copy(transfer, target, self._progress, name=name, checks=checks)
            self.copies.append(copy)
            copy.run()
        finally:
            transfer.close()
        return copy

    def _fetch_shard(self, shard: Shard, name: str) -> None:
        url, place = self._url.beside(shard.file), self._target.parent / shard.file

        def check(head: Head) -> None:
            check_remote_shard(shard, url, head.data, head.size)

        with write_errors(place, when_full=GO_ON, otherwise=SOUND):
            place.parent.mkdir(exist_ok=True)
        with _locked(place):
            try:
                self._copied(url, place, name, Checks(head=check, catalog=_anything)).publish()
            except StoreAbsent as error:
                raise absent_shard(shard, url) from error

    def _look_at_shards(self, catalog: Catalog) -> None:
        """Find out which shards are to come, and that they may and can.

        Raises:
            StoreError: the manifest is not as it must be.
            WriteError: another file stands where one belongs, or there is no room.
        """
        if self._wanted is not None:
            return
        shards = decode_shards(catalog.attributes, catalog.rows["entities"], self._url)
        for shard in shards:
            _refuse_place(shard, self._url)
        here = [_is_here(shard, self._target) for shard in shards]
        self.kept = [shard for shard, there in zip(shards, here, strict=True) if there]
        wanted = [shard for shard, there in zip(shards, here, strict=True) if not there]
        for shard in wanted:
            check_target(
                self._target.parent / shard.file, overwrite=self._overwrite, makes_folder=True
            )
        if shards:
            size = sum(shard.bytes for shard in shards)
            self._progress.note(
                f"{len(shards)} shards, {size / 1e9:.2f} GB; {len(self.kept)} of them are here already"
            )
        parts = [Part(self._target.parent / shard.file) for shard in wanted]
        index = self.copies[0]
        refuse_without_room(
            self._target,
            index.size + sum(shard.bytes for shard in wanted),
            index.part.allocated + sum(part.allocated for part in parts),
        )
        self._wanted = wanted


def _anything(_: object) -> None:
    """Refuse nothing."""


def _refuse_place(shard: Shard, url: StoreUrl) -> None:
    """Write files only where stores have their shards: the manifest comes from elsewhere.

    Raises:
        StoreError: the shard is to stand elsewhere.
    """
    folder, _, name = shard.file.partition("/")
    if folder.startswith(".") or not folder.endswith(".shards") or not name.endswith(".h5"):
        raise StoreError(
            f"the manifest of shards names {shard.file!r}, which is no NAME.shards/NAME.h5",
            where=str(url),
            hint="have it made by drin-fs repack",
        )


def _is_here(shard: Shard, target: Path) -> bool:
    """Whether a shard stands at its place: its length and its header, which digests it, are right."""
    path = target.parent / shard.file
    try:
        return path.stat().st_size == shard.bytes and header_digest(path) == shard.header
    except (OSError, StoreError):
        return False
