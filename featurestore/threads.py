"""Threads for work that releases Python's lock: copying rows out of the map, decoding records.

They are started when first needed, and live as long as the process. A forked process starts its own:
threads do not survive a fork.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
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


class Together:
    """Work that several threads do, this one among them, when all of it was added.

    None begins before: Python that still prepares one part holds the lock which those at work need
    between two calls.
    """

    def __init__(self) -> None:
        self._left: deque[Callable[[], object]] = deque()
        self._helpers: list[Future[None]] = []

    def add(self, parts: Sequence[Callable[[], object]]) -> None:
        """Add parts of work, to be done in any order."""
        self._left.extend(parts)

    def finish(self) -> None:
        """Do all of it; an error of any part is raised."""
        for _ in range(min(count(), len(self._left)) - 1):
            self._helpers.append(_pool().submit(self._work_off))
        self._work_off()
        for helper in self._helpers:
            if not helper.cancel():
                helper.result()

    def abandon(self) -> None:
        """Begin nothing more, and wait for what was begun."""
        self._left.clear()
        wait([helper for helper in self._helpers if not helper.cancel()])

    def _work_off(self) -> None:
        while True:
            try:
                part = self._left.popleft()
            except IndexError:
                return
            part()


@contextmanager
def together() -> Iterator[Together]:
    """A block whose work is done when it ends.

    Must not be entered by the work itself: the threads would wait for each other.
    """
    work = Together()
    try:
        yield work
        work.finish()
    finally:
        work.abandon()


def waiting(calls: Sequence[Callable[[], T]]) -> list[T]:
    """The results of calls that wait for a network rather than work: up to :data:`MOST` wait at once.

    The first error is raised when those that were begun have ended; the others are not begun.
    """
    if len(calls) < 2:
        return [call() for call in calls]
    with ThreadPoolExecutor(min(MOST, len(calls)), thread_name_prefix="drin-fs-wait") as pool:
        results = [pool.submit(call) for call in calls]
        try:
            return [result.result() for result in results]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _pool() -> ThreadPoolExecutor:
    process = os.getpid()
    if process not in _pools:
        _pools.clear()  # those of the process that this one was forked from
        _pools[process] = ThreadPoolExecutor(count(), thread_name_prefix="drin-fs-read")
    return _pools[process]
