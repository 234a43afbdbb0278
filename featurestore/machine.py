"""What the operating system says of a process."""

from __future__ import annotations

from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

#: The unit of ``ru_inblock``.
_BLOCK = 512


def disk_bytes() -> int:
    """Bytes that this process has had read from disk so far, mapped files included; 0 if unknown.

    What the page cache had is not among them.
    """
    if resource is None:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_inblock * _BLOCK


def anonymous_memory(process: int | None = None) -> int | None:
    """Bytes of memory that a process holds besides files mapped into it; None where unknown.

    A store is a mapped file: its pages belong to the page cache and are given back under pressure.

    Args:
        process: its number; None = this one. Of one that is gone nothing is known.
    """
    try:
        status = Path(f"/proc/{process or 'self'}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    for line in status.splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return None
