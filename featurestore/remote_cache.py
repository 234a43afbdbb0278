"""What was read of a remote store, kept on this machine: a file of the same size with holes.

A folder a store below :func:`cache_folder`: ``data``, the file; ``sums``, for each block of it an XXH3
(64 bits), zero where it was not fetched; ``about.json``. A block is written, then its sum, so nothing
needs a lock: several processes may fill one cache, and what a power cut left half written does not have
its sum and is fetched again. The name of the folder is made of the store's URL and its header, which
digests all the store holds: a store that was replaced never meets the blocks of the old one.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from weakref import WeakSet

import numpy as np
from xxhash import xxh3_64_intdigest

from featurestore.disk import write_errors
from featurestore.errors import ConfigError, StoreError, WriteError
from featurestore.place import StoreUrl, fetch_hint
from featurestore.target import replace_file

#: Bytes of a block (chosen here: a row of a view or a record has 1 to 50 KB, so that a smaller block
#: saves little, and a larger one multiplies what scattered rows cost; docs/decisions/remote.md).
BLOCK = 64 << 10

#: Bytes that the caches of all stores may have together, by default (chosen here: what is read of a store
#: of WikiMEL's size twenty times over).
MOST_CACHED = 20_000_000_000

#: Bytes that caches may grow by until room is looked for again.
_GROWTH = 256 << 20

#: The caches of this process.
_open: WeakSet[BlockCache] = WeakSet()

#: Folder and size of all caches → bytes that they may grow by until room is looked for again.
_granted: dict[tuple[Path, int], int] = {}

_locks: dict[int, threading.Lock] = {}

_DATA, _SUMS, _ABOUT = "data", "sums", "about.json"


def cache_folder() -> Path:
    """``DRIN_FS_CACHE``, or ``drin-fs`` in the user's cache folder."""
    if given := os.environ.get("DRIN_FS_CACHE"):
        return Path(given)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "drin-fs"


def most_cached() -> int:
    """Bytes that all caches together may have: ``DRIN_FS_CACHE_SIZE`` in GB, or the default.

    Raises:
        ConfigError: it is no number above 0.
    """
    given = os.environ.get("DRIN_FS_CACHE_SIZE")
    if not given:
        return MOST_CACHED
    try:
        size = float(given)
    except ValueError:
        size = 0.0
    if not 0 < size < 1e9:
        raise ConfigError(
            f"{given!r} where a number of gigabytes belongs", where="DRIN_FS_CACHE_SIZE"
        )
    return int(size * 1e9)


