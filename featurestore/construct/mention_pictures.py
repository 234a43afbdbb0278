"""The pictures of own mentions: checked once each, and put under one name into one folder."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import Literal

from featurestore.construct.scratch import Scratch
from featurestore.errors import ConfigError, SourceError

Placing = Literal["link", "copy"]

#: Pictures that are decoded at once; chosen here: each may need 270 MB, most a few.
_THREADS = 4

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)

#: Bytes of a file name, at most, on the file systems in use.
_LONGEST_NAME = 255

#: Status of a picture → what to do about it.
ADVICE = {
    "missing": "check the path, or name its folder: --images DIR",
    "broken": "replace it by a JPEG, PNG, TIFF, GIF, WebP or BMP that opens",
    "too small": "replace it by one of at least 50×50 pixels",
    "not readable": "check its permissions, and that it is a file",
    "a URL": "download it and give the file's path",
}


class MentionPictures:
    """Takes the pictures of mentions into a folder.

    Args:
        images: what their paths are relative to.
        folder: where they are put; it is made with the first one.
        placing: as symbolic links to where they are, or as copies.
        scratch: remembers which were met.

    Raises:
        ConfigError: ``images`` is no folder.
    """

    def __init__(self, images: Path, folder: Path, *, placing: Placing, scratch: Scratch) -> None:
        if not images.is_dir():
            raise ConfigError(
                "the folder of pictures is not there",
                where=str(images),
                hint="--images DIR, what the paths of pictures are relative to",
            )
        self._images, self._folder = images, folder
        self._placing, self._scratch = placing, scratch
        self._pool = ThreadPoolExecutor(_THREADS)
        self.statuses: Counter[str] = Counter()  # status → distinct pictures

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def take(self, pictures: Sequence[str]) -> list[tuple[str, str]]:
        """Name in the folder and status of each picture; the name of one that cannot be used is ""."""
        new = [
            source
            for source in dict.fromkeys(filter(None, pictures))
            if self._scratch.picture(source) is None
        ]
        for source, status in zip(new, self._pool.map(self._status, new), strict=True):
            name = self._place(source) if status == "ok" else ""
            self._scratch.add_picture(source, name, status)
            self.statuses[status] += 1
        return [self._known(source) for source in pictures]

    def _known(self, source: str) -> tuple[str, str]:
        return (self._scratch.picture(source) or ("", "")) if source else ("", "none")

    def _status(self, source: str) -> str:
        from featurestore.encoders.opening import open_picture
        from featurestore.schema import IMAGE_STATUS

        if _URL.match(source):
            return "a URL"
        try:
            return IMAGE_STATUS[open_picture(self._images / source)[1]]
        except SourceError:
            return "not readable"

    def _place(self, source: str) -> str:
        self._folder.mkdir(parents=True, exist_ok=True)
        name = self._name(source)
        origin, target = os.path.abspath(self._images / source), self._folder / name
        if self._placing == "link":
            target.symlink_to(origin)
        else:
            shutil.copyfile(origin, target)
        return name

    def _name(self, source: str) -> str:
        """Its own name; with a digest of its path where another picture has that one."""
        own = Path(source)
        name, number = own.name, 0
        while not self._scratch.take_name(name):
            digest = blake2b(f"{number} {source}".encode(), digest_size=4).hexdigest()
            stem = own.stem
            while len(f"{stem}-{digest}{own.suffix}".encode()) > _LONGEST_NAME:
                stem = stem[:-1]
            name, number = f"{stem}-{digest}{own.suffix}", number + 1
        return name
