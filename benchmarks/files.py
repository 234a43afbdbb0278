"""Files and folders of contestants: how large they are, and how they go away."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def bytes_on_disk(place: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    files = [place] if place.is_file() else [p for p in place.rglob("*") if p.is_file()]
    return sum(path.stat().st_size for path in files)


def remove(place: Path) -> None:
    """Delete a file, or a folder and all that is in it, if it is there."""
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


@contextmanager
def kept_or_temporary(folder: Path | None, *, prefix: str) -> Iterator[Path]:
    """The folder, made if needed; or, without one, a temporary one that vanishes with the block."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        yield Path(name)
