"""Archives: tar, gzipped or not, disguised as .mp4, zip in one or several parts."""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import struct
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from random import Random

from featurestore.options import IngestOptions
from featurestore.sources import archive
from featurestore.sources.disguise import MP4_HEADER
from tests.archives_for_tests import files_of
from tests.archives_for_tests import write_tar as write_dataset
from tests.downloads_for_tests import write_tar
from tests.fuzz.datasets import ingested, preprocessed
from tests.fuzz.generic import GENERIC
from tests.fuzz.kinds import OWNED, Case, Kind, Seed, Wrong
from tests.split_zips import write_split_zip

_NOISE = random.Random(1).randbytes
_FILES = {
    "wikimel/a.npy": _NOISE(700), "wikimel/zeros.npy": bytes(30_000), "wikimel/pictures/Zoë_1.jpg":
    _NOISE(9000), "empty": b"", "text.json": b'{"a": 1}\n' * 300,
}  # fmt: skip

_NAMES = (
    f"../{OWNED}", f"../../{OWNED}", f"a/../../{OWNED}", f"/tmp/{OWNED}", f"./../{OWNED}", "C:x",
    "a\\b", "",
    ".", "..", "/", "a\nb", "a\x00b", "a/" * 60, "x" * 99, "con", "\x7f", "é\udc80",
    "wikimel", "wikimel/a.npy/b", "~", "-rf", "wikimel/a.npy",
)  # fmt: skip

#: Offset and length of the fields of a tar header.
_FIELDS = {"name": (0, 100), "mode": (100, 8), "size": (124, 12), "mtime": (136, 12), "type": (156, 1),
           "link": (157, 100), "magic": (257, 8), "prefix": (345, 155)}  # fmt: skip
_TYPES = b"0\x001234567gxLKSVDM\xff"
_SIZES = (b"77777777777\x00", b"00000000001\x00", b"-0000000001\x00", b"\x80" + bytes(7) + b"\xff" * 4,
          b"\xff" * 12, b"            ", b"9" * 12, b"\x80" + b"\x7f" * 11,
          b"00000177777\x00")  # fmt: skip


# tar --------------------------------------------------------------------------------------------


def _plain(data: bytes) -> tuple[bytes, bool, bool] | None:
    """The tar itself, whether it was gzipped, whether it was disguised; None if it is no tar."""
    moved = len(MP4_HEADER)
    hidden = data[:moved] == MP4_HEADER and len(data) > 2 * moved
    if hidden:
        data = data[-moved:] + data[moved:-moved]
    zipped = data[:2] == b"\x1f\x8b"
    if zipped:
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error):
            return None
    return (data, zipped, hidden) if data[257:262] == b"ustar" else None


def _again(data: bytes, zipped: bool, hidden: bool) -> bytes:
    if zipped:
        data = gzip.compress(data, 1, mtime=0)
    if hidden:
        data = MP4_HEADER + data[len(MP4_HEADER) :] + data[: len(MP4_HEADER)]
    return data


def _headers(data: bytes) -> list[int]:
    """Places of the headers of a tar."""
    return [at for at in range(0, len(data) - 511, 512) if data[at + 257 : at + 262] == b"ustar"]


def _with_sum(header: bytearray) -> bytearray:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\x00 " % sum(header)
    return header


def tar_field(rng: Random, data: bytes, other: bytes) -> bytes:
    """Another value in a header, whose sum is right."""
    if (parts := _plain(data)) is None:
        return data
    tar = bytearray(parts[0])
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.choice(_headers(tar) or [0])
        header = tar[at : at + 512].ljust(512, b"\0")
        name = rng.choice(tuple(_FIELDS))
        first, size = _FIELDS[name]
        new = {
            "type": bytes([rng.choice(_TYPES)]),
            "size": rng.choice(_SIZES),
        }.get(name) or rng.choice(_NAMES).encode("utf-8", "surrogatepass")
        header[first : first + size] = new[:size].ljust(size, b"\0")
        tar[at : at + 512] = _with_sum(header) if rng.random() < 0.9 else header
    return _again(bytes(tar), *parts[1:])


def tar_member(rng: Random, data: bytes, other: bytes) -> bytes:
    """One more member in front: a link, a device, a sparse file, a bomb, a bad name."""
    if (parts := _plain(data)) is None:
        return data
    info = tarfile.TarInfo(rng.choice(_NAMES))
    content = b"evil"
    match rng.randrange(6):
        case 0:
            kinds = (
                tarfile.SYMTYPE,
                tarfile.LNKTYPE,
                tarfile.CHRTYPE,
                tarfile.BLKTYPE,
                tarfile.FIFOTYPE,
            )
            info.type = rng.choice(kinds)
            info.linkname = rng.choice(("/tmp", "..", f"/tmp/{OWNED}", "wikimel/a.npy", "."))
            content = b""
        case 1:
            info.pax_headers = {rng.choice(("path", "size", "linkpath", "GNU.sparse.major",
            "GNU.sparse.map",
                                            "GNU.sparse.size", "hdrcharset", "mtime", "\x00")):
                                rng.choice(("1", "-1", "9" * 30, f"/tmp/{OWNED}", "0,1,2", "é",
                                "BINARY"))}  # fmt: skip
        case 2:
            info.type = rng.choice(
                (tarfile.GNUTYPE_SPARSE, tarfile.DIRTYPE, tarfile.CONTTYPE, b"9", b"Z")
            )
        case 3:
            content = bytes(rng.choice((10**6, 3 * 10**7)))
        case 4:
            info.name = "n" * rng.choice((99, 100, 101, 5000, 3 * 10**6))
        case _:
            info.name = rng.choice(sorted(_FILES))
    info.size = len(content)
    form = rng.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT))
    file = io.BytesIO()
    try:
        with tarfile.open(fileobj=file, mode="w", format=form) as tar:
            tar.addfile(info, io.BytesIO(content))
    except (ValueError, UnicodeError):
        return data
    front = file.getvalue()
    end = len(front.rstrip(b"\0")) + 511 & ~511
    return _again(front[: max(end, 512)] + parts[0], *parts[1:])


