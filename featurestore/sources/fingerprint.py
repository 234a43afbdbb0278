"""Digests by which the files of a source are known again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

_END = 65_536

#: Bytes that are read at once.
_PIECE = 1 << 20


def fingerprint(files: Sequence[Path]) -> str:
    """Digest of names, sizes, heads and tails: cheap at 100 GB, changes with any regenerated file."""
    digest = blake2b(digest_size=16)
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}".encode())
        with path.open("rb") as file:
            digest.update(file.read(_END))
            file.seek(max(0, size - _END))
            digest.update(file.read(_END))
    return digest.hexdigest()


def whole_fingerprint(files: Sequence[Path]) -> str:
    """Digest of names, sizes and every byte: for text files, which are read anyway."""
    digest = blake2b(digest_size=16)
    for path in files:
        digest.update(f"{path.name}:{path.stat().st_size}".encode())
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    return digest.hexdigest()


def names_digest(choices: Iterable[Sequence[str | None]]) -> str:
    """How many files all rows name, and a digest of which row names which."""
    digest, count = blake2b(digest_size=8), 0
    for names in choices:
        digest.update(f"{len(names)}:{chr(0).join(name or '' for name in names)}\n".encode())
        count += sum(1 for name in names if name)
    return f"{count:,} files, digest {digest.hexdigest()}"


def times(files: Sequence[Path]) -> dict[str, str]:
    """Name of each file → when it was last changed (UTC), which notices what heads and tails do not."""
    changed = {path.name: path.stat().st_mtime_ns / 1e9 for path in files}
    return {name: str(datetime.fromtimestamp(at, UTC)) for name, at in changed.items()}
