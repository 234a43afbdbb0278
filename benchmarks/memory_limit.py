"""A group of processes that may use so much memory and no more, where this system lets us make one.

What counts is all memory that the kernel charges to the group: anonymous pages, and pages of files
that the group was the first to read. The group lies inside our own, so that our own limits hold too.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

#: Seconds that the kernel may take to let go of a group whose processes have ended.
_PATIENCE = 2.0

#: Version of control groups → (file of the limit, file of the highest use).
_FILES = {
    1: ("memory.limit_in_bytes", "memory.max_usage_in_bytes"),
    2: ("memory.max", "memory.peak"),
}


class NotPermitted(Exception):
    """No group can be made here."""


@dataclass(frozen=True, slots=True)
class Group:
    """A control group with a limit."""

    path: Path
    version: int

    def command(self, arguments: Sequence[str]) -> list[str]:
        """This interpreter with these arguments, in the group from its first page on."""
        joining = 'echo $$ > "$0" && exec "$@"'
        members = str(self.path / "cgroup.procs")
        return ["sh", "-c", joining, members, sys.executable, *arguments]

    @property
    def peak(self) -> int | None:
        """Bytes that were charged to it at most, cached pages of files included."""
        file = self.path / _FILES[self.version][1]
        return int(file.read_text()) if file.exists() else None


@contextmanager
def limited_group(limit: int) -> Iterator[Group]:
    """A new group that is removed afterwards; its processes must have ended by then.

    Args:
        limit: bytes.

    Raises:
        NotPermitted: says what is in the way.
    """
    root, version = _own_group()
    path = root / f"drin-fs-benchmark-{os.getpid()}"
    try:
        path.mkdir()
    except OSError as error:
        raise NotPermitted(f"no memory control group can be made: {error.strerror}") from error
    try:
        _set_limit(path / _FILES[version][0], limit)
        yield Group(path, version)
    finally:
        _remove(path)


def _set_limit(file: Path, limit: int) -> None:
    if not file.exists():
        raise NotPermitted("our control group does not hand on its control of memory")
    try:
        file.write_text(str(limit))
    except OSError as error:
        raise NotPermitted(f"no limit of memory can be set: {error.strerror}") from error


def _own_group() -> tuple[Path, int]:
    """The folder of the control group that rules our memory, and its version."""
    places = {}
    for line in _lines(Path("/proc/self/cgroup")):
        _, controllers, place = line.split(":", 2)
        places[controllers] = place
    for line in _lines(Path("/proc/self/mounts")):
        _, mounted, kind, options, *_ = line.split()
        if kind == "cgroup" and "memory" in options.split(","):
            named = [place for names, place in places.items() if "memory" in names.split(",")]
            return _inside(Path(mounted), named), 1
        if kind == "cgroup2" and "memory" in _controllers(Path(mounted)):
            return _inside(Path(mounted), [places[""]] if "" in places else []), 2
    raise NotPermitted("this system has no control group for memory")


def _controllers(mounted: Path) -> list[str]:
    return " ".join(_lines(mounted / "cgroup.controllers")).split()


def _inside(mounted: Path, places: Sequence[str]) -> Path:
    """Our own group; in a container that shows nothing else, the root."""
    own = [mounted / place.lstrip("/") for place in places]
    return next((path for path in own if path.is_dir()), mounted)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _remove(path: Path) -> None:
    give_up = time.monotonic() + _PATIENCE
    while True:
        try:
            path.rmdir()
            return
        except OSError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.02)
