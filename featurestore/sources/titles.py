"""Titles and picture names out of URLs, and when two titles count as the same.

Nothing here knows which dataset asks. The last path segment of a URL is what follows its last "/",
whatever that is: the slash of ``…/wiki/AC/DC`` splits the title as it does in the released arrays.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable
from urllib.parse import unquote

from featurestore.options import TitleMatch


def last_segment(url: str) -> str:
    """What follows the last "/" of ``url``; all of it where there is none ("NIL")."""
    return url.rpartition("/")[2]


def title_of(url: str) -> str:
    """The page title that a URL names: its last path segment, percent-decoded."""
    return unquote(last_segment(url))


def picture_stem(url: str) -> str:
    """File name, without suffix, of a downloaded picture: the MD5 of its URL's last path segment.

    The segment is taken as it stands in the URL, still encoded and with its own suffix, so that a
    drawing stored as .png keeps the name that its .svg gave it.
    """
    return hashlib.md5(last_segment(url).encode(), usedforsecurity=False).hexdigest()


def normalised(title: str) -> str:
    """``title`` in the one spelling that Wikipedia gives its pages.

    Percent-encoding is undone until none is left, characters are composed (Unicode NFC), blanks
    become underscores, of which runs count once and those at the ends not at all, and the first
    letter is made a capital. Stray brackets and the like are part of the title.
    """
    while (decoded := unquote(title)) != title:  # ends: decoding shortens
        title = decoded
    title = re.sub("[ _]+", "_", unicodedata.normalize("NFC", title)).strip("_")
    capital = title[:1].upper()
    if len(capital) == 1:  # some letters have no capital of their own: ß, ŉ
        title = unicodedata.normalize("NFC", capital + title[1:])
    return title


def matching(rule: TitleMatch) -> Callable[[str], str]:
    """The function that is equal for titles which ``rule`` takes for the same."""
    return {"exact": _as_it_stands, "normalised": normalised}[rule]


def _as_it_stands(title: str) -> str:
    return title
