"""Boxes that a detector found earlier, replayed from ``.npy`` files in its place.

A folder holds ``{mention,entity}-object-{box,score}_*.npy`` in the order of the release: boxes
(n, O, 4) in the 224×224 frame, scores (n, O). Mentions have ``_train``, ``_valid`` and ``_test``.
Entities have either ``_all``, a row each, or ``_train``, ``_valid`` and ``_test``, a row for each
mention and slot, of which an entity's first is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featurestore.encoders.loading import EncoderInfo, sha256_of
from featurestore.encoders.objects import RecordedBoxes
from featurestore.errors import SourceError
from featurestore.sources.arrays import load
from featurestore.sources.rawtables import RawMentions

_Found = dict[str, tuple[NDArray, NDArray]]  # "mentions/0", "entities/0", … → boxes, scores


def recorded_boxes(folder: Path, mentions: RawMentions, entities: int) -> RecordedBoxes:
    """A detector that knows the boxes of the rows of one dataset: keys ``mentions/0``, …

    Args:
        folder: the recordings.
        mentions: the mention table that they belong to.
        entities: rows of its entity table.

    Raises:
        SourceError: a file is missing, boxes and scores do not fit together, or there are more or
            fewer of them than the dataset has.
    """
    found: _Found = {}
    files: list[Path] = []
    parts: list[tuple[str, str, str, Sequence[int]]] = [
        ("mentions", "mention", split, rows) for split, rows in mentions.splits.items()
    ]
    parts += [("entities", "entity", *part) for part in _entity_parts(folder, mentions, entities)]
    for table, kind, suffix, rows in parts:
        pair = [folder / f"{kind}-object-{what}_{suffix}.npy" for what in ("box", "score")]
        files += pair
        for row, boxes, scores in zip(rows, *_load(*pair, count=len(rows)), strict=True):
            found.setdefault(f"{table}/{row}", (boxes, scores))
    info = EncoderInfo("detector", "recorded boxes", "", sha256_of(files), {}, {})
    return RecordedBoxes(found=found, info=info)


def _entity_parts(
    folder: Path, mentions: RawMentions, entities: int
) -> Iterator[tuple[str, list[int]]]:
    """The suffix of each file of entity boxes, and the entity row of each of its rows."""
    if (folder / "entity-object-box_all.npy").exists():
        yield "all", list(range(entities))
        return
    for split, rows in mentions.splits.items():
        yield split, mentions.slots[rows.start : rows.stop].reshape(-1).tolist()


def _load(box_path: Path, score_path: Path, *, count: int) -> tuple[NDArray, NDArray]:
    """Boxes (count, O, 4) and scores (count, O)."""
    boxes = load(box_path, holds="boxes", ndim=(3,))
    scores = load(score_path, ndim=(2,), rows=len(boxes))
    if boxes.shape[1:] != (scores.shape[1], 4):
        raise SourceError(
            f"boxes {boxes.shape} do not fit scores {scores.shape}", where=str(box_path)
        )
    if len(boxes) != count:
        raise SourceError(
            f"{len(boxes)} rows of boxes where the dataset has {count}",
            where=str(box_path),
            hint="recorded boxes fit the whole dataset that they were recorded from, without --limit",
        )
    return np.asarray(boxes), np.asarray(scores)
