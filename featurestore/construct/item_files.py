"""Mentions of the raw WikiMEL layout on their way to and from disk, one at a time.

``mentions.jsonl`` (what ``build mentions`` writes) holds an item a line, with its id; a split file is
one object {id: item}, written an item a line so that it can be looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from featurestore.errors import SourceError
from featurestore.schema import SPLITS
from featurestore.sources.items import text
from featurestore.sources.textfiles import json_kind, numbered_lines, read_json_object

#: All mentions of a dataset of one's own, before they are divided.
MENTIONS = Path("mentions.jsonl")

SPLIT_FILES = {split: Path("mentions", f"WIKIMEL_{split}.json") for split in SPLITS}

Item = dict[str, Any]

_encode = json.JSONEncoder(ensure_ascii=False).encode


def dump(value: Any) -> str:
    """One line of JSON; bytes that were no text are written as escapes, which JSON allows."""
    return _encode(value).encode("utf-8", "backslashreplace").decode()


class LinesFile:
    """JSON lines, one value each; ``count`` of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._file = path.open("w", encoding="utf-8", newline="\n")

    def write(self, value: Any) -> None:
        self._file.write(dump(value) + "\n")
        self.count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


class SplitFile(LinesFile):
    """One object {id: item}, an item a line; ``count`` of them."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file.write("{")

    def write(self, value: Item) -> None:
        comma = "," if self.count else ""
        self._file.write(f"{comma}\n{dump(value['id'])}: {dump(value)}")
        self.count += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.write("\n}\n")
        super().__exit__(kind, error, trace)


def read_items(root: Path) -> Iterator[tuple[str, Item]]:
    """Place and item of every mention below ``root``: of ``mentions.jsonl``, or else of the split files.

    Raises:
        SourceError: neither is there, or one is malformed.
    """
    if (root / MENTIONS).is_file():
        yield from _read_lines(root / MENTIONS)
        return
    files = [root / name for name in SPLIT_FILES.values() if (root / name).is_file()]
    if not files:
        raise SourceError(
            f"no {MENTIONS} and no {SPLIT_FILES['train'].as_posix()}",
            where=str(root),
            hint=f"make it: drin-fs build mentions FILE -o {root}",
        )
    for path in files:
        for mention_id, item in read_json_object(path).items():
            where = f"{path}, mention {mention_id!r}"
            yield where, {**_item(item, where), "id": mention_id}


def _read_lines(path: Path) -> Iterator[tuple[str, Item]]:
    for number, line in numbered_lines(path):
        where = f"{path}:{number}"
        try:
            item = _item(json.loads(line), where)
        except ValueError as error:
            raise SourceError(
                f"not a line of JSON: {error}", where=where, hint="run build mentions again"
            ) from error
        text(item, "id", where)
        yield where, item


def _item(item: object, where: str) -> Item:
    if not isinstance(item, dict):
        raise SourceError(
            f"expected an object, found {json_kind(item)}",
            where=where,
            hint="run build mentions again",
        )
    for name in ("sentence", "mentions", "answer"):
        text(item, name, where)
    return item
