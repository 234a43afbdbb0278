"""Encode the pictures of one table: each distinct file is opened and encoded once.

Absent, broken and too small pictures share the default picture's features, made once, and are
recorded as such in ``image_status``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from featurestore.derive import MentionImages, block_rows
from featurestore.distinct import Distinct
from featurestore.encoders.images import default_picture, read_pictures
from featurestore.encoders.objects import Boxes, encode_objects
from featurestore.encoders.pairs import ClipPairs
from featurestore.encoders.suite import Encoders
from featurestore.features import FeatureWriter
from featurestore.options import IngestOptions
from featurestore.progress import Progress
from featurestore.writer import StoreWriter


class PictureFeatures(NamedTuple):
    """Everything that is made of b pictures; ``None`` where an encoder is absent."""

    regions: np.ndarray | None  # (b, R, V)
    pooled: np.ndarray | None  # (b, V)
    boxes: Boxes | None  # (b, O, 4), (b, O)
    objects: np.ndarray | None  # (b, O, V)
    clip: np.ndarray | None  # (b, P)


class Pictures:
    """The picture files of one table, by row, and the encoders they go through."""

    def __init__(self, root: Path, table: str, paths: Sequence[str], encoders: Encoders) -> None:
        self._root = root
        self._table = table
        self._encoders = encoders
        self._distinct = Distinct(paths)

    def write(
        self,
        writer: StoreWriter,
        options: IngestOptions,
        clip: ClipPairs | None,
        progress: Progress,
    ) -> None:
        """Write every picture field of the table that has an encoder, and ``image_status``."""
        keep = options.entity_objects if self._table == "entities" else options.mention_objects
        sink = PictureSink.create(writer, self._table, self._encoders, keep, clip)
        default: PictureFeatures | None = None
        first = 0
        files = [self._root / path if path else None for path in self._distinct.values]
        with progress.stage(f"{self._table} pictures", len(files), "pictures") as stage:
            for batch in read_pictures(files):
                numbers = np.arange(first, first + len(batch.pictures))
                good = batch.status == 0
                if not good.all() and default is None:
                    absent = int(numbers[~good][0])
                    default = self._encode([default_picture()], [self._key(absent)], keep)
                if good.any():
                    chosen = [p for p, ok in zip(batch.pictures, good, strict=True) if ok]
                    keys = [self._key(n) for n in numbers[good].tolist()]
                    features = self._encode(chosen, keys, keep)
                    for rows, places in self._distinct.rows(numbers[good], block=sink.block):
                        sink.write(rows, features, places)
                for rows, _ in self._distinct.rows(numbers[~good], block=sink.block):
                    assert default is not None
                    sink.write(rows, default, np.zeros(len(rows), np.int64))
                for rows, places in self._distinct.rows(numbers, block=1 << 20):
                    sink.status[rows] = batch.status[places]
                first += len(numbers)
                stage.advance(len(numbers))
        sink.finish()

    def _key(self, number: int) -> str:
        """Names a picture to a detector that replays recorded boxes: its first row."""
        return f"{self._table}/{self._distinct.first_row(number)}"

    def _encode(
        self, pictures: Sequence[Image.Image], keys: Sequence[str], keep: int
    ) -> PictureFeatures:
        encoders = self._encoders
        regions = pooled = boxes = objects = None
        if encoders.image is not None:
            if self._table == "mentions":
                regions = encoders.image.encode(pictures).regions
            else:
                pooled = encoders.image.encode_pooled(pictures)
            if encoders.detector is not None:
                boxes = encoders.detector.detect(pictures, keys=keys, keep=keep)
                objects = encode_objects(encoders.image, pictures, boxes.boxes)
        clip = encoders.clip.encode_images(pictures) if encoders.clip is not None else None
        return PictureFeatures(regions, pooled, boxes, objects, clip)


class PictureSink:
    """Writes the picture fields of one table."""

    def __init__(
        self,
        writer: StoreWriter,
        table: str,
        *,
        images: MentionImages | None,
        pooled: FeatureWriter | None,
        objects: FeatureWriter | None,
        keep: int,
        clip: ClipPairs | None,
        block: int,
    ) -> None:
        rows = writer.rows(table)
        self._writer, self._table = writer, table
        self._images, self._pooled, self._objects, self._clip = images, pooled, objects, clip
        self._boxes = Boxes(
            np.zeros((rows, keep, 4), np.float32), np.zeros((rows, keep), np.float32)
        )
        self.status = np.zeros(rows, np.uint8)
        self.block = block

    @classmethod
    def create(
        cls,
        writer: StoreWriter,
        table: str,
        encoders: Encoders,
        keep: int,
        clip: ClipPairs | None,
    ) -> PictureSink:
        image = encoders.image
        regions = 1 if image is None else image.regions
        images = pooled = objects = None
        if image is not None:
            if table == "mentions":
                images = MentionImages(writer, regions=regions, width=image.width)
            else:
                pooled = writer.feature("entities/image_pooled", (image.width,))
            if encoders.detector is not None:
                objects = writer.feature(f"{table}/objects", (keep, image.width))
        return cls(
            writer,
            table,
            images=images,
            pooled=pooled,
            objects=objects,
            keep=keep,
            clip=clip,
            block=block_rows(4 * regions * (image.width if image else 1)),
        )

    def write(self, rows: np.ndarray, features: PictureFeatures, places: np.ndarray) -> None:
        """Row ``rows[i]`` gets the features of picture ``places[i]``."""
        if self._images is not None and features.regions is not None:
            self._images.write(rows, features.regions[places])
        if self._pooled is not None and features.pooled is not None:
            self._pooled.write(rows, features.pooled[places])
        if self._objects is not None and features.objects is not None:
            self._objects.write(rows, features.objects[places])
        if features.boxes is not None:
            self._boxes.boxes[rows] = features.boxes.boxes[places]
            self._boxes.scores[rows] = features.boxes.scores[places]
        if self._clip is not None and features.clip is not None:
            self._clip.write_images(self._table, rows, features.clip[places])

    def finish(self) -> None:
        self._writer.column(f"{self._table}/image_status", self.status)
        if self._objects is not None:
            self._writer.column(f"{self._table}/object_boxes", self._boxes.boxes)
            self._writer.column(f"{self._table}/object_scores", self._boxes.scores)
