"""The members of an archive, one after another, none of them able to do harm.

Refused: names that lead out of the target, links, devices, sparse files, and expansion far beyond
what features and pictures compress to. Nothing here writes.
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from featurestore.errors import SourceError
from featurestore.sources.disguise import CHUNK, GZIP_MAGIC, Original, open_pieces
from featurestore.sources.splitzip import SplitZip

#: Bytes that an archive may hold for each of its own, beyond a first gigabyte. Chosen here, because
#: padded float32 features pack 2 to 20 times, and deflate itself never more than 1032 times.
MAX_EXPANSION = 100
_FREE_EXPANSION = 10**9

#: Members of one archive. Chosen here: the release's pictures are about a tenth of it.
MAX_MEMBERS = 1_000_000

#: What to do about an archive with members that no release has.
_AS_RELEASED = "the archive is not as released; download it from its authors"

#: Bytes of a tar between the data of two members: the headers, long names, and our read-ahead.
_MAX_HEADERS = 2 * CHUNK


@dataclass(frozen=True, slots=True)
class Member:
    """A file or folder of an archive. ``path`` is relative to the target, and stays in it."""

    path: PurePosixPath
    size: int
    is_folder: bool
    where: str


Content = Iterator[bytes]


def members(
    parts: Sequence[Original],
    told: Callable[[int], None] = lambda place: None,
    seen: Callable[[bytes], None] = lambda data: None,
) -> Generator[tuple[Member, Content], None, None]:
    """Each member and its bytes, which must be read before the next member is asked for.

    Args:
        parts: of one archive, in order: a tar, or the parts of a zip.
        told: is given the bytes of the archive dealt with so far.
        seen: of a tar that is read to its end, is given every byte of the file once, in order.

    Raises:
        SourceError: damaged, or a member that is refused; names the archive and the member.
    """
    return _of_zip(parts, told) if parts[0].kind == "zip" else _of_tar(parts[0], told, seen)


# zip --------------------------------------------------------------------------------------------


def _of_zip(
    parts: Sequence[Original], told: Callable[[int], None]
) -> Generator[tuple[Member, Content], None, None]:
    with open_pieces([piece for part in parts for piece in part.pieces]) as file:
        archive = SplitZip(parts, file)
        limits = _Limits(sum(part.size for part in parts))
        found = []
        for entry in archive.entries():  # all are checked before the first is given out
            where = archive.where(entry)
            if not (entry.is_folder or entry.is_regular):
                raise _refused("a link or special file", where)
            path = safe_path(entry.name, where)
            found.append(
                (entry, limits.admit(Member(path, entry.size, entry.is_folder, where))),
            )
        done = 0
        for entry, member in found:
            yield member, iter(()) if member.is_folder else archive.content(entry)
            done += entry.packed
            told(done)


# tar, gzipped or not ---------------------------------------------------------------------------


class _Allowance:
    """A stream that gives no more bytes than allowed, so that no header can fill the memory."""

    def __init__(self, stream: io.BufferedIOBase, where: str) -> None:
        self._stream = stream
        self._where = where
        self.left = _MAX_HEADERS

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise SourceError(
                "a member's header is absurdly long", where=self._where, hint=_AS_RELEASED
            )
        return data


def _of_tar(
    original: Original, told: Callable[[int], None], seen: Callable[[bytes], None]
) -> Generator[tuple[Member, Content], None, None]:
    limits = _Limits(original.size)
    where = str(original.path)
    with open_pieces(original.pieces, seen) as file, _unzipped(file) as unzipped:
        stream = _Allowance(unzipped, where)
        try:
            with tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK) as tar:  # type: ignore[call-overload]
                for info in tar:
                    where = f"{original.path}::{info.name}"
                    member = limits.admit(_tar_member(info, where))
                    stream.left = info.size + _MAX_HEADERS
                    yield member, _tar_content(tar, info, where, lambda: told(file.tell()))
                    tar.members.clear()  # it would keep all it has met
                last, where = where, str(original.path)
                _drain(tar, stream, last)
                told(original.size)
        except _DAMAGE as error:
            raise _damaged(error, where) from error


def _unzipped(file: io.BufferedReader) -> gzip.GzipFile | io.BufferedReader:
    """The tar itself, whatever its name says."""
    return gzip.GzipFile(fileobj=file) if file.peek(2)[:2] == GZIP_MAGIC else file


#: ``ValueError``: a number of an extended header that is none.
_DAMAGE = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, OverflowError)


def _tar_member(info: tarfile.TarInfo, where: str) -> Member:
    if not (info.isdir() or info.isreg()) or info.issparse():
        kind = "a link" if info.issym() or info.islnk() else "a special file"
        raise _refused(kind, where)
    return Member(safe_path(info.name, where), info.size, info.isdir(), where)


def _tar_content(
    tar: tarfile.TarFile, info: tarfile.TarInfo, where: str, told: Callable[[], None]
) -> Content:
    data = tar.extractfile(info)
    if data is None:  # a folder
        return
    left = info.size
    try:
        while left and (chunk := data.read(min(CHUNK, left))):
            left -= len(chunk)
            yield chunk
            told()
    except _DAMAGE as error:
        raise _damaged(error, where) from error
    if left:
        raise _damaged(EOFError(f"it ends {left} bytes too early"), where)


def _drain(tar: tarfile.TarFile, stream: _Allowance, last: str) -> None:
    """Read what follows the last member, so that gzip checks its sum; it must be padding.

    A damaged header ends a tar silently, and so does a member that is damaged and has become longer
    or shorter by it: then data follows.
    """
    assert tar.fileobj is not None
    while True:
        stream.left = _MAX_HEADERS
        data = tar.fileobj.read(CHUNK)
        if data.count(0) != len(data):
            raise _damaged(tarfile.ReadError("data where it should end, after this member"), last)
        if not data:
            return


# what is refused --------------------------------------------------------------------------------


class _Limits:
    """Counts what an archive of ``size`` bytes expands to."""

    def __init__(self, size: int) -> None:
        self._room = MAX_EXPANSION * size + _FREE_EXPANSION
        self._members = 0

    def admit(self, member: Member) -> Member:
        self._room -= member.size
        self._members += 1
        if self._room < 0:
            raise _refused(f"absurd expansion (over {MAX_EXPANSION} times)", member.where)
        if self._members > MAX_MEMBERS:
            raise _refused(f"over {MAX_MEMBERS:,} members", member.where)
        return member


def safe_path(name: str, where: str) -> PurePosixPath:
    """The path of a member, relative to the target.

    Raises:
        SourceError: absolute, with ``..``, a drive or backslashes, with control characters, or empty.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", name) or "\\" in name:
        raise _refused("a path that leaves the target", where)
    if not name or re.search("[\0-\x1f\x7f]", name):
        raise _refused("an empty name, or one with control characters", where)
    return path


def holds_twice(where: str, how: str = "") -> SourceError:
    """What to say of a member (``archive::name``) that stands in its archive once more."""
    return SourceError(
        "the archive holds this member twice" + (f", {how}" if how else ""),
        where=where,
        hint="download it again, or choose: tar -xf and unzip -o keep the last of them (a disguised "
        ".mp4 is made a plain archive by drin-fs unpack --restore)",
    )


def _refused(what: str, where: str) -> SourceError:
    return SourceError(
        f"refused: {what}",
        where=where,
        hint=_AS_RELEASED,
    )


def _damaged(error: Exception, where: str) -> SourceError:
    return SourceError(
        f"the tar archive is damaged: {error}",
        where=where,
        hint="download it again; files that were already taken from it may be wrong, too",
    )
