"""Pictures of new mentions: opened and encoded as at ingest, each distinct one once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from featurestore.distinct import Distinct
from featurestore.encoders.images import FRAME, default_picture
from featurestore.encoders.objects import Boxes
from featurestore.encoders.opening import open_picture, usable_picture
from featurestore.encoders.pictures import PictureFeatures, picture_features
from featurestore.encoders.suite import Encoders
from featurestore.errors import SourceError
from featurestore.schema import IMAGE_STATUS

#: What a mention may have for a picture.
Picture: TypeAlias = Path | str | Image.Image | None

#: What is said of a mention's picture, beside the words of ``schema.IMAGE_STATUS``.
NOT_GIVEN, NOT_READ = "not given", "not read"

#: Open pictures are encoded when they reach so many pixels: 2**26 are 200 MB, as at ingest.
_PIXELS = 2**26


class PictureEncoder:
    """Every feature that the encoders make of the mentions' pictures.

    Args:
        encoders: image encoder, detector and CLIP, as far as they are needed.
        objects: boxes of each picture.
    """

    def __init__(self, *, encoders: Encoders, objects: int) -> None:
        self._encoders = encoders
        self._objects = objects
        self._default: PictureFeatures | None = None

    @property
    def has_encoders(self) -> bool:
        """Whether pictures are looked at at all."""
        return self._encoders.image is not None or self._encoders.clip is not None

    def encode(self, pictures: Sequence[Picture]) -> tuple[PictureFeatures, list[str]]:
        """Features of n pictures, and a word on each.

        The default picture stands for one that is absent, broken, too small, or that the system
        does not let us read. The word is that of ``IMAGE_STATUS``, where an unreadable one is
        broken; or ``not given``.
        """
        distinct = Distinct([_key(each) for each in pictures])
        each_once = [pictures[distinct.first_row(number)] for number in range(len(distinct))]
        if self._default is None:
            self._default = self._features([default_picture()], [""])
        parts, made = [self._default], 1
        rows = np.zeros(len(distinct), np.int64)  # row 0 is the default picture's
        words: list[str] = []
        for group in _opened(each_once):
            good = {len(words) + n: p for n, (p, _) in enumerate(group) if p is not None}
            words += [word for _, word in group]
            if good:
                rows[list(good)] = made + np.arange(len(good))
                made += len(good)
                keys = [distinct.values[number] for number in good]
                parts.append(self._features(list(good.values()), keys))
        of_row = distinct.of_row
        return _taken(parts, rows[of_row]), [words[number] for number in of_row.tolist()]

    def _features(self, pictures: Sequence[Image.Image], keys: Sequence[str]) -> PictureFeatures:
        return picture_features(self._encoders, "mentions", pictures, keys=keys, keep=self._objects)


def _key(picture: Picture) -> str:
    """The same for the same picture, of those alive together."""
    if picture is None:
        return ""
    return f"image {id(picture)}" if isinstance(picture, Image.Image) else str(picture)


def _opened(pictures: Sequence[Picture]) -> Iterator[list[tuple[Image.Image | None, str]]]:
    """Groups of opened pictures, in order; None where the default picture stands for one."""
    group: list[tuple[Image.Image | None, str]] = []
    pixels = 0
    for picture in pictures:
        opened, word = _open(picture)
        group.append((opened, word))
        pixels += opened.width * opened.height if opened else FRAME * FRAME
        if pixels >= _PIXELS:
            yield group
            group, pixels = [], 0
    if group:
        yield group


def _open(picture: Picture) -> tuple[Image.Image | None, str]:
    if picture is None:
        return None, NOT_GIVEN
    if isinstance(picture, Image.Image):
        usable, code = usable_picture(picture)
        return usable, IMAGE_STATUS[code]
    try:
        opened, code = open_picture(Path(picture))
    except SourceError:  # one picture that may not be read is no reason to link nothing
        return None, "broken"
    return opened, IMAGE_STATUS[code]


def _taken(parts: Sequence[PictureFeatures], rows: np.ndarray) -> PictureFeatures:
    """Rows of the parts, as if these stood one below the other."""

    def take(arrays: Sequence[np.ndarray | None]) -> np.ndarray | None:
        there = [array for array in arrays if array is not None]
        return np.concatenate(there)[rows] if there else None

    boxes = [part.boxes for part in parts if part.boxes is not None]
    return PictureFeatures(
        regions=take([part.regions for part in parts]),
        pooled=take([part.pooled for part in parts]),
        boxes=Boxes(*(np.concatenate(each)[rows] for each in zip(*boxes, strict=True)))
        if boxes
        else None,
        objects=take([part.objects for part in parts]),
        clip=take([part.clip for part in parts]),
    )
