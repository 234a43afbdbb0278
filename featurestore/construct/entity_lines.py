"""Lines of a Wikidata JSON dump → QIDs and titles, reading as little of each as is safe.

A line of the dump is one entity. Nearly all of it (labels, claims) says nothing about the title, so it
is not parsed:

1. ``{"type":"item","id":"Q31",`` at its very start gives the id.
2. The last ``,"sitelinks":`` begins what is parsed, up to the end of the line. If ``{`` and that text are
   one JSON object, then those are members of the entity itself: quotes within JSON strings are escaped,
   so the text begins outside of strings; it closes one brace more than it opens, and at its end, which is
   that of the line, none is open; so one was open where it begins.
3. Any other line is parsed whole, unless it cannot have the title: the name of the site must stand in
   it, as it is or with a letter written as an escape (``\\u0065nwiki``).

So a line is checked as far as it is read. ``Reading.check_all`` parses every line whole.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import orjson

from featurestore.construct.entity_details import Details

#: The largest number of an item that Wikibase allows.
MOST_QID = 2**31 - 1

#: The longest line that is read (chosen here: many times the largest entity; it bounds the memory).
LONGEST_LINE = 64 << 20

TOO_LONG = "longer than 64 MiB"

#: Broken lines that are shown, of each kind.
EXAMPLES = 3

#: Bytes of such a line that are shown.
_SHOWN = 80

_HEAD = re.compile(rb'\{"type":"(?:item|property|lexeme)","id":"([QPL])([1-9][0-9]{0,11})",')
_ID = re.compile(r"([QPLM])([1-9][0-9]*)")
_SITELINKS = b',"sitelinks":'
_BLANK = b" \t\r\n"
_KINDS = {"Q": "items", "P": "properties", "L": "lexemes", "M": "media"}

#: Characters that a line of a table cannot hold.
_CONTROL = re.compile("[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Broken:
    """A line that cannot be used."""

    reason: str
    offset: int  # bytes of the decompressed dump before it
    text: str  # how it begins


@dataclass(slots=True)
class Found:
    """What a block of lines holds."""

    rows: list[tuple[int, int, bytes, bytes]] = field(default_factory=list)
    """number of the QID, offset, line of the title table, line of the details or nothing"""
    skipped: Counter[str] = field(default_factory=Counter)  # what is no item with a title
    broken: Counter[str] = field(default_factory=Counter)  # reason → lines
    examples: list[Broken] = field(default_factory=list)  # the first of each reason
    entities: int = 0  # lines that are neither empty nor a bracket

    def breaks(self, reason: str, offset: int, line: bytes) -> None:
        """Count a line that cannot be used."""
        self.broken[reason] += 1
        if self.broken[reason] <= EXAMPLES:
            text = line[:_SHOWN].decode("utf-8", "backslashreplace")
            self.examples.append(Broken(reason, offset, text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is wanted of each line; crosses process borders.

    ``language``: of the Wikipedia whose titles are wanted, and of labels, descriptions and aliases.
    """

    language: str = "en"
    details: bool = False
    check_all: bool = False

    @property
    def is_quick(self) -> bool:
        """Whether little of a line is parsed."""
        return not (self.details or self.check_all)

    @property
    def site(self) -> str:
        return f"{self.language.replace('-', '_')}wiki"


