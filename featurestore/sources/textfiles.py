"""Text files of a raw dataset, read with the place of every error: lines and JSON objects."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from featurestore.errors import SourceError

#: The escape of half of a character beyond U+FFFF, of which JSON needs two together.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

#: What to do about a file that cannot be read.
_UTF8 = "copy it again, or convert it: iconv -f LATIN1 -t UTF-8 FILE > NEW (from what it is in)"
_MEND = "mend the file, or copy it again"


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line number (from 1) and text of each line of ``path`` that is not empty.

    Only the line feed ends a line: titles may hold other characters that Python takes for one.

    Raises:
        SourceError: the file is not UTF-8.
    """
    with path.open(encoding="utf-8", newline="\n") as file:
        try:
            for number, line in enumerate(file, start=1):
                if text := line.rstrip("\r\n"):
                    yield number, text
        except UnicodeDecodeError as error:
            raise SourceError(
                f"the file is not UTF-8: {error.reason}", where=str(path), hint=_UTF8
            ) from error


def read_json_object(path: Path, *, where: str | None = None) -> dict[str, object]:
    """The JSON object in ``path``.

    Args:
        where: how messages name the file, if not by its path.

    Raises:
        SourceError: malformed JSON, not an object, not Unicode, or a key that stands twice in one
            object (which Python's reader would silently resolve to the last).
    """
    where = where or str(path)
    value = _read_json(path, where)
    if not isinstance(value, dict):
        raise SourceError(
            f"expected a JSON object, found {json_kind(value)}",
            where=where,
            hint="give the file that belongs here; it begins with {",
        )
    return value


def read_json_list(path: Path) -> list[object]:
    """The JSON list in ``path``.

    Raises:
        SourceError: malformed JSON, not a list, not Unicode, or a key that stands twice in one object.
    """
    value = _read_json(path, str(path))
    if not isinstance(value, list):
        raise SourceError(
            f"expected a JSON list, found {json_kind(value)}",
            where=str(path),
            hint="give the file that belongs here; it begins with [",
        )
    return value


def _read_json(path: Path, where: str) -> object:
    def with_unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
            raise SourceError(
                f"key {twice!r} stands twice in one object",
                where=where,
                hint="leave one of the two out, or name it otherwise",
            )
        return found

    try:
        content = path.read_text(encoding="utf-8")
        value = json.loads(content, object_pairs_hook=with_unique_keys)
        if _SURROGATE.search(content):
            json.dumps(value, ensure_ascii=False).encode()  # fails where half of a pair is alone
    except json.JSONDecodeError as error:
        place = f"{where}, line {error.lineno}, column {error.colno}"
        raise SourceError(f"malformed JSON: {error.msg}", where=place, hint=_MEND) from error
    except UnicodeDecodeError as error:
        raise SourceError(
            f"the file is not UTF-8: {error.reason}", where=where, hint=_UTF8
        ) from error
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        what = f"malformed JSON: \\u{ord(half):04x} is half of a character, without the other half"
        raise SourceError(
            what, where=where, hint="write the character in full, or U+FFFD"
        ) from error
    except RecursionError as error:
        raise SourceError(
            "malformed JSON: nested too deeply",
            where=where,
            hint="give the file that belongs here: none of these datasets nests so deeply",
        ) from error
    except ValueError as error:
        raise SourceError(f"malformed JSON: {error}", where=where, hint=_MEND) from error
    return value


def json_kind(value: object) -> str:
    """What a decoded JSON value is, in JSON's words: "an object", "a list", …"""
    match value:
        case dict():
            return "an object"
        case list():
            return "a list"
        case str():
            return "a string"
        case bool():
            return "a boolean"
        case None:
            return "null"
        case _:
            return "a number"
