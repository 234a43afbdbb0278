"""Picture files of every format that is opened, and of some that are not."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from cli.terminal_picture import decoded
from featurestore.audit.looks import picture_hash
from featurestore.encoders.images import FRAME, read_pictures, to_frame
from featurestore.encoders.objects import cut_out
from featurestore.encoders.opening import LARGEST_SIDE, SMALLEST
from featurestore.schema import IMAGE_STATUS
from featurestore.thumbnails import ROOM
from tests.fuzz.generic import GENERIC
from tests.fuzz.kinds import Case, Kind, Seed, Wrong

_NUMBERS = (0, 1, 2, 49, 50, 255, 256, 8193, 10_000, 13_377, 30_000, 65_535, 65_536, 2**24,
2**31 - 1, 2**31,
            2**32 - 1)  # fmt: skip


# PNG --------------------------------------------------------------------------------------------


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at + 8 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += 12 + size


def _png(chunks: Sequence[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def png_chunk(rng: Random, data: bytes, other: bytes) -> bytes:
    """A chunk changed, missing, twice, elsewhere or new; every sum is right."""
    if data[:4] != b"\x89PNG":
        return data
    chunks = list(_chunks(data))
    place = rng.randrange(len(chunks))
    name, body = chunks[place]
    match rng.randrange(6):
        case 0:  # IHDR: width, height, depth, colour, compression, filter, interlace
            header = bytearray(chunks[0][1])
            if rng.random() < 0.6:
                struct.pack_into(">I", header, rng.choice((0, 4)), rng.choice(_NUMBERS))
            else:
                header[rng.randrange(8, 13)] = rng.choice((0, 1, 2, 3, 4, 6, 7, 8, 16, 32, 255))
            chunks[0] = (b"IHDR", bytes(header))
        case 1:
            chunks[place] = (name, rng.choice(GENERIC)(rng, body, other))
        case 2:
            del chunks[place]
        case 3:
            chunks.insert(rng.randrange(len(chunks) + 1), (name, body))
        case 4:
            bomb = zlib.compress(bytes(rng.choice((100, 3 * 10**7))), 9)
            new = {b"iCCP": b"p\0\0" + bomb, b"zTXt": b"a\0\0" + bomb, b"iTXt": b"a\0\1\0\0\0" + bomb,
                   b"eXIf": rng.randbytes(40), b"PLTE": rng.randbytes(9), b"tRNS": rng.randbytes(300),
                   b"acTL": struct.pack(">2I", 2**31, 0), b"fdAT": rng.randbytes(30),
                   b"fcTL": struct.pack(">5I2H2B", 0, 2**31, 1, 5, 5, 1, 1, 0, 0), b"gAMA": b"\0" * 4,
                   b"IEND": b""}  # fmt: skip
            chosen = rng.choice(sorted(new))
            chunks.insert(rng.randrange(1, len(chunks) + 1), (chosen, new[chosen]))
        case _:  # pixels: another amount of them
            pixels = zlib.compress(bytes(rng.choice((0, 1, 10**4, 3 * 10**7))))
            chunks = [(b"IDAT", pixels) if n == b"IDAT" else (n, b) for n, b in chunks]
    return _png(chunks)


# JPEG -------------------------------------------------------------------------------------------


def _segments(data: bytes) -> list[bytes]:
    """The segments of a JPEG up to the scan, and the rest."""
    parts, at = [data[:2]], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        (size,) = struct.unpack_from(">H", data, at + 2)
        parts.append(data[at : at + 2 + size])
        at += 2 + size
    return [*parts, data[at:]]


def jpeg_segment(rng: Random, data: bytes, other: bytes) -> bytes:
    """A segment changed, missing, twice or elsewhere; often the size of the picture."""
    if data[:2] != b"\xff\xd8":
        return data
    parts = _segments(data)
    place = rng.randrange(1, len(parts))
    match rng.randrange(5):
        case 0 | 1:
            frames = [n for n, part in enumerate(parts) if part[:1] == b"\xff" and part[1:2] in
                      (b"\xc0", b"\xc1", b"\xc2")]  # fmt: skip
            if frames:
                frame = bytearray(parts[frames[0]])
                at, form = rng.choice(
                    ((5, ">H"), (7, ">H"), (4, ">B"), (9, ">B"), (11, ">B"), (1, ">B"))
                )
                new = rng.choice(_NUMBERS) % (65536 if form == ">H" else 256)
                struct.pack_into(form, frame, at, new)
                parts[frames[0]] = bytes(frame)
        case 2:
            parts[place] = parts[place][:4] + rng.choice(GENERIC)(rng, parts[place][4:], other)
        case 3:
            del parts[place]
        case _:
            parts.insert(rng.randrange(1, len(parts)), parts[place])
    return b"".join(parts)


# numbers of GIF, BMP, WebP, TIFF ------------------------------------------------------------------


def header_number(rng: Random, data: bytes, other: bytes) -> bytes:
    """A number of the header, or of a directory of a TIFF, is another one."""
    changed = bytearray(data)
    order = ">" if data[:2] == b"MM" else "<"
    if data[:4] in (b"II*\0", b"MM\0*"):
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        first = min(start, len(data) - 16)
        (count,) = struct.unpack_from(f"{order}H", data, first)
        at = first + 2 + 12 * rng.randrange(max(1, min(count, 40)))
        at, form = rng.choice(
            ((at, "H"), (at + 2, "H"), (at + 4, "I"), (at + 8, "I"), (4, "I"), (first, "H"))
        )
    else:
        at, form = rng.randrange(2, 60), rng.choice("BHI")
    size = struct.calcsize(form)
    if at + size <= len(data):
        new = rng.choice((*_NUMBERS, rng.getrandbits(32))) % 256**size
        struct.pack_into(order + form, changed, at, new)
    return bytes(changed)


# seeds ------------------------------------------------------------------------------------------


def _photo(width: int, height: int) -> Image.Image:
    """Smooth colours with a few edges."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 255 // width, y * 255 // height, (x // 8 + y // 8) % 2 * 200], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def _write(folder: Path) -> Callable[..., None]:
    def save(name: str, picture: Image.Image, file_format: str, **options: object) -> None:
        file = io.BytesIO()
        picture.save(file, file_format, **options)
        (folder / name).write_bytes(file.getvalue())

    return save


