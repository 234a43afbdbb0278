"""Threads for work that releases Python's lock: copying rows out of the map, decoding, compressing.

They are started when first needed, and live as long as the process. A forked process
starts its own: threads do not survive a fork.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
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
    """Call ``work`` with every part, several at once, this thread among them; an error is raised.

    Must not be called from within ``work``: the threads would wait for each other.
    """
    left = deque(parts)
    helpers = [_pool().submit(_work_off, work, left) for _ in range(min(count(), len(parts)) - 1)]
    try:
        _work_off(work, left)
    finally:
        left.clear()  # after an error
        begun = [helper for helper in helpers if not helper.cancel()]
        wait(begun)
    for helper in begun:
        helper.result()


def _work_off(work: Callable[[T], object], left: deque[T]) -> None:
    while True:
        try:
            part = left.popleft()
        except IndexError:
            return
        work(part)


def _pool() -> ThreadPoolExecutor:
    process = os.getpid()
    if process not in _pools:
        _pools.clear()  # those of the process that this one was forked from
        _pools[process] = ThreadPoolExecutor(count(), thread_name_prefix="drin-fs-read")
    return _pools[process]
