"""MIMIC's layout: one knowledge base, three mention lists, two picture folders, no candidates.

Luo et al., "Multi-Grained Multimodal Interaction Network for Entity Linking" (KDD 2023), released
WikiMEL, RichpediaMEL and WikiDiverse so, and later work kept the form::

    <root>/kb_entity.json                        [{id, entity_name, attr, image_list, qid?, desc?}]
    <root>/qid2id.json                           {QID: id}; not needed where entities have a qid
    <root>/<prefix>_{train,dev,test}.json        [{mentions, sentence, answer, imgPath?, id?}]
    <root>/kb_image/<name of an image_list>      optional
    <root>/mention_image/<name of an imgPath>    optional, also mention_images/

The prefix is ``WIKIMEL``, ``RichpediaMEL``, ``wiki_diverse`` or another, and names the dataset; a
list without one takes its folder's name. ``valid`` and ``val`` do for ``dev``. Names are
percent-encoded. MIMIC ranks the whole knowledge base; the candidates are made here, from the titles
(:class:`featurestore.candidates.TitleIndex`). docs/decisions/raw-mimic.md has what is chosen here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import compress, islice
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from featurestore.candidates import TitleIndex
from featurestore.errors import SourceError
from featurestore.schema import NO_ROW, SPLITS
from featurestore.sources.items import objects, optional_text, text
from featurestore.sources.mimic_entities import (
    KNOWLEDGE_BASE,
    NUMBERS,
    entity_table,
    first_file,
    note_pictures,
    picture_folder,
    read_entities,
)
from featurestore.sources.notes import note_dropped, note_ids
from featurestore.sources.pictures import PictureFolder
from featurestore.sources.rawtables import (
    RawDataset,
    RawMentions,
    referred_only,
)

_MENTION_PICTURES = ("mention_image", "mention_images")

_LIST = re.compile(r"(?:(?P<prefix>.*)[_-])?(?P<split>train|dev|valid|val|test)\.json")
_SPLIT_OF = {"train": "train", "dev": "valid", "valid": "valid", "val": "valid", "test": "test"}
_NIL = ("", "nil")


class RawMimic(RawDataset):
    """A folder in MIMIC's layout, read and checked; entities stand in the order of their ``id``."""

    entity_text = "tokens"
    reads = ("candidates",)

    @classmethod
    def open(cls, root: Path, *, candidates: int = 100, limit: int | None = None) -> RawMimic:
        """Read the text of the dataset below ``root``, and make the candidates.

        Args:
            root: the folder that holds ``kb_entity.json``.
            candidates: K, how many to find for each mention; fewer share a gram with some.
            limit: keep the first ``limit`` usable mentions of each split and only the entities that
                they refer to (candidates and golds), which stay in the order of the full table.

        Raises:
            SourceError: a needed file is missing or malformed, two files could be the same split,
                or an id or QID stands twice.
        """
        lists = _mention_lists(root)
        notes: list[str] = []
        kept, dropped = _read_mentions(lists, limit)
        known = read_entities(root, notes)
        row_of = {entity.qid: row for row, entity in enumerate(known)}
        gold = np.array([row_of.get(mention.gold, NO_ROW) for mention in kept], np.int32)
        index = TitleIndex.build(entity.title for entity in known)
        found = index.top([mention.text for mention in kept], candidates)
        _note_mentions(notes, kept, dropped, gold, found)
        if limit is not None:
            used, found, gold = referred_only(len(known), found, gold)
            known = list(compress(known, used))
        return cls(
            name=mimic_dataset(root),
            root=root,
            entities=entity_table(root, known, notes),
            mentions=_mentions(root, kept, found, gold, notes),
            dropped=dropped,
            notes=notes,
            text_files=[p for p in (root / KNOWLEDGE_BASE, root / NUMBERS) if p.is_file()]
            + list(lists.values()),
        )


def is_mimic(root: Path) -> bool:
    """Does ``root`` look like MIMIC's layout? Looks for two files by name, reads neither."""
    return (root / KNOWLEDGE_BASE).is_file() and "train" in _lists(root)


def mimic_dataset(root: Path) -> str:
    """The dataset's name in small letters: the prefix of its training list, or its folder's name."""
    prefix = next((prefix for prefix, _ in _lists(root).get("train", [])), "")
    letters = re.sub(r"[\W_]+", "", prefix or root.resolve().name)
    return letters.casefold() or "mimic"


# files ------------------------------------------------------------------------------------------


def _lists(root: Path) -> dict[str, list[tuple[str, Path]]]:
    """Split → the (prefix, file) that by their names could be its mention list."""
    found: dict[str, list[tuple[str, Path]]] = {}
    for path in sorted(root.glob("*.json")):
        name = _LIST.fullmatch(path.name)
        if name and path.is_file():
            split = _SPLIT_OF[name["split"]]
            found.setdefault(split, []).append((name["prefix"] or "", path))
    return found


