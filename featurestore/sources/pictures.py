"""Finding picture files by their stem, without asking the file system once a suffix.

Needs neither Pillow nor torch: whether a file found here is a readable picture is decided by
``featurestore.encoders.opening.open_picture``, which reports one of the codes below.
"""

from __future__ import annotations

import os
from pathlib import Path

from featurestore.errors import SourceError
from featurestore.schema import IMAGE_STATUS

#: Suffixes in the order they are tried (DATASETS.md, images).
SUFFIXES = (
    "", ".jpg", ".JPG", ".jpeg", ".JPEG", ".png", ".PNG", ".tif", ".TIF", ".tiff", ".TIFF",
)  # fmt: skip

#: The code that ``image_status`` stores for each name of ``schema.IMAGE_STATUS``.
STATUS_CODE: dict[str, int] = {name: code for code, name in enumerate(IMAGE_STATUS)}


class PictureFolder:
    """The file names of one folder, listed once: 788,403 of them in the full WikiMEL release."""

    def __init__(self, path: Path, names: frozenset[str]) -> None:
        self.path = path
        self._names = names

    @classmethod
    def open(cls, path: Path) -> PictureFolder:
        """List ``path``; a folder that does not exist holds no picture.

        Raises:
            SourceError: ``path`` is not a folder, or may not be listed.
        """
        try:
            with os.scandir(path) as entries:
                return cls(path, frozenset(entry.name for entry in entries if _is_file(entry)))
        except FileNotFoundError:
            return cls(path, frozenset())
        except OSError as error:
            raise SourceError(
                f"the picture folder cannot be listed: {error.strerror}",
                where=str(path),
                hint="make it a readable folder, or remove it to ingest without these pictures",
            ) from error

    def __len__(self) -> int:
        return len(self._names)

    def find(self, stem: str) -> str:
        """The name of the picture ``stem`` stands for, suffixes tried in order; "" = there is none."""
        for suffix in SUFFIXES:
            if stem + suffix in self._names:
                return stem + suffix
        return ""

    def named(self, name: str) -> str:
        """The name, if a file here has it; "" = there is none."""
        return name if name in self._names else ""


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file or a link to one; a link in a circle is not."""
    try:
        return entry.is_file()
    except OSError:
        return False
