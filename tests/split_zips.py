"""Writes split zip archives for the tests, since the standard library cannot."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

_UNIX = 3 << 8 | 30  # "made by" of the directory
_UTF8 = 1 << 11


class _Parts:
    """What is written goes on in the next part when one is full; ``whole`` stays together."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.parts = [bytearray(b"PK\x07\x08")]

    def whole(self, data: bytes) -> tuple[int, int]:
        """(part, offset) of data that no part boundary may cut."""
        if len(self.parts[-1]) + len(data) > self.size:
            self.parts.append(bytearray())
        place = len(self.parts) - 1, len(self.parts[-1])
        self.parts[-1] += data
        return place

    def stream(self, data: bytes) -> None:
        while data:
            if len(self.parts[-1]) == self.size:
                self.parts.append(bytearray())
            room = self.size - len(self.parts[-1])
            self.parts[-1] += data[:room]
            data = data[room:]


def write_split_zip(
    stem: Path,
    members: Mapping[str, bytes],
    *,
    part_size: int,
    stored: bool = False,
    zip64: bool = False,
    mode: int = 0o100644,
    sizes: Mapping[str, int] | None = None,
) -> list[Path]:
    """Write ``stem.z01`` … ``stem.zip``.

    ``sizes`` lets the directory lie about a member's size; ``mode`` is every member's Unix mode.
    """
    out, entries = _Parts(part_size), []
    for name, data in members.items():
        raw, packed = name.encode(), data
        if not stored:
            squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            packed = squeeze.compress(data) + squeeze.flush()
        size, crc = (sizes or {}).get(name, len(data)), zlib.crc32(data)
        common = (_UTF8, 0 if stored else 8, 0, 0, crc)
        local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, *common, len(packed), size, len(raw), 0)
        disk, offset = out.whole(local + raw)
        out.stream(packed)
        extra, small = b"", (len(packed), size, offset, disk)
        if zip64:
            extra = struct.pack("<2H3QL", 1, 28, size, len(packed), offset, disk)
            small = (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFF)
        entries.append(
            struct.pack("<4s6H3L5H2L", b"PK\x01\x02", _UNIX, 20, *common, *small[:2], len(raw),
                        len(extra), 0, small[3], 0, mode << 16, small[2])
            + raw + extra
        )  # fmt: skip
    places = [out.whole(entry) for entry in entries]
    disk, offset = places[0] if places else (len(out.parts) - 1, len(out.parts[-1]))
    length, number = sum(map(len, entries)), len(entries)
    last = out.whole(bytes(98))[0]  # all end records lie in the last part
    del out.parts[-1][-98:]
    end = (last, disk, number, number, length, offset)
    if zip64:
        record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, *end)
        place = out.whole(record)
        out.stream(struct.pack("<4sLQL", b"PK\x06\x07", *place, last + 1))
        end = (0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    out.stream(struct.pack("<4s4H2LH", b"PK\x05\x06", *end, 0))
    paths = [stem.with_suffix(f".z{n:02}") for n in range(1, len(out.parts))]
    paths.append(stem.with_suffix(".zip"))
    for path, part in zip(paths, out.parts, strict=True):
        path.write_bytes(part)
    return paths
