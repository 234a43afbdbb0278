"""Addresses of this site, written in one place."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

#: Bytes of an id in an address, percent signs included (chosen here: servers and browsers take a few
#: thousand).
_LONGEST = 2000

#: Table → the first part of the addresses of its rows.
_ONE = {"mentions": "/mention", "entities": "/entity"}


def row_url(table: str, row: int, key: str, query: str = "") -> str:
    """The page of a row: by its id, or by its number where no address can hold the id.

    Browsers resolve ``.`` and ``..`` before they ask, percent-encoded or not; routes end at a line break.

    Args:
        query: encoded parameters that the page is to keep.
    """
    name = quote(key, safe="")
    if key in ("", ".", "..") or "\n" in key or len(name) > _LONGEST:
        return with_query(_ONE[table], f"row={row}" + (f"&{query}" if query else ""))
    return with_query(f"{_ONE[table]}/{name}", query)


def image_url(table: str, row: int, version: str) -> str:
    """The thumbnail of a row; ``version`` names the store, so that browsers may keep it."""
    return f"/image/{table}/{row}.jpg?v={version}"


def with_query(path: str, query: str) -> str:
    return f"{path}?{query}" if query else path


def encode(parameters: Mapping[str, str | int | None]) -> str:
    """Parameters as they stand in an address; empty ones are left out."""
    return urlencode({name: value for name, value in parameters.items() if value not in (None, "")})
