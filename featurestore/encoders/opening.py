"""Picture files opened safely: a picture in RGB, or the status that says why there is none."""

from __future__ import annotations

import errno
import io
import os
import stat
import struct
import threading
import warnings
import zlib
from contextlib import nullcontext
from pathlib import Path

from PIL import Image

from featurestore.errors import SourceError
from featurestore.sources.pictures import STATUS_CODE

#: A picture with a shorter side than this counts as absent (DATASETS.md).
SMALLEST = 50

#: A picture of more pixels than this squared is reduced to sides of this length, and two such are
#: never decoded at once. Chosen here: 67 megapixels are 270 MB in memory, and few photographs.
LARGEST_SIDE = 8192

#: A file of more bytes counts as broken. Chosen here: three times 100 megapixels without compression.
MOST_BYTES = 10**9

#: Formats that are opened. Pillow knows more, and some of them start other programs (EPS).
_FORMATS = ("JPEG", "PNG", "TIFF", "GIF", "WEBP", "BMP")

#: What Pillow raises while it decodes damaged or hostile bytes; anything else is a bug of ours.
_DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    OverflowError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

#: What the system says of a path where no file is or can be.
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)

#: Pixels that are converted and reduced at a time.
_BAND = 2**22

_headers = threading.Lock()  # Python's warning filters are no thread's own
_large = threading.Lock()


def open_picture(path: Path | None) -> tuple[Image.Image | None, int]:
    """The picture in ``path`` as RGB, and its code of ``schema.IMAGE_STATUS``.

    Transparency is dropped, a palette looked up, CMYK converted by Pillow, 16-bit greys scaled; of
    several frames the first is taken; orientation tags are ignored, as in the released features.
    The picture has its own size; above 67 megapixels (8192²) sides longer than 8192 are reduced.
    A picture above twice Pillow's limit (2 × 89 megapixels, a decompression bomb), or in another
    format than JPEG, PNG, TIFF, GIF, WebP or BMP (whatever its suffix), counts as broken.

    Returns:
        (picture, ok), or (None, missing | broken | too small): the default picture stands for it.

    Raises:
        SourceError: the file is there but the system does not let us read it, or it is a folder or a
            pipe, which is no property of the picture.
    """
    picture, status, _ = open_with_format(path)
    return picture, status


def open_with_format(path: Path | None) -> tuple[Image.Image | None, int, str]:
    """As :func:`open_picture`, and the format by the content: JPEG, PNG, …; "" = none that is opened.

    Raises:
        SourceError: as :func:`open_picture`.
    """
    try:
        data = _content(path) if path is not None else None
    except _Unusable as error:
        return None, STATUS_CODE[error.args[0]], ""
    if data is None:
        return None, STATUS_CODE["missing"], ""
    name = ""
    try:
        picture = _opened(data)
        name = picture.format or ""
        with _large if _is_large(picture) else nullcontext():
            return *_decoded(picture), name
    except _DECODING_ERRORS:
        return None, STATUS_CODE["broken"], name


def usable_picture(picture: Image.Image) -> tuple[Image.Image | None, int]:
    """An open picture as :func:`open_picture` returns it, without the limit of Pillow."""
    try:
        return _decoded(picture)
    except _DECODING_ERRORS:
        return None, STATUS_CODE["broken"]


class _Unusable(Exception):
    """There is no picture to decode; the argument is the word for it."""


def _content(path: Path) -> bytes:
    """The bytes of a file; a pipe is not waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except ValueError as error:  # a name that no file can have
        raise _Unusable("missing") from error
    except OSError as error:
        if error.errno in _ABSENT:
            raise _Unusable("missing") from error
        raise _unreadable(path, error.strerror or str(error)) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            is_folder = stat.S_ISDIR(status.st_mode)
            raise _unreadable(
                path, "Is a directory" if is_folder else "a pipe or device, not a file"
            )
        if status.st_size > MOST_BYTES:
            raise _Unusable("broken")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    finally:
        os.close(descriptor)


def _unreadable(path: Path, why: str) -> SourceError:
    return SourceError(
        f"the picture cannot be read: {why}",
        where=str(path),
        hint="check permissions and the disk, then run the command again",
    )


def _opened(data: bytes) -> Image.Image:
    """The picture with its header read. Pillow refuses bombs; of large ones it only warns."""
    with _headers, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(io.BytesIO(data), formats=_FORMATS)


def _is_large(picture: Image.Image) -> bool:
    return picture.width * picture.height > LARGEST_SIDE**2


def _decoded(picture: Image.Image) -> tuple[Image.Image | None, int]:
    """RGB and ok, or None and too small."""
    if min(picture.size) < SMALLEST:
        picture.load()  # a broken one is broken, whatever its size
        return None, STATUS_CODE["too small"]
    if _is_large(picture):
        return _reduced(picture), STATUS_CODE["ok"]
    return _to_rgb(picture), STATUS_CODE["ok"]


def _to_rgb(picture: Image.Image) -> Image.Image:
    picture.load()
    if picture.mode.startswith("I;16") or picture.mode == "I":
        picture = picture.point(lambda value: value * (1 / 256)).convert(
            "L"
        )  # convert() would clip
    if picture.mode == "P" and isinstance(picture.info.get("transparency"), bytes):
        picture = picture.convert("RGBA")  # the direct way warns
    return picture.convert("RGB")


def _reduced(picture: Image.Image) -> Image.Image:
    """The picture in RGB with sides of at most ``LARGEST_SIDE``, each by a whole factor.

    A JPEG is decoded smaller at once where both sides allow it; others as they are, then band by band.
    """
    factors = [-(-side // LARGEST_SIDE) for side in picture.size]
    if min(factors) > 1:
        picture.draft(None, (picture.width // min(factors), picture.height // min(factors)))
    picture.load()
    across, down = (-(-side // LARGEST_SIDE) for side in picture.size)
    size = (-(-picture.width // across), -(-picture.height // down))
    reduced = Image.new("RGB", size)
    rows = max(1, _BAND // (picture.width * down)) * down
    for top in range(0, picture.height, rows):
        end = min(top + rows, picture.height)
        band = _to_rgb(picture.crop((0, top, picture.width, end)))
        reduced.paste(band.reduce((across, down)), (0, top // down))
    return reduced
