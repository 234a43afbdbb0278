"""Archives that look like videos: the release's fake ``.mp4`` files, read and made.

A disguised file holds an MP4 header, then the original from its byte 32 on, then the original's
first 32 bytes. :class:`PiecedFile` shows the original without copying it.
"""

from __future__ import annotations

import io
import os
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Literal

from featurestore.errors import SourceError

#: What the first 32 bytes are replaced with: the ``ftyp`` box of an MP4 file as ffmpeg writes it.
MP4_HEADER = bytes.fromhex("0000002066747970 69736f6d00000200 69736f6d69736f32 617663316d703431")

#: The first bytes of anything gzipped.
GZIP_MAGIC = b"\x1f\x8b"

#: Bytes read or written at a time.
CHUNK = 1 << 20

#: What an original is: a tar, gzipped or not, a zip or a part of one, or anything else.
Kind = Literal["tar.gz", "tar", "zip", "other"]

_TAR_GZ = re.compile(r"\.(tar\.gz|tgz)$", re.IGNORECASE)
_TAR = re.compile(r"\.tar$", re.IGNORECASE)
_ZIP_PART = re.compile(r"\.(zip|z\d{2,})$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Piece:
    """``length`` bytes of the file at ``path``, from byte ``start`` on."""

    path: Path
    start: int
    length: int


class PiecedFile(io.RawIOBase):
    """Pieces of files one after another as one seekable file for reading.

    A file that cannot be read is a ``SourceError``, so that it is not taken for a failed write.
    ``seen`` is given all that is read.
    """

    def __init__(
        self, pieces: Sequence[Piece], seen: Callable[[bytes], None] = lambda data: None
    ) -> None:
        super().__init__()
        self._seen = seen
        self._pieces = [piece for piece in pieces if piece.length]
        self._ends = list(accumulate(piece.length for piece in self._pieces))
        self._place = 0
        self._open: dict[Path, int] = {}

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        end = self._ends[-1] if self._ends else 0
        place = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: end}[whence] + offset
        if place < 0:
            raise ValueError(f"a place before the file: {place}")
        self._place = place
        return place

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        """Read up to the end of the present piece; 0 at the end of the last."""
        index = bisect_right(self._ends, self._place)
        if index == len(self._pieces):
            return 0
        piece, view = self._pieces[index], memoryview(buffer).cast("B")
        left = self._ends[index] - self._place
        place = piece.start + piece.length - left
        try:
            data = os.pread(self._descriptor(piece.path), min(left, len(view)), place)
        except OSError as error:
            what = f"cannot be read: {error.strerror or error}"
            raise SourceError(
                what,
                where=str(piece.path),
                hint="see who may read it, and whether its disk is whole",
            ) from error
        view[: len(data)] = data
        self._seen(data)
        self._place += len(data)
        return len(data)

    def _descriptor(self, path: Path) -> int:
        if path not in self._open:
            self._open[path] = os.open(path, os.O_RDONLY)
        return self._open[path]

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])
        super().close()


def open_pieces(
    pieces: Sequence[Piece], seen: Callable[[bytes], None] = lambda data: None
) -> io.BufferedReader:
    """The pieces as one buffered file; ``seen`` is given all that is read, in that order."""
    return io.BufferedReader(PiecedFile(pieces, seen), CHUNK)


@dataclass(frozen=True, slots=True)
class Original:
    """An archive as it was before it was disguised, if it was.

    ``path``: the file it is read from. ``name``: its own name, without ``.mp4``. ``size``: bytes.
    """

    path: Path
    name: str
    kind: Kind
    size: int
    disguised: bool

    @property
    def pieces(self) -> tuple[Piece, ...]:
        if not self.disguised:
            return (Piece(self.path, 0, self.size),)
        moved = len(MP4_HEADER)
        return (Piece(self.path, self.size, moved), Piece(self.path, moved, self.size - moved))


def recognise(path: Path) -> Original:
    """Tell a disguised archive from a plain one, and what is in it.

    Its name without ``.mp4`` decides; where that says nothing (``preprocessed.mp4``), the first
    bytes do, and the name gets the ending that belongs to them.

    Raises:
        SourceError: no such file, an ``.mp4`` file without the header of the release, or one that
            ends before the original's first bytes.
    """
    if not path.is_file():
        what = "a folder, not a file" if path.is_dir() else "no such file"
        raise SourceError(what, where=str(path), hint="name the downloaded files themselves")
    size, moved = path.stat().st_size, len(MP4_HEADER)
    with open_pieces([Piece(path, 0, size)]) as file:
        disguised = file.read(moved) == MP4_HEADER
    if disguised and size < 2 * moved:
        raise incomplete(path, hint="download it again")
    is_mp4 = path.suffix.lower() == ".mp4"
    if is_mp4 and not disguised:
        raise SourceError(
            "not a disguised archive: the file does not begin with the release's MP4 header",
            where=str(path),
            hint="download it again; a page of the download site may have been saved in its place",
        )
    name = path.stem if disguised and is_mp4 else path.name
    size -= moved if disguised else 0
    named = Original(path, name, kind_of(name), size, disguised)
    return named if named.kind != "other" else _by_content(named)


def incomplete(path: Path, *, hint: str) -> SourceError:
    """For a disguised file that restores to no archive.

    The original's first bytes stand at its end, so a download that was broken off lacks them.
    """
    return SourceError(
        "the download is incomplete or damaged: it begins as a disguised archive does, but does not "
        "end with the beginning of one",
        where=str(path),
        hint=hint,
    )


def kind_of(name: str) -> Kind:
    """What the ending of a name promises."""
    if _TAR_GZ.search(name):
        return "tar.gz"
    if _TAR.search(name):
        return "tar"
    return "zip" if _ZIP_PART.search(name) else "other"


def _by_content(original: Original) -> Original:
    with open_pieces(original.pieces) as file:
        head = file.read(512)
    stem = original.name.removesuffix(".gz").removesuffix(".tar")
    if head[:2] == GZIP_MAGIC:
        return replace(original, kind="tar.gz", name=stem + ".tar.gz")
    if head[257:262] == b"ustar":
        return replace(original, kind="tar", name=stem + ".tar")
    if head[:4] == b"PK\x03\x04":
        return replace(original, kind="zip", name=stem + ".zip")
    return original


def disguise(path: Path) -> tuple[Piece, ...]:
    """What follows :data:`MP4_HEADER` in a disguised copy of the file.

    Raises:
        SourceError: no such file, or one shorter than the header that replaces its beginning.
    """
    if not path.is_file():
        raise SourceError("no such file", where=str(path), hint="give the path of a file")
    size, moved = path.stat().st_size, len(MP4_HEADER)
    if size < moved:
        raise SourceError(
            f"{size} bytes are too few to disguise; at least {moved} are needed",
            where=str(path),
            hint="share it as it is",
        )
    return (Piece(path, moved, size - moved), Piece(path, 0, moved))
