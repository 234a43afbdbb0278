"""Small pictures that are kept in the store, so that browsing needs no source folder.

A thumbnail is a JPEG. It is a record of bytes: ``thumbnail`` with ``thumbnail_size`` real ones.
"""

from __future__ import annotations

import numpy as np

from featurestore.codecs import Codec, Compression
from featurestore.record_arrays import RecordArray, pack
from featurestore.row_arrays import RowArray
from featurestore.table import Table
from featurestore.writer import StoreWriter

#: Pixels of the longer side, at most.
SIDE = 160

#: Bytes of a thumbnail, at most (chosen here: photographs of 160 pixels take 4 to 8 kB at quality 80).
ROOM = 16384

FIELD, COUNT = "thumbnail", "thumbnail_size"


def thumbnail(table: Table, row: int) -> bytes | None:
    """The JPEG of a row's picture; None where it has no usable picture, or the store no thumbnails.

    Raises:
        UnknownId: no such row.
        StoreError: a damaged record.
    """
    if FIELD not in table or not table.gather(COUNT, [row])[0]:
        return None
    data: bytes = table.gather(FIELD, [row])[0].tobytes()
    return data


class ThumbnailWriter:
    """Writes the thumbnails of one table; rows in any order.

    Args:
        room: bytes of a thumbnail, at most.
    """

    def __init__(self, writer: StoreWriter, table: str, *, room: int = ROOM) -> None:
        self._room = room
        # what is padded must be compressed
        compression: Compression = writer.codec.compression
        codec = Codec("gzip" if compression == "none" else compression)
        self._records: RecordArray | None = writer.records(f"{table}/{FIELD}", (room,), codec)
        self._sizes: RowArray = writer.growing_column(f"{table}/{COUNT}")

    def has(self, rows: np.ndarray) -> bool:
        """Whether all these rows are written."""
        return self._sizes.has(rows) and (self._records is None or self._records.has(rows))

    def write(self, rows: np.ndarray, jpegs: list[bytes]) -> None:
        """Row ``rows[i]`` gets ``jpegs[i]``, at most ``room`` bytes; nothing stands for no picture.

        Raises:
            OSError: an earlier write failed.
        """
        self._sizes.write(rows, np.array([len(jpeg) for jpeg in jpegs], np.int32))
        if self._records is None:
            return
        missing = np.flatnonzero(self._records.written.missing(rows)).tolist()
        if missing:
            whole = np.zeros((len(missing), self._room), np.uint8)
            for record, place in zip(whole, missing, strict=True):
                record[: len(jpegs[place])] = np.frombuffer(jpegs[place], np.uint8)
            chunks = [self._records.codec.encode(record) for record in whole]
            self._records.write(rows[missing], pack(chunks))
