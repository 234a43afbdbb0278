"""Whether the index of a store in several files is larger than the files were to be."""

from __future__ import annotations

from pathlib import Path

from featurestore.progress import Progress
from featurestore.schema import TABLES
from featurestore.store import Store


def index_notes(target: Path, max_file_size: int | None, progress: Progress) -> list[str]:
    """A sentence on an index file above the size that was asked for; none where it is not.

    Args:
        target: a store that was just made.
        max_file_size: bytes of a shard at most, which the index is not held to; None = one file.
        progress: is told it as a warning.
    """
    size = target.stat().st_size
    if max_file_size is None or size <= max_file_size:
        return []
    path, held = _largest(target)
    note = (
        f"{target.name} takes {size:,} bytes, above --max-file-size {max_file_size:,}: mentions, and of "
        f"entities ids, texts and columns, are not put into other files ({held:,} are {path}; "
        "drin-fs repack --drop leaves a field out)"
    )
    progress.note(f"WARNING: {note}")
    return [note]


def _largest(target: Path) -> tuple[str, int]:
    """The field of the file itself that takes most of it, and its bytes."""
    with Store(target, alone=True) as store:
        fields = [
            field
            for name in TABLES
            for field in store.table(name).fields.values()
            if not field.spread
        ]
        largest = max(fields, key=lambda field: field.stored_bytes)
        return largest.schema.path, largest.stored_bytes
