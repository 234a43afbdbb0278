"""Compare bytes with their checksums before they are used, each piece once (``verify_reads``)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xxhash import xxh3_64_intdigest

from featurestore.catalog import Extent
from featurestore.checksums import BLOCK, stored_sums
from featurestore.errors import StoreError
from featurestore.filemap import FileMap

_NEXT = "rebuild the field with: drin-fs repair STORE --from SOURCE"


class BlockGuard:
    """Guards one contiguous array.

    Raises:
        StoreError: the store has no checksums of it.
    """

    def __init__(self, file: FileMap, extent: Extent, path: str) -> None:
        self._file, self._offset = file, extent.offset
        self._bytes = file.array(Extent(extent.offset, (extent.nbytes,), np.dtype(np.uint8)))
        self._path, self._where = path, f"{file.path}::/{path}"
        self._row_bytes = max(1, extent.nbytes // max(extent.shape[0], 1))
        blocks = -(-extent.nbytes // BLOCK)
        self._sums = stored_sums(file.array, extent.sums, blocks, self._where)
        self._sound = np.zeros(blocks, bool)

    def check(self, rows: np.ndarray) -> None:
        """Compare the blocks that hold these rows.

        Raises:
            StoreError: one is not what was written; names its rows.
        """
        if not len(rows) or not len(self._sound):
            return
        first = rows * self._row_bytes // BLOCK
        last = ((rows + 1) * self._row_bytes - 1) // BLOCK
        self.check_blocks(np.unique(np.concatenate([first, last])).tolist())

    def check_all(self) -> None:
        """Compare the whole array.

        Raises:
            StoreError: as :meth:`check`.
        """
        self.check_blocks(range(len(self._sound)))

    def check_blocks(self, blocks: Sequence[int]) -> None:
        """Compare some blocks.

        Raises:
            StoreError: as :meth:`check`.
        """
        for block in blocks:
            if not self._sound[block]:
                data = self._bytes[block * BLOCK : (block + 1) * BLOCK]
                wanted, start = int(self._sums[block]), self._offset + block * BLOCK
                if xxh3_64_intdigest(data.data) != wanted and not (
                    self._file.again(start, start + len(data))
                    and xxh3_64_intdigest(data.data) == wanted
                ):
                    first = block * BLOCK // self._row_bytes
                    last = min((block + 1) * BLOCK, len(self._bytes)) // self._row_bytes
                    raise StoreError(
                        "bytes are not what was written",
                        where=f"{self._where}[{first} … {max(first, last - 1)}]",
                        hint=_NEXT,
                    )
                self._sound[block] = True


class RecordGuard:
    """Guards the records of a field in chunks; as :class:`BlockGuard`."""

    def __init__(self, file: FileMap, sums: Extent | None, rows: int, path: str) -> None:
        self._file = file
        self._where = f"{file.path}::/{path}"
        self._sums = stored_sums(file.array, sums, rows, self._where)
        self._sound = np.zeros(rows, bool)

    def check(self, rows: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> None:
        """Compare the chunks of records, which lie inside the file.

        Raises:
            StoreError: one is not what was written.
        """
        data = self._file.pieces(starts, sizes)
        for place in np.flatnonzero(~self._sound[rows]).tolist():
            row, start = int(rows[place]), int(starts[place])
            chunk = data[start : start + int(sizes[place])]
            wanted = int(self._sums[row])
            if xxh3_64_intdigest(chunk.data) != wanted and not (
                self._file.again(start, start + len(chunk))
                and xxh3_64_intdigest(chunk.data) == wanted
            ):
                raise StoreError(
                    "bytes are not what was written", where=f"{self._where}[{row}]", hint=_NEXT
                )
            self._sound[row] = True
