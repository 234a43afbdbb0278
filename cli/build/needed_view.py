"""What a dataset's folder still lacks, and the commands that make it."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

from rich.console import RenderableType
from rich.text import Text

from cli.console import plain_text
from featurestore.construct.needed import NeededFile


def needed_view(needed: Sequence[NeededFile], root: str) -> list[RenderableType]:
    """A command a missing file, ready to paste; ``drin-fs ingest`` where none is needed any more."""
    lines: list[RenderableType] = [Text(), Text("next", "dim")]
    for each in needed:
        word = ", optional" if each.optional else ""
        lines.append(Text.assemble("  $ ", plain_text(each.command)))
        lines.append(plain_text(f"      {each.what}: {each.file}{word}", "dim"))
    if all(each.optional for each in needed):
        store = quote(root.rstrip("/") + ".h5")
        lines.append(Text.assemble("  $ ", plain_text(f"drin-fs ingest {quote(root)} -o {store}")))
    return lines
