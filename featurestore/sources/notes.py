"""What is said of a raw dataset that was read: counts with the first few ids, one sentence each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

#: How many ids a note or an error lists before "…".
_NAMED = 5


def first_of(ids: Sequence[str]) -> str:
    """The first few ids, for a message."""
    return ", ".join(ids[:_NAMED]) + (", …" if len(ids) > _NAMED else "")


def note_ids(notes: list[str], what: str, ids: Sequence[str]) -> None:
    """Say how many rows are so, and which come first; nothing where none is."""
    if ids:
        notes.append(f"{what}: {len(ids)} ({first_of(ids)})")


def note_dropped(notes: list[str], dropped: Mapping[str, Sequence[str]]) -> None:
    """Say which mentions of each split are not used because they are no part of their sentence."""
    for split, ids in dropped.items():
        note_ids(notes, f"{split}: mentions not in their sentence", ids)


def note_without_picture(notes: list[str], what: str, missing: int, total: int) -> None:
    """Say how many rows have no picture file; nothing where all have one."""
    if missing:
        notes.append(f"{what} without picture file: {missing} of {total}")
