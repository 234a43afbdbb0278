"""Thumbnails: small JPEGs of pictures."""

from __future__ import annotations

import io

from PIL import Image

from featurestore.thumbnails import ROOM, SIDE

#: Qualities that are tried until the JPEG fits (chosen here: the second is for noise and fine print).
_QUALITIES = (80, 50, 20)


def small_jpeg(picture: Image.Image) -> bytes:
    """A JPEG of an RGB picture, its proportions kept, at most ``SIDE`` pixels a side.

    A smaller picture keeps its size. Nothing of the file's metadata is taken over.
    """
    scale = min(1.0, SIDE / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    small = (
        picture if scale == 1 else picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=2)
    )
    for quality in _QUALITIES:
        file = io.BytesIO()
        small.save(file, "JPEG", quality=quality)
        if file.tell() <= ROOM:
            break
    return file.getvalue()
