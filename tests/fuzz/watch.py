"""Notices what no input may cause: programs, unpickling, connections, writing outside its folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from featurestore import headerless
from tests.fuzz.kinds import OWNED

#: Audit events of Python that no input may cause.
_NEVER = (
    "os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.fork",
    "pickle.find_class", "socket.connect", "socket.getaddrinfo",
)  # fmt: skip

#: Audit events that name a path first, and change what is there.
_CHANGES = (
    "os.mkdir", "os.remove", "os.rmdir", "os.rename", "os.link", "os.symlink", "os.chmod",
    "os.truncate", "shutil.rmtree",
)  # fmt: skip

#: Those of them whose path may be relative to an open folder, which is the next number.
_IN_FOLDERS = ("os.remove", "os.rmdir")

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _is_our_child(event: str, arguments: tuple[Any, ...]) -> bool:
    """The process in which libhdf5 opens files without a header of ours."""
    return event == "subprocess.Popen" and list(arguments[1][1:4]) == headerless.CHILD


class Watch:
    """From ``begin`` to ``end``, collects what happens outside ``root/case/out``.

    By Python's own audit events, and by what stands in the folders around afterwards: a library may
    write without Python.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._allowed = str(root / "case" / "out") + os.sep
        self._is_on = False
        self._seen: list[str] = []
        sys.addaudithook(self._hear)

    def begin(self) -> None:
        self._seen = []
        self._before = self._around()
        self._is_on = True

    def end(self) -> list[str]:
        """What was noticed, in words."""
        self._is_on = False
        seen = list(self._seen)
        if (now := self._around()) != self._before:
            seen.append(f"files around are not what they were: {sorted(now ^ self._before)[:5]}")
        return seen

    def _around(self) -> frozenset[tuple[str, int, int]]:
        """Name, size and time of everything around but what may be written."""
        found = []
        for folder in (self._root, self._root / "case", self._root / "case" / "in"):
            for entry in os.scandir(folder):
                status = entry.stat(follow_symlinks=False)
                if entry.name not in ("out", "log", "case"):
                    found.append((entry.path, status.st_size, status.st_mtime_ns))
        homes = (self._root, self._root.parent, self._root / "case", Path("/tmp"))
        made = {str(home / OWNED) for home in homes if os.path.lexists(home / OWNED)}
        return frozenset(found) | {(place, 0, 0) for place in made}

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._is_on:
            return
        if event in _NEVER and not _is_our_child(event, arguments):
            self._seen.append(f"{event} {arguments!r}"[:200])
        elif event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITES and not isinstance(path, int):
                self._check(event, path)
        elif event in _CHANGES:
            folder = next((n for n in arguments[1:] if type(n) is int and n >= 0), None)
            self._check(event, arguments[0], folder if event in _IN_FOLDERS else None)

    def _check(self, event: str, path: Any, folder: int | None = None) -> None:
        if path is None or isinstance(path, int):
            return
        place = os.fsdecode(path)
        if folder is not None:
            place = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), place)
        place = os.path.abspath(place) + os.sep
        if not place.startswith(self._allowed) and place != f"{os.devnull}{os.sep}":
            self._seen.append(f"{event} {place[:200]}")
