"""The sample as raw WikiMEL, with the troubles of the real one (DATASETS.md, "Raw WikiMEL")."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from featurestore.progress import Progress
from featurestore.sources.sample_files import MENTIONS, draw_mentions, write_json, write_lines
from featurestore.sources.sample_pictures import Box, picture_states, write_picture
from featurestore.sources.sample_world import SPLITS, Split, World, stream

# Shares chosen here: at least one of each, few enough that the demo's figures do not suffer.
_NOT_IN_SENTENCE = 0.005
_ONLY_BRIEF = 0.01

#: Said before one mention, so that 128 tokens end before it.
_FAR = "the letter was left near the house, " * 18


def write_wikimel(root: Path, world: World, progress: Progress) -> dict[str, int]:
    """Write the dataset below ``root``; how often each planted trouble occurs."""
    troubles = _write_entities(root, world)
    _write_candidates(root, world)
    kept, found = _write_mentions(root, world)
    entity_boxes = _draw_entities(root, world, progress)
    mention_boxes, pictures = draw_mentions(
        world, progress, lambda row: root / "mentions" / "KVQAimgs" / _image_id(world, row)
    )
    _write_boxes(root / "boxes", world, mention_boxes, entity_boxes, kept)
    ...
