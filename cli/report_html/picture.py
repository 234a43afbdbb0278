"""Pictures inside the file."""

from __future__ import annotations

from base64 import b64encode
from html import escape

from cli.console import clean
from cli.web.html import Html, h
from featurestore.errors import StoreError
from featurestore.table import Table
from featurestore.thumbnails import thumbnail

#: How every JPEG begins.
_JPEG = b"\xff\xd8\xff"


def picture(table: Table, row: int, words: str) -> Html:
    """The thumbnail of a row, or why there is none. ``words``: what is to be seen on it."""
    try:
        jpeg = thumbnail(table, row)
    except StoreError:
        return _none("damaged")
    if jpeg is None:
        return _none("no picture")
    return embedded(jpeg, words) if jpeg.startswith(_JPEG) else _none("no JPEG")


def embedded(jpeg: bytes, words: str) -> Html:
    """An image that needs no other file: the one address of a page that is not one of its site.

    Its letters are those of base64, so nothing in a picture can end the attribute.
    """
    address = f"data:image/jpeg;base64,{b64encode(jpeg).decode('ascii')}"
    return Html(f'<img class="picture" alt="{escape(clean(words))}" src="{address}">')


def _none(why: str) -> Html:
    return h("span.picture.none", why)
