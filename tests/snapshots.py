"""Views as they were when somebody looked at them: ``UPDATE_SNAPSHOTS=1 pytest`` writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "snapshots"


def check_snapshot(name: str, text: str) -> None:
    """Compare a text with ``tests/snapshots/NAME.txt``; ends of lines do not count."""
    path = FOLDER / f"{name}.txt"
    plain = "".join(line.rstrip() + "\n" for line in text.splitlines())
    if os.environ.get("UPDATE_SNAPSHOTS"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(plain, encoding="utf-8")
    assert path.exists(), f"no snapshot {name}: look at the view, then UPDATE_SNAPSHOTS=1"
    assert plain == path.read_text(encoding="utf-8")
