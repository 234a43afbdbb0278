"""Raw WikiMEL: sentences, a knowledge base of titles and descriptions, candidate lists, pictures.

::

    <root>/candidates/top100/candidates-answer.tsv        mention id TAB QID TAB QID …, best first
    <root>/entities/qid-entity.tsv                        QID TAB title
    <root>/entities/qid2abs.json, qid2brief.json          {QID: description}
    <root>/entities/cleaned-images/<QID>.<ext>            optional
    <root>/mentions/WIKIMEL_{train,valid,test}.json       {mention id: {sentence, mentions, answer}}
    <root>/mentions/KVQAimgs/<image id>.<ext>             optional

``candidates/{qid2ne,ne2qid}.json`` repeat the titles and are not read, nor are the keys ``id``,
``entities`` and ``imgPath`` of a mention. What is optional and absent is said in ``notes``.

Three keys that the release has not, and ``drin-fs build mentions`` writes, are read where they are:
``span`` ([start, end) in characters, for a mention that is not at its first occurrence), ``picture``
(the name of its file, "" = none, in place of the image id) and ``topic``.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import compress, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from featurestore.errors import SourceError
from featurestore.schema import NO_ROW, SPLITS
from featurestore.sources.items import optional_text, text
from featurestore.sources.notes import first_of, note_dropped, note_ids
from featurestore.sources.rawtables import RawDataset, RawMentions, referred_only
from featurestore.sources.textfiles import json_kind, numbered_lines, read_json_object
from featurestore.sources.wikimel_entities import (
    DESCRIPTIONS,
    TITLES,
    entity_table,
    image_paths,
    read_titles,
)

_CANDIDATES = Path("candidates", "top100", "candidates-answer.tsv")
_MENTION_PICTURES = Path("mentions", "KVQAimgs")
_MENTIONS = {split: Path("mentions", f"WIKIMEL_{split}.json") for split in SPLITS}


class RawWikimel(RawDataset):
    """A raw WikiMEL folder, read and checked; entities stand in the order of ``qid-entity.tsv``."""

    entity_text = "tokens"

    @classmethod
    def open(cls, root: Path, *, limit: int | None = None) -> RawWikimel:
        """Read the text and the candidate lists of the dataset below ``root``.

        Args:
            root: the folder that holds ``candidates``, ``entities`` and ``mentions``.
            limit: keep the first ``limit`` usable mentions of each split and only the entities that
                they refer to (candidates and golds), which stay in the order of the full table.

        Raises:
            SourceError: a needed file is missing or malformed, an id stands twice, a candidate is
                not in the knowledge base, or a mention has no candidate list.
        """
        _check_files(root)
        notes: list[str] = []
        kept, dropped = _read_mentions(root, limit)
        titles = read_titles(root / TITLES)
        row_of = {qid: row for row, qid in enumerate(titles)}
        mention_row = {mention.id: row for row, mention in enumerate(kept)}
        candidates = _read_candidates(root / _CANDIDATES, mention_row, row_of)
        gold = np.array([row_of.get(m.gold, NO_ROW) for m in kept], np.int32)
        _note_mentions(notes, kept, dropped, gold)
        if limit is not None:
            used, candidates, gold = referred_only(len(titles), candidates, gold)
            titles = dict(compress(titles.items(), used))
        return cls(
            name="wikimel",
            root=root,
            entities=entity_table(root, titles, notes),
            mentions=_mentions(root, kept, candidates, gold, notes),
            dropped=dropped,
            notes=notes,
            text_files=[path for path in _text_files(root) if path.is_file()],
        )


def is_raw_wikimel(root: Path) -> bool:
    """Does ``root`` look like raw WikiMEL? Looks for two files by name, reads neither."""
    return (root / TITLES).is_file() and (root / _MENTIONS["train"]).is_file()


# files -----------------------------------------------------------------------------------------


def _check_files(root: Path) -> None:
    """The files that cannot be done without are there."""
    steps = {TITLES: "titles", _CANDIDATES: "candidates"}
    for name in (TITLES, _CANDIDATES, *_MENTIONS.values()):
        if not (root / name).is_file():
            raise SourceError(
                f"raw WikiMEL needs {name.as_posix()}, which is missing",
                where=str(root),
                hint="give the folder that holds candidates/, entities/ and mentions/, or make the "
                f"file: drin-fs build {steps.get(name, 'split')} --help",
            )


def _text_files(root: Path) -> list[Path]:
    return [root / name for name in (TITLES, _CANDIDATES, *DESCRIPTIONS, *_MENTIONS.values())]


# mentions ---------------------------------------------------------------------------------------


class _Mention(NamedTuple):
    id: str
    split: str
    sentence: str
    text: str
    gold: str  # QID
    start: int  # first character of the mention; -1 = it is no part of the sentence
    picture: str | None  # name of its file, "" = none; None = known by the mention's id
    topic: str


def _read_mentions(root: Path, limit: int | None) -> tuple[list[_Mention], dict[str, list[str]]]:
    """The usable mentions of all splits, and per split the ids of those that are not."""
    kept: list[_Mention] = []
    dropped: dict[str, list[str]] = {}
    seen: dict[str, Path] = {}
    for split, name in _MENTIONS.items():
        dropped[split] = []
        usable = _usable(_split_mentions(root / name, split, seen), dropped[split])
        kept += islice(usable, limit)
    if not kept:
        raise SourceError(
            "no mention stands in its sentence",
            where=str(root / "mentions"),
            hint="spell each 'mentions' as its 'sentence' does: they are compared letter by letter",
        )
    return kept, dropped


def _usable(mentions: Iterator[_Mention], dropped: list[str]) -> Iterator[_Mention]:
    """The mentions that are a part of their sentence; the ids of the others go to ``dropped``."""
    for mention in mentions:
        if mention.text and mention.start >= 0:
            yield mention
        else:
            dropped.append(mention.id)


def _split_mentions(path: Path, split: str, seen: dict[str, Path]) -> Iterator[_Mention]:
    """The mentions of one file in file order; ``seen`` holds the ids of the files before it."""
    for mention_id, item in read_json_object(path).items():
        where = f"{path}, mention {mention_id!r}"
        if mention_id in seen:
            raise SourceError(
                f"mention id {mention_id!r} stands twice",
                where=f"{seen[mention_id]} and {path}",
                hint="ids are unique over all splits: candidate lists are found by them",
            )
        seen[mention_id] = path
        if not isinstance(item, dict):
            raise SourceError(
                f"expected an object, found {json_kind(item)}",
                where=where,
                hint='write each mention as an object: {"sentence": …, "mentions": …, "answer": …}',
            )
        sentence, mention = text(item, "sentence", where), text(item, "mentions", where)
        yield _Mention(
            mention_id,
            split,
            sentence=sentence,
            text=mention,
            gold=text(item, "answer", where),
            start=_start(item.get("span"), sentence, mention, where),
            picture=text(item, "picture", where) if "picture" in item else None,
            topic=optional_text(item, "topic", where),
        )


def _start(span: object, sentence: str, mention: str, where: str) -> int:
    """Where the mention begins: as its span says, or at its first occurrence; -1 = nowhere.

    Raises:
        SourceError: a span that is not the mention's.
    """
    if span is None:
        return sentence.find(mention)
    match span:
        case [int(start), int(end)] if 0 <= start <= end and sentence[start:end] == mention:
            return start
    raise SourceError(
        f"span {span!r} is not where {mention!r} stands in its sentence",
        where=where,
        hint="[start, end) in characters, from 0; without one the first occurrence is taken",
    )


def _note_mentions(
    notes: list[str],
    kept: list[_Mention],
    dropped: dict[str, list[str]],
    gold: NDArray[np.int32],
) -> None:
    note_dropped(notes, dropped)
    strays = [mention.id for mention, row in zip(kept, gold, strict=True) if row == NO_ROW]
    note_ids(notes, "golds outside the knowledge base", strays)


def _mentions(
    root: Path,
    kept: list[_Mention],
    candidates: NDArray[np.int32],
    gold: NDArray[np.int32],
    notes: list[str],
) -> RawMentions:
    topics = [mention.topic for mention in kept]
    return RawMentions.at(
        [mention.start for mention in kept],
        ids=[mention.id for mention in kept],
        sentences=[mention.sentence for mention in kept],
        mentions=[mention.text for mention in kept],
        gold=gold,
        candidates=candidates,
        image_paths=_image_paths(root, kept, notes),
        split_of_row=[mention.split for mention in kept],
        topics=topics if any(topics) else None,
    )


def _image_paths(root: Path, kept: list[_Mention], notes: list[str]) -> list[str]:
    """The picture file of each mention: the one it names, or else the one of its image id."""
    ids = [mention.id.split("-", 1)[0] if mention.picture is None else "" for mention in kept]
    named = [mention.picture for mention in kept]
    return image_paths(root, _MENTION_PICTURES, ids, "mentions", notes, names=named)


# candidates -------------------------------------------------------------------------------------


def _read_candidates(
    path: Path, mention_row: dict[str, int], entity_row: dict[str, int]
) -> NDArray[np.int32]:
    """The candidate lists (n, K) of the mentions of ``mention_row``, line by line.

    Lines of other mentions are counted but not looked up: the file lists dropped mentions too.
    """
    rows: NDArray[np.int32] | None = None
    line_of = np.zeros(len(mention_row), np.int64)
    for number, line in numbered_lines(path):
        mention_id, *qids = line.split("\t")
        if rows is None:
            rows = np.empty((len(mention_row), len(qids)), np.int32)
        if len(qids) != rows.shape[1] or not qids:
            raise SourceError(
                f"mention {mention_id!r} has {len(qids)} candidates, the first line {rows.shape[1]}",
                where=f"{path}, line {number}",
                hint="each line is a mention id and equally many QIDs, separated by tabs",
            )
        row = mention_row.get(mention_id)
        if row is None:
            continue
        if line_of[row]:
            raise SourceError(
                f"mention {mention_id!r} has two candidate lists",
                where=f"{path}, lines {line_of[row]} and {number}",
                hint="leave one of the two lines out",
            )
        line_of[row] = number
        try:
            rows[row] = [entity_row[qid] for qid in qids]
        except KeyError as error:
            raise SourceError(
                f"candidate {error.args[0]!r} of mention {mention_id!r} is not in the knowledge base",
                where=f"{path}, line {number}",
                hint=f"add it to {TITLES}, or make the candidate list from that table",
            ) from None
    absent = [mention_id for mention_id, row in mention_row.items() if not line_of[row]]
    if rows is None or absent:
        raise SourceError(
            f"{len(absent)} mentions have no candidate list: {first_of(absent)}",
            where=str(path),
            hint="add a line for each of them, or leave these mentions out of the mention files",
        )
    return rows
