"""The folder an archive is unpacked to.

A file is written under a temporary name and renamed, so what stands at its name is complete.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from featurestore.errors import SourceError, WriteError
from featurestore.lock import is_running
from featurestore.sources.members import holds_twice


class Target:
    """A folder to write files to, made if needed; nothing is ever written outside it.

    Args:
        root: the folder.
        sources: files that are being read, which must never be replaced.
        overwrite: replace files that differ from what is written.

    ``written`` and ``skipped`` count files, ``size`` the bytes of both.

    Raises:
        WriteError: the folder cannot be made.
    """

    def __init__(self, root: Path, *, sources: Sequence[Path], overwrite: bool) -> None:
        with writing_to(root):
            root.mkdir(parents=True, exist_ok=True)
        self.written = self.skipped = self.size = 0
        self._root = root
        self._sources = {source.resolve() for source in sources}
        self._real = root.resolve()
        self._overwrite = overwrite
        self._temporary = root / f".drin-fs-unpack.{os.getpid()}.part"
        self._inside: set[Path] = set()
        self._origins: dict[str, str] = {}
        for left in root.glob(".drin-fs-unpack.*.part"):
            owner = left.name.split(".")[2]
            if not owner.isdigit() or int(owner) == os.getpid() or not is_running(int(owner)):
                left.unlink(missing_ok=True)

    def make(self, name: str) -> Path:
        """A folder in the target.

        Raises:
            WriteError: a link on the way leads out of the target.
        """
        folder = self._root / name
        if folder in self._inside:
            return folder
        if not folder.resolve().is_relative_to(self._real):
            raise WriteError(
                "a link leads out of the target", where=str(folder), hint="choose a new folder"
            )
        with writing_to(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._inside.add(folder)
        return folder

    def write(self, name: str, size: int, content: Iterator[bytes], *, origin: str) -> None:
        """Write a file, unless it is there with this very content.

        It is not synced: what a power cut damaged differs when the next run compares it.

        Args:
            origin: the archive or file that it comes from.

        Raises:
            SourceError: another content was written under this name before, from any origin; also
                where files may be replaced.
            WriteError: disk full, no permission, or something else stands there.
        """
        place = self._root / name
        self.make(str(Path(name).parent))
        self.size += size
        before = self._origins.get(name)
        self._origins.setdefault(name, origin)
        if os.path.lexists(place) and (before or not self._may_replace(place)):
            with writing_to(place):
                complete = _holds(place, size, content)
            if not complete and before:
                raise _written_before(name, before, origin)
            if not complete:
                raise WriteError(
                    "another file stands where this one belongs",
                    where=str(place),
                    hint="pass --overwrite to replace it, or choose a new folder",
                )
            self.skipped += 1
            return
        try:
            with writing_to(place):
                with self._temporary.open("wb") as file:
                    for chunk in content:
                        file.write(chunk)
                os.replace(self._temporary, place)
        finally:
            self._temporary.unlink(missing_ok=True)
        self.written += 1

    def _may_replace(self, place: Path) -> bool:
        return self._overwrite and place.resolve() not in self._sources


def _written_before(name: str, before: str, origin: str) -> SourceError:
    if before == origin:
        return holds_twice(f"{origin}::{name}", "with different contents")
    return SourceError(
        f"{before} holds a file of this name, too, with other content",
        where=f"{origin}::{name}",
        hint="unpack the two to folders of their own: -o FOLDER",
    )


def _holds(place: Path, size: int, content: Iterator[bytes]) -> bool:
    """Whether a plain file is of this size and content."""
    if place.is_symlink() or not place.is_file() or place.stat().st_size != size:
        return False
    with place.open("rb") as file:
        return all(file.read(len(chunk)) == chunk for chunk in content)


@contextmanager
def writing_to(place: Path) -> Iterator[None]:
    """Turn the operating system's errors into one that names the place and what to do."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise WriteError(
            f"cannot write: {error.strerror or error}",
            where=str(place),
            hint="free some space and run the command again; it goes on where it stopped"
            if full
            else "see who may write there, and that no file stands where a folder belongs",
        ) from error
