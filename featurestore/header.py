"""Our own header in the first page of a store: what is checked before anything else is believed.

HDF5's superblock takes the first 48 bytes of the file and nothing follows it before byte 4096, so the
header stands there, at byte 64. It says how long the file is, where the catalog is, where field data end,
and has a digest of all that is no field data. (Not in a user block of HDF5: pyfive 1.3 returns other
numbers from such files; docs/decisions/header.md.)

    64   8   magic, ``drin-fs`` and a zero byte
    72   4   version of the header, 1
    76   4   zero
    80   8   bytes of the file
    88   8   where the catalog begins; it ends with the file
    96   8   where the tail begins: chunk tables, checksums, HDF5's objects, the catalog
    104  16  XXH3 (128 bits) of the catalog
    120  16  XXH3 (128 bits) of the tail, then the superblock
    136  8   XXH3 (64 bits) of bytes 64 to 136
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from xxhash import xxh3_64_digest, xxh3_128

from featurestore.errors import AGAIN, StoreError
from featurestore.hdf5 import SUPERBLOCK_BYTES
from featurestore.place import Place

#: The first page of a file, which holds no field data.
FIRST_PAGE = 4096

_PLACE, MAGIC, _VERSION = 64, b"drin-fs\0", 1
_LAYOUT = struct.Struct("<8sIIQQQ16s16s")
_BYTES = _LAYOUT.size + 8

#: Bytes of the tail that are read at once.
_STEP = 8 << 20


@dataclass(frozen=True, slots=True)
class Header:
    file_bytes: int
    catalog_start: int
    tail_start: int
    catalog_digest: bytes
    tail_digest: bytes

    def encode(self) -> bytes:
        """The whole header; it belongs at byte 64."""
        plain = _LAYOUT.pack(
            MAGIC, _VERSION, 0, self.file_bytes, self.catalog_start, self.tail_start,
            self.catalog_digest, self.tail_digest,
        )  # fmt: skip
        return plain + xxh3_64_digest(plain)


def write_header(header: Header) -> tuple[int, bytes]:
    """Where the header goes, and its bytes."""
    return _PLACE, header.encode()


def read_header(file: BinaryIO, path: Place) -> Header | None:
    """The header of an open file, if it has one; an HDF5 file that other programs wrote has none.

    Raises:
        StoreError: it is damaged, of a later version, or the file is longer or shorter than it says.
    """
    file.seek(0)
    page = file.read(_PLACE + _BYTES)
    return parse_header(page, file.seek(0, 2), path)


def parse_header(page: bytes, found: int, path: Place) -> Header | None:
    """As :func:`read_header`, out of the first bytes of a file that is ``found`` bytes long."""
    data = page[_PLACE : _PLACE + _BYTES]
    if data[:8] != MAGIC:
        return None
    if len(data) < _BYTES or xxh3_64_digest(data[:-8]) != data[-8:]:
        raise StoreError("the header is damaged", where=str(path), hint=AGAIN)
    _, version, _, size, catalog, tail, *digests = _LAYOUT.unpack(data[:-8])
    if version > _VERSION:
        raise StoreError(
            f"a header of version {version}, this program reads up to {_VERSION}",
            where=str(path),
            hint="pip install --upgrade drin-fs",
        )
    header = Header(size, catalog, tail, digests[0], digests[1])
    if found != header.file_bytes:
        raise StoreError(
            f"{found} bytes long, where {header.file_bytes} were written",
            where=str(path),
            hint=f"the file was cut off or added to: {AGAIN}",
        )
    if not FIRST_PAGE <= header.tail_start <= header.catalog_start <= size:
        raise StoreError("the header contradicts itself", where=str(path), hint=AGAIN)
    return header


def read_catalog_bytes(file: BinaryIO, header: Header, path: Place) -> bytes:
    """The catalog, whose digest is right.

    Raises:
        StoreError: it is not.
    """
    size = catalog_size(header, path)
    file.seek(header.catalog_start)
    return checked_catalog(file.read(size), header, path)


def catalog_size(header: Header, path: Place) -> int:
    """Bytes of the catalog.

    Raises:
        StoreError: more than any has.
    """
    size = header.file_bytes - header.catalog_start
    if size > _MOST_CATALOG:
        raise StoreError(f"a catalog of {size} bytes", where=str(path), hint=AGAIN)
    return size


def checked_catalog(data: bytes, header: Header, path: Place) -> bytes:
    """A catalog, if its digest is right.

    Raises:
        StoreError: it is not.
    """
    if xxh3_128(data).digest() != header.catalog_digest:
        raise StoreError("the catalog is damaged", where=str(path), hint=AGAIN)
    return data


#: No catalog is larger (chosen here: a real one has some 20 KB).
_MOST_CATALOG = 64 << 20


def tail_digest(file: BinaryIO, tail_start: int) -> bytes:
    """The digest of the tail and the superblock of an open file."""
    digest = xxh3_128()
    file.seek(tail_start)
    while data := file.read(_STEP):
        digest.update(data)
    file.seek(0)
    digest.update(file.read(SUPERBLOCK_BYTES))
    return digest.digest()
