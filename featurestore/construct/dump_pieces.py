"""A dump's bytes, decompressed by the fastest means that is installed, from the start or a place within.

The form is told by the first bytes, not by the name, so that standard input is read as well.

| form | read by | on several threads | goes on from |
|---|---|---|---|
| plain | the file itself | – | the byte |
| bzip2 | :mod:`featurestore.construct.bz2_blocks` | yes | the block |
| gzip | isal, else zlib of the standard library | – | the start, reading over it |
| zstd | zstandard, else ``compression.zstd`` (Python 3.14) | – | the start, reading over it |
"""

from __future__ import annotations

import importlib
import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Literal
from zlib import crc32

from featurestore.construct import bz2_blocks
from featurestore.construct.gzip_members import GzipMembers, has_isal
from featurestore.construct.zstd_frames import ZstdFrames
from featurestore.errors import ConfigError, SourceError

Form = Literal["plain", "bzip2", "gzip", "zstd"]

#: Decompressed bytes that are handed on at once (chosen here: memory holds a few of them).
PIECE = 4 << 20

_MAGIC: dict[bytes, Form] = {b"BZh": "bzip2", b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a dump can be read from: ``compressed`` is a byte of it, of bzip2 a bit."""

    compressed: int
    offset: int  # decompressed bytes before it


START = Place(0, 0)


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive decompressed bytes."""

    data: bytes
    place: Place  # at which reading may begin again to come to them: not behind them
    offset: int
    read: int  # bytes of the file that were read so far


class Dump:
    """A dump, open to be read once.

    Args:
        path: the file; "-" = standard input.
        threads: that decompress, where the form allows it.

    Raises:
        SourceError: there is no such file, or it is a folder.
    """

    def __init__(self, path: str, *, threads: int = 1) -> None:
        self.path = path
        self.name = "standard input" if path == "-" else path
        self._threads = threads
        self._file = _Counted(_open(path))
        self._first = self._file.peek()
        self.form: Form = next((f for m, f in _MAGIC.items() if self._first.startswith(m)), "plain")
        status = os.fstat(self._file.fileno()) if self._file.is_file else None
        regular = status is not None and stat.S_ISREG(status.st_mode)
        self.size = status.st_size if status is not None and regular else 0  # 0 = not known
        self.changed_ns = status.st_mtime_ns if status is not None and path != "-" else 0
        self.seekable = regular and path != "-"

    @property
    def is_plain_file(self) -> bool:
        """Whether any byte of it can be read at once."""
        return self.form == "plain" and self.seekable

    @property
    def reader(self) -> str:
        """What decompresses it, in words."""
        if self.form == "plain":
            return "not compressed"
        if self.form == "bzip2":
            return f"bzip2 on {self._threads} threads" if self._threads > 1 else "bzip2"
        if self.form == "gzip":
            return "isal" if has_isal() else "zlib"
        return "zstandard" if find_spec("zstandard") is not None else "compression.zstd"

    def identity(self) -> dict[str, Any]:
        """What an interrupted run compares: that the dump is the same."""
        start = crc32(self._first)
        return {"dump": self.name, "size": self.size, "changed": self.changed_ns, "start": start}

    def pieces(self, start: Place = START) -> Iterator[Piece]:
        """The bytes from a place on.

        Raises:
            SourceError: damaged, or it ends too early.
            ConfigError: nothing that is installed decompresses it.
        """
        reading = self._blocks(start) if self.form == "bzip2" else self._stream(start)
        try:
            yield from reading
        except (OSError, EOFError, ValueError, bz2_blocks.Damaged) as error:
            raise SourceError(
                f"the dump cannot be read further: {str(error) or type(error).__name__}",
                where=f"{self.name}, behind byte {self._file.count:,}",
                hint="compare its size and checksum with those of the download",
            ) from error

    def close(self) -> None:
        self._file.close()

    def _blocks(self, start: Place) -> Iterator[Piece]:
        if start.compressed:
            self._file.seek(start.compressed // 8)
        found = bz2_blocks.blocks(
            self._file, first_bit=start.compressed, threads=self._threads
        )  # fmt: skip
        offset = start.offset
        for block in found:
            place = Place(block.first_bit, offset) if self.seekable else START
            yield Piece(block.data, place, offset, block.read)
            offset += len(block.data)

    def _stream(self, start: Place) -> Iterator[Piece]:
        offset = 0
        if self.form == "plain" and self.seekable:
            self._file.seek(start.offset)
            offset = start.offset
        read = self._decompressing()
        while data := read(PIECE):
            place = Place(offset, offset) if self.is_plain_file else START
            yield Piece(data, place, offset, self._file.count)
            offset += len(data)

    def _decompressing(self) -> Callable[[int], bytes]:
        """What reads decompressed bytes."""
        if self.form == "plain":
            return self._file.read
        if self.form == "gzip":
            return GzipMembers(self._file).read
        read: Callable[[int], bytes] = self._zstd().read
        return read

    def _zstd(self) -> Any:
        if find_spec("zstandard") is not None:
            return ZstdFrames(self._file)
        if find_spec("compression") is not None:
            return importlib.import_module("compression.zstd").ZstdFile(self._file)
        raise ConfigError(
            "reading .zst needs zstandard, which is not installed",
            where=self.name,
            hint='pip install "drin-fs[construct]", or: zstd -dc DUMP | drin-fs build titles -',
        )


class _Counted(io.RawIOBase):
    """A file that counts what is read of it, and whose first bytes can be looked at."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ahead = b""
        self.count = 0
        self.is_file = True
        try:
            self._file.fileno()
        except (OSError, io.UnsupportedOperation):
            self.is_file = False

    def peek(self, size: int = 1 << 16) -> bytes:
        while len(self._ahead) < size and (more := self._file.read(size - len(self._ahead))):
            self._ahead += more
        return self._ahead

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def read(self, size: int = -1) -> bytes:
        data, self._ahead = (
            (self._ahead[:size], self._ahead[size:]) if size >= 0 else (self._ahead, b"")
        )
        while size < 0 or len(data) < size:
            more = self._file.read(size - len(data) if size >= 0 else -1)
            data += more
            if not more or size < 0:
                break
        self.count += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._ahead = b""
        self.count = self._file.seek(offset, whence)
        return self.count

    def close(self) -> None:
        if self._file is not sys.stdin.buffer:
            self._file.close()
        super().close()


def _open(path: str) -> BinaryIO:
    if path == "-":
        return sys.stdin.buffer
    try:
        return Path(path).open("rb")
    except FileNotFoundError as error:
        raise SourceError(
            "there is no such dump",
            where=path,
            hint="give the path of a Wikidata JSON dump, such as latest-all.json.bz2, or - for stdin",
        ) from error
    except OSError as error:
        raise SourceError(
            f"the dump cannot be opened ({error.strerror})", where=path, hint="see who may read it"
        ) from error