def inside(rng: Random, data: bytes, other: bytes) -> bytes:
    """Something generic in the tar itself, packed again."""
    if (parts := _plain(data)) is None:
        return data
    return _again(rng.choice(GENERIC)(rng, parts[0], other), *parts[1:])


# zip --------------------------------------------------------------------------------------------

#: Signature → offsets and lengths of fields after it.
_RECORDS = {
    b"PK\x01\x02": ((2, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2), (30, 2),
    (32, 2),
                    (34, 2), (36, 4), (38, 4), (42, 4)),
    b"PK\x03\x04": ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)),
    b"PK\x05\x06": ((4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
    b"PK\x06\x06": ((4, 8), (16, 4), (20, 4), (24, 8), (32, 8), (40, 8), (48, 8)),
    b"PK\x06\x07": ((4, 4), (8, 8), (16, 4)),
}  # fmt: skip


def zip_field(rng: Random, data: bytes, other: bytes) -> bytes:
    """Another number in a record of a zip."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 3))):
        signature = rng.choice(tuple(_RECORDS))
        places = [at for at in range(len(data) - 3) if data[at : at + 4] == signature]
        if not places:
            continue
        first, size = rng.choice(_RECORDS[signature])
        at = rng.choice(places) + first
        old = int.from_bytes(data[at : at + size], "little")
        new = rng.choice((0, 1, old + 1, max(old - 1, 0), old * 2, 2 ** (8 * size) - 1,
        2 ** (8 * size - 1),
                          rng.getrandbits(8 * size), 8, 0o120777 << 16))  # fmt: skip
        changed[at : at + size] = (new % 2 ** (8 * size)).to_bytes(size, "little")
    return bytes(changed)


def zip_name(rng: Random, data: bytes, other: bytes) -> bytes:
    """A member of another name, of the same length."""
    name = rng.choice(sorted(_FILES)).encode()
    evil = rng.choice(_NAMES).encode("utf-8", "surrogatepass")
    return data.replace(name, (evil + b"/" * len(name))[: len(name)])


def zip_bomb(rng: Random, data: bytes, other: bytes) -> bytes:
    """An archive of zeros, whose directory says that they are few."""
    squeeze = zlib.compressobj(9, wbits=-15)
    size = rng.choice((10**6, 5 * 10**7))
    packed = squeeze.compress(bytes(size)) + squeeze.flush()
    said = rng.choice((size, 10, 0, 2**32 - 2))
    common = struct.pack("<3H2L", 0, 8, 0, 0, 0) + struct.pack("<2LH", len(packed), said, 1)
    local = b"PK\x03\x04\x14\x00" + common + b"\x00\x00" + b"z"
    entry = b"PK\x01\x02\x14\x03\x14\x00" + common + bytes(12) + bytes(4) + b"z"
    end = struct.pack(
        "<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(entry), len(local) + len(packed), 0
    )
    return local + packed + entry + end


def _seeds(folder: Path) -> Sequence[Seed]:
    arrays = preprocessed(folder.parent / "arrays", dataset="wikimel")
    made = []

    def seed(name: str, *paths: Path) -> None:
        target = folder / name
        target.mkdir()
        for path in paths:
            shutil.move(path, target / path.name)
        made.append(Seed(target, tuple(path.name for path in paths)))

    seed("gz", write_tar(folder / "mine.tar.gz", _FILES))
    plain = folder / "mine.tar"
    plain.write_bytes(gzip.decompress((folder / "gz" / "mine.tar.gz").read_bytes()))
    seed("tar", plain)
    archive.pack([folder / "gz" / "mine.tar.gz"], folder / "packed")
    seed("mp4", folder / "packed" / "mine.tar.gz.mp4")
    seed("zip", *write_split_zip(folder / "raw", _FILES, part_size=10**6))
    seed("split", *write_split_zip(folder / "raw", _FILES, part_size=4000, zip64=True))
    seed("dataset", write_dataset(folder / "preprocessed.tar", files_of(arrays), mode="w"))
    (folder / "packed").rmdir()
    shutil.rmtree(arrays)
    return made


def _read(case: Case) -> None:
    paths = sorted(case.source.iterdir())
    if case.seed == "dataset":
        ingested(case, IngestOptions(dtype="float32"), source=paths[0], kept=["mentions/answer"])
        return
    done = archive.unpack(paths, case.out)
    for folder, folders, files in os.walk(case.out):
        odd = [n for n in (*folders, *files) if os.path.islink(os.path.join(folder, n))]
        if odd or any(name.endswith(".part") for name in files):
            raise Wrong(f"unpacked {odd or files}")
    list(archive.listing(paths))
    if done.written + done.skipped and archive.unpack(paths, case.out).written:
        raise Wrong("a second time, something is written anew")


KIND = Kind(
    name="archives",
    about="tar, tar.gz, disguised as .mp4, zip, split zip: unpacked, listed, ingested",
    seeds=_seeds,
    mutators=(tar_field, tar_field, tar_member, tar_member, inside, zip_field, zip_field, zip_name,
    zip_bomb,
              *GENERIC),
    read=_read,
)  # fmt: skip
