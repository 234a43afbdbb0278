"""Zip archives in one or several parts (``.z01``, ``.z02``, …, ``.zip``), read as one file.

The standard library reads no split archive. In one, each offset counts from the beginning of the
part ("disk") it names, so the directory is read here: PKWARE's APPNOTE 4.3 (records), 4.5.3
(zip64), 4.6.9 (names), 8 (splitting). Only stored and deflated members are known: zip writes no
others.
"""

from __future__ import annotations

import io
import stat
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from featurestore.errors import SourceError
from featurestore.sources.disguise import CHUNK, Original

_END = struct.Struct("<4s4H2LH")  # end of central directory
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")

_MAX_COMMENT = 0xFFFF
_ZIP64_EXTRA, _UNICODE_EXTRA = 0x0001, 0x7075
_ENCRYPTED, _UTF8 = 1 << 0, 1 << 11
_STORED, _DEFLATED = 0, 8
_UNIX = 3  # the system a member was written on, which decides what its mode and name mean


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """One line of the directory. ``place``: of its local header, counted over all parts."""

    name: str
    size: int
    packed: int
    crc: int
    method: int
    flags: int
    mode: int
    place: int
    part: int

    @property
    def is_folder(self) -> bool:
        return self.name.endswith("/") or stat.S_ISDIR(self.mode)

    @property
    def is_regular(self) -> bool:
        return stat.S_IFMT(self.mode) in (0, stat.S_IFREG)


class SplitZip:
    """A zip archive whose parts, in order, are ``parts``; ``file`` is all of them as one file."""

    def __init__(self, parts: Sequence[Original], file: io.BufferedReader) -> None:
        self._parts = parts
        self._file = file
        self._starts = [0, *accumulate(part.size for part in parts)]

    def where(self, entry: ZipEntry) -> str:
        """``part::member``, for messages."""
        return f"{self._parts[entry.part].path}::{entry.name}"

    # the directory -----------------------------------------------------------------------------

    def entries(self) -> Iterator[ZipEntry]:
        """Every member in the order of the directory.

        Raises:
            SourceError: no directory, a damaged one, or one of another number of parts.
        """
        number, place = self._find_directory()
        self._file.seek(place)
        for _ in range(number):
            yield self._entry()

    def _find_directory(self) -> tuple[int, int]:
        """(members, place of the directory)"""
        size = self._starts[-1]
        first = max(0, size - _MAX_COMMENT - _END.size)
        self._file.seek(first)
        tail = self._file.read(size - first)
        at = tail.rfind(b"PK\x05\x06")
        while at >= 0 and len(tail) - at - _END.size != _comment_length(tail, at):
            at = tail.rfind(b"PK\x05\x06", 0, at)
        if at < 0:
            raise SourceError(
                "no zip directory at the end: not a zip archive, or one cut short",
                where=str(self._parts[-1].path),
                hint="download it again",
            )
        _, disk, start_disk, _, number, _, offset, _ = _END.unpack_from(tail, at)
        locator = at - _LOCATOR64.size
        if locator >= 0 and tail[locator : locator + 4] == b"PK\x06\x07":
            _, end_disk, end_offset, _ = _LOCATOR64.unpack_from(tail, locator)
            self._file.seek(self._place(end_disk, end_offset))
            record = _END64.unpack(self._read(_END64.size))
            if record[0] != b"PK\x06\x06":
                raise self._damaged("its zip64 directory record is not where it should be")
            disk, start_disk, _, number, _, offset = record[4:]
        if disk + 1 != len(self._parts):
            raise SourceError(
                f"the archive has {disk + 1} parts, {len(self._parts)} are given",
                where=str(self._parts[-1].path),
                hint="give all parts: .z01, .z02, … and .zip",
            )
        return number, self._place(start_disk, offset)

    def _entry(self) -> ZipEntry:
        fields = _ENTRY.unpack(self._read(_ENTRY.size))
        signature, made, _, flags, method, _, _, crc, packed, size = fields[:10]
        name_length, extra_length, comment_length, disk, _, attributes, offset = fields[10:]
        if signature != b"PK\x01\x02":
            raise self._damaged("its directory is damaged")
        raw = self._read(name_length)
        extra = self._read(extra_length)
        self._read(comment_length)
        size, packed, offset, disk = _widened(extra, size, packed, offset, disk)
        return ZipEntry(
            name=_name(raw, extra, is_utf8=bool(flags & _UTF8), on_unix=made >> 8 == _UNIX),
            size=size, packed=packed, crc=crc, method=method, flags=flags,
            mode=attributes >> 16 if made >> 8 == _UNIX else 0,
            place=self._place(disk, offset), part=disk,
        )  # fmt: skip

    def _place(self, disk: int, offset: int) -> int:
        if disk >= len(self._parts):
            raise self._damaged(f"its directory points to part {disk + 1} of {len(self._parts)}")
        if offset > self._parts[disk].size:
            raise self._damaged(f"its directory points to byte {offset} of part {disk + 1}")
        return self._starts[disk] + offset

    def _read(self, length: int) -> bytes:
        data = self._file.read(length)
        if len(data) < length:
            raise self._damaged("it ends within its directory")
        return data

    def _damaged(self, what: str) -> SourceError:
        return SourceError(
            f"the zip archive is damaged: {what}",
            where=str(self._parts[-1].path),
            hint="download it again",
        )

    # members -----------------------------------------------------------------------------------

    def content(self, entry: ZipEntry) -> Iterator[bytes]:
        """The member's bytes, a chunk at a time; size and CRC are checked at the end.

        Raises:
            SourceError: damaged, encrypted, or compressed in a way that zip does not use.
        """
        if entry.flags & _ENCRYPTED or entry.method not in (_STORED, _DEFLATED):
            how = "encrypted" if entry.flags & _ENCRYPTED else f"compression method {entry.method}"
            raise SourceError(
                f"the member cannot be read: {how}",
                where=self.where(entry),
                hint="unpack it with 7z or unzip, and go on with the folder",
            )
        self._file.seek(entry.place)
        header = self._file.read(_LOCAL.size)
        if len(header) < _LOCAL.size or header[:4] != b"PK\x03\x04":
            raise self._bad(entry, "no local header where the directory says")
        self._file.seek(sum(_LOCAL.unpack(header)[-2:]), io.SEEK_CUR)
        crc = size = 0
        try:
            for chunk in self._decoded(entry):
                crc = zlib.crc32(chunk, crc)
                size += len(chunk)
                if size > entry.size:
                    break
                yield chunk
        except zlib.error as error:
            raise self._bad(entry, str(error)) from error
        if size != entry.size:
            raise self._bad(entry, f"{size} bytes where the directory says {entry.size}")
        if crc != entry.crc:
            raise self._bad(entry, f"CRC {crc:08x} where the directory says {entry.crc:08x}")

    def _decoded(self, entry: ZipEntry) -> Iterator[bytes]:
        decoder = zlib.decompressobj(-zlib.MAX_WBITS) if entry.method == _DEFLATED else None
        left = entry.packed
        while left and (data := self._file.read(min(CHUNK, left))):
            left -= len(data)
            if decoder is None:
                yield data
                continue
            while data and (chunk := decoder.decompress(data, CHUNK)):
                yield chunk
                data = decoder.unconsumed_tail
        while decoder is not None and (chunk := decoder.decompress(b"", CHUNK)):
            yield chunk

    def _bad(self, entry: ZipEntry, what: str) -> SourceError:
        end = entry.place + _LOCAL.size + entry.packed
        over = [str(part.path) for part, start in zip(self._parts, self._starts, strict=False)
                if start < end][entry.part :]  # fmt: skip
        return SourceError(
            f"the member is damaged: {what}",
            where=self.where(entry),
            hint=f"download again the parts it lies in: {', '.join(over)}",
        )


