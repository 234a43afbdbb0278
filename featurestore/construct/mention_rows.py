"""One row of a table of mentions: checked, and made an item of the raw WikiMEL layout."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from featurestore.construct.columns import FIELDS, Columns, two_columns
from featurestore.construct.rows import Problem, Row
from featurestore.construct.spans import Span, find_span

QID = re.compile(r"Q[1-9][0-9]*")

#: Words for a gold that no entity is.
NO_GOLD = ("", "nil", "none", "null", "__nil__", "-")

#: Word of a split → the split.
SPLIT_OF = {
    "train": "train", "training": "train",
    "valid": "valid", "val": "valid", "dev": "valid", "validation": "valid", "development": "valid",
    "test": "test", "testing": "test",
}  # fmt: skip

#: What separates the fields and lines of a candidate list cannot be in an id.
_SEPARATORS = re.compile(r"[\t\r\n\v\f\x1c-\x1e\x85\u2028\u2029\x00]")

#: The kind of a problem with a value of another type.
_TYPE = "value of another type"

_TEXTS = ("id", "sentence", "mention", "picture", "gold", "document", "topic", "split")


@dataclass(frozen=True, slots=True)
class OwnMention:
    """A row that is sound as far as it can be told from itself.

    ``start``, ``end``: characters of the sentence, end exclusive. ``gold``: a QID, a title still to be
    looked up, or "" where there is none. ``picture``: as the row names it, "" = none. ``chosen``: the
    first of several occurrences was taken.
    """

    line: int
    id: str
    has_own_id: bool
    sentence: str
    start: int
    end: int
    gold: str
    picture: str
    document: str
    topic: str
    split: str
    chosen: bool

    @property
    def mention(self) -> str:
        return self.sentence[self.start : self.end]

    def as_item(self, *, gold: str, picture: str) -> dict[str, Any]:
        """The item of the raw layout; ``gold``: a QID or "", ``picture``: the file's name or ""."""
        item: dict[str, Any] = {
            "id": self.id,
            "sentence": self.sentence,
            "mentions": self.mention,
            "span": [self.start, self.end],
            "answer": gold,
            "picture": picture,
        }
        for name in ("document", "topic", "split"):
            if value := getattr(self, name):
                item[name] = value
        return item


def read_mention(row: Row, columns: Columns, where: str) -> OwnMention | Problem:
    """The mention in a row, or the first thing that is wrong with it.

    Raises:
        ConfigError: two columns of the row could be the same field.
    """
    if row.problem is not None:
        return row.problem
    values = _by_field(row, columns, where)
    texts: dict[str, str] = {}
    for name in _TEXTS:
        text = _text(name, values.get(name))
        if isinstance(text, Problem):
            return text
        texts[name] = text
    span = _span(texts, values)
    if isinstance(span, Problem):
        return span
    return _mention(row.line, texts, span)


def _by_field(row: Row, columns: Columns, where: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    holder: dict[str, str] = {}
    for column, value in row.values.items():
        for name in columns.fields_of(column):
            if name in holder:
                raise two_columns(name, holder[name], column, f"{where}:{row.line}")
            holder[name] = column
            values[name] = value
    return values


def _text(name: str, value: Any) -> str | Problem:
    """A field that must be text; numbers do for ids and the like."""
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool) and name in ("id", "document"):
        return str(value)
    if not isinstance(value, str):
        return Problem(_TYPE, name, f"{name} is {_shown(value)}, not text", "write it as a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        what = f"{name} holds bytes or halves of characters that are no text"
        return Problem("value not UTF-8", name, what, "save it as UTF-8")
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _span(texts: dict[str, str], values: dict[str, Any]) -> Span | Problem:
    if not texts["sentence"].strip():
        what, advice = "the sentence is empty", "give the text around the mention"
        return Problem("no sentence", "sentence", what, advice)
    numbers: list[int | None] = []
    for name in ("start", "end"):
        number = _number(name, values.get(name))
        if isinstance(number, Problem):
            return number
        numbers.append(number)
    return find_span(texts["sentence"], texts["mention"], numbers[0], numbers[1])


def _number(name: str, value: Any) -> int | Problem | None:
    """A whole number; tables write ``12.0`` where a column has gaps."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,18}(\.0+)?\s*", value, re.ASCII):
        return int(value.partition(".")[0])
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    what = f"{name} is {_shown(value)}, not a number of characters"
    return Problem(_TYPE, name, what, "count from 0")


def _mention(line: int, texts: dict[str, str], span: Span) -> OwnMention | Problem:
    split = texts["split"].strip().casefold()
    if split and split not in SPLIT_OF:
        what = f"split is {_shown(texts['split'])}"
        return Problem("unknown split", "split", what, "train, valid or test, or leave it empty")
    own_id = texts["id"].strip()
    if _SEPARATORS.search(own_id):
        what = f"id {own_id!r} holds a tab or a line break"
        return Problem("separator in id", "id", what, "leave them out of ids")
    gold = texts["gold"].strip()
    document = texts["document"].strip()
    picture = texts["picture"].strip()
    return OwnMention(
        line=line,
        id=own_id or _made_id(document, picture, span),
        has_own_id=bool(own_id),
        sentence=span.sentence,
        start=span.start,
        end=span.end,
        gold="" if gold.casefold() in NO_GOLD else gold,
        picture=picture,
        document=document,
        topic=texts["topic"].strip(),
        split=SPLIT_OF[split] if split else "",
        chosen=span.chosen,
    )


def _made_id(document: str, picture: str, span: Span) -> str:
    """An id out of what the row says, so that rows keep theirs when others come or go."""
    parts = (document, picture, span.sentence, str(span.start), str(span.end))
    digest = blake2b(digest_size=8)
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return f"m{digest.hexdigest()}"


assert set(_TEXTS) | {"start", "end"} == set(FIELDS)
