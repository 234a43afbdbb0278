"""The memory of freed tensors, kept for the next ones.

A training step allocates and frees tensors of some ten megabytes again and again. glibc gives such
memory back to the system at once, and each new page of it then costs a fault and is cleared, which
takes longer than what most operations do with it. What a step needs is needed by the next one.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

#: Options of glibc's ``mallopt``.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3

#: No size of memory at the end of the heap is given back, and no allocation is mapped by itself.
_NEVER = 2**31 - 1

#: Where glibc's own rules, which these options end, arrive in a process that frees large memory.
_OWN_MMAP, _OWN_TRIM = 32 << 20, 64 << 20


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Keep the memory of what is freed in this block, and give it back at its end.

    Of the whole process; only glibc is told, other allocators do as they always do.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "mallopt") or not hasattr(library, "malloc_trim"):
        yield
        return
    library.mallopt(_MMAP_THRESHOLD, _NEVER)
    library.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        library.mallopt(_MMAP_THRESHOLD, _OWN_MMAP)
        library.mallopt(_TRIM_THRESHOLD, _OWN_TRIM)
        library.malloc_trim(0)
