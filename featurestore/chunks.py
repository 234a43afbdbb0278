"""Bytes of a store straight from the memory-mapped file: contiguous rows, texts, records."""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from pathlib import Path

import numpy as np

from featurestore.catalog import Extent, StoredField, read_chunk_table
from featurestore.errors import StoreError


class FileMap:
    """A read-only memory map of a whole file.

    Random access is announced to the kernel: its default read-ahead of 128 KB would multiply what a
    cold gather of single rows reads from disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        descriptor = os.open(path, os.O_RDONLY)
        try:
            self._file = _identity(os.fstat(descriptor))
            self._map = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
        if hasattr(mmap, "MADV_RANDOM"):
            self._map.madvise(mmap.MADV_RANDOM)
        self._bytes: np.ndarray | None = np.frombuffer(self._map, np.uint8)

    @property
    def bytes(self) -> np.ndarray:
        """The whole file, (file size,) uint8.

        Raises:
            StoreError: it was closed.
        """
        if self._bytes is None:
            raise StoreError("the store is closed", where=str(self.path), hint="open it again")
        return self._bytes

    def array(self, extent: Extent) -> np.ndarray:
        """A read-only view of a contiguous array; nothing is read yet."""
        part = self.bytes[extent.offset : extent.offset + extent.nbytes]
        return part.view(extent.dtype).reshape(extent.shape)

    def refuse_replaced(self) -> None:
        """Make sure that the path still leads to the file in the map, before it is read by path.

        Raises:
            StoreError: another file stands there now: its offsets are not ours.
        """
        if not self.path.exists() or _identity(self.path.stat()) != self._file:
            raise StoreError(
                "the store was replaced while it was in use",
                where=str(self.path),
                hint="open it again",
            )

    def release_pages(self) -> None:
        """Give back the memory that pages read so far occupy; views stay valid and read them again."""
        if self._bytes is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Drop the map. Views handed out earlier keep it alive until they are gone."""
        self._bytes = None
        with suppress(BufferError):  # while someone holds a view; the map goes with the last one
            self._map.close()


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


class TextColumn:
    """UTF-8 texts of one field."""

    def __init__(self, data: np.ndarray, offsets: np.ndarray) -> None:
        self._data = data
        self._offsets = offsets

    def at(self, rows: np.ndarray) -> list[str]:
        """The texts of rows, in their order."""
        starts, ends = self._offsets[rows], self._offsets[rows + 1]
        data = self._data
        return [data[a:b].tobytes().decode() for a, b in zip(starts, ends, strict=True)]


class RecordColumn:
    """Records of one field, decoded from the map into the caller's batch.

    The table of chunk positions is read at the first use and kept (16 bytes a record). Records
    stored without compression are one contiguous array and need no table.
    """

    def __init__(self, file: FileMap, field: StoredField, counts: np.ndarray | None) -> None:
        self._file = file
        self._field = field
        self._counts = counts
        self._table: np.ndarray | None = None
        self._array = file.array(field.extent) if field.extent else None

    def gather(self, rows: np.ndarray, length: int) -> np.ndarray:
        """(len(rows), length, …) records; beyond a record's own count it is zero."""
        out = np.empty((len(rows), length, *self._field.shape[2:]), self._field.dtype)
        for place, row in enumerate(rows.tolist()):
            count = length if self._counts is None else min(int(self._counts[row]), length)
            self._read(row, out[place, :count])
            out[place, count:] = 0
        return out

    def whole(self, rows: np.ndarray) -> np.ndarray:
        """(len(rows), S, …) records with whatever was stored beyond their count."""
        out = np.empty((len(rows), *self._field.shape[1:]), self._field.dtype)
        for place, row in enumerate(rows.tolist()):
            self._read(row, out[place])
        return out

    def _read(self, row: int, out: np.ndarray) -> None:
        """Fill ``out`` with the first rows of one record."""
        if self._array is not None:
            out[:] = self._array[row, : len(out)]
            return
        codec = self._field.codec
        assert codec is not None
        chunk, where = self._chunk(row)
        whole = int(np.prod(self._field.shape[1:]))
        codec.decode_into(chunk, out, whole=whole, where=where)

    def _chunk(self, row: int) -> tuple[np.ndarray, str]:
        path = self._field.schema.path
        if self._table is None:
            self._file.refuse_replaced()
            self._table = read_chunk_table(self._file.path, path, self._field.shape[0])
        offset, size = self._table[row].tolist()
        where = f"{self._file.path}::/{path}[{row}]"
        if not size:
            raise StoreError("the record was never written", where=where, hint="ingest again")
        return self._file.bytes[offset : offset + size], where
