"""Write records together with the views derived from them, so that the two can never disagree.

Both kinds of source end here: encoders hand over fresh features, ``.npy`` files recorded ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from featurestore.schema import IMAGE_STATUS
from featurestore.views import region_mean, span_mean, token_max, token_mean
from featurestore.writer import StoreWriter

#: Most bytes of features that a stage holds at once (chosen here: large enough for one compressed
#: write to fill every core, small beside the encoders).
BLOCK_BYTES = 32 << 20


def block_rows(row_bytes: int) -> int:
    """How many rows of this size make one block."""
    return max(1, BLOCK_BYTES // max(row_bytes, 1))


def default_picture(path: str) -> bool:
    """Whether a recorded picture path names the release's stand-in for a missing picture."""
    return PurePosixPath(path).stem == "default"


def recorded_status(paths: Sequence[str]) -> np.ndarray:
    """(n,) uint8 ``image_status`` of recorded picture paths."""
    ok, missing = IMAGE_STATUS.index("ok"), IMAGE_STATUS.index("missing")
    return np.array([missing if default_picture(path) else ok for path in paths], np.uint8)


def _views(text: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Token 0, mean and maximum of a text of ``count`` tokens."""
    tokens = text[:count]
    return tokens[0], token_mean(tokens), token_max(tokens)


class EntityText:
    """Token features of entity texts: records, counts, and the views of MODELS.md."""

    def __init__(self, writer: StoreWriter, *, tokens: int, width: int) -> None:
        self._writer = writer
        self._records = writer.feature("entities/text_tokens", (tokens, width))
        self._cls = writer.feature("entities/text_cls", (width,))
        self._mean = writer.feature("entities/text_mean", (width,))
        self._max = writer.feature("entities/text_max", (width,))
        self._counts = writer.growing_column("entities/token_count")

    def has(self, rows: np.ndarray) -> bool:
        """Whether all these rows are written."""
        features = (self._records, self._cls, self._mean, self._max)
        return all(f.has(rows) for f in features) and self._counts.has(rows)

    def write(
        self, rows: np.ndarray, tokens: Sequence[np.ndarray] | np.ndarray, counts: np.ndarray
    ) -> None:
        """``tokens``: one (≥ count, D) array a row; what lies beyond the count is stored with it."""
        self._counts.write(rows, counts)
        views = self._writer.every(_views, tokens, counts.tolist())
        with self._records.writing(rows, tokens):
            vectors = zip(*views, strict=True)
            for field, values in zip((self._cls, self._mean, self._max), vectors, strict=True):
                field.write(rows, np.stack(values))


class MentionText:
    """Token features of sentences: records, counts, spans and the views of MODELS.md."""

    def __init__(
        self, writer: StoreWriter, *, tokens: int, width: int, starts: np.ndarray, ends: np.ndarray
    ) -> None:
        self._writer = writer
        self._starts, self._ends = starts, ends
        self._records = writer.feature("mentions/text_tokens", (tokens, width))
        self._cls = writer.feature("mentions/text_cls", (width,))
        self._span = writer.feature("mentions/text_span", (width,))
        self._counts = writer.growing_column("mentions/token_count")
        self._empty = writer.growing_column("mentions/span_empty")

    def has(self, rows: np.ndarray) -> bool:
        """Whether all these rows are written."""
        columns = self._counts.has(rows) and self._empty.has(rows)
        return columns and all(f.has(rows) for f in (self._records, self._cls, self._span))

    def write(
        self, rows: np.ndarray, tokens: Sequence[np.ndarray] | np.ndarray, counts: np.ndarray
    ) -> None:
        """``tokens``: one (≥ count, D) array a row; what lies beyond the count is stored with it."""
        self._counts.write(rows, counts)
        real = [text[:count] for text, count in zip(tokens, counts.tolist(), strict=True)]
        ends = (self._starts[rows].tolist(), self._ends[rows].tolist())
        found = self._writer.every(span_mean, real, *ends)
        with self._records.writing(rows, tokens):
            spans, empty = zip(*found, strict=True)
            self._empty.write(rows, np.array(empty, np.uint8))
            self._cls.write(rows, np.stack([text[0] for text in tokens]))
            self._span.write(rows, np.stack(spans))

    def finish(self) -> int:
        """Write the columns; returns how many spans truncation left empty."""
        self._writer.column("mentions/token_start", self._starts)
        self._writer.column("mentions/token_end", self._ends)
        return sum(int(values.sum()) for _, values in self._empty.blocks())


class MentionImages:
    """Region features of mention pictures and their mean."""

    def __init__(self, writer: StoreWriter, *, regions: int, width: int) -> None:
        self._writer = writer
        self._regions = writer.feature("mentions/image_regions", (regions, width))
        self._mean = writer.feature("mentions/image_mean", (width,))

    def has(self, rows: np.ndarray) -> bool:
        """Whether all these rows are written."""
        return self._regions.has(rows) and self._mean.has(rows)

    def write(self, rows: np.ndarray, regions: np.ndarray) -> None:
        """``regions``: (len(rows), R, V)."""
        means = self._writer.every(region_mean, regions)
        with self._regions.writing(rows, regions):
            self._mean.write(rows, np.stack(list(means)))
