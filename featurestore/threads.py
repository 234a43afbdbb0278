"""Threads for work that releases Python's lock: copying rows out of the map, decoding records.

They are started when first needed, and live as long as the process. A forked process starts its own:
threads do not survive a fork.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

#: Most threads (chosen here: eight copy as fast as common memory allows).
MOST = 8

_pools: dict[int, ThreadPoolExecutor] = {}


def count() -> int:
    """How many threads work at once: the processors that this process may use, at most ``MOST``."""
    return min(MOST, available_processors())


def available_processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def each(work: Callable[[T], object], parts: Sequence[T]) -> None:
    """Call ``work`` with every part, several at once; the first error is raised.

    Must not be called from within ``work``: the threads would wait for each other.
    """
    if len(parts) < 2 or count() < 2:
        for part in parts:
            work(part)
        return
    for _ in _pool().map(work, parts):
        pass


def _pool() -> ThreadPoolExecutor:
    process = os.getpid()
    if process not in _pools:
        _pools.clear()  # those of the process that this one was forked from
        _pools[process] = ThreadPoolExecutor(count(), thread_name_prefix="drin-fs-read")
    return _pools[process]
