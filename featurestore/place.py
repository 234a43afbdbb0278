"""Where a store is: a path of this machine, or the URL of one elsewhere."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeAlias
from urllib.parse import quote, urlsplit

#: A scheme has two letters or more: ``C:/`` is a drive.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")

#: What stands behind the path of a URL.
_PATH_ENDS = re.compile(r"[?#]")

#: What ``Path`` makes of a URL.
_FLATTENED = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")


@dataclass(frozen=True, slots=True)
class StoreUrl(os.PathLike[str]):
    """The URL of a store. ``str()`` of it leaves out passwords and queries, which may hold signatures."""

    url: str

    def __fspath__(self) -> str:
        return self.url

    def __str__(self) -> str:
        return self.bare + ("?…" if urlsplit(self.url).query else "")

    @property
    def bare(self) -> str:
        """Without password, query and fragment."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def scheme(self) -> str:
        return urlsplit(self.url).scheme

    @property
    def name(self) -> str:
        """The last part of its path, as of a file."""
        return urlsplit(self.url).path.rstrip("/").rpartition("/")[2]

    def beside(self, relative: str) -> StoreUrl:
        """The URL of a file in the same folder, or in one of its folders; with the same query."""
        path = _PATH_ENDS.split(self.url, maxsplit=1)[0]
        name = quote(relative) if self.scheme in ("http", "https") else relative
        return StoreUrl(f"{path.rpartition('/')[0]}/{name}{self.url[len(path) :]}")

    def resolve(self) -> Self:
        """Itself: it depends on no folder."""
        return self


Place: TypeAlias = Path | StoreUrl


def place_of(path: str | os.PathLike[str]) -> Place:
    """The URL where it is one, a path otherwise."""
    text = os.fspath(path)
    return StoreUrl(text) if _URL.match(text) else Path(text)


def url_behind(path: Path) -> str:
    """The URL that somebody took for a path, as it was before; empty where it was none."""
    text = str(path)
    return _FLATTENED.sub(r"\1://", text, count=1) if _FLATTENED.match(text) else ""


def fetch_hint(url: StoreUrl | str) -> str:
    """What to do where a store is needed on this machine."""
    return f"copy it to this machine: drin-fs fetch {url}"
