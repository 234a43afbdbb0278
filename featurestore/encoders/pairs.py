"""CLIP embeddings of both tables, and from them the similarities of every mention–candidate pair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from featurestore import ingest_shards
from featurestore.distinct import Distinct
from featurestore.encoders.clip import ClipEncoder, pair_logits
from featurestore.features import FeatureWriter
from featurestore.progress import Progress
from featurestore.row_arrays import KeptRows
from featurestore.schema import SIMILARITIES, TABLES
from featurestore.writer import StoreWriter


class ClipPairs:
    """CLIP embeddings of both tables, and the similarities of every mention–candidate pair.

    The similarities are made from the exact embeddings, which wait on disk, not from
    the stored ones, which may be float16.
    """

    def __init__(self, writer: StoreWriter, encoder: ClipEncoder) -> None:
        self._writer = writer
        self._encoder = encoder
        self._exact: dict[str, KeptRows] = {}
        self._stored: dict[str, FeatureWriter] = {}
        for table in TABLES:
            shape = (writer.rows(table), encoder.width)
            for path in (f"{table}/clip_text", f"{table}/clip_image"):
                self._exact[path] = writer.kept(f"{path}.exact", shape, np.dtype(np.float32))
                self._stored[path] = writer.feature(path, shape[1:])

    @classmethod
    def create(cls, writer: StoreWriter, encoder: ClipEncoder | None) -> ClipPairs | None:
        return None if encoder is None else cls(writer, encoder)

    def has_images(self, table: str, rows: np.ndarray) -> bool:
        """Whether the pictures of all these rows are written."""
        return self._has(f"{table}/clip_image", rows)

    def _has(self, path: str, rows: np.ndarray) -> bool:
        return self._exact[path].has(rows) and self._stored[path].has(rows)

    def write_images(self, table: str, rows: np.ndarray, embeddings: np.ndarray) -> None:
        self._keep(f"{table}/clip_image", rows, embeddings)

    def write_texts(
        self, table: str, texts: Sequence[str], progress: Progress, *, padding: bool
    ) -> None:
        """Embed each distinct text of a block once; those of like length together, or all padded."""
        path = f"{table}/clip_text"
        with progress.stage(f"{table} CLIP text", len(texts), "texts") as stage:
            for first in range(0, len(texts), ingest_shards.BLOCK_ROWS):
                block = texts[first : first + ingest_shards.BLOCK_ROWS]
                if not self._has(path, np.arange(first, first + len(block))):
                    distinct = Distinct(block)
                    values = distinct.values
                    order = sorted(range(len(values)), key=lambda i: len(values[i]))
                    embeddings = self._encoder.encode_texts(
                        [values[i] for i in order], padding=padding
                    )
                    for rows, places in distinct.rows(np.array(order), block=len(block)):
                        self._keep(path, first + rows, embeddings[places])
                    self._writer.finished()
                stage.advance(len(block))

    def _keep(self, path: str, rows: np.ndarray, embeddings: np.ndarray) -> None:
        self._exact[path].write(rows, embeddings)
        self._stored[path].write(rows, embeddings)

    def write_pairs(self, candidates: np.ndarray, gold: np.ndarray, progress: Progress) -> None:
        """Write both similarities of every mention with its candidates and its gold slot."""
        slots = np.column_stack([candidates, gold])
        for name, (mention_side, entity_side) in SIMILARITIES.items():
            logits = np.zeros(slots.shape, np.float32)
            with progress.stage(name, len(slots), "mentions") as stage:
                for part in _slices(len(slots), 1024):
                    logits[part] = pair_logits(
                        self._exact[f"mentions/{mention_side}"].values[part],
                        self._exact[f"entities/{entity_side}"].values,
                        slots[part],
                        self._encoder.logit_scale,
                    )
                    stage.advance(part.stop - part.start)
            self._writer.column(f"mentions/{name}", logits)


def _slices(total: int, step: int) -> Iterator[slice]:
    return (slice(first, min(first + step, total)) for first in range(0, total, step))
