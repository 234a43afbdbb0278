"""What candidates are sought for: mentions of a file or folder, their splits, and golds where known.

    a mentions JSON of WikiMEL    {mention id: {"mentions": …, "answer": QID}, …}
    JSON lines                    {"id": …, "mention": …, "gold": QID} a line
    a folder                      all .json and .jsonl files in it, by the names of their splits

``mention`` and ``mentions``, ``gold`` and ``answer`` mean the same; a gold that is absent, null or
empty is not known. A file's split is in its name: ``WIKIMEL_train.json``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from featurestore.construct.title_table import existing, json_lines
from featurestore.errors import SourceError
from featurestore.schema import SPLITS
from featurestore.sources.items import optional_text, text
from featurestore.sources.textfiles import json_kind, read_json_object

_SPLIT = re.compile(rf"(?:.*[_\-.])?({'|'.join(SPLITS)})", re.IGNORECASE)

#: What would break a line of the candidates file.
_BREAKS = re.compile(r"[\t\r\n]")


@dataclass(frozen=True, slots=True, kw_only=True)
class MentionText:
    """``gold``: QID, "" = not known. ``split``: of the file's name, or the name where it has none."""

    id: str
    split: str
    text: str
    gold: str


def read_mention_texts(source: Path, *, limit: int | None = None) -> list[MentionText]:
    """The mentions, file by file: train, valid, test, then others by name; each in file order.

    Args:
        limit: at most so many of each file.

    Raises:
        SourceError: nothing is there, a file is malformed, a mention has no text, or an id stands
            twice.
    """
    found: list[MentionText] = []
    files: dict[str, Path] = {}
    for path in _files(source):
        for mention in islice(_mentions(path), limit):
            if mention.id in files:
                raise SourceError(
                    f"mention id {mention.id!r} stands twice",
                    where=" and ".join(dict.fromkeys([str(files[mention.id]), str(path)])),
                    hint="ids are unique over all splits: candidate lists are found by them",
                )
            files[mention.id] = path
            found.append(mention)
    if not found:
        raise SourceError(
            "there is no mention",
            where=str(source),
            hint="name the folder or file of mentions that drin-fs build mentions wrote",
        )
    return found


def read_golds(source: Path) -> Iterator[str]:
    """The golds that are known, a QID each, in the order of the mentions.

    Raises:
        SourceError: as :func:`read_mention_texts`, of ids that stand twice not.
    """
    for path in _files(source):
        for mention in _mentions(path):
            if mention.gold:
                yield mention.gold


def _files(source: Path) -> list[Path]:
    if not source.is_dir():
        return [existing(source, "mentions")]
    found = [path for path in source.iterdir() if path.suffix in (".json", ".jsonl")]
    if not found:
        raise SourceError(
            "the folder holds no .json or .jsonl file of mentions",
            where=str(source),
            hint="name the folder of WIKIMEL_train.json, or a file of mentions",
        )
    order = {split: place for place, split in enumerate(SPLITS)}
    return sorted(found, key=lambda path: (order.get(_split_of(path), len(order)), path.name))


def _split_of(path: Path) -> str:
    named = _SPLIT.fullmatch(path.stem)
    return named[1].lower() if named else path.stem


def _mentions(path: Path) -> Iterator[MentionText]:
    split = _split_of(path)
    if path.suffix == ".jsonl":
        for where, item in json_lines(path):
            own = optional_text(item, "split", where)
            yield _mention(text(item, "id", where), own or split, item, where)
        return
    for mention_id, value in read_json_object(path).items():
        where = f"{path}, mention {mention_id!r}"
        if not isinstance(value, dict):
            raise SourceError(
                f"expected an object, found {json_kind(value)}",
                where=where,
                hint='write each as an object: {"sentence": …, "mentions": …, "answer": …}',
            )
        yield _mention(mention_id, split, value, where)


def _mention(mention_id: str, split: str, item: Mapping[str, object], where: str) -> MentionText:
    key = "mention" if "mention" in item else "mentions"
    if not (words := text(item, key, where)).strip():
        raise SourceError(
            "the mention has no text",
            where=where,
            hint="write the words that are linked, or leave the mention out",
        )
    if not mention_id or _BREAKS.search(mention_id):
        raise SourceError(
            f"the id {mention_id!r} cannot stand in a file of tabs and lines",
            where=where,
            hint="give it an id that is not empty and holds no tab and no line break",
        )
    gold = optional_text(item, "answer", where) or optional_text(item, "gold", where)
    return MentionText(id=mention_id, split=split, text=words, gold=gold)
