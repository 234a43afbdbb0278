"""The pages of raw WikiDiverse: briefs, descriptions and picture lists, looked up by title."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from featurestore.schema import PADDING, SPLITS
from featurestore.sources.items import as_text
from featurestore.sources.notes import note_ids
from featurestore.sources.pictures import PictureFolder
from featurestore.sources.rawtables import RawEntities
from featurestore.sources.textfiles import numbered_lines, read_json_object
from featurestore.sources.titles import picture_stem

#: Characters of the text that the encoders read (DATASETS.md).
TEXT_LENGTH = 512

#: The folder of all downloaded pictures, of mentions and of pages.
IMAGES = "images"

_BRIEFS = {split: Path("entities", f"entity2brief_{split}.json") for split in SPLITS}
_PICTURES = Path("entities", "wikipedia_entity2imgs.tsv")
_DESCRIPTIONS = Path("entities", "wikipedia_entity2desc_filtered.tsv")

_SEPARATOR = "@@@@"  # between a title and what belongs to it
_NEXT_URL = "[AND]"


class Pages(NamedTuple):
    """The entity table, which rows lack what, and the files it was read from."""

    entities: RawEntities
    has_brief: NDArray[np.bool_]  # (N,)
    has_picture: NDArray[np.bool_]  # (N,) a listed picture is there; it may yet turn out unusable
    files: list[Path]


def entity_text(title: str, brief: str) -> str:
    """What the text encoders read of a page (DATASETS.md, raw WikiDiverse)."""
    return f"{title}: {brief}"[:TEXT_LENGTH] if brief else title


def picture_path(folder: PictureFolder, url: str) -> str:
    """Where the picture of ``url`` was downloaded to, below the root; "" = nowhere."""
    name = folder.find(picture_stem(url))
    return f"{IMAGES}/{name}" if name else ""


def read_pages(
    root: Path,
    titles: Mapping[str, str],
    slots: Mapping[str, NDArray[np.int32]],
    key: Callable[[str], str],
    folder: PictureFolder,
    notes: list[str],
) -> Pages:
    """What is known of the pages of ``titles``.

    Args:
        root: the dataset's folder.
        titles: {key: title}, in the order of the rows; the key "" is the padding.
        slots: split → (n, K+1) rows that its mentions refer to.
        key: equal for titles that name the same page.
        folder: the downloaded pictures.
        notes: what is absent or odd is appended.

    Raises:
        SourceError: a file is malformed; names file and title.
    """
    lookup = _Lookup(root, {page: row for row, page in enumerate(titles) if page}, key, notes)
    size = len(titles)
    briefs = _read_briefs(lookup, size, slots)
    choices = _read_pictures(lookup, size, folder)
    shown = [title or PADDING for title in titles.values()]
    entities = RawEntities(
        ids=shown,
        titles=shown,
        descriptions=_read_descriptions(lookup, size),
        texts=[entity_text(*pair) for pair in zip(titles.values(), briefs, strict=True)],
        image_choices=choices,
    )
    for what, found in (
        ("brief", briefs),
        ("description", entities.descriptions),
        ("picture file", choices),
    ):
        bare = sum(not found[row] for row in lookup.rows.values())
        if bare:
            notes.append(f"entities without {what}: {bare} of {len(lookup.rows)}")
    names = (*_BRIEFS.values(), _PICTURES, _DESCRIPTIONS)
    return Pages(
        entities=entities,
        has_brief=np.array([brief != "" for brief in briefs], bool),
        has_picture=np.array([len(files) > 0 for files in choices], bool),
        files=[root / name for name in names if (root / name).is_file()],
    )


class _Lookup(NamedTuple):
    """The dataset's files, and the rows of the pages that are wanted of them."""

    root: Path
    rows: Mapping[str, int]  # key → row; without the padding
    key: Callable[[str], str]
    notes: list[str]

    def row(self, title: str) -> int | None:
        return self.rows.get(self.key(title))

    def existing(self, name: Path) -> Path | None:
        """The file, or None and a note."""
        if (self.root / name).is_file():
            return self.root / name
        self.notes.append(f"{name.as_posix()} is absent")
        return None

    def lines(self, name: Path) -> Iterator[tuple[int, str]]:
        """Row and content of the lines ``title@@@@content`` about wanted pages."""
        path = self.existing(name)
        odd = []
        for number, line in numbered_lines(path) if path else ():
            title, separator, content = line.partition(_SEPARATOR)
            if not separator:
                odd.append(f"line {number}")
            elif (row := self.row(title)) is not None:
                yield row, content
        note_ids(self.notes, f"{name.as_posix()}: lines without {_SEPARATOR}, not used", odd)


def _read_briefs(lookup: _Lookup, size: int, slots: Mapping[str, NDArray[np.int32]]) -> list[str]:
    """The brief of each page; "" = none.

    The release has one file a split, and the authors' scripts look a page up in the file of the
    split that they are at. Here a page has one row and so one brief, the first that train, valid or
    test know of it. Where this differs from what the scripts do, it is counted.
    """
    briefs = [""] * size
    borrowed, differing = np.zeros(size, bool), np.zeros(size, bool)
    for split, name in _BRIEFS.items():
        lacking = np.zeros(size, bool)
        lacking[slots[split]] = True
        path = lookup.existing(name)
        for title, brief in (read_json_object(path) if path else {}).items():
            row = lookup.row(title)
            if row is None or not brief:
                continue
            brief = as_text(brief, "a brief", f"{path}, entity {title!r}")
            briefs[row] = briefs[row] or brief
            differing[row] |= briefs[row] != brief
            lacking[row] = False
        borrowed |= lacking
    borrowed &= np.array([brief != "" for brief in briefs], bool)
    for what, flags in (
        ("entities whose brief one split has and another lacks, used in both", borrowed),
        ("entities with another brief in a later split, not used", differing),
    ):
        if flags.any():
            lookup.notes.append(f"{what}: {int(flags.sum())}")
    return briefs


def _read_pictures(lookup: _Lookup, size: int, folder: PictureFolder) -> list[list[str]]:
    """The downloaded pictures of each page, below the root, in the order of its URLs."""
    choices: list[list[str]] = [[] for _ in range(size)]
    absent = 0
    for row, urls in lookup.lines(_PICTURES):
        for url in urls.split(_NEXT_URL):
            if "/" not in url:  # nothing listed, or the header
                continue
            path = picture_path(folder, url)
            absent += not path
            if path and path not in choices[row]:
                choices[row].append(path)
    if absent:
        lookup.notes.append(f"listed entity pictures that were not downloaded: {absent}")
    return choices


def _read_descriptions(lookup: _Lookup, size: int) -> list[str]:
    """The description of each page, the first that is listed; "" = none."""
    found = [""] * size
    for row, text in lookup.lines(_DESCRIPTIONS):
        found[row] = found[row] or text
    return found
