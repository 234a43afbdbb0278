"""The unfinished copy of a remote file, and the journal of what is there of it."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from featurestore import remote_transfer
from featurestore.remote_source import Head


class Part:
    """The unfinished file beside a target, and which pieces of it are there."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f".{target.name}.part")
        self.journal = target.with_name(f".{target.name}.part.done")
        self.done: set[int] = set()

    def resume(self, head: Head) -> str:
        """Find what is there of this very file; ``changed`` where it is of another, which is removed."""
        name = {"page": head.data.hex(), "size": head.size, "piece": remote_transfer.MOST}
        with suppress(OSError, ValueError, AttributeError):
            first, *lines = self.journal.read_text("ascii").splitlines(keepends=True)
            if json.loads(first) == name and self.path.stat().st_size == head.size:
                most = -(-self.path.stat().st_size // remote_transfer.MOST)
                numbers = {int(line) for line in lines if line.endswith("\n")}
                self.done = {number for number in numbers if 0 <= number < most}
                return "resumed" if self.done else ""
        begun = self.journal.exists()
        self.journal.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        with self.path.open("wb") as file:
            file.truncate(head.size)
        self.journal.write_text(json.dumps(name) + "\n", "ascii")
        return "changed" if begun else ""

    @property
    def allocated(self) -> int:
        """Bytes of the disk that the file takes."""
        return self.path.stat().st_blocks * 512 if self.path.exists() else 0

    def discard(self) -> None:
        self.journal.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def write_at(descriptor: int, place: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(descriptor, view, place)
        view, place = view[done:], place + done
