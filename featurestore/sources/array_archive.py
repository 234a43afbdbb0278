"""The arrays of a preprocessed dataset in a tar archive, which is read twice and never unpacked.

A tar is read front to back and its members come in any order, but features can only be stored once
ids, masks and positions are known. So the first pass copies what is small, reads the headers of the
features and checks the archive's sums; the second hands the features over as they come
(docs/decisions/archive-ingest.md).
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from featurestore.derive import block_rows
from featurestore.disk import write_errors
from featurestore.errors import SourceError
from featurestore.progress import Progress
from featurestore.sources.archive import RELEASED, Checked, compare
from featurestore.sources.arrays import Header, load, missing
from featurestore.sources.disguise import Kind, Original, incomplete, kind_of, recognise
from featurestore.sources.feeds import Feed
from featurestore.sources.members import Content, members
from featurestore.sources.meter import megabytes
from featurestore.sources.survey import Found, choose, survey
from featurestore.sources.textfiles import read_json_object

_TARS: tuple[Kind, ...] = ("tar.gz", "tar")


@contextmanager
def open_archive(
    path: Path,
    *,
    scratch: Path,
    dataset: str | None = None,
    known: Mapping[str, str] = RELEASED,
    progress: Progress,
) -> Iterator[ArchiveArrays]:
    """Read an archive through for the first time; at the end of the block its scratch is gone.

    Args:
        path: a tar, gzipped or not, disguised or not.
        scratch: a folder to make for what is small; its parent exists.
        dataset: which one, where the archive holds both.
        known: name of an original → its md5.
        progress: receives one stage of megabytes.

    Raises:
        SourceError: no archive that can be read so, damaged, or without a preprocessed dataset.
        ConfigError: another dataset than ``dataset``, or both and none was named.
        WriteError: no room for what is small.
    """
    original = _readable(path)
    stamp = _stamp(path)
    shutil.rmtree(scratch, ignore_errors=True)  # left by a process of the same number
    try:
        full = "free some space, or write the store to another disk"
        with write_errors(scratch, when_full=full):
            scratch.mkdir()
            found, md5 = survey(original, scratch, progress)
        checked = compare(original, md5, known=known, progress=progress)
        yield ArchiveArrays(checked, choose(found, dataset, path), stamp)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _readable(path: Path) -> Original:
    original = recognise(path)
    if original.kind == "zip":
        raise SourceError(
            "a zip archive cannot be read front to back, so it is not ingested as it is",
            where=str(path),
            hint=f"run {_unpack_command(path)}, then ingest the folder",
        )
    if original.kind not in _TARS and original.disguised:
        raise incomplete(path, hint="download it again")
    if original.kind not in _TARS:
        raise SourceError(
            "neither a folder nor a tar archive",
            where=str(path),
            hint="give a dataset's root folder, or preprocessed.tar.gz as it was downloaded",
        )
    return original


def _unpack_command(path: Path) -> str:
    """What unpacks the zip archive that this file is, or is a part of."""
    ending = ".mp4" if path.suffix.lower() == ".mp4" else ""
    inner = path.with_suffix("") if ending else path
    if kind_of(inner.name) == "zip":  # its parts are .z01, .z02, …, .zip
        return f"drin-fs unpack {shlex.quote(str(inner.with_suffix('')))}.z*{ending} -o FOLDER"
    return f"drin-fs unpack {shlex.quote(str(path))} -o FOLDER"


class ArchiveArrays:
    """Implements :class:`~featurestore.sources.feeds.RecordedArrays` for a tar archive."""

    def __init__(self, checked: Checked, found: Found, stamp: tuple[int, ...]) -> None:
        self._checked = checked
        self._original = checked.original
        self._found = found
        self._stamp = stamp

    @property
    def dataset(self) -> str:
        return self._found.dataset or ""

    def where(self, file: str) -> str:
        return self._found.wheres.get(file, f"{self._original.path}::{self._found.folder / file}")

    def has(self, file: str) -> bool:
        return file in self._found.wheres

    def json(self, file: str) -> dict[str, object]:
        return read_json_object(self._copy(file), where=self.where(file))

    def load(
        self,
        file: str,
        *,
        holds: str = "features",
        ndim: tuple[int, ...] = (),
        rows: int | None = None,
    ) -> np.ndarray:
        return load(self._copy(file), holds=holds, ndim=ndim, rows=rows, where=self.where(file))

    def _copy(self, file: str) -> Path:
        if file not in self._found.copies:
            raise missing(self.where(file))
        return self._found.copies[file]

    def features(self, file: str, *, ndim: tuple[int, ...] = (), rows: int | None = None) -> Header:
        if file not in self._found.features:
            raise missing(self.where(file))
        header = self._found.features[file].check(ndim=ndim, rows=rows)
        if header.fortran:
            path = shlex.quote(str(self._original.path))
            raise SourceError(
                "the values stand column by column (Fortran order), so no row can be read alone",
                where=header.where,
                hint=f"run drin-fs unpack {path} -o FOLDER, then ingest the folder",
            )
        return header

    def feed(self, feeds: Sequence[Feed], progress: Progress) -> None:
        """In the order of the archive, and no further than to the last row that is wanted."""
        wanted = {
            self._found.folder / part.file: (feed, number)
            for feed in feeds
            for number, part in enumerate(feed.parts)
            if len(part.rows)
        }
        if _stamp(self._original.path) != self._stamp:
            raise self._changed()
        stage = megabytes(progress, f"features of {self._original.name}", self._original.size)
        with stage as meter, closing(members([self._original], meter.to)) as found:
            for member, content in found:
                if member.path in wanted:
                    feed, number = wanted.pop(member.path)
                    self._feed(feed, number, content)
                    if not wanted:
                        return
                for _ in content:
                    pass
        raise self._changed()

    def _feed(self, feed: Feed, number: int, content: Content) -> None:
        """Hand over the rows of one file, up to the last that is wanted."""
        part = feed.parts[number]
        header = self._found.features[part.file]
        stream = _Stream(content)
        stream.read_into(np.empty(header.start, np.uint8))
        step = block_rows(header.row_bytes)
        for first in range(0, int(part.source_rows[-1]) + 1, step):
            values = np.empty((min(step, header.shape[0] - first), *header.shape[1:]), header.dtype)
            if not stream.read_into(values.reshape(-1).view(np.uint8)):
                raise self._changed()
            begin, end = np.searchsorted(part.source_rows, (first, first + len(values)))
            if begin < end:
                chosen = slice(int(begin), int(end))
                if feed.has(part.rows[chosen]):
                    continue
                if end - begin < len(values):
                    values = values[part.source_rows[chosen] - first]
                feed.write(part.block(header.where, number, chosen, values))

    def _changed(self) -> SourceError:
        return SourceError(
            "the archive changed while it was being read",
            where=str(self._original.path),
            hint="run the command again",
        )

    def check_any_order(self) -> None:
        """They cannot.

        Raises:
            SourceError: always.
        """
        path = shlex.quote(str(self._original.path))
        raise SourceError(
            "an archive is read front to back: each shard would read all of it",
            where=str(self._original.path),
            hint=f"run drin-fs unpack {path} -o FOLDER, then ingest the folder",
        )

    def origin(self) -> dict[str, Any]:
        """The archive, by the md5 of its original."""
        return {
            "fingerprint": self._checked.md5,
            "archive": self._original.name,
            "folder": str(self._found.folder),
            "verified": self._checked.verified,
        }

    def state(self) -> dict[str, str]:
        """None: the archive is digested whole."""
        return {}


class _Stream:
    """Bytes that come in chunks, read in pieces of any size."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._rest = memoryview(b"")

    def read_into(self, buffer: np.ndarray) -> bool:
        """Fill a (n,) uint8 array; False where the chunks end before."""
        done = 0
        while done < len(buffer):
            if not self._rest:
                self._rest = memoryview(next(self._content, b""))
                if not self._rest:
                    return False
            taken = self._rest[: len(buffer) - done]
            buffer[done : done + len(taken)] = taken
            self._rest = self._rest[len(taken) :]
            done += len(taken)
        return True


def _stamp(path: Path) -> tuple[int, ...]:
    """Changes when the file does."""
    status = os.stat(path)
    return status.st_ino, status.st_size, status.st_mtime_ns
