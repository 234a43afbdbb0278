"""Values out of a JSON file, each checked to be what it must be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from featurestore.errors import SourceError
from featurestore.sources.textfiles import json_kind, read_json_list


def objects(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Place and value of each item of a list of objects.

    Raises:
        SourceError: the file is not such a list.
    """
    for number, item in enumerate(read_json_list(path)):
        where = f"{path}, item {number}"
        if not isinstance(item, dict):
            raise SourceError(
                f"expected an object, found {json_kind(item)}",
                where=where,
                hint="write each item as an object: {…}",
            )
        yield where, item


def text(item: Mapping[str, object], key: str, where: str) -> str:
    """The string at ``key``.

    Raises:
        SourceError: there is none, or something else.
    """
    if key not in item:
        raise SourceError(
            f"the item has no {key!r}",
            where=where,
            hint="add the key to the item, or leave the item out",
        )
    return as_text(item[key], repr(key), where)


def optional_text(item: Mapping[str, object], key: str, where: str) -> str:
    """The string at ``key``; "" where there is no such key, or null."""
    return text(item, key, where) if item.get(key) is not None else ""


def as_text(value: object, what: str, where: str) -> str:
    """The value, which must be a string.

    Raises:
        SourceError: it is something else.
    """
    if not isinstance(value, str):
        raise SourceError(
            f"{what} must be a string, found {json_kind(value)}",
            where=where,
            hint="write it in quotation marks, or leave the item out",
        )
    return value


def as_number(value: object, what: str, where: str) -> int:
    """The value, which must be a whole number.

    Raises:
        SourceError: it is something else.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise SourceError(
            f"{what} must be a whole number, found {value!r}",
            where=where,
            hint="write it as digits, without quotation marks and without a point",
        )
    return value
