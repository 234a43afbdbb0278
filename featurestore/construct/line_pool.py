"""Tasks done by this process or by several, their results in the order of the tasks."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait

from featurestore.construct.dump_tasks import Task
from featurestore.construct.entity_lines import Found, LineReader, Reading
from featurestore.errors import DrinFsError

#: Seconds that this process works alone before it starts others (chosen here: what ends by then would
#: not have gained what they take to start).
ALONE_SECONDS = 2.0

_reader: LineReader | None = None  # of a worker process


def done(
    tasks: Iterator[Task], reading: Reading, *, jobs: int
) -> Generator[tuple[Task, Found], None, None]:
    """Each task and what it found.

    Args:
        jobs: processes; 1 = this one. Others are started for what is worth it: a large dump of which
            they read parts of the file themselves, or of whose lines much is parsed. They are
            started anew (``spawn``), so that a script that calls this must guard its own start with
            ``if __name__ == "__main__"``.

    Raises:
        DrinFsError: a process was ended, by the system for instance where memory is short.
    """
    reader = LineReader(reading)
    begun = time.monotonic()
    for task in tasks:
        # lines at hand of which little is parsed cost more to hand over than to read
        if (
            jobs > 1
            and time.monotonic() - begun >= ALONE_SECONDS
            and not (task.data and reading.is_quick)
        ):
            yield from _shared(chain([task], tasks), reading, jobs)
            return
        yield task, task.work(reader)


def _shared(
    tasks: Iterator[Task], reading: Reading, jobs: int
) -> Generator[tuple[Task, Found], None, None]:
    pool = ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_begin, initargs=(reading,)
    )
    waiting: deque[tuple[Task, Future[Found]]] = deque()
    try:
        for task in tasks:
            waiting.append((task, pool.submit(_work, task)))
            if len(waiting) > jobs + 1:
                yield _result(waiting)
        while waiting:
            yield _result(waiting)
    except BrokenProcessPool as error:
        raise DrinFsError(
            "a process that reads lines was ended from outside",
            hint="run the same command again, it goes on; with --jobs 1 it needs the least memory",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _result(waiting: deque[tuple[Task, Future[Found]]]) -> tuple[Task, Found]:
    task, future = waiting.popleft()
    return task, future.result()


def _begin(reading: Reading) -> None:
    """In a worker: Ctrl-C is its parent's affair, and it ends when its parent does."""
    global _reader
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _reader = LineReader(reading)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _work(task: Task) -> Found:
    if _reader is None:
        raise RuntimeError("the worker was not begun")
    return task.work(_reader)
