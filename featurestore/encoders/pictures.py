"""Encode the pictures of one table: inside a block of rows each distinct file is opened and encoded once.

A row may name several files, the preferred one first; its picture is the first that can be used.
Which that is shows only when a file is opened, so all first files of a block are gone through, then the
second files of its rows still without a picture, and so on. No block needs to know of another.

Rows that are left have the default picture's features, made once a block. What is recorded of them,
``image_path`` and ``image_status``, is their first file and what is wrong with it.
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
from featurestore.encoders.seen import STATUS, check_unchanged, not_seen, table_of_files
from featurestore.encoders.suite import Encoders
from featurestore.features import FeatureWriter
from featurestore.options import IngestOptions
from featurestore.progress import Progress
from featurestore.row_arrays import KeptRows
from featurestore.sources.pictures import STATUS_CODE
from featurestore.thumbnails import ThumbnailWriter
from featurestore.writer import StoreWriter

#: Rows after whose pictures nothing is half done, of which ``ingest_shards.BLOCK_ROWS`` is a multiple
#: (chosen here: four batches of the encoders).
WINDOW = 256

_OK, _MISSING = STATUS_CODE["ok"], STATUS_CODE["missing"]


class PictureFeatures(NamedTuple):
    """Everything that is made of b pictures; ``None`` where an encoder is absent."""

    regions: np.ndarray | None  # (b, R, V)
    pooled: np.ndarray | None  # (b, V)
    boxes: Boxes | None  # (b, O, 4), (b, O)
    objects: np.ndarray | None  # (b, O, V)
    clip: np.ndarray | None  # (b, P)


class Pictures:
    """The picture files of some rows of one table, and the encoders they go through."""

    def __init__(
        self,
        writer: StoreWriter,
        table: str,
        choices: Sequence[Sequence[str]],
        encoders: Encoders,
        *,
        root: Path,
        options: IngestOptions,
        clip: ClipPairs | None,
        first: int = 0,
    ) -> None:
        """``choices``: for each row its files below ``root``, the preferred one first; may be none.

        ``first``: the row of the dataset that is row 0 here.
        """
        self._writer = writer
        self._table = table
        self._choices = choices
        self._first = first
        self._encoders = encoders
        self._root = root
        self._keep = options.objects_of(table)
        self._sink = PictureSink.create(writer, table, encoders, options, clip)
        self._used = [files[0] if files else "" for files in choices]
        self._later = 0
        self._files: dict[int, KeptRows] = {}  # by rank

    def write(self, progress: Progress) -> None:
        """Write every picture field that has an encoder, block after block."""
        total = len(self._choices)
        with progress.stage(f"{self._table} pictures", total, self._table) as stage:
            for first in range(0, total, WINDOW):
                rows = np.arange(first, min(first + WINDOW, total))
                if self._write_block(rows):
                    self._writer.finished()
                stage.advance(len(rows))

    def finish(self) -> int:
        """Write where pictures came from, of all rows.

        Returns:
            Rows whose picture is not their first file.
        """
        self._writer.text(f"{self._table}/image_path", self._used)
        self._sink.finish()
        return self._later

    def _write_block(self, rows: np.ndarray) -> bool:
        """Write the rows of a block; whether anything had to be written."""
        wrote, rank = False, 0
        waiting = self._with_more_than(0, rows)
        while len(waiting):
            names = [self._choices[row][rank] for row in waiting.tolist()]
            files = self._files_of(rank)
            check_unchanged(files, waiting, names, self._root, kept=self._writer.kept_in)
            if not self._sink.has(waiting, files):
                self._write_files(files, waiting, names)
                wrote = True
            status = files.values[waiting, STATUS]
            self._settle(rank, waiting, status, names)
            rank += 1
            waiting = self._with_more_than(rank, waiting[status != _OK])
        without = rows[self._sink.status[rows] != _OK]
        if len(without) and not self._sink.has(without):
            self._write_default(without)
            wrote = True
        return wrote

    def _files_of(self, rank: int) -> KeptRows:
        """The table of the files of one rank; in a repair, with what is known of the first ones."""
        if rank not in self._files:
            files = table_of_files(self._writer, self._table, rank)
            if rank == 0 and self._writer.salvage is not None:
                rows, status = self._writer.salvage.picture_status(self._table, self._used)
                files.write(rows, not_seen(status))
            self._files[rank] = files
        return self._files[rank]

    def _settle(
        self, rank: int, rows: np.ndarray, status: np.ndarray, names: Sequence[str]
    ) -> None:
        """Note what was found of the files of one rank: row ``rows[i]`` has ``names[i]``."""
        good = status == _OK
        if rank == 0:
            self._sink.status[rows] = status
            return
        self._later += int(good.sum())
        self._sink.status[rows[good]] = _OK
        for place in np.flatnonzero(good).tolist():
            self._used[rows[place]] = names[place]

    def _with_more_than(self, count: int, rows: np.ndarray) -> np.ndarray:
        """Those of ``rows`` that name more than ``count`` files."""
        more = [len(self._choices[row]) > count for row in rows.tolist()]
        return rows[np.array(more, bool)]

    def _write_files(self, files: KeptRows, rows: np.ndarray, names: Sequence[str]) -> None:
        """Write the features of the files that can be used: row ``rows[i]`` has ``names[i]``.

        Args:
            files: gets what each row's file was found to be; rows that it has are written already.
        """
        distinct, first = Distinct(names), 0
        paths = (self._root / name for name in distinct.values)
        for batch in read_pictures(paths, thumbnails=self._sink.thumbnails is not None):
            read = np.arange(first, first + len(batch.pictures))
            good = batch.status == _OK
            if good.any():
                chosen = [p for p, ok in zip(batch.pictures, good, strict=True) if ok]
                owners = [rows[distinct.first_row(n)] for n in read[good].tolist()]
                features = self._encode(chosen, owners)
                jpegs = [jpeg for jpeg, ok in zip(batch.thumbnails, good, strict=True) if ok]
                for places, pictures in distinct.rows(read[good], block=self._sink.block):
                    self._sink.write(rows[places], features, pictures, jpegs)
            found = np.column_stack([batch.status, batch.seen])
            for places, pictures in distinct.rows(read, block=1 << 20):
                files.write(rows[places], found[pictures])
            first += len(read)

    def _write_default(self, rows: np.ndarray) -> None:
        """The default picture for rows that have no picture of their own."""
        features = self._encode([default_picture()], rows[:1].tolist())
        for first in range(0, len(rows), self._sink.block):
            part = rows[first : first + self._sink.block]
            self._sink.write(part, features, np.zeros(len(part), np.int64), [b""])

    def _encode(self, pictures: Sequence[Image.Image], owners: Sequence[int]) -> PictureFeatures:
        """``owners``: a row of each picture; names it to a detector that replays recorded boxes."""
        keys = [f"{self._table}/{self._first + row}" for row in owners]
        return picture_features(self._encoders, self._table, pictures, keys=keys, keep=self._keep)


def picture_features(
    encoders: Encoders,
    table: str,
    pictures: Sequence[Image.Image],
    *,
    keys: Sequence[str],
    keep: int,
) -> PictureFeatures:
    """Everything that the encoders make of pictures of one table.

    Args:
        table: mentions have region features, entities pooled ones.
        keys: name the pictures to a detector that replays recorded boxes.
        keep: objects of each picture.
    """
    regions = pooled = boxes = objects = None
    if encoders.image is not None:
        if table == "mentions":
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
        thumbnails: ThumbnailWriter | None,
        block: int,
    ) -> None:
        self.thumbnails = thumbnails
        self._writer, self._table = writer, table
        self._images, self._pooled, self._objects, self._clip = images, pooled, objects, clip
        self._boxes = self._scores = None
        if objects is not None:
            self._boxes = writer.growing_column(f"{table}/object_boxes", (keep, 4))
            self._scores = writer.growing_column(f"{table}/object_scores", (keep,))
        self.status = np.full(writer.rows(table), _MISSING, np.uint8)
        self.block = block

    @classmethod
    def create(
        cls,
        writer: StoreWriter,
        table: str,
        encoders: Encoders,
        options: IngestOptions,
        clip: ClipPairs | None,
    ) -> PictureSink:
        image, keep = encoders.image, options.objects_of(table)
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
            thumbnails=ThumbnailWriter(writer, table) if options.thumbnails == "jpeg" else None,
            block=block_rows(4 * regions * (image.width if image else 1)),
        )

    def has(self, rows: np.ndarray, files: KeptRows | None = None) -> bool:
        """Whether all these rows are written.

        Args:
            files: what the rows' files were found to be; only those that can be used have features.
        """
        if files is not None:
            if not files.has(rows):
                return False
            rows = rows[files.values[rows, STATUS] == _OK]
        fields = (
            *(self._images, self._pooled, self._objects, self._boxes, self._scores),
            self.thumbnails,
        )
        written = all(field.has(rows) for field in fields if field is not None)
        return written and (self._clip is None or self._clip.has_images(self._table, rows))

    def write(
        self,
        rows: np.ndarray,
        features: PictureFeatures,
        places: np.ndarray,
        thumbnails: Sequence[bytes],
    ) -> None:
        """Row ``rows[i]`` gets the features, and the thumbnail, of picture ``places[i]``."""
        if self.thumbnails is not None:
            self.thumbnails.write(rows, [thumbnails[place] for place in places.tolist()])
        if self._images is not None and features.regions is not None:
            self._images.write(rows, features.regions[places])
        if self._pooled is not None and features.pooled is not None:
            self._pooled.write(rows, features.pooled[places])
        if self._objects is not None and features.objects is not None:
            self._objects.write(rows, features.objects[places])
        if self._boxes is not None and self._scores is not None and features.boxes is not None:
            self._boxes.write(rows, features.boxes.boxes[places])
            self._scores.write(rows, features.boxes.scores[places])
        if self._clip is not None and features.clip is not None:
            self._clip.write_images(self._table, rows, features.clip[places])

    def finish(self) -> None:
        self._writer.column(f"{self._table}/image_status", self.status)