class LineReader:
    """Reads blocks of lines."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._site = reading.site
        self._quoted = f'"{self._site}"'.encode()
        highs = sorted({f"{ord(letter) >> 4:x}" for letter in self._site})
        self._escapes = tuple(f"\\u00{high}".encode() for high in highs)

    def read(self, block: bytes, offset: int, found: Found, start: int = 0, stop: int = -1) -> int:
        """Read the lines of a block.

        Args:
            block: whole lines, from ``start`` on.
            offset: bytes of the dump before the block.
            found: what is found is added to it.
            stop: lines that begin at or behind it are not read; -1 = all are.

        Returns:
            Where the first line begins that was not read.
        """
        stop = len(block) if stop < 0 else stop
        while start < stop:
            end = block.find(b"\n", start)
            end = len(block) if end < 0 else end
            self._line(block, start, end, offset, found)
            start = end + 1
        return start

    def _line(self, block: bytes, start: int, end: int, offset: int, found: Found) -> None:
        if end - start > LONGEST_LINE:
            found.entities += 1
            found.breaks(TOO_LONG, start + offset, block[start : start + 200])
            return
        last = end - 1 if block[end - 1 : end] == b"," else end
        head = None if self._reading.check_all else _HEAD.match(block, start, last)
        if head:
            place = block.rfind(_SITELINKS, head.end() - 1, last)
            if place >= 0:
                try:
                    tail = orjson.loads(b"{" + block[place + 1 : last])
                except ValueError:
                    pass
                else:
                    if "id" not in tail:
                        return self._quick(head, tail, block, start, last, offset, found)
        self._whole(block[start:end], start + offset, found)
        return None

    def _quick(
        self,
        head: re.Match[bytes],
        tail: dict[str, Any],
        block: bytes,
        start: int,
        last: int,
        offset: int,
        found: Found,
    ) -> None:
        """A line whose beginning and end are known."""
        title = self._title(tail)
        if title is not None and head[1] == b"Q" and not self._reading.details:
            found.entities += 1
            self._add(int(head[2]), title, None, start + offset, found)
        elif title is not None:
            self._whole(block[start:last], start + offset, found)
        else:
            found.entities += 1
            self._skip(head[1].decode(), found)

    def _whole(self, raw: bytes, offset: int, found: Found) -> None:
        """A line that is parsed, if it may hold a title."""
        line = _bare(raw, first=offset == 0)
        if not line:
            return
        found.entities += 1
        if not (line.startswith(b"{") and line.endswith(b"}")):
            found.breaks("not a JSON object in one line", offset, line)
            return
        if not (self._reading.check_all or self._may_hold_title(line)):
            head = _HEAD.match(line)
            self._skip(head[1].decode() if head else "Q", found)
            return
        try:
            entity = orjson.loads(line)
        except ValueError:
            found.breaks(_reason(line), offset, line)
            return
        self._entity(entity, line, offset, found)

    def _may_hold_title(self, line: bytes) -> bool:
        return self._quoted in line or any(escape in line for escape in self._escapes)

    def _entity(self, entity: dict[str, Any], line: bytes, offset: int, found: Found) -> None:
        name = entity.get("id")
        known = _ID.fullmatch(name) if isinstance(name, str) else None
        if known is None:
            found.breaks("no id", offset, line)
            return
        title = self._title(entity)
        if title is None or known[1] != "Q":
            self._skip(known[1], found)
            return
        self._add(int(known[2]), title, entity, offset, found)

    def _title(self, entity: dict[str, Any]) -> Any:
        """The title, of whatever kind it is; None where there is none."""
        links = entity.get("sitelinks")
        link = links.get(self._site) if isinstance(links, dict) else None
        return link.get("title", "") if isinstance(link, dict) else None

    def _skip(self, letter: str, found: Found) -> None:
        kind = _KINDS[letter]
        found.skipped["without a title" if kind == "items" else kind] += 1

    def _add(
        self, number: int, title: Any, entity: dict[str, Any] | None, offset: int, found: Found
    ) -> None:
        if number > MOST_QID:
            found.breaks("a QID beyond those of Wikibase", offset, b"Q%d" % number)
            return
        if not isinstance(title, str) or not title or _CONTROL.search(title):
            shown = f"Q{number}: {title!r}".encode("utf-8", "backslashreplace")
            found.breaks("a title that a table cannot hold", offset, shown)
            return
        details = b""
        if self._reading.details and entity is not None:
            told = Details.of(entity, f"Q{number}", title, self._reading.language)
            details = told.as_json_line()
        found.rows.append((number, offset, f"Q{number}\t{title}\n".encode(), details))


def _bare(raw: bytes, *, first: bool) -> bytes:
    """A line without what joins it to the others: brackets of the array, a comma on one side."""
    line = raw.removeprefix(b"\xef\xbb\xbf") if first else raw
    line = line.strip(_BLANK)
    if line[:1] in (b"[", b","):
        line = line[1:].lstrip(_BLANK)
    if line[-1:] in (b"]", b","):
        line = line[:-1].rstrip(_BLANK)
    return line


def _reason(line: bytes) -> str:
    try:
        line.decode()
    except UnicodeDecodeError:
        return "not UTF-8"
    return "not JSON"
