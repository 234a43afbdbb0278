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
from featurestore.sources.pictures import PictureFolder
from featurestore.sources.rawtables import (
    RawDataset,
    RawEntities,
    RawMentions,
    gold_places,
    referred_only,
    split_ranges,
)
from featurestore.sources.textfiles import first_of, json_kind, numbered_lines, read_json_object

_CANDIDATES = Path("candidates", "top100", "candidates-answer.tsv")
_TITLES = Path("entities", "qid-entity.tsv")
_DESCRIPTIONS = (Path("entities", "qid2abs.json"), Path("entities", "qid2brief.json"))
_ENTITY_PICTURES = Path("entities", "cleaned-images")
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
        titles = _read_titles(root / _TITLES)
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
            entities=_entities(root, titles, notes),
            mentions=_mentions(root, kept, candidates, gold, notes),
            dropped=dropped,
            notes=notes,
            text_files=[path for path in _text_files(root) if path.is_file()],
        )


def is_raw_wikimel(root: Path) -> bool:
    """Does ``root`` look like raw WikiMEL? Looks for two files by name, reads neither."""
    return (root / _TITLES).is_file() and (root / _MENTIONS["train"]).is_file()


def entity_text(title: str, description: str) -> str:
    """What the text encoders read of an entity (DATASETS.md, raw WikiMEL).

    Full stops are replaced in the description only: the recorded features agree to 1e-6 with
    ``St. Petersburg, Florida. St; Petersburg is a city …`` and with no other form. Without a
    description it is the title alone, as in WikiDiverse (chosen here, the recordings have no such
    entity).
    """
    return f"{title}. {description.replace('.', ';')}" if description else title


# mentions ---------------------------------------------------------------------------------------


class _Mention(NamedTuple):
    id: str
    split: str
    sentence: str
    text: str
    gold: str  # QID


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
        raise SourceError("no mention stands in its sentence", where=str(root / "mentions"))
    return kept, dropped


def _usable(mentions: Iterator[_Mention], dropped: list[str]) -> Iterator[_Mention]:
    """The mentions that are a part of their sentence; the ids of the others go to ``dropped``."""
    for mention in mentions:
        if mention.text and mention.text in mention.sentence:
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
            raise SourceError(f"expected an object, found {json_kind(item)}", where=where)
        yield _Mention(
            mention_id,
            split,
            sentence=_text_of(item, "sentence", where),
            text=_text_of(item, "mentions", where),
            gold=_text_of(item, "answer", where),
        )


def _text_of(item: dict[str, object], key: str, where: str) -> str:
    if key not in item:
        raise SourceError(f"the mention has no {key!r}", where=where)
    value = item[key]
    if not isinstance(value, str):
        raise SourceError(f"{key!r} must be a string, found {json_kind(value)}", where=where)
    return value


def _note_mentions(
    notes: list[str],
    kept: list[_Mention],
    dropped: dict[str, list[str]],
    gold: NDArray[np.int32],
) -> None:
    for split, ids in dropped.items():
        if ids:
            notes.append(f"{split}: mentions not in their sentence: {len(ids)} ({first_of(ids)})")
    strays = [mention.id for mention, row in zip(kept, gold, strict=True) if row == NO_ROW]
    if strays:
        notes.append(f"golds outside the knowledge base: {len(strays)} ({first_of(strays)})")