def _mention_lists(root: Path) -> dict[str, Path]:
    """The mention list of each split."""
    if not (root / KNOWLEDGE_BASE).is_file():
        raise SourceError(
            f"MIMIC's layout needs {KNOWLEDGE_BASE}, which is missing",
            where=str(root),
            hint="give the folder that holds it and the mention lists",
        )
    found = _lists(root)
    for split in SPLITS:
        names = [path.name for _, path in found.get(split, [])]
        if len(names) != 1:
            wanted = " or ".join(f"*_{word}.json" for word, of in _SPLIT_OF.items() if of == split)
            raise SourceError(
                f"{len(names)} mention lists for {split}: {', '.join(names) or 'none'}",
                where=str(root),
                hint=f"one file named {wanted} is needed",
            )
    return {split: found[split][0][1] for split in SPLITS}


# mentions ---------------------------------------------------------------------------------------


class _Mention(NamedTuple):
    """One item; where not every mention of the dataset has an own id, the id is split-number."""

    id: str
    split: str
    sentence: str
    text: str
    gold: str  # QID, or a word for NIL
    picture: str  # as the list names it; "" = none

    own_id: str  # as the list has it; "" = none

    @property
    def is_usable(self) -> bool:
        """It stands in its sentence."""
        return bool(self.text) and self.text in self.sentence

    @property
    def is_nil(self) -> bool:
        return self.gold.strip().casefold() in _NIL


def _read_mentions(
    lists: dict[str, Path], limit: int | None
) -> tuple[list[_Mention], dict[str, list[str]]]:
    """The usable mentions of all splits, and per split the ids of those that are not."""
    listed = {split: list(_listed(path, split)) for split, path in lists.items()}
    own = [mention.own_id for mentions in listed.values() for mention in mentions]
    have_ids = all(own) and len(set(own)) == len(own)
    kept: list[_Mention] = []
    dropped: dict[str, list[str]] = {split: [] for split in lists}
    for split, mentions in listed.items():
        if have_ids:
            mentions = [mention._replace(id=mention.own_id) for mention in mentions]
        kept += islice((mention for mention in mentions if mention.is_usable), limit)
        dropped[split] = [mention.id for mention in mentions if not mention.is_usable]
    if not kept:
        where = ", ".join(str(path) for path in lists.values())
        raise SourceError(
            "no mention stands in its sentence",
            where=where,
            hint="spell each 'mentions' as its 'sentence' does: they are compared letter by letter",
        )
    return kept, dropped


def _listed(path: Path, split: str) -> Iterator[_Mention]:
    """The mentions of one list in its order."""
    for number, (where, item) in enumerate(objects(path)):
        yield _Mention(
            f"{split}-{number}",
            split,
            sentence=text(item, "sentence", where),
            text=unquote(text(item, "mentions", where)),
            gold=text(item, "answer", where),
            picture=optional_text(item, "imgPath", where),
            own_id="" if item.get("id") is None else str(item["id"]),
        )


def _note_mentions(
    notes: list[str],
    kept: list[_Mention],
    dropped: dict[str, list[str]],
    gold: NDArray[np.int32],
    candidates: NDArray[np.int32],
) -> None:
    note_dropped(notes, dropped)
    outside = [mention for mention, row in zip(kept, gold, strict=True) if row == NO_ROW]
    short = (candidates == NO_ROW).any(axis=1)
    note_ids(notes, "golds that are NIL", [m.id for m in outside if m.is_nil])
    note_ids(notes, "golds outside the knowledge base", [m.id for m in outside if not m.is_nil])
    note_ids(
        notes,
        f"mentions with fewer than {candidates.shape[1]} candidates by their titles",
        [m.id for m, is_short in zip(kept, short, strict=True) if is_short],
    )


def _mentions(
    root: Path,
    kept: list[_Mention],
    candidates: NDArray[np.int32],
    gold: NDArray[np.int32],
    notes: list[str],
) -> RawMentions:
    folder = picture_folder(root, _MENTION_PICTURES)
    paths = [_mention_picture(folder, mention.picture) for mention in kept]
    note_pictures(notes, folder, "mentions", paths.count(""), len(paths))
    return RawMentions.by_first_occurrence(
        ids=[mention.id for mention in kept],
        sentences=[mention.sentence for mention in kept],
        mentions=[mention.text for mention in kept],
        gold=gold,
        candidates=candidates,
        image_paths=paths,
        split_of_row=[mention.split for mention in kept],
    )


def _mention_picture(folder: PictureFolder, listed: str) -> str:
    """The picture file of a mention, below the root; "" = none.

    MIMIC's pictures were converted to JPEG and are named by the last path segment up to its first
    full stop; where there is no such file, that name as it stands and with another suffix will do.
    """
    name = listed.rpartition("/")[2]
    return first_file(folder, (name.partition(".")[0], name, name.rpartition(".")[0]))
