"""What every raw dataset is read into: an entity table, a mention table, and what was noticed.

Pictures are named, not opened; encoders are not known here. ``featurestore.encoders.raw`` makes a
store of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from featurestore.schema import NO_ROW, SPLITS

#: What is stored of an entity's text: the feature of every token, or one pooled vector.
EntityTextForm = Literal["tokens", "pooled"]


@dataclass(frozen=True, kw_only=True)
class RawEntities:
    """The knowledge base: parallel lists, one element a row."""

    ids: list[str]
    titles: list[str]
    descriptions: list[str]  # as in the source, "" where it has none
    texts: list[str]  # what the text encoders read
    image_choices: Sequence[Sequence[str]]  # files below the root, the preferred one first

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def image_paths(self) -> list[str]:
        """The preferred picture file of each entity, "/" between folders; "" = there is none."""
        return [files[0] if files else "" for files in self.image_choices]


@dataclass(frozen=True, kw_only=True)
class RawMentions:
    """The mentions of all splits, one element a row: train, valid, test, each in file order."""

    ids: list[str]
    sentences: list[str]
    mentions: list[str]
    char_start: NDArray[np.int32]  # (n,) in characters of the sentence
    char_end: NDArray[np.int32]  # (n,) exclusive
    gold: NDArray[np.int32]  # (n,) entity row; NO_ROW = not in the knowledge base
    candidates: NDArray[np.int32]  # (n, K) entity rows, best first
    answer: NDArray[np.int32]  # (n,) place of the gold among the candidates; K = not retrieved
    image_paths: list[str]  # below the root; "" = no picture file
    splits: dict[str, range]  # rows of each split
    topics: list[str] | None = None  # None = the dataset has no such thing
    entity_types: list[str] | None = None

    @classmethod
    def by_first_occurrence(
        cls,
        *,
        ids: list[str],
        sentences: list[str],
        mentions: list[str],
        gold: NDArray[np.int32],
        candidates: NDArray[np.int32],
        image_paths: list[str],
        split_of_row: Sequence[str],
    ) -> RawMentions:
        """Mentions of which the source says no place: each is where its text first occurs.

        Raises:
            ValueError: a mention is no part of its sentence (a bug where they were chosen).
        """
        starts = [text.index(mention) for text, mention in zip(sentences, mentions, strict=True)]
        return cls.at(
            starts,
            ids=ids,
            sentences=sentences,
            mentions=mentions,
            gold=gold,
            candidates=candidates,
            image_paths=image_paths,
            split_of_row=split_of_row,
        )

    @classmethod
    def at(
        cls,
        starts: Sequence[int],
        *,
        ids: list[str],
        sentences: list[str],
        mentions: list[str],
        gold: NDArray[np.int32],
        candidates: NDArray[np.int32],
        image_paths: list[str],
        split_of_row: Sequence[str],
        topics: list[str] | None = None,
    ) -> RawMentions:
        """Mentions of which it is known where each begins in its sentence."""
        char_start = np.array(starts, np.int32)
        return cls(
            ids=ids,
            sentences=sentences,
            mentions=mentions,
            char_start=char_start,
            char_end=char_start + np.array([len(mention) for mention in mentions], np.int32),
            gold=gold,
            candidates=candidates,
            answer=gold_places(candidates, gold),
            image_paths=image_paths,
            splits=split_ranges(split_of_row),
            topics=topics,
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def slots(self) -> NDArray[np.int32]:
        """(n, K+1) entity rows: the candidates, then the gold."""
        return np.column_stack([self.candidates, self.gold])


@dataclass(frozen=True, kw_only=True)
class RawDataset:
    """A raw dataset folder, read and checked."""

    entity_text: ClassVar[EntityTextForm]
    reads: ClassVar[tuple[str, ...]] = ()  # options of ingest for this dataset beside those for all

    name: str
    root: Path
    entities: RawEntities
    mentions: RawMentions
    dropped: dict[str, list[str]]  # split → ids of the mentions that cannot be used
    notes: list[str]  # what is absent, dropped or unusual, one sentence each
    counts: dict[str, int] = field(default_factory=dict)  # figures worth keeping in the store
    text_files: list[Path]  # the files that were read; they identify the source


def split_ranges(split_of_row: Iterable[str]) -> dict[str, range]:
    """The rows of each split, of rows that have the splits in order."""
    size = Counter(split_of_row)
    first = 0
    ranges = {}
    for split in SPLITS:
        ranges[split] = range(first, first + size[split])
        first += size[split]
    return ranges


def gold_places(candidates: NDArray[np.int32], gold: NDArray[np.int32]) -> NDArray[np.int32]:
    """The first place of each gold in its list (n,); K where it is absent or outside the table."""
    hit = (candidates == gold[:, None]) & (gold != NO_ROW)[:, None]
    return np.where(hit.any(axis=1), hit.argmax(axis=1), candidates.shape[1]).astype(np.int32)


def referred_only(
    entities: int, candidates: NDArray[np.int32], gold: NDArray[np.int32]
) -> tuple[NDArray[np.bool_], NDArray[np.int32], NDArray[np.int32]]:
    """Which of the entities are candidate or gold of a mention, and the rows counted among them.

    Returns:
        (entities,) whether each is kept, and ``candidates`` and ``gold`` as rows of those kept.
    """
    used = np.zeros(entities, bool)
    for rows in (candidates, gold):
        used[rows[rows != NO_ROW]] = True
    new_row = np.append(np.cumsum(used, dtype=np.int32) - 1, np.int32(NO_ROW))
    return used, new_row[candidates], new_row[gold]  # NO_ROW is the last place of new_row
