"""The arrays of a preprocessed dataset as files of a folder, memory-mapped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from featurestore.derive import block_rows
from featurestore.progress import Progress
from featurestore.sources.arrays import Header, header_of, load, missing
from featurestore.sources.feeds import Feed
from featurestore.sources.fingerprint import fingerprint, times
from featurestore.sources.textfiles import read_json_object


class FolderArrays:
    """Implements :class:`~featurestore.sources.feeds.RecordedArrays` for a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def where(self, file: str) -> str:
        return str(self._root / file)

    def has(self, file: str) -> bool:
        return (self._root / file).exists()

    def json(self, file: str) -> dict[str, object]:
        if not (self._root / file).is_file():
            raise missing(self.where(file))
        return read_json_object(self._root / file)

    def load(
        self,
        file: str,
        *,
        holds: str = "features",
        ndim: tuple[int, ...] = (),
        rows: int | None = None,
    ) -> np.ndarray:
        return load(self._root / file, holds=holds, ndim=ndim, rows=rows)

    def features(self, file: str, *, ndim: tuple[int, ...] = (), rows: int | None = None) -> Header:
        return header_of(self._root / file, self.where(file)).check(ndim=ndim, rows=rows)

    def feed(self, feeds: Sequence[Feed], progress: Progress) -> None:
        """Feed after feed, file after file."""
        for feed in feeds:
            total = sum(len(part.rows) for part in feed.parts)
            with progress.stage(feed.name, total, feed.unit) as stage:
                for number, part in enumerate(feed.parts):
                    array = load(self._root / part.file)
                    step = block_rows(array[:1].nbytes)
                    for first in range(0, len(part.rows), step):
                        chosen = slice(first, first + step)
                        if not feed.has(part.rows[chosen]):
                            values = _rows(array, part.source_rows[chosen])
                            feed.write(part.block(self.where(part.file), number, chosen, values))
                        stage.advance(len(part.rows[chosen]))

    def check_any_order(self) -> None:
        """They can: the files are mapped."""

    def origin(self) -> dict[str, Any]:
        """A digest of the files' names, sizes and heads."""
        return {"fingerprint": fingerprint(self._files())}

    def state(self) -> dict[str, str]:
        """When each file was changed."""
        return times(self._files())

    def _files(self) -> list[Path]:
        return sorted(p for p in self._root.iterdir() if p.suffix in (".npy", ".json"))


def _rows(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of a mapped array; not copied where they stand side by side."""
    if rows[-1] - rows[0] == len(rows) - 1:
        return np.asarray(array[rows[0] : rows[-1] + 1])
    return np.asarray(array[rows])
