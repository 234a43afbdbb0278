"""Texts that are kept in files, and compared with what the program shows now.

``UPDATE_SNAPSHOTS=1 pytest …`` writes them anew: look at the difference before committing it.
"""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "snapshots"


def check_snapshot(name: str, text: str) -> None:
    """Compare a text with ``tests/snapshots/{name}.txt``; blanks at the ends of lines do not count.

    Raises:
        AssertionError: it differs, or there is none yet.
    """
    path = FOLDER / f"{name}.txt"
    found = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    if os.environ.get("UPDATE_SNAPSHOTS"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(found, encoding="utf-8")
    assert path.is_file(), f"no snapshot {path}: write it with UPDATE_SNAPSHOTS=1"
    assert found == path.read_text(encoding="utf-8")
