"""Raw WikiDiverse: sentences, lists of candidate pages, briefs, and pictures named by their URL.

::

    <root>/candidates/{train,valid,test}_w_10cands.json   list of items of 11 values, see _Item
    <root>/entities/entity2brief_{train,valid,test}.json  {title: brief}; optional
    <root>/entities/wikipedia_entity2imgs.tsv             header, title@@@@url[AND]url…; optional
    <root>/entities/wikipedia_entity2desc_filtered.tsv    title@@@@description; optional
    <root>/images/<MD5 of a URL's last path segment>.<ext>    optional

``mentions/{split}.json`` repeats the items without their candidates and is not read. There is no list
of entities: they are the pages that items refer to, and a page's title is its identity.
What is optional and absent is said in ``notes``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from featurestore.errors import SourceError
from featurestore.options import TitleMatch
from featurestore.schema import SPLITS
from featurestore.sources.items import as_number, as_text
from featurestore.sources.notes import note_ids, note_without_picture
from featurestore.sources.pages import IMAGES, PADDING, Pages, picture_path, read_pages
from featurestore.sources.pictures import PictureFolder
from featurestore.sources.rawtables import RawDataset, RawMentions, split_ranges
from featurestore.sources.textfiles import json_kind, read_json_list
from featurestore.sources.titles import matching, title_of

#: K: places of a candidate list (DATASETS.md); a shorter one is filled with ``PADDING``.
CANDIDATES = 10

_ITEMS = {split: Path("candidates", f"{split}_w_10cands.json") for split in SPLITS}
_LENGTH = 11  # values of an item


class RawWikidiverse(RawDataset):
    """A raw WikiDiverse folder, read and checked; pages stand in the order of first reference."""

    entity_text = "pooled"
    reads = ("title_match",)

    @classmethod
    def open(
        cls, root: Path, *, limit: int | None = None, title_match: TitleMatch = "exact"
    ) -> RawWikidiverse:
        """Read the text and the candidate lists of the dataset below ``root``.

        Args:
            root: the folder that holds ``candidates``, ``entities`` and ``images``.
            limit: keep the first ``limit`` mentions of each split and the pages they refer to.
            title_match: when two titles name the same page; decides which golds are among their
                candidates, and what briefs, descriptions and pictures belong to a page.

        Raises:
            SourceError: a needed file is missing or malformed, or an item is not as described.
        """
        _check_files(root)
        items = [
            item for split in SPLITS for item in islice(_items(root / _ITEMS[split], split), limit)
        ]
        if not items:
            raise SourceError(
                "the candidate files hold no mention",
                where=str(root / "candidates"),
                hint="copy the files again: they are empty lists",
            )
        key = matching(title_match)
        folder = PictureFolder.open(root / IMAGES)
        notes = [] if folder else [f"{IMAGES} is absent or empty"]
        titles, slots = _pages_of(items, key)
        pages = read_pages(root, titles, _by_split(items, slots), key, folder, notes)
        mentions = _mentions(items, slots, key, folder)
        _note_mentions(notes, items, mentions.image_paths)
        counts = _gold_counts(items, slots, pages)
        _note_golds(notes, counts, len(items), title_match)
        return cls(
            name="wikidiverse",
            root=root,
            entities=pages.entities,
            mentions=mentions,
            dropped={split: [] for split in SPLITS},
            notes=notes,
            counts=counts,
            text_files=[*(root / name for name in _ITEMS.values()), *pages.files],
        )


def is_raw_wikidiverse(root: Path) -> bool:
    """Does ``root`` look like raw WikiDiverse? Looks for one file by name, does not read it."""
    return (root / _ITEMS["train"]).is_file()


def _check_files(root: Path) -> None:
    """The files that cannot be done without are there."""
    for name in _ITEMS.values():
        if not (root / name).is_file():
            raise SourceError(
                f"raw WikiDiverse needs {name.as_posix()}, which is missing",
                where=str(root),
                hint="give the folder that holds candidates/, entities/ and images/",
            )


# items ------------------------------------------------------------------------------------------


class _Item(NamedTuple):
    """One mention; of the 11 values, the words left (4) and right (5) of it are not kept.

    Titles are those that the URLs name; "" is a page that no URL names.
    """

    id: str
    split: str
    sentence: str  # 0
    picture_url: str  # 1
    mention: str  # 2
    entity_type: str  # 3
    gold: str  # 6
    candidates: list[str]  # 7, 0 to K of them
    topic: str  # 8
    start: int  # 9, in characters
    end: int  # 10, exclusive

    @property
    def is_nil(self) -> bool:
        """The gold is marked as being in no knowledge base."""
        return self.gold.strip("_ ").casefold() in ("", "nil")


def _items(path: Path, split: str) -> Iterator[_Item]:
    """The items of one file in file order, checked one by one."""
    for number, values in enumerate(read_json_list(path)):
        where = f"{path}, item {number}"
        if not isinstance(values, list):
            raise SourceError(
                f"expected a list, found {json_kind(values)}",
                where=where,
                hint="write each mention as a list of values, as the release has it",
            )
        if len(values) != _LENGTH:
            raise SourceError(
                f"expected {_LENGTH} values, found {len(values)}",
                where=where,
                hint="give the files with candidates, not those of mentions/",
            )
        yield _item(f"{split}-{number}", split, values, where)


def _item(mention_id: str, split: str, values: list[object], where: str) -> _Item:
    start = as_number(values[9], "value 9 (start)", where)
    end = as_number(values[10], "value 10 (end)", where)
    if not 0 <= start <= end < 2**31:  # the column is int32
        raise SourceError(
            f"the mention spans characters {start} to {end}",
            where=where,
            hint="mend values 9 and 10: they count characters from 0, and the end is exclusive",
        )
    return _Item(
        mention_id,
        split,
        sentence=as_text(values[0], "value 0 (sentence)", where),
        picture_url=as_text(values[1], "value 1 (image URL)", where),
        mention=as_text(values[2], "value 2 (mention)", where),
        entity_type=as_text(values[3], "value 3 (type)", where),
        gold=_title(as_text(values[6], "value 6 (gold URL)", where)),
        candidates=_candidates(values[7], where),
        topic=as_text(values[8], "value 8 (topic)", where),
        start=start,
        end=end,
    )


def _candidates(value: object, where: str) -> list[str]:
    """The titles of a candidate list."""
    if not isinstance(value, list):
        raise SourceError(
            f"value 7 (candidate URLs) must be a list, found {json_kind(value)}",
            where=where,
            hint="write the URLs in a list, [] where there is none",
        )
    if len(value) > CANDIDATES:
        raise SourceError(
            f"{len(value)} candidates, at most {CANDIDATES} belong here",
            where=where,
            hint=f"keep the first {CANDIDATES}",
        )
    return [_title(as_text(url, f"candidate {n}", where)) for n, url in enumerate(value)]


def _title(url: str) -> str:
    """The title that a URL names; "" for the padding, should a list spell it out."""
    title = title_of(url)
    return "" if title == PADDING else title


# pages ------------------------------------------------------------------------------------------


def _pages_of(
    items: Sequence[_Item], key: Callable[[str], str]
) -> tuple[dict[str, str], NDArray[np.int32]]:
    """The pages that items refer to, and the (n, K+1) rows they have in each mention's slots.

    Every gold has a page, NIL ones too: where nothing is known of it, its title is its text, as in
    the released arrays.

    Returns:
        {key: title} in the order of first reference, slot after slot, which is the order of the
        rows; spelled as in a candidate list where one has it. The key "" is the padding.
    """
    spelling: dict[str, str] = {}
    for item in items:
        for title in item.candidates:
            spelling.setdefault(key(title), title)
    row_of: dict[str, int] = {}
    titles: dict[str, str] = {}
    slots = np.empty((len(items), CANDIDATES + 1), np.int32)
    for mention, item in enumerate(items):
        padding = [""] * (CANDIDATES - len(item.candidates))
        for slot, title in enumerate([*item.candidates, *padding, item.gold]):
            page = key(title)
            row = row_of.setdefault(page, len(row_of))
            if row == len(titles):
                titles[page] = spelling.get(page, title) if page else ""
            slots[mention, slot] = row
    return titles, slots


def _by_split(items: Sequence[_Item], slots: NDArray[np.int32]) -> dict[str, NDArray[np.int32]]:
    """The slots of each split."""
    ranges = split_ranges(item.split for item in items)
    return {split: slots[rows.start : rows.stop] for split, rows in ranges.items()}


# mentions ---------------------------------------------------------------------------------------


def _mentions(
    items: Sequence[_Item],
    slots: NDArray[np.int32],
    key: Callable[[str], str],
    folder: PictureFolder,
) -> RawMentions:
    return RawMentions(
        ids=[item.id for item in items],
        sentences=[item.sentence for item in items],
        mentions=[item.mention for item in items],
        char_start=np.array([item.start for item in items], np.int32),
        char_end=np.array([item.end for item in items], np.int32),
        gold=slots[:, -1],
        candidates=slots[:, :-1],
        answer=_answers(items, key),
        image_paths=[picture_path(folder, item.picture_url) for item in items],
        splits=split_ranges(item.split for item in items),
        topics=[item.topic for item in items],
        entity_types=[item.entity_type for item in items],
    )


def _answers(items: Sequence[_Item], key: Callable[[str], str]) -> NDArray[np.int32]:
    """The first place of each gold in its list (n,); K where it is absent, or NIL."""
    answers = np.full(len(items), CANDIDATES, np.int32)
    for row, item in enumerate(items):
        keys = [key(title) for title in item.candidates]
        gold = key(item.gold)
        if gold in keys and not item.is_nil:
            answers[row] = keys.index(gold)
    return answers


def _note_mentions(notes: list[str], items: Sequence[_Item], image_paths: list[str]) -> None:
    displaced = [i.id for i in items if i.sentence[i.start : i.end] != i.mention]
    short = [item.id for item in items if len(item.candidates) < CANDIDATES]
    empty = [item.id for item in items if not item.candidates]
    unnamed = [item.id for item in items if "" in item.candidates]
    for what, ids in (
        (
            "mentions that are not what stands at their place in the sentence, kept as given",
            displaced,
        ),
        (f"candidate lists shorter than {CANDIDATES}, filled with {PADDING}", short),
        ("empty candidate lists", empty),
        (f"candidate lists with a URL that names no page, taken for {PADDING}", unnamed),
    ):
        note_ids(notes, what, ids)
    note_without_picture(notes, "mentions", image_paths.count(""), len(items))


# golds ------------------------------------------------------------------------------------------


def _gold_counts(items: Sequence[_Item], slots: NDArray[np.int32], pages: Pages) -> dict[str, int]:
    """How many mentions have which kind of gold, whichever rule of title matching is in force."""
    golds = slots[:, -1]
    found = {
        f"golds found by {rule} titles": int((_answers(items, matching(rule)) < CANDIDATES).sum())
        for rule in ("exact", "normalised")
    }
    return {
        **found,
        "golds that are NIL": sum(item.is_nil for item in items),
        "golds without brief": int((~pages.has_brief[golds]).sum()),
        "golds without picture file": int((~pages.has_picture[golds]).sum()),
    }


def _note_golds(
    notes: list[str], counts: dict[str, int], mentions: int, title_match: TitleMatch
) -> None:
    exact, normal = (counts[f"golds found by {rule} titles"] for rule in ("exact", "normalised"))
    notes.append(
        f"golds among their candidates: {exact} of {mentions} by exact titles, {normal} by "
        f"normalised ones ({normal - exact:+d}); {title_match} titles are used"
    )
