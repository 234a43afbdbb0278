"""Boxes that a detector found earlier, replayed from ``.npy`` files in its place.

A folder holds ``{mention,entity}-object-{box,score}_*.npy`` in the order of the release: boxes
(n, O, 4) in the 224×224 frame, scores (n, O); ``_train``, ``_valid``, ``_test`` for mentions and
``_all`` for entities.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from featurestore.encoders.loading import EncoderInfo, sha256_of
from featurestore.encoders.objects import RecordedBoxes
from featurestore.errors import SourceError
from featurestore.sources.arrays import SPLITS, load

_SUFFIXES = {"mention": SPLITS, "entity": ("all",)}


def recorded_boxes(folder: Path) -> RecordedBoxes:
    """A detector that knows the boxes of the rows of one dataset: keys ``mentions/0``, …

    Raises:
        SourceError: a file is missing, or boxes and scores do not fit together.
    """
    found: dict[str, tuple[ArrayLike, ArrayLike]] = {}
    files: list[Path] = []
    for kind, suffixes in _SUFFIXES.items():
        table = "mentions" if kind == "mention" else "entities"
        row = 0
        for suffix in suffixes:
            box_path = folder / f"{kind}-object-box_{suffix}.npy"
            score_path = folder / f"{kind}-object-score_{suffix}.npy"
            boxes = load(box_path, ndim=(3,))
            scores = load(score_path, ndim=(2,), rows=len(boxes))
            if boxes.shape[1:] != (scores.shape[1], 4):
                raise SourceError(
                    f"boxes {boxes.shape} do not fit scores {scores.shape}", where=str(box_path)
                )
            for own_boxes, own_scores in zip(np.asarray(boxes), np.asarray(scores), strict=True):
                found[f"{table}/{row}"] = own_boxes, own_scores
                row += 1
            files += [box_path, score_path]
    info = EncoderInfo("detector", "recorded boxes", "", sha256_of(files), {}, {})
    return RecordedBoxes(found=found, info=info)
