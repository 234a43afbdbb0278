"""Where pictures stand in the two raw layouts (DATASETS.md), so that ``ingest`` finds them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from featurestore.sources.titles import picture_stem

LayoutName = Literal["wikimel", "wikidiverse"]


@dataclass(frozen=True, slots=True)
class Layout:
    """One of the layouts.

    ``by_qid``: entities are named by their QIDs, each with a picture file of its own; else by titles, and
    a picture has one file, named by its address.
    """

    name: LayoutName
    pictures: Path
    by_qid: bool

    def stem(self, folder: Path, entity: sqlite3.Row, picture: sqlite3.Row) -> Path:
        """The file of an entity's picture, without suffix."""
        name = entity["qid"] if self.by_qid else picture_stem(picture["url"])
        return folder / self.pictures / name


LAYOUTS: dict[str, Layout] = {
    "wikimel": Layout("wikimel", Path("entities", "cleaned-images"), True),
    "wikidiverse": Layout("wikidiverse", Path("images"), False),
}
