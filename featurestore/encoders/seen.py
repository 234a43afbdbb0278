"""Picture files known again: whether an ingest that goes on would read what it read before."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from xxhash import xxh3_64

from featurestore.errors import WriteError
from featurestore.row_arrays import KeptRows
from featurestore.writer import StoreWriter

#: Bytes that are read at once.
_PIECE = 1 << 20


#: In a table of files: the column of the picture's ``image_status``; those of :class:`Seen` follow.
STATUS = 0


class Seen(NamedTuple):
    """What tells a file from another one; ``size`` is -1 where there is none that can be read."""

    size: int
    modified: int  # nanoseconds
    digest: int  # xxh3 of the bytes, as a signed number


_NOTHING = Seen(-1, 0, 0)

#: Of a file that was not looked at, because a store that is repaired tells its status.
_NOT_SEEN = Seen(-2, 0, 0)


def look(path: Path | None) -> Seen:
    """Read a file through. Whatever stands in the way of that is for those to say who need it."""
    if path is None:
        return _NOTHING
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError):
        return _NOTHING
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return _NOTHING
        digest = xxh3_64()
        while piece := os.read(descriptor, _PIECE):
            digest.update(piece)
    except OSError:
        return _NOTHING
    finally:
        os.close(descriptor)
    number = int.from_bytes(digest.digest(), "little", signed=True)
    return Seen(status.st_size, status.st_mtime_ns, number)


def table_of_files(writer: StoreWriter, table: str, rank: int) -> KeptRows:
    """(rows of the table, 1 + 3) int64: ``image_status`` of each row's file, and what it was.

    Args:
        rank: which of the files that a row names.
    """
    shape = (writer.rows(table), 1 + len(Seen._fields))
    return writer.kept(f"{table}/picture_files.{rank}", shape, np.dtype(np.int64))


def not_seen(status: np.ndarray) -> np.ndarray:
    """(n, 1 + 3) entries of a table of files that were not looked at: ``image_status`` is known."""
    return np.array([(code, *_NOT_SEEN) for code in status.tolist()], np.int64).reshape(-1, 4)


def _is_still(path: Path, known: Seen) -> bool:
    """Whether a file is what was seen; read only where size or time differ."""
    if known == _NOT_SEEN:
        return True
    try:
        status = path.stat()
    except (OSError, ValueError):
        return known.size < 0
    if (status.st_size, status.st_mtime_ns) == (known.size, known.modified):
        return True
    now = look(path)
    return (now.size, now.digest) == (known.size, known.digest)


def check_unchanged(
    files: KeptRows, rows: np.ndarray, names: Sequence[str], root: Path, *, kept: Path
) -> None:
    """Check that what an interrupted ingest made of picture files would be made of them again.

    Args:
        files: table of the files that were read.
        rows: row ``rows[i]`` of the table has the file ``names[i]`` below ``root``.
        kept: where the finished parts are.

    Raises:
        WriteError: a file was replaced, removed, or is there now; names the first and how many.
    """
    seen: dict[str, Seen] = {}
    for place in np.flatnonzero(files.written.done[rows]).tolist():
        seen.setdefault(names[place], Seen(*files.values[rows[place], STATUS + 1 :].tolist()))
    changed = [name for name, known in seen.items() if not _is_still(root / name, known)]
    if changed:
        more = f", and {len(changed) - 1} more are not" if len(changed) > 1 else ""
        raise WriteError(
            f"a picture is not what the interrupted ingest to this target read{more}",
            where=str(root / changed[0]),
            hint=f"put it back, or pass --restart to give up what is finished in {kept}",
        )