def _seeds(folder: Path) -> Sequence[Seed]:
    target = folder / "pictures"
    target.mkdir()
    save, photo = _write(target), _photo(90, 64)
    grey16 = Image.fromarray(np.arange(64 * 90, dtype=np.uint16).reshape(64, 90) * 11)
    frames = [photo.rotate(angle) for angle in (90, 180)]
    exif = Image.Exif()
    exif[0x0112] = 6
    for mode in ("L", "CMYK", "RGB"):
        save(f"{mode}.jpg", photo.convert(mode), "JPEG", quality=70)
        save(f"{mode}.tif", photo.convert(mode), "TIFF", compression="tiff_lzw")
    save("progressive.jpg", photo, "JPEG", progressive=True, exif=exif, comment="c" * 30)
    for mode in ("L", "1", "P", "RGBA", "LA", "RGB"):
        save(f"{mode}.png", photo.convert(mode), "PNG")
    save("transparent.png", photo.convert("P"), "PNG", transparency=bytes(range(200)))
    save("grey16.png", grey16, "PNG")
    save("grey16.tif", grey16, "TIFF")
    save("float.tif", photo.convert("F"), "TIFF")
    save("palette.tif", photo.convert("P"), "TIFF", compression="packbits")
    save("jpeg.tif", photo, "TIFF", compression="jpeg")
    save(
        "pages.tif", photo, "TIFF", save_all=True, append_images=frames, compression="tiff_deflate"
    )
    save("fax.tif", photo.convert("1"), "TIFF", compression="group4")
    for name, file_format in (("a.gif", "GIF"), ("a.webp", "WEBP"), ("a.png", "PNG")):
        save(name, photo, file_format, save_all=True, append_images=frames, duration=50, loop=0)
    save("lossless.webp", photo.convert("RGBA"), "WEBP", lossless=True, exif=exif)
    save("palette.gif", photo.convert("P"), "GIF", transparency=3, interlace=1)
    for mode in ("RGB", "P", "1"):
        save(f"{mode}.bmp", photo.convert(mode), "BMP")
    huge = Image.new("L", (9000, 8001), 90)
    save("huge.png", huge, "PNG")
    save("huge.jpg", huge, "JPEG", quality=30)
    return [Seed(target, (path.name,)) for path in sorted(target.iterdir())]


def _read(case: Case) -> None:
    """All seeds lie in one folder; the one that was changed is no link to it."""
    paths = [path for path in sorted(case.source.iterdir()) if path.stat().st_nlink == 1]
    for batch in read_pictures(paths, thumbnails=True):
        found = zip(batch.pictures, batch.status.tolist(), batch.thumbnails, strict=True)
        for picture, code, jpeg in found:
            _check(picture, IMAGE_STATUS[code])
            if len(jpeg) > ROOM or bool(jpeg) != (IMAGE_STATUS[code] == "ok"):
                raise Wrong(f"{IMAGE_STATUS[code]}: a thumbnail of {len(jpeg)} bytes")
        for path in paths:  # as a store might hold it
            picture_hash(path.read_bytes())
            decoded(path.read_bytes())


def _check(picture: Image.Image, word: str) -> None:
    if word not in ("ok", "broken", "too small"):
        raise Wrong(f"a file that is there is {word}")
    large = max(picture.size) > LARGEST_SIDE and picture.width * picture.height > LARGEST_SIDE**2
    if picture.mode != "RGB" or min(picture.size) < (1 if word == "ok" else SMALLEST) or large:
        raise Wrong(f"{word}: {picture.mode} {picture.size}")
    if to_frame(picture).size != (FRAME, FRAME) or min(cut_out(picture, (9, 9, 90, 90)).size) < 1:
        raise Wrong(f"{word}: no frame")


KIND = Kind(
    name="pictures",
    about="JPEG, PNG, TIFF, GIF, WebP and BMP, grey to CMYK, animated, of huge sizes",
    seeds=_seeds,
    mutators=(
        png_chunk,
        png_chunk,
        jpeg_segment,
        jpeg_segment,
        header_number,
        header_number,
        *GENERIC,
    ),
    read=_read,
)