class BlockCache:
    """The blocks of one store that are here.

    Args:
        header: the store's first bytes, which tell its contents from others.

    ``dropped``: bytes that were kept of an earlier state of the same URL, and are removed; None: nothing.

    Raises:
        WriteError: the folder cannot be written.
    """

    def __init__(self, url: StoreUrl, *, size: int, header: bytes) -> None:
        self._url = url
        self.block = BLOCK
        digest = blake2b(url.bare.encode(), digest_size=10).hexdigest()
        made = blake2b(header, digest_size=10, salt=f"{self.block}".encode()).hexdigest()
        self._of_url = cache_folder() / digest
        self.folder = self._of_url / made
        self.size = size
        self.dropped = self._drop_others()
        try:
            self._descriptor = self._open()
        except OSError as error:
            raise WriteError(
                f"cannot keep what is read: {error.strerror or error}",
                where=str(cache_folder()),
                hint=_ELSEWHERE,
            ) from error
        self._map = mmap.mmap(self._descriptor, size, access=mmap.ACCESS_READ)
        self.bytes = np.frombuffer(self._map, np.uint8)
        blocks = -(-size // self.block)
        self._sums = np.memmap(self.folder / _SUMS, np.uint64, "r+", shape=(blocks,))
        self._ready = np.zeros(blocks, bool)  # known to be what was fetched
        _open.add(self)

    @property
    def is_open(self) -> bool:
        return self._descriptor >= 0

    def _open(self) -> int:
        cache_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                sized(self.folder / _SUMS, -(-self.size // self.block) * 8)
                about = {"url": str(self._url), "bytes": self.size}
                replace_file(self.folder / _ABOUT, json.dumps(about).encode())  # its time: last use
                return os.open(sized(self.folder / _DATA, self.size), os.O_RDWR)
            except FileNotFoundError:
                if self.folder.is_dir():
                    raise
                # otherwise another process was making room just then

    def _drop_others(self) -> int | None:
        """Remove what was kept of earlier states of the same URL: bytes of the disk; None of none."""
        if self._url.url != self._url.bare:  # a query may name another file each time
            return None
        old = [one for one in _folders(self._of_url) if one != self.folder]
        freed = sum(allocated(one) for one in old)
        for one in old:
            shutil.rmtree(one, ignore_errors=True)
        return freed if old else None

    def missing(self, blocks: np.ndarray) -> np.ndarray:
        """Those of some blocks that are not here. What is here is compared with its sum once."""
        unknown = blocks[~self._ready[blocks]]
        if not len(unknown):
            return unknown
        for block in unknown[self._sums[unknown] != 0].tolist():
            self._ready[block] = self._sum(block) == int(self._sums[block])
        return unknown[~self._ready[unknown]]

    def write(self, start: int, data: bytes, blocks: np.ndarray) -> None:
        """Put down fetched bytes, as far as they are of these blocks; they are not used yet.

        Raises:
            WriteError: the disk is full or fails.
        """
        view = memoryview(data)
        first = start // self.block
        with write_errors(self.folder, when_full=_MAKE_ROOM, otherwise=_ELSEWHERE):
            for block in blocks.tolist():
                offset = (block - first) * self.block
                piece, place = view[offset : offset + self.block], block * self.block
                while piece:
                    done = os.pwrite(self._descriptor, piece, place)
                    piece, place = piece[done:], place + done

    def keep(self, blocks: np.ndarray) -> None:
        """Use blocks that were written whole from now on."""
        for block in blocks.tolist():
            self._sums[block] = self._sum(block)
        self._ready[blocks] = True

    def forget(self, blocks: np.ndarray) -> None:
        """Have blocks fetched again that turned out to be wrong."""
        self._ready[blocks] = False
        self._sums[blocks] = 0

    def _sum(self, block: int) -> int:
        data = self.bytes[block * self.block : (block + 1) * self.block]
        return max(1, xxh3_64_intdigest(data.data))  # 0 = not fetched

    def make_room(self, wanted: int) -> None:
        """See that so many bytes more may be kept; caches of other stores go, the longest unused first.

        What this process has open is never taken away: all files of a store in several are.

        Raises:
            StoreError: what is open would have more than all may.
        """
        with _locks.setdefault(os.getpid(), threading.Lock()):  # a forked child has its own
            key = cache_folder(), most_cached()
            left = _granted.get(key, 0) - wanted
            _granted[key] = left if left >= 0 else self._make_room(wanted, key[1])

    def _make_room(self, wanted: int, most: int) -> int:
        """Bytes that may be kept beyond those that are wanted, until room is looked for again."""
        in_use = {one.folder for one in tuple(_open) if one.is_open}
        here = sum(map(allocated, in_use))
        if here + wanted > most:
            raise StoreError(
                f"{here / 1e9:.2f} GB of what is open were read, and caches may have {most / 1e9:.2f}",
                where=str(self._url),
                hint=f"{fetch_hint(self._url)}, or set DRIN_FS_CACHE_SIZE to more gigabytes",
            )
        others = sorted(
            (one for of_url in _folders(cache_folder()) for one in _folders(of_url)),
            key=_last_used,
        )
        used = {one: allocated(one) for one in others}
        growth = wanted + min(_GROWTH, most - here - wanted)
        total = sum(used.values())
        for one in others:
            if total + growth <= most:
                break
            if one not in in_use:
                shutil.rmtree(one, ignore_errors=True)
                total -= used[one]
        return growth - wanted

    def release_pages(self) -> None:
        """As :meth:`FileMap.release_pages`."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Give back files; what was fetched stays on disk."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self.bytes = np.zeros(0, np.uint8)
        with suppress(BufferError):  # while someone holds a view
            self._map.close()


_MAKE_ROOM = "make room, or name a folder on another disk with DRIN_FS_CACHE"
_ELSEWHERE = "name a folder that you may write to, with room in it, with DRIN_FS_CACHE"


def sized(path: Path, size: int) -> Path:
    """A file of so many bytes, made of holes where it is not there yet."""
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        if file.seek(0, os.SEEK_END) != size:
            file.truncate(size)
    return path


def allocated(folder: Path) -> int:
    """Bytes of the disk that the files of a folder take, holes left out."""
    total = 0
    with suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            with suppress(FileNotFoundError):
                total += entry.stat().st_blocks * 512
    return total


def _folders(folder: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError, NotADirectoryError):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                yield Path(entry.path)


def _last_used(folder: Path) -> float:
    with suppress(FileNotFoundError):
        return (folder / _ABOUT).stat().st_mtime
    return 0.0