def _comment_length(tail: bytes, at: int) -> int:
    """What the end record at ``at`` says about the comment after it; −1 if it is cut."""
    return int(_END.unpack_from(tail, at)[-1]) if len(tail) - at >= _END.size else -1


def _extra_field(extra: bytes, wanted: int) -> bytes:
    """One field of an entry's extra data; empty if it has none."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == wanted:
            return extra[at + 4 : at + 4 + length]
        at += 4 + length
    return b""


def _name(raw: bytes, extra: bytes, *, is_utf8: bool, on_unix: bool) -> str:
    """A member's name: the Unicode one that zip adds, if it was made for this name, or ``raw``.

    On Unix, zip may store a name's bytes as they are in the file system without saying so.
    """
    unicode = _extra_field(extra, _UNICODE_EXTRA)  # version, CRC of the plain name, UTF-8
    if len(unicode) > 5 and struct.unpack_from("<L", unicode, 1)[0] == zlib.crc32(raw):
        raw, is_utf8 = unicode[5:], True
    if on_unix and not is_utf8:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return raw.decode("cp437")
    return raw.decode("utf-8" if is_utf8 else "cp437", errors="replace")


def _widened(
    extra: bytes, size: int, packed: int, offset: int, disk: int
) -> tuple[int, int, int, int]:
    """Sizes, offset and disk; where one was too large for its field, from the zip64 record."""
    wide = _extra_field(extra, _ZIP64_EXTRA)
    values, at = [], 0
    for value, none, form in (
        (size, 0xFFFFFFFF, "<Q"), (packed, 0xFFFFFFFF, "<Q"), (offset, 0xFFFFFFFF, "<Q"),
        (disk, 0xFFFF, "<L"),
    ):  # fmt: skip
        if value == none and at + struct.calcsize(form) <= len(wide):
            (value,) = struct.unpack_from(form, wide, at)
            at += struct.calcsize(form)
        values.append(value)
    size, packed, offset, disk = values
    return size, packed, offset, disk