def _mentions(
    root: Path,
    kept: list[_Mention],
    candidates: NDArray[np.int32],
    gold: NDArray[np.int32],
    notes: list[str],
) -> RawMentions:
    starts = [mention.sentence.index(mention.text) for mention in kept]
    ends = [start + len(mention.text) for start, mention in zip(starts, kept, strict=True)]
    image_ids = [mention.id.split("-", 1)[0] for mention in kept]
    return RawMentions(
        ids=[mention.id for mention in kept],
        sentences=[mention.sentence for mention in kept],
        mentions=[mention.text for mention in kept],
        char_start=np.array(starts, np.int32),
        char_end=np.array(ends, np.int32),
        gold=gold,
        candidates=candidates,
        answer=gold_places(candidates, gold),
        image_paths=_image_paths(root, _MENTION_PICTURES, image_ids, "mentions", notes),
        splits=split_ranges(mention.split for mention in kept),
    )


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
            )
        line_of[row] = number
        try:
            rows[row] = [entity_row[qid] for qid in qids]
        except KeyError as error:
            raise SourceError(
                f"candidate {error.args[0]!r} of mention {mention_id!r} is not in the knowledge base",
                where=f"{path}, line {number}",
                hint=f"add it to {_TITLES}, or make the candidate list from that table",
            ) from None
    absent = [mention_id for mention_id, row in mention_row.items() if not line_of[row]]
    if rows is None or absent:
        raise SourceError(
            f"{len(absent)} mentions have no candidate list: {first_of(absent)}", where=str(path)
        )
    return rows


# entities ---------------------------------------------------------------------------------------


def _read_titles(path: Path) -> dict[str, str]:
    """{QID: title} in the order of the file, which is the order of the rows."""
    titles: dict[str, str] = {}
    for number, line in numbered_lines(path):
        qid, tab, title = line.partition("\t")
        if not (tab and qid and title):
            raise SourceError(
                f"expected QID TAB title, found {line[:80]!r}", where=f"{path}, line {number}"
            )
        if qid in titles:
            raise SourceError(f"entity {qid!r} stands twice", where=f"{path}, line {number}")
        titles[qid] = title
    return titles


def _entities(root: Path, titles: dict[str, str], notes: list[str]) -> RawEntities:
    ids = list(titles)
    descriptions = _descriptions(root, ids, notes)
    paths = _image_paths(root, _ENTITY_PICTURES, ids, "entities", notes)
    return RawEntities(
        ids=ids,
        titles=list(titles.values()),
        descriptions=descriptions,
        texts=[entity_text(t, d) for t, d in zip(titles.values(), descriptions, strict=True)],
        image_choices=[(path,) if path else () for path in paths],
    )


def _descriptions(root: Path, ids: list[str], notes: list[str]) -> list[str]:
    """Abstract before brief before none, entity by entity.

    The recordings use the abstract wherever both exist; the brief as second choice is chosen here.
    """
    found = [""] * len(ids)
    for name in _DESCRIPTIONS:
        path = root / name
        if not path.is_file():
            notes.append(f"{name.as_posix()} is absent")
            continue
        known = read_json_object(path)
        for row, qid in enumerate(ids):
            if not found[row] and qid in known:
                value = known[qid]
                if not isinstance(value, str):
                    raise SourceError(
                        f"a description must be a string, found {json_kind(value)}",
                        where=f"{path}, entity {qid!r}",
                    )
                found[row] = value
    bare = [qid for qid, description in zip(ids, found, strict=True) if not description]
    if bare:
        notes.append(f"entities without description: {len(bare)} ({first_of(bare)})")
    return found


# shared -----------------------------------------------------------------------------------------


def _check_files(root: Path) -> None:
    """The files that cannot be done without are there."""
    for name in (_TITLES, _CANDIDATES, *_MENTIONS.values()):
        if not (root / name).is_file():
            raise SourceError(
                f"raw WikiMEL needs {name.as_posix()}, which is missing",
                where=str(root),
                hint="give the folder that holds candidates/, entities/ and mentions/",
            )


def _text_files(root: Path) -> list[Path]:
    return [root / name for name in (_TITLES, _CANDIDATES, *_DESCRIPTIONS, *_MENTIONS.values())]


def _image_paths(
    root: Path, folder: Path, stems: list[str], what: str, notes: list[str]
) -> list[str]:
    """The picture file of each stem, relative to ``root``; "" where there is none."""
    pictures = PictureFolder.open(root / folder)
    if not pictures:
        notes.append(f"{folder.as_posix()} is absent or empty")
    names = [pictures.find(stem) for stem in stems]
    missing = names.count("")
    if missing:
        notes.append(f"{what} without picture file: {missing} of {len(names)}")
    return [f"{folder.as_posix()}/{name}" if name else "" for name in names]
