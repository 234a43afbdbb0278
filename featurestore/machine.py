"""What the operating system says of this process."""

from __future__ import annotations

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
