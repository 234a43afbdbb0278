"""Give back the space of a part of a file that is not needed any more, where the file system can."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

#: Linux, ``fallocate(2)``: keep the size, punch a hole.
_MODE = 0x01 | 0x02

#: Holes begin and end at multiples of a page; what is around them stays.
PAGE = 4096


@cache
def _fallocate() -> Any:
    """The system's call; None where there is none."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None, use_errno=True)
    call = getattr(library, "fallocate64", None) or getattr(library, "fallocate", None)
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return call


def punch(descriptor: int, start: int, stop: int) -> bool:
    """Turn the whole pages in ``[start, stop)`` of an open file into a hole, which reads as zeros.

    Returns:
        Whether that is done; not where the system or the file system cannot.
    """
    first, end = -(-start // PAGE) * PAGE, stop // PAGE * PAGE
    if end <= first:
        return True
    call = _fallocate()
    return call is not None and call(descriptor, _MODE, first, end - first) == 0


def can_punch(folder: Path) -> bool:
    """Whether files in a folder can have holes punched.

    Raises:
        OSError: nothing can be written there.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(4 * PAGE))
        file.flush()
        os.fsync(file.fileno())
        before = os.fstat(file.fileno()).st_blocks
        return punch(file.fileno(), PAGE, 3 * PAGE) and os.fstat(file.fileno()).st_blocks < before
